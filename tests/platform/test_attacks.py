"""Requests from someone who means harm: forged, late, bent or foreign. None takes effect."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from quanma.platform.app import App
from quanma.platform.handlers import HANDLERS
from tests.contract.driver import NOW
from tests.platform.caller import BUSIFAVOR, Caller, Headers, couponcodes, upload_body
from tests.platform.conftest import stock_of
from tests.platform.test_app import counts, put
from tests.support.every import every_row
from tests.support.platform import APPID, MCHID, OTHER_MCHID, InProcess, call_app

BODY = upload_body(["A1"])


# One answer for every cause


def forgeries(caller: Caller, other: Caller, target: str) -> dict[str, Headers]:
    """One and the same request, wrongly authorized in every way. What it would do if believed: store A1."""

    def signed(**fields: Any) -> Headers:
        return caller.headers("POST", target, BODY, **fields)

    value = signed()[0][1]
    scheme, _, fields = value.partition(" ")
    raw = base64.b64decode(value.rpartition('signature="')[2][:-1])
    loose = base64.b64encode(raw).decode()[:-3] + chr(ord(base64.b64encode(raw).decode()[-3]) + 1) + "=="
    nonce = "n" * 31 + "N"
    return {
        "no header": [],
        "an empty header": [("Authorization", "")],
        "two headers": signed() + signed(),
        "twice the same header": [("Authorization", value)] * 2,
        "another scheme": [("Authorization", f"WECHATPAY2-SM2-WITH-SM3 {fields}")],
        "no scheme": [("Authorization", fields)],
        "the scheme in small letters": [("Authorization", f"{scheme.lower()} {fields}")],
        "a field missing": [("Authorization", value.replace('timestamp="', 'time="'))],
        "a field twice": [("Authorization", f'{value},nonce_str="{nonce}"')],
        "another field": [("Authorization", f'{value},extra="1"')],
        "a trailing comma": [("Authorization", value + ",")],
        "text behind": [("Authorization", value + " x")],
        "no quotes": [("Authorization", value.replace('"', ""))],
        "single quotes": [("Authorization", value.replace('"', "'"))],
        "an unknown merchant": signed(mchid="1900009999"),
        "another merchant": signed(mchid=OTHER_MCHID),
        "an unknown serial": signed(serial_no="5157F09EFDC096DE15EBE81A47057A7232F1B8E1"),
        "the serial as a word": signed(serial_no=f"0x{caller.merchant.serial_no}"),
        "another merchant's serial": signed(serial_no=other.merchant.serial_no),
        "another merchant's key": [
            (
                "Authorization",
                other.authorization("POST", target, BODY, mchid=MCHID, serial_no=caller.merchant.serial_no),
            )
        ],
        "too old": signed(now=NOW - 301),
        "too new": signed(now=NOW + 301),
        "a time with a fraction": signed(timestamp=f"{NOW}.0"),
        "a time with a sign": signed(timestamp=f"+{NOW}"),
        "a time of nine digits": signed(timestamp=str(NOW)[:9]),
        "a time of eleven digits": signed(timestamp=f"0{NOW}"),
        "a time in other digits": signed(timestamp=str(NOW).replace("1", "¹")),
        "no nonce": signed(nonce_str=""),
        "a long nonce": signed(nonce_str="n" * 129),
        "a nonce with a blank": signed(nonce_str="n" * 31 + " "),
        "a nonce with a line end": signed(nonce_str="n" * 20 + "\n"),
        "an empty signature": signed(signature=""),
        "no base64": signed(signature="!" * 344),
        "base64 with a line end": signed(signature=base64.encodebytes(raw).decode().strip()),
        "base64 for addresses": signed(signature=base64.urlsafe_b64encode(raw[:-1] + b"\xff").decode()),
        "base64 in another form": signed(signature=loose),
        "base64 without padding": signed(signature=base64.b64encode(raw).decode().rstrip("=")),
        "a short signature": signed(signature=base64.b64encode(raw[:-1]).decode()),
        "a long signature": signed(signature=base64.b64encode(b"\0" + raw).decode()),
        "zeros": signed(signature=base64.b64encode(bytes(256)).decode()),
        "a probe": signed(signature="WECHATPAY/SIGNTEST/" + "A" * 325),
        "another method's": caller.headers("PUT", target, BODY),
        "another target's": caller.headers("POST", target + "/A1", BODY),
        "another body's": caller.headers("POST", target, BODY + b" "),
        "no body's": caller.headers("POST", target, b""),
    }


@pytest.fixture(scope="module")
def target(still: InProcess) -> str:
    return couponcodes(stock_of(still))


def test_every_forgery_is_answered_alike_and_changes_nothing(
    still: InProcess, caller: Caller, other: Caller, target: str
) -> None:
    bodies = set()
    for cause, headers in forgeries(caller, other, target).items():
        reply = still.ask("POST", target, headers, BODY)
        assert reply.status_code == 401, cause
        assert caller.check(reply)["code"] == "SIGN_ERROR"
        assert {name for name, _ in reply.headers}.isdisjoint({"WWW-Authenticate", "Retry-After"})
        bodies.add(reply.body)
    assert len(bodies) == 1
    information = json.loads(bodies.pop())["detail"]["sign_information"]
    assert information["method"] == "POST"
    assert information["url"] == target
    assert set(information) == {"method", "url", "sign_message_length", "truncated_sign_message"}
    assert put(still, caller, "GET", target)[1]["data"] == []


def test_the_refused_request_itself_would_have_been_taken(still: InProcess, caller: Caller) -> None:
    fresh = couponcodes(stock_of(still))
    assert put(still, caller, "POST", fresh, BODY)[1]["success_codes"] == ["A1"]


@every_row(
    ("cause", "reason"),
    [
        ("no header", "has 0 Authorization headers"),
        ("two headers", "has 2 Authorization headers"),
        ("a field twice", "nonce_str twice"),
        ("an unknown merchant", "'1900009999' is not known"),
        ("an unknown serial", "no certificate with serial '5157F09EFDC096DE15EBE81A47057A7232F1B8E1'; it has "),
        ("too old", "301 s behind"),
        ("too new", "301 s ahead"),
        ("no nonce", "1 to 128"),
        ("no base64", "not Base64"),
        ("base64 in another form", "canonical"),
        ("a probe", "WECHATPAY/SIGNTEST/"),
        ("another body's", "body was changed"),
    ],
)
def test_a_sandbox_says_which_check_failed(
    explaining: InProcess, caller: Caller, other: Caller, target: str, cause: str, reason: str
) -> None:
    reply = explaining.ask("POST", target, forgeries(caller, other, target)[cause], BODY)
    assert reply.status_code == 401
    assert reason in caller.check(reply)["message"]


@every_row(("seconds", "status"), [(-301, 401), (-300, 200), (0, 200), (300, 200), (301, 401)])
def test_a_request_is_taken_up_to_300_seconds_from_our_clock(
    still: InProcess, caller: Caller, seconds: int, status: int
) -> None:
    headers = caller.headers("GET", "/v3/certificates", now=NOW + seconds)
    assert still.ask("GET", "/v3/certificates", headers).status_code == status


def test_the_window_is_that_of_the_clock_given(still: InProcess, caller: Caller) -> None:
    late = App(HANDLERS, still.pool, still.keystore, clock=lambda: NOW + 300.99)
    too_late = App(HANDLERS, still.pool, still.keystore, clock=lambda: NOW + 301.0)
    headers = caller.headers("GET", "/v3/certificates")
    assert still.run(call_app(late, "GET", "/v3/certificates", headers, b"")).status_code == 200
    assert still.run(call_app(too_late, "GET", "/v3/certificates", headers, b"")).status_code == 401


@every_row("nonce", ["n", "0" * 32, "aZ09-aZ09,aZ09=", "~" * 128])
def test_every_nonce_of_the_one_form_is_taken(still: InProcess, caller: Caller, nonce: str) -> None:
    headers = caller.headers("GET", "/v3/certificates", nonce_str=nonce)
    assert still.ask("GET", "/v3/certificates", headers).status_code == 200


# Changed bits


def serial_in(authorization: str) -> str:
    return authorization.partition('serial_no="')[2].partition('"')[0] or "none"


def flips(text: str, chance: random.Random) -> Iterator[str]:
    """The text with one bit changed, for each character one."""
    for place, character in enumerate(text):
        yield text[:place] + chr(ord(character) ^ 1 << chance.randrange(7)) + text[place + 1 :]


@pytest.mark.slow
def test_a_changed_bit_anywhere_is_refused_and_nothing_is_executed(still: InProcess, caller: Caller) -> None:
    chance = random.Random(3)
    stock_id = stock_of(still)
    target = couponcodes(stock_id)
    value, serial = caller.authorization("POST", target, BODY), caller.merchant.serial_no
    tampered = [
        *((method, target, value, BODY) for method in flips("POST", chance)),
        *(("POST", changed, value, BODY) for changed in flips(target, chance)),
        *(("POST", target, value, changed.encode()) for changed in flips(BODY.decode(), chance)),
        *(("POST", target, changed, BODY) for changed in flips(value, chance)),
        *(("POST", target + more, value, BODY) for more in ("?", "#", "/", "%20", "?x=1", " ")),
        *(("POST", target, value, body) for body in (BODY + b"\n", BODY[:-1], b" " + BODY, b"")),
    ]
    assert len(tampered) > 600
    for method, where, authorization, body in tampered:
        # A target has no fragment: the connection refuses it, see test_framing.
        if where.endswith("#"):
            continue
        # Letters of the serial in another case: it is not signed, and counts as a number.
        written = serial_in(authorization)
        if written != serial and written.upper() == serial and authorization.replace(written, serial) == value:
            continue
        reply = still.ask(method, where, [("Authorization", authorization)], body)
        assert reply.status_code == 401, (method, where, authorization, body)
    assert counts(still, stock_id) == (0, 0)


def test_a_header_that_is_not_signed_changes_nothing(still: InProcess, caller: Caller) -> None:
    fresh = couponcodes(stock_of(still))
    headers = [
        *caller.headers("POST", fresh, BODY),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Original-URL", "/healthz"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("Content-Type", "text/plain"),
        ("Content-Encoding", "gzip"),
    ]
    reply = still.ask("POST", fresh, headers, BODY)
    assert (reply.status_code, caller.check(reply)["success_codes"]) == (200, ["A1"])


def test_every_cause_takes_the_same_work_so_the_time_tells_none(
    still: InProcess, caller: Caller, other: Caller, target: str
) -> None:
    """A1, counted: one verification and one signature, which take most of the time, and as many calls around them.

    For the causes that tell something which the caller doesn't know anyway.
    """
    made = forgeries(caller, other, target)
    causes = ["an unknown merchant", "an unknown serial", "another merchant", "another body's", "too old"]
    works = {cause: calls_of(still.app, target, made[cause]) for cause in causes}
    for cause, calls in works.items():
        assert (calls["RSAPublicKey.verify"], calls["RSAPrivateKey.sign"]) == (1, 1), cause
    totals = {cause: calls.total() for cause, calls in works.items()}
    assert max(totals.values()) <= 1.1 * min(totals.values()), totals


def calls_of(app: App, target: str, headers: Headers) -> Counter[str]:
    """How often each function is called until the request is answered with 401."""
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, called: Any) -> None:
        if event == "call":
            calls[frame.f_code.co_qualname] += 1
        elif event == "c_call":
            calls[called.__qualname__] += 1

    async def answered(counter: Callable[[FrameType, str, Any], None] | None) -> int:
        sys.setprofile(counter)
        try:
            return (await call_app(app, "POST", target, headers, BODY)).status_code
        finally:
            sys.setprofile(None)

    assert asyncio.run(answered(None)) == 401  # What is done only once is done.
    assert asyncio.run(answered(count)) == 401
    return calls


# Another merchant


def test_a_foreign_stock_is_answered_as_an_absent_one_byte_for_byte(
    still: InProcess, caller: Caller, other: Caller
) -> None:
    foreign, absent = stock_of(still, OTHER_MCHID), "1234567890123456"
    put(still, other, "POST", couponcodes(foreign), upload_body(["A1"], "u1"))
    send = {"stock_id": foreign, "openid": "oOthersUser", "appid": APPID, "out_request_no": "s1"}
    status, _ = put(still, other, "POST", f"{BUSIFAVOR}/coupons/send", json.dumps(send).encode())
    assert status == 200
    use = {"stock_id": foreign, "coupon_code": "A1", "appid": APPID, "use_request_no": "k1"}
    use["use_time"] = "2026-09-21T22:13:20+08:00"
    requests: list[tuple[str, str, bytes]] = [
        ("GET", f"{BUSIFAVOR}/stocks/{foreign}", b""),
        ("POST", couponcodes(foreign), upload_body(["A1"], "u1")),
        ("POST", couponcodes(foreign), upload_body(["A1"], "u2")),
        ("GET", couponcodes(foreign), b""),
        ("GET", couponcodes(foreign) + "/A1", b""),
        ("DELETE", couponcodes(foreign) + "/A1?delete_request_no=d1", b""),
        ("POST", f"{BUSIFAVOR}/coupons/send", json.dumps(send).encode()),
        ("POST", f"{BUSIFAVOR}/coupons/use", json.dumps(use).encode()),
    ]
    for method, where, body in requests:
        answers = []
        for stock_id in (foreign, absent):
            at, sent = where.replace(foreign, stock_id), body.replace(foreign.encode(), stock_id.encode())
            reply = still.ask(method, at, caller.headers(method, at, sent), sent)
            caller.check(reply)
            headers = {name for name, _ in reply.headers}
            answers.append((reply.status_code, reply.body.replace(stock_id.encode(), b"ID"), headers))
        assert answers[0] == answers[1]
        assert answers[0][0] == 404
    mine = f"{BUSIFAVOR}/users/oOthersUser/coupons/A1/appids/{APPID}"
    nobody = f"{BUSIFAVOR}/users/oNobody/coupons/A1/appids/{APPID}"
    assert put(still, caller, "GET", mine) == put(still, caller, "GET", nobody)
    assert counts(still, foreign, OTHER_MCHID) == (1, 0)
