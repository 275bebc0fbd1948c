"""The V2 rule of signing: the published vector, what is left out, and what does not hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quanma.errors import Misconfigured
from quanma.wire import v2sign
from tests.support.every import every_row

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text("utf-8"))
PUBLISHED = VECTORS["v2_key_sign"]
COMPUTED = VECTORS["v2_key_coupon_claim_computed"]
KEY = "192006250b4c09247ec02edce69f6a2d"
H5 = COMPUTED["h5_getcouponinfo"]


def test_the_published_parameters_have_the_published_signature() -> None:
    assert v2sign.string_to_sign(PUBLISHED["params"]) + f"&key={PUBLISHED['key']}" == PUBLISHED["string_to_sign"]
    assert v2sign.sign(PUBLISHED["key"], PUBLISHED["params"]) == PUBLISHED["HMAC-SHA256"]


@every_row("channel", ["h5_getcouponinfo", "mini_program_plugin_two_coupons"])
def test_a_claims_parameters_have_the_computed_signature(channel: str) -> None:
    vector = COMPUTED[channel]
    assert v2sign.string_to_sign(vector["params"]) + f"&key={KEY}" == vector["string_to_sign"]
    assert v2sign.sign(KEY, vector["params"]) == vector["sign"]
    assert v2sign.holds(KEY, {**vector["params"], "sign": vector["sign"]})


def test_names_are_sorted_as_ascii_with_capitals_first_and_10_before_2() -> None:
    assert v2sign.string_to_sign({"b2": "1", "a": "2", "Z": "3", "b10": "4"}) == "Z=3&a=2&b10=4&b2=1"


def test_values_are_signed_raw() -> None:
    assert v2sign.string_to_sign({"a": "券 /+%2F", "b": "x=y"}) == "a=券 /+%2F&b=x=y"


def test_what_is_empty_and_the_sign_itself_are_not_signed() -> None:
    assert v2sign.string_to_sign({"a": "1", "coupon_code": "", "sign": "ABC"}) == "a=1"


@every_row(
    "changed",
    [
        {"stock_id": "1234567890000001"},
        {"open_id": "another"},
        {"coupon_code": "A1"},
        {"sign": H5["sign"].lower()},
        {"sign": H5["sign"][:-1]},
        {"sign": ""},
        {"sign": "券" * 64},
        {"sign": "\u0001" + H5["sign"][1:]},
    ],
)
def test_a_changed_parameter_or_sign_does_not_hold(changed: dict[str, str]) -> None:
    assert not v2sign.holds(KEY, {**H5["params"], "sign": H5["sign"], **changed})


def test_a_missing_sign_does_not_hold() -> None:
    assert not v2sign.holds(KEY, H5["params"])


def test_another_key_does_not_hold() -> None:
    assert not v2sign.holds(KEY[::-1], {**H5["params"], "sign": H5["sign"]})


@every_row("key", ["", KEY[1:], KEY + "0"])
def test_a_key_of_another_length_is_named(key: str) -> None:
    with pytest.raises(Misconfigured, match=f"apiv2_key has {len(key)} characters, not 32; it is not the APIv3 key"):
        v2sign.sign(key, H5["params"])
