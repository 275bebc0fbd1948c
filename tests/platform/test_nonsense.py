"""Nonsense, well signed (F1): every operation answers with a documented error, signed, and never with a 500."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from quanma.wire.codec import IN_QUERY
from tests.platform.caller import BUSIFAVOR, Caller, couponcodes, upload_body
from tests.platform.conftest import fresh, stock_of
from tests.platform.test_app import put
from tests.support.answered import ANSWERED
from tests.support.every import every_row
from tests.support.platform import APPID, MCHID, InProcess

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
TIMES = ["2026-09-01T00:00:00+08:00", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2026-02-30T00:00:00Z"]
STATUSES = {200, 204, 400, 403, 404}


def valid(stock_id: str) -> dict[str, Any]:
    """Each operation's fields as they may be."""
    coupon = {"coupon_code": "A1", "stock_id": stock_id, "appid": APPID, "openid": "oAnna"}
    rule = {
        "coupon_available_time": {"available_begin_time": TIMES[0], "available_end_time": "2027-03-01T00:00:00+08:00"},
        "use_method": "OFF_LINE",
        "fixed_normal_coupon": {"discount_amount": 100, "transaction_minimum": 1000},
    }
    return {
        **coupon,
        "coupon_code_list": ["A1", "B2"],
        "upload_request_no": "u1",
        "delete_request_no": "d1",
        "out_request_no": "s1",
        "use_request_no": "k1",
        "use_time": TIMES[0],
        "stock_name": "券",
        "belong_merchant": MCHID,
        "goods_name": "商品",
        "stock_type": "NORMAL",
        "coupon_use_rule": rule,
        "stock_send_rule": {"max_coupons": 10, "max_coupons_per_user": 3},
        "coupon_code_mode": "MERCHANT_UPLOAD",
        "brand_id": "b1",
        "product_coupon_id": "p1",
    }


@st.composite
def bent(draw: st.DrawFn) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Replaces or removes a field or two of a valid request, at any depth."""
    values = draw(st.lists(JSON | st.sampled_from(TIMES), min_size=1, max_size=2))
    seeds = draw(st.lists(st.integers(0, 10**6), min_size=2, max_size=2))

    def bend(fields: dict[str, Any]) -> dict[str, Any]:
        fields = json.loads(json.dumps(fields))
        for seed, value in zip(seeds, json.loads(json.dumps(values)), strict=False):
            at: Any = fields
            chance = random.Random(seed)
            while True:
                key = chance.choice(sorted(at))
                if not (isinstance(at[key], dict) and at[key] and chance.random() < 0.7):
                    break
                at = at[key]
            if chance.random() < 0.2:
                del at[key]
            else:
                at[key] = value
            if not fields:
                break
        return fields

    return bend


def _well_answered(still: InProcess, caller: Caller, method: str, target: str, body: bytes) -> None:
    reply = still.ask(method, target, caller.headers(method, target, body), body)
    caller.check(reply)
    assert reply.status_code in STATUSES, (method, target, body, reply.body)


def _some_path(path: str, stock_id: str) -> str:
    for name, value in valid(stock_id).items():
        path = path.replace(f"{{{name}}}", str(value))
    return path


def _fuzz(still: InProcess, caller: Caller, bend: Callable[[dict[str, Any]], dict[str, Any]], raw: bytes) -> None:
    stock_id = stock_of(still)
    for operation in ANSWERED:
        if operation.multipart:
            continue  # Its signature covers a part of the body: nonsense has none. See test_multipart.
        target = _some_path(operation.path, stock_id)
        if operation.verb in IN_QUERY:
            text = raw.decode("latin-1").replace("?", "").replace("#", "")
            safe = "".join(letter for letter in text if "!" <= letter <= "~")
            _well_answered(still, caller, operation.verb, f"{target}?{safe}" if safe else target, b"")
            continue
        in_path = {name for name in valid(stock_id) if f"{{{name}}}" in operation.path}
        known = {name: value for name, value in valid(stock_id).items() if name not in in_path}
        wanted = {name: value for name, value in known.items() if name in operation.request.__struct_fields__}
        body = json.dumps(bend(wanted)).encode() if wanted else b"{}"
        _well_answered(still, caller, operation.verb, target, body)
        _well_answered(still, caller, operation.verb, target, raw)


FUZZ = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    database=None,
)


@settings(FUZZ, max_examples=15)
@given(bend=bent(), raw=st.binary(max_size=60))
@pytest.mark.slow
def test_nonsense_is_answered_with_a_documented_error(
    each: InProcess, caller: Caller, bend: Callable[[dict[str, Any]], dict[str, Any]], raw: bytes
) -> None:
    _fuzz(each, caller, bend, raw)


@pytest.mark.slow
@settings(FUZZ, max_examples=100)
@given(bend=bent(), raw=st.binary(max_size=300))
def test_nonsense_is_answered_with_a_documented_error_at_length(
    still: InProcess, caller: Caller, bend: Callable[[dict[str, Any]], dict[str, Any]], raw: bytes
) -> None:
    _fuzz(still, caller, bend, raw)


@pytest.mark.slow
@settings(FUZZ, max_examples=25)
@given(body=JSON)
@example(body={"coupon_code_list": ["A1"], "upload_request_no": "u1", "coupon_code": 10**40})
def test_any_json_is_answered_with_a_documented_error(each: InProcess, caller: Caller, body: Any) -> None:
    encoded = json.dumps(body).encode()
    for target in (couponcodes("98065001"), f"{BUSIFAVOR}/stocks", f"{BUSIFAVOR}/coupons/send"):
        _well_answered(each, caller, "POST", target, encoded)


@every_row("amount", [2**63, 2**64, -(2**63) - 1, 10**30, 10**300], ids=lambda amount: f"{amount:.0e}")
def test_a_huge_number_is_refused(each: InProcess, caller: Caller, amount: int) -> None:
    for field in ("max_coupons_by_day", "max_coupons", "max_coupons_per_user"):
        fields = valid("1")
        fields["out_request_no"] = f"huge{amount}{field}"[:128]
        fields["stock_send_rule"][field] = amount
        status, error = put(each, caller, "POST", f"{BUSIFAVOR}/stocks", json.dumps(fields).encode())
        assert (status, error["code"]) == (400, "PARAM_ERROR")


@pytest.mark.parametrize("seconds", [2**63, 10**300], ids=lambda seconds: f"{seconds:.0e}")
def test_a_number_without_a_limit_may_be_huge_and_breaks_nothing_later(
    each: InProcess, caller: Caller, seconds: int
) -> None:
    fields = valid("1")
    fields["out_request_no"] = fresh("long")
    openid = fresh("oAnna")
    fields["coupon_use_rule"]["coupon_available_time"]["available_second_after_receive"] = seconds
    fields["stock_send_rule"]["max_amount"] = seconds
    status, created = put(each, caller, "POST", f"{BUSIFAVOR}/stocks", json.dumps(fields).encode())
    assert status == 200
    stock_id = created["stock_id"]
    assert put(each, caller, "GET", f"{BUSIFAVOR}/stocks/{stock_id}")[0] == 200
    put(each, caller, "POST", couponcodes(stock_id), upload_body(["A1"]))
    send = {"stock_id": stock_id, "openid": openid, "appid": APPID, "out_request_no": "s1"}
    assert put(each, caller, "POST", f"{BUSIFAVOR}/coupons/send", json.dumps(send).encode())[0] == 200
    status, coupon = put(each, caller, "GET", f"{BUSIFAVOR}/users/{openid}/coupons/A1/appids/{APPID}")
    assert (status, coupon["expire_time"]) == (200, "2027-03-01T00:00:00+08:00")


def test_the_character_nul_is_refused_wherever_it_stands_but_in_a_list_of_codes(
    each: InProcess, caller: Caller
) -> None:
    stock_id = stock_of(each)
    nul = json.dumps("n\0").encode()
    send = b'{"stock_id":"%s","openid":"o","appid":"wx1","out_request_no":%s}' % (stock_id.encode(), nul)
    for method, target, body in (
        ("POST", f"{BUSIFAVOR}/coupons/send", send),
        ("GET", f"{couponcodes(stock_id)}/A%001", b""),
        ("GET", f"{BUSIFAVOR}/users/o%00/coupons?appid=wx1", b""),
        ("POST", couponcodes(stock_id), b'{"coupon_code_list":["A1"],"upload_request_no":%s}' % nul),
    ):
        status, error = put(each, caller, method, target, body)
        assert (status, error["code"]) == (400, "PARAM_ERROR"), target
    status, uploaded = put(each, caller, "POST", couponcodes(stock_id), upload_body(["A1", "A\0"]))
    assert (status, uploaded["success_codes"]) == (200, ["A1"])
    assert [failed["code"] for failed in uploaded["fail_codes"]] == ["CHARACTER_LIMIT"]


@every_row("offset", [2**31, 2**62, 2**63 - 1])
def test_a_page_may_begin_beyond_any_number(each: InProcess, caller: Caller, offset: int) -> None:
    stock_id = stock_of(each)
    put(each, caller, "POST", couponcodes(stock_id), upload_body(["A1"]))
    for target in (
        couponcodes(stock_id),
        f"{BUSIFAVOR}/users/oAnna/coupons",
        "/v3/quanma/events",
    ):
        more = "&appid=wx1" if "users" in target else ""
        assert put(each, caller, "GET", f"{target}?offset={offset}&limit=20{more}")[0] == 200
    for status in ("AVAILABLE", "DISPATCHED"):
        assert put(each, caller, "GET", f"{couponcodes(stock_id)}?offset={offset}&limit=20&status={status}")[0] == 200
