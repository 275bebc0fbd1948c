"""The control endpoints: who may use them, the journal, explanations, snapshots, events."""

from __future__ import annotations

import json
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest

from quanma import Wechatpay, testing
from quanma.client.config import Merchant
from quanma.errors import ClockWrong, Misconfigured, RequestInvalid
from quanma.sandbox import credentials, server
from quanma.sandbox.guard import Guard
from quanma.serving.messages import Request
from quanma.testing import Sandbox
from quanma.wire import keys, signature
from tests.sandbox.test_faults import issued, stocked


def asked(sandbox: Sandbox, verb: str, path: str, headers: dict[str, str], body: str = "") -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", int(sandbox.url.rpartition(":")[2]), timeout=30)
    connection.request(verb, path, body.encode() or None, headers)
    answer = connection.getresponse()
    said = answer.status, answer.read().decode()
    connection.close()
    return said


@pytest.mark.parametrize(
    ("verb", "headers", "status"),
    [
        ("GET", {}, 200),
        ("GET", {"Host": "localhost"}, 200),
        ("GET", {"Host": "attacker.example"}, 403),
        ("GET", {"Host": "127.0.0.1.attacker.example:8460"}, 403),
        ("GET", {"Origin": "https://attacker.example"}, 403),
        ("GET", {"Origin": "null"}, 403),
        ("GET", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("GET", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("POST", {"Content-Type": "text/plain"}, 415),
        ("POST", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ("POST", {}, 415),
    ],
    ids=str,
)
def test_pages_of_others_are_refused(sandbox: Sandbox, verb: str, headers: dict[str, str], status: int) -> None:
    path = "/_sandbox/" if verb == "GET" else "/_sandbox/faults"
    sandbox.faults.add(rule_id="good", status=500)
    body = "" if verb == "GET" else '{"id": "bad", "do": {"status": 503}}'
    assert asked(sandbox, verb, path, headers, body)[0] == status
    assert [one["id"] for one in sandbox.faults.all()] == ["good"]


@pytest.mark.parametrize(
    ("said", "status"), [(b"Bearer right-token", None), (b"Bearer wrong-token", 401), (None, 401)], ids=str
)
def test_a_token_is_asked_for_where_there_is_one(said: bytes | None, status: int | None) -> None:
    headers = [(b"host", b"sandbox:8460"), *([(b"authorization", said)] if said else [])]
    refused = Guard(["sandbox"], "right-token").refusal(Request("GET", b"/_sandbox/", headers))
    assert (refused.status if refused else None) == status


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "sandbox"])
def test_another_address_needs_a_token(host: str) -> None:
    with pytest.raises(Misconfigured, match="--control-token"):
        server.check_reach(host, None)
    server.check_reach(host, "long-enough")


def test_the_control_endpoints_are_described(sandbox: Sandbox) -> None:
    document = sandbox._control.ask("GET", "/openapi.json")
    assert document["openapi"] == "3.1.0"
    assert {"/_sandbox/faults", "/_sandbox/explain/{id}"} <= document["paths"].keys()
    assert "cut" in document["components"]["schemas"]["Do"]["properties"]


def test_every_declared_error_has_a_rule_that_provokes_it(sandbox: Sandbox) -> None:
    errors = sandbox._control.ask("GET", "/errors")
    declared = errors["v3.marketing.busifavor.coupons.send.post"]
    assert {"NOT_ENOUGH", "RULELIMIT"} <= {one["code"] for one in declared}
    sandbox.faults.replace([one["rule"] for one in declared])
    assert len(sandbox.faults.all()) == len(declared)


def test_the_journal_holds_no_user(sandbox: Sandbox, wxpay: Wechatpay) -> None:
    issued(wxpay, stocked(wxpay, "A1"), "order-1")
    one = sandbox.requests.assert_one("coupons.send.post", status=200, body={"out_request_no": "order-1"})
    assert one.request["openid"] == "oU…"
    for form in ("pytest", "http", "curl", "har"):
        text = sandbox.requests.export(form)
        assert "order-1" in text
        assert "oUser-0001" not in text
        assert "WECHATPAY2" not in text


def test_an_exported_session_runs_again(sandbox: Sandbox, wxpay: Wechatpay) -> None:
    wxpay.v3.certificates.get()
    written: dict[str, object] = {}
    exec(sandbox.requests.export("pytest"), written)
    exchanges = written["EXCHANGES"]
    assert exchanges == [("GET", "1900000001", "/v3/certificates", "", 200, "")]


def test_a_wait_ends_once_the_requests_came(sandbox: Sandbox) -> None:
    sandbox.ask_as("1900000001", "GET", "/v3/certificates")
    assert len(sandbox.requests.wait("certificates.get", count=1)) == 1
    with pytest.raises(AssertionError, match="1 of 2"):
        sandbox.requests.wait("certificates.get", count=2, seconds=0.05)


def signed_wrongly(merchant: Merchant, target: str, signed_target: str, body: str, signed_body: str) -> dict[str, str]:
    """Headers of a POST whose signature is over another text."""
    timestamp = str(int(time.time()))
    message = signature.request_message("POST", signed_target, timestamp, "n" * 32, signed_body.encode())
    key = keys.load_private_key(merchant.private_key.encode(), "key")
    fields = signature.Authorization(
        merchant.mchid, merchant.serial_no, "n" * 32, timestamp, signature.sign(key, message)
    )
    return {"Authorization": signature.authorization(fields), "Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("target", "signed_target", "body", "signed_body", "cause", "at"),
    [
        ("/v3/x?a=1", "/v3/x", "{}", "{}", "the path lacks its query", 10),
        ("/v3/x%2Fy", "/v3/x/y", "{}", "{}", "the path was signed unescaped", 10),
        ("/v3/x", "/v3/x", '{"a":1}', "", "the body was left out", None),
        ("/v3/x", "/v3/x", '{"a":1}', '{"a": 1}', "the body was serialised again after signing", None),
        ("/v3/x", "/v3/x", '{"a":"券"}', '{"a":"\\u5238"}', "the body was serialised again after signing", None),
        ("/v3/x", "/v3/z", "{}", "{}", "another key signed it, or another text", None),
    ],
)
def test_a_refused_signature_is_explained(
    sandbox: Sandbox, target: str, signed_target: str, body: str, signed_body: str, cause: str, at: int | None
) -> None:
    headers = signed_wrongly(sandbox.merchant, target, signed_target, body, signed_body)
    status, answer = asked(sandbox, "POST", target, headers, body)
    one = sandbox.requests.assert_one(status=401)
    assert status == 401
    assert one.explain in json.loads(answer)["message"]
    explained = sandbox.explain(one.id)
    assert explained["cause"] == cause
    assert explained["expected"].startswith(f"POST\n{target}\n")
    if at is not None:
        assert explained["first_difference"] == at


def test_a_clock_that_is_off_is_explained(sandbox: Sandbox) -> None:
    with testing.connect(sandbox.url).wechatpay() as wxpay:
        sandbox.clock.shift(412)
        with pytest.raises(ClockWrong):
            wxpay.v3.certificates.get()
    explained = sandbox.explain(sandbox.requests.find(status=401)[0].id)
    assert explained["cause"] == "the caller's clock is 412 s behind the sandbox's"


def test_a_snapshot_is_restored_with_codes_coupons_clock_and_rules(sandbox: Sandbox, wxpay: Wechatpay) -> None:
    stock_id = stocked(wxpay, "A1", "B2")
    sandbox.faults.add("certificates.get", rule_id="one", first=3, status=500)
    sandbox.snapshot("before")
    issued(wxpay, stock_id, "order-1")
    sandbox.faults.remove()
    sandbox.restore("before")
    stock = wxpay.v3.marketing.busifavor.stocks[stock_id].get()
    assert stock.coupon_code_count is not None
    assert stock.coupon_code_count.available_count == 2
    assert [one["left"] for one in sandbox.faults.all()] == [3]
    assert issued(wxpay, stock_id, "order-1") in ("A1", "B2")
    with pytest.raises(RequestInvalid, match="no snapshot"):
        sandbox.restore("never-made")


def test_a_merchants_credentials_are_printed_for_each_reader(sandbox: Sandbox, tmp_path: Path) -> None:
    merchant = sandbox.merchant
    shown = credentials.of(merchant)
    (tmp_path / "quanma.toml").write_text(credentials.written(shown, "toml"))
    (tmp_path / "quanma.toml").chmod(0o600)
    assert Wechatpay.from_config(tmp_path / "quanma.toml").merchant == merchant
    assert json.loads(credentials.written(shown, "json"))["mchid"] == "1900000001"
    assert credentials.written(shown, "env").startswith("export QUANMA_MCHID=1900000001\n")
    assert sandbox.env()["QUANMA_SERIAL_NO"] == merchant.serial_no
