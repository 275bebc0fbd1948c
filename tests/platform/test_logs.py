"""S1: no secret, no whole code and no whole openid in a log line, a metric or a message of an error."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from quanma.api.couponcodes import CouponCodes, UploadCodes
from quanma.client import config
from quanma.errors import PlatformError
from quanma.platform.app import App
from quanma.platform.coupons import uploads
from quanma.platform.handlers import HANDLERS, Handlers
from quanma.platform.pool import open_pool
from quanma.serving import logs
from tests.contract.driver import NOW, DrivenPool
from tests.platform.caller import BUSIFAVOR, Caller, couponcodes, upload_body
from tests.platform.conftest import stock_of
from tests.platform.test_framing import raw, talk
from tests.support.every import every_row
from tests.support.platform import APPID, InProcess, Served, call_app, create_stock, merchant_config

# Distinctive, so that a search finds every trace.
CODES = [f"GEHEIM-{word}-{number:04}" for number, word in enumerate(["alpha", "beta", "gamma", "delta"])]
LONG_CODE = "GEHEIM-too-long-" + "z" * 30
OPENID = "oGEHEIMuserAJO_M2pxb1Q9zNjWeS6o"


def secrets_of(world: Path) -> list[str]:
    """Every key of the world: whole PEM lines and the APIv2 and APIv3 keys."""
    found = [line for path in world.rglob("*private*.pem") for line in path.read_text().splitlines()]
    found += [line for path in world.rglob("apiclient_key.pem") for line in path.read_text().splitlines()]
    settings = "\n".join(path.read_text() for path in world.rglob("*.toml"))
    found += re.findall(r'apiv[23]_key = "(\w{32})"', settings)
    return [line for line in found if len(line) > 30 and "-----" not in line]


def requests(stock_id: str) -> list[tuple[str, str, bytes]]:
    """A load of good and bad requests, each with codes, users and numbers in it."""
    send: dict[str, Any] = {"stock_id": stock_id, "openid": OPENID, "appid": APPID, "out_request_no": "s1"}
    use = {"stock_id": stock_id, "appid": APPID, "use_request_no": "k1", "use_time": "2026-09-21T22:13:20+08:00"}

    def post(path: str, fields: dict[str, Any]) -> tuple[str, str, bytes]:
        return "POST", f"{BUSIFAVOR}/{path}", json.dumps(fields).encode()

    return [
        ("POST", couponcodes(stock_id), upload_body([*CODES, LONG_CODE, CODES[0] + "\n"])),
        ("POST", couponcodes(stock_id), upload_body(CODES[:1])),
        ("POST", couponcodes(stock_id), upload_body(CODES * 100, "u2")),
        ("POST", couponcodes(stock_id), upload_body(CODES)[:-3]),
        ("POST", couponcodes(stock_id), json.dumps({"coupon_code_list": {CODES[0]: 1}}).encode()),
        ("POST", couponcodes(stock_id), ('{"x":"' + CODES[0] + '","x":"\ud800"}').encode("utf-8", "surrogatepass")),
        ("GET", f"{couponcodes(stock_id)}/{CODES[1]}", b""),
        ("GET", f"{couponcodes(stock_id)}/{CODES[1]}x", b""),
        ("GET", f"{couponcodes(stock_id)}/{CODES[1]}%FF", b""),
        ("GET", f"{couponcodes(stock_id)}?limit={CODES[1]}", b""),
        ("DELETE", f"{couponcodes(stock_id)}/{CODES[2]}?delete_request_no=d1", b""),
        ("DELETE", f"{couponcodes(stock_id)}/{CODES[3]}?delete_request_no=d1", b""),
        post("coupons/send", send),
        post("coupons/send", {**send, "appid": "wxother"}),
        post("coupons/send", {**send, "out_request_no": "s2", "coupon_code": CODES[0]}),
        post("coupons/send", {**send, "out_request_no": OPENID + " "}),
        post("coupons/send", {**send, "openid": [OPENID]}),
        *(post("coupons/use", {**use, "coupon_code": code}) for code in CODES),
        *(post("coupons/use", {**use, "coupon_code": code, "openid": OPENID + "x"}) for code in CODES),
        post("coupons/use", {**use, "coupon_code": CODES[0], "use_time": CODES[0]}),
        ("GET", f"{BUSIFAVOR}/users/{OPENID}/coupons/{CODES[0]}/appids/{APPID}", b""),
        ("GET", f"{BUSIFAVOR}/users/{OPENID}x/coupons/{CODES[0]}/appids/{APPID}", b""),
        ("GET", f"{BUSIFAVOR}/users/{OPENID}/{CODES[0]}", b""),
    ]


def assert_clean(text: str, world: Path) -> None:
    # A piece of one is too much as well: masked is `GE…03`.
    for secret in ["GEHEIM", *secrets_of(world)]:
        assert secret not in text


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


@pytest.mark.slow
def test_no_message_of_an_error_holds_a_code_or_a_user(
    still: InProcess, caller: Caller, logged: pytest.LogCaptureFixture, shared_world: Path
) -> None:
    stock_id = stock_of(still)
    statuses = set()
    for method, target, body in requests(stock_id):
        reply = still.ask(method, target, caller.headers(method, target, body), body)
        statuses.add(reply.status_code)
        if reply.status_code >= 400:
            assert_clean(caller.check(reply)["message"], shared_world)
        refused = still.ask(method, target, [("Authorization", f"Bearer {OPENID}")], body)
        assert_clean(caller.check(refused)["message"], shared_world)
    assert statuses >= {200, 400, 404}
    assert_clean(still.ask("GET", "/metrics", []).body.decode(), shared_world)
    assert_clean(logged.text, shared_world)


@pytest.mark.slow
def test_an_unexpected_failure_is_logged_without_what_it_was_about(
    platform: InProcess, logged: pytest.LogCaptureFixture, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(request: UploadCodes, *rest: object) -> None:
        raise KeyError(request.coupon_code_list[0], OPENID)

    with platform.wechatpay() as wxpay:
        stock_id = create_stock(wxpay, "c1")
    monkeypatch.setattr(uploads, "sort_codes", fails)
    caller = Caller(world)
    now = int(time.time())
    target, body = couponcodes(stock_id), upload_body(CODES)
    reply = platform.ask("POST", target, caller.headers("POST", target, body, now=now), body)
    assert reply.status_code in (500, 503)
    assert_clean(caller.check(reply, now=now)["message"], world)
    assert "KeyError" in logged.text
    assert "sort_codes" in logged.text
    assert_clean(logged.text, world)


@pytest.mark.slow
def test_the_servers_output_holds_no_secret_and_no_code_after_a_mixed_load(serving: Served) -> None:
    world = serving.world
    caller = Caller(world)
    with serving.wechatpay() as wxpay:
        stock_id = create_stock(wxpay, "c1")
        for method, target, body in requests(stock_id):
            with contextlib.suppress(ValueError):
                talk(serving, raw(caller, method, target, body, more="Connection: close\r\n"))
                talk(serving, raw(caller, method, target + "x", body, sent=target, more="Connection: close\r\n"))
        talk(serving, f"GET /{CODES[0]} HTTP/1.1\r\n{OPENID}\r\n\r\n".encode())
        talk(serving, f"POST / HTTP/1.1\r\nX: {OPENID}\r\nContent-Length: {CODES[0]}\r\n\r\n".encode())
        request = UploadCodes(stock_id=stock_id, coupon_code_list=["A1"], upload_request_no="last")
        assert wxpay.send(CouponCodes.post, request).data.success_codes == ["A1"]
    metrics = talk(serving, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").decode()
    assert 'status="200"' in metrics
    assert serving.stop() == 0
    assert_clean((world / "serve.log").read_text() + metrics, world)


def test_the_pools_refusals_name_no_whole_code(
    tmp_path: Path, logged: pytest.LogCaptureFixture, made_world: Path
) -> None:
    pool = DrivenPool(lambda: open_pool("sqlite:///pool.db", tmp_path))
    stock_id = pool.create(max_coupons=4)
    pool.upload(stock_id, CODES, "u1")
    code = pool.send(stock_id, OPENID, "s1")
    said = []
    for refused in (
        lambda: pool.upload(stock_id, [LONG_CODE], "u1"),
        lambda: pool.upload(stock_id, ["GEHEIM-more"]),
        lambda: pool.delete(stock_id, code),
        lambda: pool.use(stock_id, code, openid=OPENID + "x"),
        lambda: pool.show(stock_id, code + "x"),
        lambda: pool.coupon(OPENID + "x", code),
        lambda: pool.send(stock_id, OPENID, "s1", appid="wxother"),
    ):
        with pytest.raises(PlatformError) as refusal:
            refused()
        said.append(str(refusal.value))
    pool.close()
    assert_clean("\n".join(said) + logged.text, made_world)


def test_a_merchants_settings_show_no_secret(made_world: Path) -> None:
    assert_clean(repr(config.load(merchant_config(made_world))), made_world)


def test_a_failing_handler_is_logged_without_what_it_was_about(
    still: InProcess, caller: Caller, logged: pytest.LogCaptureFixture, shared_world: Path
) -> None:
    async def fails(*_: object) -> None:
        raise KeyError(CODES[0], OPENID)

    app = App(Handlers(dict.fromkeys(HANDLERS, fails)), still.pool, still.keystore, clock=lambda: NOW)
    headers = caller.headers("GET", "/v3/certificates")
    reply = still.run(call_app(app, "GET", "/v3/certificates", headers, b""))
    assert reply.status_code == 500
    assert caller.check(reply)["code"] == "SYSTEM_ERROR"
    assert "KeyError" in logged.text
    assert_clean(logged.text + reply.body.decode(), shared_world)


@pytest.mark.slow
def test_a_log_of_json_has_an_object_a_line_and_no_secret(world: Path) -> None:
    path = world / "platform.toml"
    path.write_text('log_format = "json"\n' + path.read_text())
    command = [sys.executable, "-m", "quanma", "serve", "--config", str(path), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.terminate()
        lines = [json.loads(line) for line in [first, *process.stderr]]
    assert process.returncode == 0
    assert lines[0]["event"].startswith("listening on http://127.0.0.1:")
    assert [line["event"].partition(":")[0] for line in lines[1:]] == ["ending", "ended"]
    for line in lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert line["level"] == "info"


@every_row("formatter", [logs.JsonLines(), logs.TextLines()])
def test_a_line_has_the_fields_it_was_given_and_of_an_error_no_message(formatter: logging.Formatter) -> None:
    logger = logging.Logger("quanma.test")
    written: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(formatter.format(record))

    logger.addHandler(Keep())
    try:
        raise KeyError(CODES[0], OPENID)
    except KeyError:
        logger.exception("event %s failed\nbadly", "E1", extra={"attempt": 2})
    (line,) = written
    assert "GEHEIM" not in line
    assert "KeyError" in line
    if isinstance(formatter, logs.JsonLines):
        fields = json.loads(line)
        assert "\n" not in line
        assert (fields["level"], fields["event"], fields["attempt"]) == ("error", "event E1 failed\nbadly", "2")
    else:
        assert "ERROR event E1 failed\nbadly attempt=2" in line


def test_an_error_that_the_loop_finds_is_logged_without_what_it_was_about(logged: pytest.LogCaptureFixture) -> None:
    secrets_of_nobody: dict[str, str] = {}

    async def fail() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(logs.on_loop_error)
        loop.call_soon(secrets_of_nobody.pop, CODES[0])
        await asyncio.sleep(0)

    asyncio.run(fail())
    assert "KeyError" in logged.text
    assert "GEHEIM" not in logged.text
