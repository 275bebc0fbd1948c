"""The echo: a signed round trip, and one of a sensitive field."""

from __future__ import annotations

import json
from typing import Any

from quanma.client.exchange import Clocks
from quanma.wire import sensitive
from quanma.wire.keys import load_private_key
from tests.contract.driver import NOW
from tests.platform.caller import Caller
from tests.support.every import every_row
from tests.support.platform import InProcess

ECHO = "/v3/security/echo"


def asked(platform: InProcess, caller: Caller, serial: str | None, **fields: Any) -> tuple[int, Any]:
    body = json.dumps(fields).encode()
    headers = caller.headers("POST", ECHO, body)
    reply = platform.ask("POST", ECHO, headers + ([("Wechatpay-Serial", serial)] if serial else []), body)
    return reply.status_code, caller.check(reply)


def test_a_message_comes_back_and_nothing_else(still: InProcess, caller: Caller) -> None:
    assert asked(still, caller, None, echo_message="券") == (200, {"echo_message": "券"})


@every_row("kind", ["public key", "certificate", "certificate in small letters"])
def test_a_sensitive_field_comes_back_encrypted_for_the_merchant(still: InProcess, caller: Caller, kind: str) -> None:
    serial = still.keystore.certificates[0].facts.serial_no
    name = next(name for name in caller.ring.names if name != serial) if kind == "public key" else serial
    field = sensitive.encrypt(caller.ring.key(name), "13800138000")
    named = name.lower() if kind.endswith("letters") else name
    status, answer = asked(still, caller, named, echo_message="hi", encrypted_echo_message=field)
    assert (status, answer["echo_message"]) == (200, "hi")
    own = load_private_key(caller.merchant.private_key.encode(), "private_key")
    assert sensitive.decrypt(own, answer["encrypted_echo_message"]) == "13800138000"


def test_an_empty_sensitive_field_stays_empty(still: InProcess, caller: Caller) -> None:
    status, answer = asked(still, caller, None, echo_message="hi", encrypted_echo_message="")
    assert (status, answer) == (200, {"echo_message": "hi", "encrypted_echo_message": ""})


def test_the_client_seals_and_opens_it(still: InProcess) -> None:
    with still.wechatpay(clocks=clocks_at_now()) as wxpay:
        field, _ = wxpay.encrypt("13800138000")
        answer = wxpay.v3.security.echo.post(echo_message="hi", encrypted_echo_message=field)
        assert answer.encrypted_echo_message is not None
        assert wxpay.decrypt(answer.encrypted_echo_message) == "13800138000"


def clocks_at_now() -> Any:
    return Clocks(lambda: NOW, lambda: 0.0)


@every_row(
    ("serial", "field", "reason"),
    [
        (None, "c2VjcmV0", "needs the header Wechatpay-Serial"),
        ("ABC", "c2VjcmV0", "needs the header Wechatpay-Serial"),
        ("ours", "c2VjcmV0", "can't be decrypted"),
        ("ours", "not base64", "can't be decrypted"),
    ],
)
def test_a_field_that_does_not_open_is_refused(
    still: InProcess, caller: Caller, serial: str | None, field: str, reason: str
) -> None:
    serial = still.keystore.signer(None, NOW) if serial == "ours" else serial
    status, error = asked(still, caller, serial, echo_message="hi", encrypted_echo_message=field)
    assert (status, error["code"]) == (400, "PARAM_ERROR")
    assert reason in error["message"]
    assert field not in error["message"]


@every_row("fields", [{}, {"message": "hi"}, {"echo_message": ""}, {"echo_message": "x" * 1025}])
def test_an_echo_without_its_message_is_refused(still: InProcess, caller: Caller, fields: dict[str, str]) -> None:
    assert asked(still, caller, None, **fields)[0] == 400


def test_an_address_for_a_notification_is_checked_as_any_other(still: InProcess, caller: Caller) -> None:
    assert asked(still, caller, None, echo_message="hi", notify_url="https://example.com/echo")[0] == 200
    assert asked(still, caller, None, echo_message="hi", notify_url="http://127.0.0.1/echo")[0] == 400
