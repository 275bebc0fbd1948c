"""The application over raw bytes: routes, checks of the body, the form of every answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quanma.errors import StoreUnavailable
from quanma.wire import sealed
from tests.contract.driver import NOW
from tests.platform.caller import BUSIFAVOR, Caller, couponcodes, upload_body
from tests.platform.conftest import fresh, stock_of
from tests.support.every import every_row
from tests.support.platform import APPID, InProcess


def put(platform: InProcess, caller: Caller, method: str, target: str, body: bytes = b"") -> tuple[int, Any]:
    """One signed request: the status, and the answer's JSON."""
    reply = platform.ask(method, target, caller.headers(method, target, body), body)
    return reply.status_code, caller.check(reply)


def counts(platform: InProcess, stock_id: str, mchid: str = "1900000001") -> tuple[int, int]:
    count = platform.run(platform.pool.show_stock(mchid, stock_id, NOW)).coupon_code_count
    assert count is not None
    return count.total_count, count.available_count


def test_an_upload_is_answered_with_all_nine_fields(still: InProcess, caller: Caller) -> None:
    stock_id = stock_of(still)
    assert put(still, caller, "POST", couponcodes(stock_id), upload_body(["A1"])) == (
        200,
        {
            "stock_id": stock_id,
            "total_count": 1,
            "success_count": 1,
            "success_codes": ["A1"],
            "success_time": "2026-09-21T22:13:20+08:00",
            "fail_count": 0,
            "fail_codes": [],
            "exist_codes": [],
            "duplicate_codes": [],
        },
    )


def test_a_repeated_upload_is_answered_byte_for_byte(still: InProcess, caller: Caller) -> None:
    stock_id = stock_of(still)
    target, body = couponcodes(stock_id), upload_body(["A1", "x" * 40, "A1", "券"])
    first, again = (still.ask("POST", target, caller.headers("POST", target, body), body) for _ in range(2))
    assert again.body == first.body
    assert first.status_code == again.status_code == 200


@every_row(
    ("fields", "field"),
    [
        ({"coupon_code_list": ["A1"]}, "upload_request_no"),
        ({"coupon_code_list": ["A1"], "upload_request_no": ""}, "upload_request_no"),
        ({"coupon_code_list": ["A1"], "upload_request_no": "n" * 129}, "upload_request_no"),
        ({"upload_request_no": "u1"}, "coupon_code_list"),
        ({"coupon_code_list": [], "upload_request_no": "u1"}, "coupon_code_list"),
        ({"coupon_code_list": ["A1"] * 201, "upload_request_no": "u1"}, "coupon_code_list"),
        ({"coupon_code_list": None, "upload_request_no": "u1"}, "coupon_code_list"),
        ({"coupon_code_list": ["A1", 5], "upload_request_no": "u1"}, "coupon_code_list"),
        ({"coupon_code_list": "A1", "upload_request_no": "u1"}, "coupon_code_list"),
        ({"coupon_code_list": ["A1"], "upload_request_no": 5}, "upload_request_no"),
        ({"coupon_code_list": ["A1"], "upload_request_no": "u1", "stock_id": "98065001"}, "stock_id"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name_and_stores_nothing(
    still: InProcess, caller: Caller, fields: dict[str, Any], field: str
) -> None:
    stock_id = stock_of(still)
    status, error = put(still, caller, "POST", couponcodes(stock_id), json.dumps(fields).encode())
    assert (status, error["code"]) == (400, "PARAM_ERROR")
    assert field in json.dumps(error)
    assert counts(still, stock_id) == (0, 0)


def test_two_hundred_codes_are_taken(still: InProcess, caller: Caller) -> None:
    stock_id = stock_of(still)
    codes = [f"C{number}" for number in range(200)]
    status, answer = put(still, caller, "POST", couponcodes(stock_id), upload_body(codes, "n" * 128))
    assert (status, answer["success_codes"]) == (200, codes)


@every_row(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"coupon_code_list":["A1"],"upload_request_no":"u1"} x',
        b'{"coupon_code_list":["A1"],"coupon_code_list":["B2"],"upload_request_no":"u1"}',
        b'{"coupon_code_list":["A1"],"upload_request_no":"u1","x":{"y":1,"y":2}}',
        b'{"coupon_code_list":["\\ud800"],"upload_request_no":"u1"}',
        b'{"coupon_code_list":["A1"],"upload_request_no":"\\udfff"}',
        b'{"coupon_code_list":["\xff"],"upload_request_no":"u1"}',
        b'{"coupon_code_list":["A1"],"upload_request_no":"u1","x":' + b"9" * 5000 + b"}",
        b'{"coupon_code_list":["A1"],"upload_request_no":"u1","x":1e999}',
        b'{"coupon_code_list":["A1"],"upload_request_no":"u1","x":NaN}',
        b"[" * 100_000,
        b'{"x":' * 10_000 + b"1" + b"}" * 10_000,
        b'\xef\xbb\xbf{"coupon_code_list":["A1"],"upload_request_no":"u1"}',
        '{"coupon_code_list":["A1"],"upload_request_no":"u1"}'.encode("utf-16"),
    ],
)
def test_a_body_that_is_not_strict_json_is_refused(still: InProcess, caller: Caller, body: bytes) -> None:
    stock_id = stock_of(still)
    status, error = put(still, caller, "POST", couponcodes(stock_id), body)
    assert (status, error["code"]) == (400, "PARAM_ERROR")
    assert counts(still, stock_id) == (0, 0)


def test_an_unknown_field_is_no_error(still: InProcess, caller: Caller) -> None:
    body = b'{"coupon_code_list":["A1"],"upload_request_no":"u1","of_tomorrow":{"x":[1]}}'
    assert put(still, caller, "POST", couponcodes(stock_of(still)), body)[0] == 200


def test_a_body_of_a_mebibyte_is_read_and_one_byte_more_is_refused(still: InProcess, caller: Caller) -> None:
    target = couponcodes(stock_of(still))
    body = upload_body(["A1"])
    body = body[:-1] + b" " * (1024 * 1024 - len(body)) + body[-1:]
    assert put(still, caller, "POST", target, body)[0] == 200
    status, error = put(still, caller, "POST", target, body + b" ")
    assert (status, error["code"]) == (400, "PARAM_ERROR")
    assert "1048576" in error["message"]


@every_row(
    ("written", "code"),
    [
        ("A%2F1", "A/1"),
        ("A%2f1", "A/1"),
        ("A%5C1", "A\\1"),
        ("A\\1", "A\\1"),
        ("A%7C1", "A|1"),
        ("A|1", "A|1"),
        ("A%3D1", "A=1"),
        ("A=1", "A=1"),
        ("A%201", "A 1"),
        ("A+1", "A 1"),  # As Java's SDK writes a space.
        ("%20", " "),
        ("A%2F--%2FB", "A/--/B"),
    ],
)
def test_a_code_in_the_path_is_read_from_the_raw_path(
    still: InProcess, caller: Caller, written: str, code: str
) -> None:
    stock_id = stock_of(still)
    put(still, caller, "POST", couponcodes(stock_id), upload_body([code]))
    status, detail = put(still, caller, "GET", f"{couponcodes(stock_id)}/{written}")
    assert (status, detail["code_information"]["code"]) == (200, code)
    target = f"{couponcodes(stock_id)}/{written}?delete_request_no=d1"
    assert put(still, caller, "DELETE", target)[0] == 200
    assert counts(still, stock_id) == (0, 0)


@every_row("written", ["A%252F1", "A/1", "A%", "A%zz", "%FF", "%ED%A0%80", "%00", "A%0A"])
def test_a_path_that_is_no_code_is_refused(still: InProcess, caller: Caller, written: str) -> None:
    stock_id = stock_of(still)
    put(still, caller, "POST", couponcodes(stock_id), upload_body(["A/1"]))
    status, error = put(still, caller, "GET", f"{couponcodes(stock_id)}/{written}")
    assert (status, error["code"]) in [(400, "PARAM_ERROR"), (404, "RESOURCE_NOT_EXISTS")]


@every_row(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=1.5",
        "limit=",
        "limit=x",
        "offset=-1",
        "offset=9223372036854775808",
        "limit=1&limit=2",
        "status=GONE",
        "limit",
        "&&",
        "limit=%FF",
        "limit=%C3%28",
    ],
)
def test_a_query_that_can_t_be_read_is_refused(still: InProcess, caller: Caller, query: str) -> None:
    status, error = put(still, caller, "GET", f"{couponcodes(stock_of(still))}?{query}")
    assert (status, error["code"]) == (400, "PARAM_ERROR")


@every_row("query", ["limit=1&offset=9223372036854775807", "limit=1000&status=DISPATCHED"])
def test_a_query_at_its_limits_is_read(still: InProcess, caller: Caller, query: str) -> None:
    status, page = put(still, caller, "GET", f"{couponcodes(stock_of(still))}?{query}")
    assert (status, page["data"]) == (200, [])


@every_row(
    ("method", "target"),
    [
        ("PUT", couponcodes("98065001")),
        ("POST", "/v3/nowhere"),
        ("GET", "/"),
        ("GET", couponcodes("98065001") + "/"),
        ("GET", "//v3/certificates"),
        ("HEAD", "/v3/nowhere"),
        ("HEAD", f"{BUSIFAVOR}/coupons/send"),
    ],
)
def test_a_path_that_is_not_declared_is_not_found(still: InProcess, caller: Caller, method: str, target: str) -> None:
    status, error = put(still, caller, method, target)
    assert (status, error["code"]) == (404, "RESOURCE_NOT_EXISTS")


def test_a_query_beside_a_body_and_a_body_beside_a_query_are_refused(still: InProcess, caller: Caller) -> None:
    stock_id = stock_of(still)
    assert put(still, caller, "POST", couponcodes(stock_id) + "?x=1", upload_body(["A1"]))[0] == 400
    assert put(still, caller, "GET", couponcodes(stock_id), b"{}")[0] == 400


def test_an_answer_is_signed_with_the_key_that_is_asked_for(still: InProcess, caller: Caller) -> None:
    public_key, certificate = sorted(caller.ring.names, key=lambda name: not name.startswith("PUB_KEY_ID_"))
    headers = caller.headers("GET", "/v3/certificates")
    for wanted, used in (
        ([("Wechatpay-Serial", certificate)], certificate),
        ([("Wechatpay-Serial", public_key)], public_key),
        ([("Wechatpay-Serial", "5157F09EFDC096DE15EBE81A47057A7232F1B8E1")], public_key),
        ([], public_key),
    ):
        reply = still.ask("GET", "/v3/certificates", [*headers, *wanted])
        assert dict(reply.headers)["Wechatpay-Serial"] == used
        caller.check(reply)
        refused = still.ask("GET", "/v3/certificates", wanted)
        assert (refused.status_code, dict(refused.headers)["Wechatpay-Serial"]) == (401, used)
        caller.check(refused)


def test_every_answer_has_another_request_id_and_another_nonce(still: InProcess, caller: Caller) -> None:
    replies = [still.ask("GET", "/v3/certificates", caller.headers("GET", "/v3/certificates")) for _ in range(20)]
    for name in ("Request-ID", "Wechatpay-Nonce"):
        assert len({dict(reply.headers)[name] for reply in replies}) == 20


@pytest.mark.slow
def test_the_certificate_opens_with_the_apiv3_key_and_no_nonce_repeats_also_after_a_restart(
    world: Path, caller: Caller, other: Caller
) -> None:
    nonces: list[tuple[str, str]] = []
    for _ in range(2):
        platform = InProcess(world, "sqlite:///quanma.db", clock=lambda: NOW)
        for who in (caller, other, caller, other):
            status, answer = put(platform, who, "GET", "/v3/certificates")
            assert status == 200
            (entry,) = answer["data"]
            envelope = entry["encrypt_certificate"]
            nonces.append((who.merchant.mchid, envelope["nonce"]))
            pem = sealed.unseal(
                who.merchant.apiv3_key or "", envelope["nonce"], envelope["associated_data"], envelope["ciphertext"]
            )
            assert entry["serial_no"] in who.ring.names
            assert pem == (world / "platform" / "platform_cert.pem").read_bytes()
        platform.close()
    assert len(set(nonces)) == 8


def test_health_says_ok_and_metrics_count_by_operation_and_status(platform: InProcess, caller: Caller) -> None:
    assert platform.ask("GET", "/healthz", []).body == b"ok\n"
    platform.ask("GET", couponcodes("98065001"), [])
    platform.ask("BREW", "/v3/certificates", [])
    platform.ask("GET", "/v3/98065001", [])
    reply = platform.ask("GET", "/metrics", [])
    assert dict(reply.headers)["Content-Type"].startswith("text/plain; version=0.0.4")
    text = reply.body.decode()
    couponcodes_get = 'operation="GET /v3/marketing/busifavor/stocks/{stock_id}/couponcodes",status="401"'
    assert f"quanma_requests_total{{{couponcodes_get}}} 1.0" in text
    assert f"quanma_request_seconds_count{{{couponcodes_get}}} 1.0" in text
    assert 'quanma_requests_total{operation="unknown",status="401"} 2.0' in text
    assert "process_resident_memory_bytes" in text
    assert "98065001" not in text


def test_ready_means_that_requests_are_taken(platform: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked() -> tuple[int, bytes]:
        reply = platform.ask("GET", "/readyz", [])
        return reply.status_code, reply.body

    async def broken() -> None:
        raise StoreUnavailable("the disk is full")

    assert asked() == (200, b"ready\n")
    with monkeypatch.context() as patched:
        patched.setattr(platform.pool, "away", lambda: ["worker-1:5432"])
        assert asked() == (
            200,
            b"ready\naway: worker-1:5432: requests for the stocks there are refused until it is back\n",
        )
    with monkeypatch.context() as patched:
        patched.setattr(platform.pool, "check", broken)
        assert asked() == (503, b"the store can't answer; the log says why\n")
        assert platform.ask("GET", "/healthz", []).status_code == 503
    with monkeypatch.context() as patched:
        patched.setattr(platform.pool, "fence", lambda: "this is an older copy")
        assert asked() == (503, b"this is an older copy\n")
        assert platform.ask("GET", "/healthz", []).status_code == 200
    platform.app.drain()
    assert asked() == (503, b"the platform is ending\n")
    assert platform.ask("GET", "/healthz", []).status_code == 200


def test_a_coupon_is_sent_used_and_shown_over_the_wire(still: InProcess, caller: Caller) -> None:
    stock_id, openid = stock_of(still), fresh("oAnna")
    put(still, caller, "POST", couponcodes(stock_id), upload_body(["A/1"]))
    send = {"stock_id": stock_id, "openid": openid, "appid": APPID, "out_request_no": "s1"}
    sent = put(still, caller, "POST", f"{BUSIFAVOR}/coupons/send", json.dumps(send).encode())
    result = {"stock_id": stock_id, "out_request_no": "s1", "coupon_code": "A/1"}
    assert sent == (200, {"send_coupon_result": result})
    use = {
        "stock_id": stock_id,
        "coupon_code": "A/1",
        "appid": APPID,
        "use_time": "2026-09-21T22:13:20+08:00",
        "use_request_no": "k1",
    }
    status, used = put(still, caller, "POST", f"{BUSIFAVOR}/coupons/use", json.dumps(use).encode())
    assert (status, used["openid"]) == (200, openid)
    status, coupon = put(still, caller, "GET", f"{BUSIFAVOR}/users/{openid}/coupons/A%2F1/appids/{APPID}")
    assert (status, coupon["coupon_state"], coupon["use_request_no"]) == (200, "USED", "k1")


@every_row("no", ["", "n" * 129, "a b", "a/b", "a\n", "券", "a\x00"])
def test_an_out_request_no_with_other_characters_is_refused(still: InProcess, caller: Caller, no: str) -> None:
    stock_id = stock_of(still)
    send = {"stock_id": stock_id, "openid": "oAnna", "appid": APPID, "out_request_no": no}
    status, error = put(still, caller, "POST", f"{BUSIFAVOR}/coupons/send", json.dumps(send).encode())
    assert (status, error["code"]) == (400, "PARAM_ERROR")
