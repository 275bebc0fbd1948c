"""What the pool's rows say, as the answers of the API: the same from every back end. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from ...api.couponcodes import Code, FailedCode, UploadedCodes
from ...api.coupons import Coupon, CouponPage, ListCoupons
from ...api.stocks import CouponCodeCount, SendCountInformation, Stock
from ...errors import RequestRefused, ResourceAlreadyExists, ResourceNotExists, masked
from ...wire.times import rfc3339
from ..chance import Chance
from .coupon import CouponFacts
from .stocks import StockFacts

# Pages


_CHANCE = Chance("stock-numbers")
PAGE_BYTES_MAX = 1024 * 1024
"""A page ends before its answer has more bytes. Our choice: WeChat Pay publishes none. The next goes on from there."""
_BESIDE_ROWS = 1024
"""What else an answer may hold: its counts, and the names of its fields."""

Row = TypeVar("Row", bound=msgspec.Struct)


def page_of(rows: Iterable[Row]) -> list[Row]:
    """Return the first rows, as many as a page may hold: at least one. Those beyond are not even made."""
    page: list[Row] = []
    size = 0
    for row in rows:
        size += len(_encode(row)) + 1
        if page and size > PAGE_BYTES_MAX - _BESIDE_ROWS:
            break
        page.append(row)
    return page


_encode = msgspec.json.Encoder().encode


# Stocks


class Counts(NamedTuple):
    """Of a stock, all at one moment."""

    total: int
    available: int
    sent: int
    sent_today: int


def stock(facts: StockFacts, counts: Counts, now: int) -> Stock:
    count = None
    if facts.takes_uploads:
        count = CouponCodeCount(total_count=counts.total, available_count=counts.available)
    shown = msgspec.structs.asdict(facts.busifavor)
    del shown["out_request_no"]
    return Stock(
        **shown,
        stock_id=facts.stock_id,
        stock_state=facts.state(now),
        coupon_code_count=count,
        send_count_information=_sent(facts, counts),
    )


def _sent(facts: StockFacts, counts: Counts) -> SendCountInformation:
    discount = facts.busifavor.coupon_use_rule.fixed_normal_coupon
    if discount is None:
        return SendCountInformation(total_send_num=counts.sent, today_send_num=counts.sent_today)
    return SendCountInformation(
        total_send_num=counts.sent,
        total_send_amount=counts.sent * discount.discount_amount,
        today_send_num=counts.sent_today,
        today_send_amount=counts.sent_today * discount.discount_amount,
    )


def no_stock(stock_id: str) -> ResourceNotExists:
    return ResourceNotExists(f"批次不存在: there is no stock {stock_id}")


def stock_made_before(stock_id: str) -> ResourceAlreadyExists:
    return ResourceAlreadyExists(f"批次已存在: out_request_no was used before, and made stock {stock_id}")


def another_ones_stock(stock_id: str) -> RequestRefused:
    return RequestRefused(f"stock {stock_id} is there already, and another merchant's or product's")


def new_stock_id() -> str:
    return str(10**15 + _CHANCE.randbelow(9 * 10**15))


# Codes


class Others(msgspec.Struct, omit_defaults=True):
    """What an upload's answer says beside success: kept with the upload, for its repeats."""

    fail_codes: list[FailedCode] = []
    exist_codes: list[str] = []
    duplicate_codes: list[str] = []


def uploaded(stock_id: str, added: Sequence[str], others: Others, success_at: int) -> UploadedCodes:
    return UploadedCodes(
        stock_id=stock_id,
        total_count=len(added) + len(others.fail_codes) + len(others.exist_codes),
        success_count=len(added),
        success_codes=list(added),
        success_time=rfc3339(success_at),
        fail_count=len(others.fail_codes),
        fail_codes=others.fail_codes,
        exist_codes=others.exist_codes,
        duplicate_codes=others.duplicate_codes,
    )


def code(coupon_code: str, uploaded_at: int | None, coupon: CouponFacts | None) -> Code:
    """`uploaded_at` None: the code came with its coupon."""
    upload_time = None if uploaded_at is None else rfc3339(uploaded_at)
    if coupon is None:
        return Code(code=coupon_code, code_status="AVAILABLE", upload_time=upload_time)
    return Code(
        code=coupon_code,
        code_status="DISPATCHED",
        upload_time=upload_time,
        dispatched_time=rfc3339(coupon.sent_at),
        openid=coupon.openid,
        coupon_code=coupon.coupon_code,
    )


def no_code(stock_id: str, coupon_code: str) -> ResourceNotExists:
    return ResourceNotExists(f"券code不存在: stock {stock_id} has no code {masked(coupon_code)}")


def code_is_given(coupon_code: str) -> RequestRefused:
    return RequestRefused(f"券code已发放: code {masked(coupon_code)} is a user's coupon: deactivate that instead")


# Coupons


def no_coupon(stock_id: str, coupon_code: str) -> ResourceNotExists:
    return ResourceNotExists(f"券不存在: stock {stock_id} gave nobody a coupon {masked(coupon_code)}")


def coupon(facts: StockFacts, coupon: CouponFacts, now: int, *, listed: bool = False) -> Coupon:
    request = facts.busifavor
    pattern = request.display_pattern_info
    if listed and pattern is not None:
        # Source: rows of the list have no description since 2020-07-08 (documented).
        pattern = msgspec.structs.replace(pattern, description=None)
    return Coupon(
        belong_merchant=request.belong_merchant,
        stock_name=request.stock_name,
        comment=request.comment,
        goods_name=request.goods_name,
        stock_type=request.stock_type,
        coupon_state=coupon.state(now),
        display_pattern_info=pattern,
        coupon_use_rule=request.coupon_use_rule,
        custom_entrance=request.custom_entrance,
        coupon_code=coupon.coupon_code,
        stock_id=coupon.stock_id,
        available_start_time=rfc3339(coupon.starts_at),
        expire_time=rfc3339(coupon.expires_at),
        receive_time=rfc3339(coupon.sent_at),
        send_request_no=coupon.out_request_no,
        use_request_no=coupon.use_request_no,
        use_time=coupon.use_time,
        associate_out_trade_no=coupon.associate_out_trade_no,
        return_request_no=coupon.return_request_no,
        return_time=None if coupon.returned_at is None else rfc3339(coupon.returned_at),
        deactivate_request_no=coupon.deactivate_request_no,
        deactivate_time=None if coupon.deactivated_at is None else rfc3339(coupon.deactivated_at),
        deactivate_reason=coupon.deactivate_reason,
    )


Owned = tuple[StockFacts, CouponFacts]
"""A coupon and its stock."""


def coupon_page(owned: Sequence[Owned], request: ListCoupons, mchid: str, now: int) -> CouponPage:
    """`owned` are a user's coupons, the latest first."""
    found = [
        (facts, one)
        for facts, one in owned
        if may_see(facts, one, mchid)
        and facts.product is None
        and request.stock_id in (None, one.stock_id)
        and request.coupon_state in (None, one.state(now))
        and request.creator_merchant in (None, facts.mchid)
        and request.belong_merchant in (None, facts.busifavor.belong_merchant)
        and request.sender_merchant in (None, one.send_merchant)
    ]
    asked = found[request.offset : request.offset + request.limit]
    page = page_of(coupon(facts, one, now, listed=True) for facts, one in asked)
    return CouponPage(total_count=len(found), offset=request.offset, limit=len(page), data=page)


def latest_coupon(owned: Sequence[Owned], coupon_code: str, mchid: str, now: int) -> Coupon:
    """Raises ResourceNotExists: none that the merchant may see."""
    for facts, one in owned:
        if one.coupon_code == coupon_code and facts.product is None and may_see(facts, one, mchid):
            return coupon(facts, one, now)
    raise ResourceNotExists(f"券不存在: this user has no coupon {masked(coupon_code)}")


def may_see(facts: StockFacts, coupon: CouponFacts, mchid: str) -> bool:
    """Source: its stock's creator and owner, and who sent it (documented by the list's filters)."""
    return mchid in (*facts.merchants, coupon.send_merchant)
