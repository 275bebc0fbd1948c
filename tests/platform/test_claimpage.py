"""The page where a user claims a coupon: a signed link gives it once, and nothing else does."""

from __future__ import annotations

import itertools
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from quanma.api.couponcodes import UploadCodes
from quanma.client import config
from quanma.client.claims import Claim, Claims
from quanma.client.transport import Reply
from quanma.errors import StoreUnavailable
from quanma.platform import claimpage
from quanma.platform.pool.contract import CodePool
from quanma.wire import v2sign
from tests.contract.driver import NOW, USE_RULE
from tests.support.platform import MCHID, OTHER_MCHID, InProcess, merchant_config, new_stock

PAGE = "/busifavor/getcouponinfo"
_numbers = itertools.count(1)


def key_of(platform: InProcess, mchid: str = MCHID) -> str:
    return config.load(merchant_config(platform.world, mchid)).apiv2_key or ""


def stock_of(platform: InProcess, *codes: str, mode: str = "MERCHANT_UPLOAD") -> str:
    request = new_stock(f"claim{next(_numbers)}", coupon_use_rule=USE_RULE, coupon_code_mode=mode)
    stock_id = platform.run(platform.pool.create_stock(MCHID, request, NOW)).stock_id
    if codes:
        upload = UploadCodes(stock_id=stock_id, coupon_code_list=list(codes), upload_request_no="n1")
        platform.run(platform.pool.upload_codes(MCHID, upload, NOW))
    return stock_id


def link(platform: InProcess, claim: Claim, open_id: str = "oUser", mchid: str = MCHID) -> str:
    """What the client makes, as a browser asks our platform for it."""
    return "?" + urlsplit(Claims(mchid, key_of(platform, mchid)).h5_url(claim, open_id)).query


def signed(platform: InProcess, **changes: str | None) -> str:
    """A link with any parameters, signed."""
    parameters = {"stock_id": "1", "out_request_no": "n1", "send_coupon_merchant": MCHID, "open_id": "oUser"}
    kept = {name: value for name, value in {**parameters, **changes}.items() if value is not None}
    return "?" + urlencode({"sign": v2sign.sign(key_of(platform), kept), **kept})


def opened(platform: InProcess, query: str) -> Reply:
    return platform.ask("GET", PAGE + query, [])


def text(reply: Reply) -> str:
    return reply.body.decode()


def test_a_signed_link_gives_the_coupon_and_shows_the_same_one_again(still: InProcess) -> None:
    stock_id = stock_of(still, "A1", "B2")
    query = link(still, Claim(stock_id, "n1"))
    first, again = opened(still, query), opened(still, query)
    assert first.status_code == 200
    assert "领取成功" in text(first)
    assert ("券 A1" in text(first)) != ("券 B2" in text(first))
    assert again.body == first.body
    counts = still.run(still.pool.show_stock(MCHID, stock_id, NOW)).coupon_code_count
    assert counts is not None
    assert counts.available_count == 1


def test_to_look_at_a_link_with_head_claims_nothing(still: InProcess) -> None:
    stock_id = stock_of(still, "ABC9588200")
    query = link(still, Claim(stock_id, "looked"))
    reply = still.ask("HEAD", PAGE + query, [])
    assert (reply.status_code, reply.body) == (200, b"")
    stock = still.run(still.pool.show_stock(MCHID, stock_id, NOW))
    assert stock.coupon_code_count is not None
    assert stock.coupon_code_count.available_count == 1


def test_a_claimed_coupon_has_its_event_and_its_channel(still: InProcess) -> None:
    still.run(still.pool.set_callback(MCHID, MCHID, "http://127.0.0.1:1/", NOW))
    opened(still, link(still, Claim(stock_of(still, "A1"), "n1"), "oWithEvent"))
    events = still.run(still.pool.take_due_events(NOW, 1000))
    channels = [event.coupon.send_channel for event in events if event.coupon.openid == "oWithEvent"]
    assert channels == ["BUSICOUPON_SEND_CHANNEL_H5"]


def test_a_merchants_own_code_is_claimed_with_its_signs(still: InProcess) -> None:
    stock_id = stock_of(still, mode="MERCHANT_API")
    reply = opened(still, link(still, Claim(stock_id, "n1", "AB/C =|1")))
    assert "券 AB/C =|1" in text(reply)


@pytest.mark.parametrize(
    "changed",
    [
        {"open_id": "oAnother"},
        {"stock_id": "98065002"},
        {"out_request_no": "n2"},
        {"coupon_code": "A1"},
        {"customize_send_time": "2026-11-24T08:00:00+08:00"},
        {"sign": "0" * 64},
        {"sign": "券"},
        {"sign": "x"},
        {"send_coupon_merchant": OTHER_MCHID},
        {"send_coupon_merchant": "1999999999"},
    ],
)
def test_a_link_that_was_changed_after_signing_gives_nothing(still: InProcess, changed: dict[str, str]) -> None:
    stock_id = stock_of(still, "A1")
    fields = dict(parse_qsl(link(still, Claim(stock_id, "n1"))[1:]))
    reply = opened(still, "?" + urlencode({**fields, **changed}))
    assert reply.status_code == 403
    assert "签名错误" in text(reply)
    assert "272758293" in text(reply)
    counts = still.run(still.pool.show_stock(MCHID, stock_id, NOW)).coupon_code_count
    assert counts is not None
    assert counts.available_count == 1


def test_the_sign_of_another_key_gives_nothing(still: InProcess) -> None:
    wrong = Claims(MCHID, key_of(still, OTHER_MCHID)).h5_url(Claim(stock_of(still, "A1"), "n1"), "oUser")
    assert opened(still, "?" + urlsplit(wrong).query).status_code == 403


def test_another_merchants_stock_looks_like_none(still: InProcess) -> None:
    stock_id = stock_of(still, "A1")
    foreign = opened(still, link(still, Claim(stock_id, "n1"), mchid=OTHER_MCHID))
    absent = opened(still, link(still, Claim("98065009", "n1"), mchid=OTHER_MCHID))
    assert foreign.status_code == absent.status_code == 404
    assert text(foreign).replace(stock_id, "98065009") == text(absent)


@pytest.mark.parametrize("missing", ["stock_id", "out_request_no", "sign", "send_coupon_merchant", "open_id"])
def test_a_link_that_lacks_a_parameter_is_refused(still: InProcess, missing: str) -> None:
    fields = dict(parse_qsl(signed(still)[1:]))
    del fields[missing]
    reply = opened(still, "?" + urlencode(fields))
    assert reply.status_code == 400
    assert "268435461" in text(reply)


@pytest.mark.parametrize(
    "more", ["&open_id=oAnother", "&open_id=oUser", "&unknown=1", "&open%5Fid=oUser", "&coupon_code=", "&x", "&a=%FF"]
)
def test_a_parameter_that_is_repeated_unknown_or_empty_is_refused(still: InProcess, more: str) -> None:
    reply = opened(still, link(still, Claim(stock_of(still, "A1"), "n1")) + more)
    assert reply.status_code == 400
    assert "参数错误" in text(reply)


@pytest.mark.parametrize("query", ["", "?", "?x", "?" + "a" * 5000, "?open_id=" + "a" * 200])
def test_a_link_that_is_none_is_refused(still: InProcess, query: str) -> None:
    assert opened(still, query).status_code == 400


def test_a_parameter_that_is_too_long_is_refused(still: InProcess) -> None:
    assert opened(still, signed(still, open_id="o" * 129)).status_code == 400
    assert opened(still, signed(still, open_id="o" * 128)).status_code == 404


def test_a_stock_with_nothing_left_says_so(still: InProcess) -> None:
    reply = opened(still, link(still, Claim(stock_of(still), "n1")))
    assert reply.status_code == 403
    assert "领取失败" in text(reply)


NASTY = "<script>alert(1)</script>\"'&"


@pytest.mark.parametrize("field", ["stock_id", "out_request_no", "open_id", "coupon_code", "customize_send_time"])
def test_nothing_that_was_sent_becomes_a_tag(still: InProcess, field: str) -> None:
    reply = opened(still, signed(still, **{field: NASTY}))
    assert reply.status_code in (400, 403, 404)
    assert "<script" not in text(reply)


def test_nothing_that_was_stored_becomes_a_tag() -> None:
    page = claimpage._page(200, NASTY, NASTY).html.decode()
    escaped = "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;"
    assert page.count(escaped) == 3
    assert "<script" not in page


@pytest.mark.parametrize("query", ["", "?x"])
def test_every_page_forbids_scripts_and_is_not_kept(still: InProcess, query: str) -> None:
    headers = dict(opened(still, query).headers)
    assert headers["Content-Security-Policy"] == "default-src 'none'"
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"


class Broken:
    """A pool whose disk is full."""

    async def send_coupon(self, *args: Any) -> Any:
        raise StoreUnavailable("the disk is full")


def test_a_store_that_can_not_be_written_is_a_page_that_says_later(still: InProcess) -> None:
    pool: CodePool = Broken()  # type: ignore[assignment]  # All that the page asks for.
    query = signed(still)[1:].encode()
    page = still.run(claimpage.claim(pool, still.keyroom, query, NOW))
    assert page.status == 503
    assert "请稍后再试" in page.html.decode()
