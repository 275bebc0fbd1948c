"""The page where a user claims a coupon: a signed link gives it once, and nothing else does."""

from __future__ import annotations

import itertools
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
import pytest

from quanma.api.couponcodes import UploadCodes
from quanma.api.coupons import Send
from quanma.client import config
from quanma.client.claims import Claim, Claims
from quanma.client.transport import Reply
from quanma.errors import ParamError, RateLimited, StoreUnavailable
from quanma.platform import claimpage
from quanma.platform.limits import RateLimit
from quanma.platform.pool.contract import CodePool
from quanma.serving.messages import Request
from quanma.wire import codec, v2sign
from tests.contract.driver import NOW, USE_RULE
from tests.platform.caller import Caller
from tests.support.every import every_row
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


@every_row(
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


@every_row("missing", ["stock_id", "out_request_no", "sign", "send_coupon_merchant", "open_id"])
def test_a_link_that_lacks_a_parameter_is_refused(still: InProcess, missing: str) -> None:
    fields = dict(parse_qsl(signed(still)[1:]))
    del fields[missing]
    reply = opened(still, "?" + urlencode(fields))
    assert reply.status_code == 400
    assert "268435461" in text(reply)


@every_row(
    "more", ["&open_id=oAnother", "&open_id=oUser", "&unknown=1", "&open%5Fid=oUser", "&coupon_code=", "&x", "&a=%FF"]
)
def test_a_parameter_that_is_repeated_unknown_or_empty_is_refused(still: InProcess, more: str) -> None:
    reply = opened(still, link(still, Claim(stock_of(still, "A1"), "n1")) + more)
    assert reply.status_code == 400
    assert "参数错误" in text(reply)


@every_row("query", ["", "?", "?x", "?" + "a" * 5000, "?open_id=" + "a" * 200])
def test_a_link_that_is_none_is_refused(still: InProcess, query: str) -> None:
    assert opened(still, query).status_code == 400


def test_a_parameter_that_is_too_long_is_refused(still: InProcess) -> None:
    assert opened(still, signed(still, open_id="o" * 129)).status_code == 400
    assert opened(still, signed(still, open_id="o" * 128)).status_code == 404


@every_row(
    ("field", "value"),
    [
        ("stock_id", "9" * 20),
        ("stock_id", "9" * 21),
        ("out_request_no", "n" * 128),
        ("out_request_no", "n" * 129),
        ("out_request_no", "Az09|_*-"),
        ("out_request_no", "n/1"),
        ("out_request_no", "n 1"),
        ("out_request_no", "n1\n"),
        ("out_request_no", "号1"),
        ("open_id", "o" * 128),
        ("open_id", "o" * 129),
        ("coupon_code", "C" * 32),
        ("coupon_code", "C" * 33),
        ("coupon_code", "A/B =|"),
    ],
)
def test_a_link_is_read_as_the_call_that_sends_a_coupon_is(still: InProcess, field: str, value: str) -> None:
    sending = {"stock_id": "1", "out_request_no": "n1", "openid": "oUser", "appid": claimpage.H5_APPID}
    body = msgspec.json.encode(sending | {"openid" if field == "open_id" else field: value})
    try:
        codec.decode_request(Send.post, {}, b"", body, "application/json")
    except ParamError:
        taken = 400
    else:
        taken = 404  # There is no such stock.
    assert opened(still, signed(still, **{field: value})).status_code == taken


def test_a_stock_with_nothing_left_says_so(still: InProcess) -> None:
    reply = opened(still, link(still, Claim(stock_of(still), "n1")))
    assert reply.status_code == 403
    assert "领取失败" in text(reply)


NASTY = "<script>alert(1)</script>\"'&"


@every_row("field", ["stock_id", "out_request_no", "open_id", "coupon_code", "customize_send_time"])
def test_nothing_that_was_sent_becomes_a_tag(still: InProcess, field: str) -> None:
    reply = opened(still, signed(still, **{field: NASTY}))
    assert reply.status_code in (400, 403, 404)
    assert "<script" not in text(reply)


def test_nothing_that_was_stored_becomes_a_tag() -> None:
    page = claimpage.page(200, NASTY, NASTY).html.decode()
    escaped = "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;"
    assert page.count(escaped) == 3
    assert "<script" not in page


@every_row("query", ["", "?x"])
def test_every_page_forbids_scripts_and_is_not_kept(still: InProcess, query: str) -> None:
    headers = dict(opened(still, query).headers)
    policy = headers["Content-Security-Policy"].split("; ")
    assert policy == ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"]
    assert headers["Referrer-Policy"] == "no-referrer"
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
    page = still.run(claimpage.claim(pool, still.keystore, query, NOW))
    assert page.status == 503
    assert "请稍后再试" in page.html.decode()


WRONG = {
    "stock_id": ["1" * 21, "1&2"],
    "out_request_no": ["n" * 129, "a b", "券", "n/1", "R1&out_request_no=R2"],
    "open_id": ["o" * 129, "oUser&out_request_no=R1"],
    "coupon_code": ["c" * 33, "A&B"],
    "customize_send_time": ["yesterday", "2026-11-24"],
    "send_coupon_merchant": ["1", "1" * 16, MCHID + "&"],
}


@every_row(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_signed_field_that_the_api_would_refuse_is_refused(still: InProcess, field: str, value: str) -> None:
    reply = opened(still, signed(still, **{field: value}))
    assert reply.status_code == 400
    assert "参数错误" in text(reply)


def test_one_signature_never_holds_for_two_claims(still: InProcess) -> None:
    """The signed text of a number that holds an "&" is that of another user with another number."""
    stock_id = stock_of(still, "A1", "B2")
    one = signed(still, stock_id=stock_id, out_request_no="R1&out_request_no=R2", open_id="oUser")
    other = dict(parse_qsl(one[1:])) | {"open_id": "oUser&out_request_no=R1", "out_request_no": "R2"}
    assert [opened(still, query).status_code for query in (one, "?" + urlencode(other))] == [400, 400]
    counts = still.run(still.pool.show_stock(MCHID, stock_id, NOW)).coupon_code_count
    assert counts is not None
    assert counts.available_count == 2


def test_the_same_work_is_done_for_a_merchant_that_is_known_and_one_that_is_not(
    still: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    holds = v2sign.holds

    def counting(key: str, parameters: Any) -> bool:
        asked.append(len(key))
        return holds(key, parameters)

    monkeypatch.setattr(v2sign, "holds", counting)
    for mchid in (MCHID, OTHER_MCHID, "1999999999"):
        fields = dict(parse_qsl(signed(still)[1:])) | {"send_coupon_merchant": mchid, "sign": "0" * 64}
        assert opened(still, "?" + urlencode(fields)).status_code == 403
    assert asked == [32, 32, 32]


def test_claims_count_for_the_merchant_that_issues_once_it_is_known_to_have_signed(still: InProcess) -> None:
    limit = RateLimit(1.0)
    query = link(still, Claim(stock_of(still, "A1"), "n1"))[1:].encode()
    forged = query.replace(b"sign=", b"sign=0")

    def claimed(asked: bytes) -> claimpage.Page:
        return still.run(claimpage.claim(still.pool, still.keystore, asked, NOW, limit))

    assert [claimed(asked).status for asked in (forged, forged, query)] == [403, 403, 200]
    refused = claimed(query)
    assert refused.status == 429
    assert refused.headers == "Retry-After: 1\r\n"
    assert "请稍后再试" in refused.html.decode()
    assert claimed(forged).status == 403
    with pytest.raises(RateLimited):
        limit.check(MCHID, NOW)
    limit.check(OTHER_MCHID, NOW)


def test_a_claim_takes_a_place_of_the_merchant_that_it_names(still: InProcess, caller: Caller) -> None:
    def share(path: str, query: str = "", *authorization: str) -> str:
        headers = [(b"authorization", one.encode()) for one in authorization]
        return still.app.share(Request("GET", f"{path}?{query}".encode(), headers))

    assert share(PAGE, signed(still)[1:]) == MCHID
    assert share(PAGE, signed(still, send_coupon_merchant="1999999999")[1:]) == ""
    assert share(PAGE, "x") == ""
    mine = caller.authorization("GET", "/x")
    assert share("/x", "", mine) == MCHID
    assert share("/x", "", mine, mine) == ""
    assert share("/x", "", mine.replace(MCHID, "1999999999")) == ""
    assert share("/x", "", mine.replace(caller.merchant.serial_no, caller.merchant.serial_no.lower())) == MCHID
    assert share("/x", "", mine.replace(caller.merchant.serial_no, "7" * 40)) == ""
    assert share("/x") == ""
