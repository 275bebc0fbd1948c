"""How a user claims a coupon: each channel's parameters, and that they are signed as they are sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from quanma.client.claims import Claim, Claims
from quanma.errors import Misconfigured, RequestInvalid
from quanma.wire import v2sign
from tests.support.every import every_row

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "wire" / "vectors.json").read_text("utf-8"))
COMPUTED = VECTORS["v2_key_coupon_claim_computed"]
KEY = "192006250b4c09247ec02edce69f6a2d"
CLAIMS = Claims("10016226", KEY)
FULL = Claim("98065001", "R-1|x*_", "AB C/1", "2026-11-24T08:00:00+08:00")


def test_the_h5_vector_is_the_pages_address() -> None:
    url = Claims("123456789", KEY).h5_url(Claim("1234567890000000", "201911280000"), "oiSFDIOoijdsf")
    parts = urlsplit(url)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == "https://action.weixin.qq.com/busifavor/getcouponinfo"
    assert parts.fragment == "wechat_pay&wechat_redirect"
    vector = COMPUTED["h5_getcouponinfo"]
    assert dict(parse_qsl(parts.query)) == {**vector["params"], "sign": vector["sign"]}


def test_the_plug_in_vector_is_the_plug_ins_data() -> None:
    vector = COMPUTED["mini_program_plugin_two_coupons"]
    assert CLAIMS.mini_program([Claim("123", "R123"), Claim("456", "R456")]) == {
        "send_coupon_params": [
            {"stock_id": "123", "out_request_no": "R123"},
            {"stock_id": "456", "out_request_no": "R456"},
        ],
        "send_coupon_merchant": "10016226",
        "sign": vector["sign"],
    }


def test_the_h5_page_reads_what_was_signed() -> None:
    sent = dict(parse_qsl(urlsplit(CLAIMS.h5_url(FULL, "o User")).query, strict_parsing=True))
    assert v2sign.holds(KEY, sent)
    del sent["sign"]
    assert sent == {
        "stock_id": "98065001",
        "out_request_no": "R-1|x*_",
        "coupon_code": "AB C/1",
        "customize_send_time": "2026-11-24T08:00:00+08:00",
        "send_coupon_merchant": "10016226",
        "open_id": "o User",
    }


def test_the_plug_in_signs_each_coupon_under_its_number() -> None:
    sent = CLAIMS.mini_program([FULL, Claim("456", "R456")])
    numbered = {
        f"{name}{number}": value for number, one in enumerate(sent["send_coupon_params"]) for name, value in one.items()
    }
    assert len(numbered) == 6
    assert v2sign.holds(KEY, {**numbered, "send_coupon_merchant": sent["send_coupon_merchant"], "sign": sent["sign"]})


def test_jsapi_signs_numbered_names_and_sends_plain_ones() -> None:
    cards = CLAIMS.jsapi([FULL, Claim("456", "R456")], "oUser")
    assert [card["cardId"] for card in cards] == ["98065001", "456"]
    first, second = (json.loads(card["cardExt"]) for card in cards)
    assert first["sign"] == second["sign"]
    assert second == {
        "stock_id": "456",
        "out_request_no": "R456",
        "send_coupon_merchant": "10016226",
        "open_id": "oUser",
        "sign": second["sign"],
    }
    signed = {f"{name}0": first[name] for name in Claim._fields} | {"stock_id1": "456", "out_request_no1": "R456"}
    shared = {"send_coupon_merchant": "10016226", "open_id": "oUser", "sign": first["sign"]}
    assert v2sign.holds(KEY, signed | shared)


def test_a_code_with_any_sign_stays_readable_in_the_card() -> None:
    (card,) = CLAIMS.jsapi([Claim("1", "n", '"券\\')], "oUser")
    assert json.loads(card["cardExt"])["coupon_code"] == '"券\\'


@every_row("count", [0, 11])
def test_the_plug_in_and_jsapi_take_one_to_ten_coupons(count: int) -> None:
    claims = [Claim("1", f"n{number}") for number in range(count)]
    with pytest.raises(RequestInvalid, match=f"{count} coupons in one claim: 1 to 10 are allowed"):
        CLAIMS.mini_program(claims)
    with pytest.raises(RequestInvalid, match=f"{count} coupons in one claim: 1 to 10 are allowed"):
        CLAIMS.jsapi(claims, "oUser")


def test_ten_coupons_are_one_claim() -> None:
    sent = CLAIMS.mini_program([Claim("1", f"n{number}") for number in range(10)])
    assert len(sent["send_coupon_params"]) == 10


@every_row(
    ("key", "reason"),
    [(None, "claims are signed with apiv2_key, and the settings have none"), ("k" * 31, "apiv2_key has 31 characters")],
)
def test_a_missing_or_wrong_key_is_named(key: str | None, reason: str) -> None:
    claims = Claims("10016226", key)
    with pytest.raises(Misconfigured, match=reason):
        claims.h5_url(Claim("1", "n"), "oUser")
    with pytest.raises(Misconfigured, match=reason):
        claims.mini_program([Claim("1", "n")])
    with pytest.raises(Misconfigured, match=reason):
        claims.jsapi([Claim("1", "n")], "oUser")


WRONG = {
    "stock_id": ["", "1" * 21, "1&stock_id=2"],
    "out_request_no": ["", "n" * 129, "a b", "券", "n/1", "n=1", "R1&out_request_no=R2"],
    "coupon_code": ["c" * 33, "A&B", "A\0"],
    "customize_send_time": ["yesterday", "2026-11-24", "2026-11-24T08:00:00+08:00&a=b"],
}


@every_row(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_field_that_the_api_would_refuse_is_not_signed(field: str, value: str) -> None:
    claim = Claim("98065001", "n1")._replace(**{field: value})
    for make in (
        lambda: CLAIMS.h5_url(claim, "oUser"),
        lambda: CLAIMS.mini_program([Claim("456", "R456"), claim]),
        lambda: CLAIMS.jsapi([Claim("456", "R456"), claim], "oUser"),
    ):
        with pytest.raises(RequestInvalid, match=field):
            make()


@every_row("open_id", ["", "o" * 129, "oUser&out_request_no=R1", "o\0"])
def test_a_user_that_the_api_would_refuse_is_not_signed(open_id: str) -> None:
    for make in (
        lambda: CLAIMS.h5_url(Claim("98065001", "n1"), open_id),
        lambda: CLAIMS.jsapi([Claim("98065001", "n1")], open_id),
    ):
        with pytest.raises(RequestInvalid, match="open_id"):
            make()


def test_a_merchants_own_number_with_an_and_sign_is_not_signed() -> None:
    with pytest.raises(RequestInvalid, match="send_coupon_merchant"):
        Claims("10016226&a=b", KEY).h5_url(Claim("98065001", "n1"), "oUser")
