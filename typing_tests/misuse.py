"""Every correct spelling with its type, and every mistake that a checker must catch.

Checked by mypy and by pyright, never run. A checker that stops catching a mistake reports its ignore as unused.
No checker sees a misspelt keyword beside a mapping or below a filled variable: those are refused when the call is made.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, assert_type

import quanma
from quanma import AsyncWechatpay, Wechatpay
from quanma.api.couponcodes import CodePage, CouponCodes, ShowCode, UploadCodes, UploadedCodes
from quanma.api.coupons import Coupon, SentCoupon
from quanma.api.media import UploadedImage
from quanma.api.operation import Answer
from quanma.platform.handlers import Handlers, Visit


def names() -> None:
    """They come when they are first asked for, and are known to a checker all the same."""
    assert_type(quanma.Wechatpay.from_config(), Wechatpay)
    assert_type(quanma.errors.NoAnswer(), quanma.errors.NoAnswer)
    quanma.WechatPay  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def correct(wxpay: Wechatpay) -> None:
    stocks = wxpay.v3.marketing.busifavor.stocks
    codes = stocks._stock_id_.couponcodes
    body: dict[str, Any] = {"coupon_code_list": ["A1"], "upload_request_no": "n"}
    # By keywords, by a mapping, by the shorthand, below a filled variable.
    assert_type(codes.post(stock_id="1", coupon_code_list=["A1"], upload_request_no="n"), UploadedCodes)
    assert_type(codes.post({"coupon_code_list": ["A1"], "upload_request_no": "n"}, stock_id="1"), UploadedCodes)
    assert_type(codes(stock_id="1", coupon_code_list=["A1"], upload_request_no="n"), UploadedCodes)
    assert_type(codes({"coupon_code_list": ["A1"], "upload_request_no": "n"}, stock_id="1"), UploadedCodes)
    assert_type(stocks["1"].couponcodes.post(coupon_code_list=["A1"], upload_request_no="n"), UploadedCodes)
    assert_type(stocks["1"].couponcodes.post({"coupon_code_list": ["A1"], "upload_request_no": "n"}), UploadedCodes)
    assert_type(stocks["1"].couponcodes(coupon_code_list=["A1"], upload_request_no="n"), UploadedCodes)
    assert_type(stocks["1"].couponcodes.post(**body), UploadedCodes)
    # Other verbs and branches.
    assert_type(codes.get(stock_id="1", status="AVAILABLE", limit=20), CodePage)
    assert_type(stocks["1"].couponcodes.get(), CodePage)
    users = wxpay.v3.marketing.busifavor.users
    assert_type(users["o"].coupons["A1"].appids["wx"].get(), Coupon)
    assert_type(
        wxpay.v3.marketing.busifavor.coupons.send(openid="o", appid="wx", stock_id="1", out_request_no="n"), SentCoupon
    )
    # An empty answer, and a picture.
    assert_type(stocks["1"].patch(out_request_no="n"), None)
    image_upload = wxpay.v3.marketing.favor.media.image_upload
    assert_type(image_upload(file=b"", filename="a.png"), UploadedImage)
    # The whole answer.
    answer = codes.post.raw(stock_id="1", coupon_code_list=["A1"], upload_request_no="n")
    assert_type(answer, Answer[UploadedCodes])
    assert_type(answer.data.success_codes, list[str])
    assert_type(answer.status_code, int)
    assert_type(answer.request_id, str | None)
    assert_type(
        codes.post.raw({"coupon_code_list": ["A1"], "upload_request_no": "n"}, stock_id="1"), Answer[UploadedCodes]
    )
    assert_type(stocks["1"].couponcodes.post.raw(coupon_code_list=["A1"], upload_request_no="n"), Answer[UploadedCodes])
    # Paths that are not declared.
    assert_type(wxpay.chain("v3/pay/transactions/id/{transaction_id}").get(transaction_id="1", mchid="2"), Any)
    # The declaration itself.
    assert_type(wxpay.send(CouponCodes.post, UploadCodes(**body)), Answer[UploadedCodes])


async def correct_async(wxpay: AsyncWechatpay) -> None:
    stocks = wxpay.v3.marketing.busifavor.stocks
    codes = stocks._stock_id_.couponcodes
    assert_type(await codes.post(stock_id="1", coupon_code_list=["A1"], upload_request_no="n"), UploadedCodes)
    assert_type(await codes.post({"coupon_code_list": ["A1"], "upload_request_no": "n"}, stock_id="1"), UploadedCodes)
    assert_type(await codes(stock_id="1", coupon_code_list=["A1"], upload_request_no="n"), UploadedCodes)
    assert_type(await stocks["1"].couponcodes.post(coupon_code_list=["A1"], upload_request_no="n"), UploadedCodes)
    assert_type(await stocks["1"].couponcodes(coupon_code_list=["A1"], upload_request_no="n"), UploadedCodes)
    raw = codes.post.raw(stock_id="1", coupon_code_list=["A1"], upload_request_no="n")
    waiting = assert_type(raw, Awaitable[Answer[UploadedCodes]])
    assert_type((await waiting).data.exist_codes, list[str])
    assert_type(await stocks["1"].couponcodes.get(), CodePage)


def mistakes(wxpay: Wechatpay) -> None:
    stocks = wxpay.v3.marketing.busifavor.stocks
    codes = stocks._stock_id_.couponcodes
    # A field's name, a field's type, a field that is missing.
    codes.post(stock_id="1", coupon_code_list=["A1"], upload_no="n")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    codes.post(stock_id=1, coupon_code_list=["A1"], upload_request_no="n")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    codes.post(stock_id="1", coupon_code_list="A1", upload_request_no="n")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    codes.post(stock_id="1", coupon_code_list=["A1"])  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    codes.get(stock_id="1", status="AVAILBLE")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    # The same in a mapping.
    codes.post({"coupon_code_list": ["A1"], "upload_no": "n"}, stock_id="1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    codes.post({"coupon_code_list": ["A1"]}, stock_id="1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    codes.post({"coupon_code_list": ["A1"], "upload_request_no": 1}, stock_id="1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    codes.get({"limit": 20}, stock_id="1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    # A picture has no mapping form.
    wxpay.v3.marketing.favor.media.image_upload({"file": b"", "filename": "a.png"})  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    wxpay.v3.marketing.favor.media.image_upload(file="a.png", filename="a.png")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    # The same by the shorthand, for the whole answer, below a filled variable.
    codes(stock_id="1", coupon_code_list=["A1"], upload_no="n")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    codes({"coupon_code_list": ["A1"], "upload_no": "n"}, stock_id="1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    codes.post.raw(stock_id="1", coupon_code_list=["A1"], upload_no="n")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    stocks["1"].couponcodes.post({"coupon_code_list": ["A1"], "upload_no": "n"})  # type: ignore[typeddict-item]  # pyright: ignore[reportArgumentType]
    # A segment that is skipped or misspelt; an index that is none; a node that has no post.
    stocks.couponcodes  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    stocks._stock_id_.coupon_codes  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    stocks[1]  # type: ignore[index]  # pyright: ignore[reportArgumentType]
    stocks._stock_id_(stock_id="1")  # type: ignore[operator]  # pyright: ignore[reportCallIssue]
    # An answer's field.
    codes.post(stock_id="1", coupon_code_list=["A1"], upload_request_no="n").succes_count  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    codes.post.raw(stock_id="1", coupon_code_list=["A1"], upload_request_no="n").success_count  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    stocks["1"].couponcodes.post(coupon_code_list=["A1"], upload_request_no="n").succes_count  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


async def forgotten_await(wxpay: AsyncWechatpay) -> None:
    stocks = wxpay.v3.marketing.busifavor.stocks
    stocks._stock_id_.couponcodes.post(stock_id="1", coupon_code_list=["A1"], upload_request_no="n").success_count  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    stocks["1"].couponcodes.post(coupon_code_list=["A1"], upload_request_no="n").success_count  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    stocks._stock_id_.couponcodes.post(stock_id="1", coupon_code_list=["A1"], upload_request_no="n")  # type: ignore[unused-awaitable]


async def upload(visit: Visit, request: UploadCodes) -> UploadedCodes:
    raise NotImplementedError


async def show(visit: Visit, request: ShowCode) -> UploadedCodes:
    raise NotImplementedError


async def answer_another(visit: Visit, request: UploadCodes) -> CodePage:
    raise NotImplementedError


def handlers() -> None:
    Handlers().bind(CouponCodes.post, upload)
    Handlers().bind(CouponCodes.post, show)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Handlers().bind(CouponCodes.post, answer_another)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
