"""Why a signature was refused: counted, told in the log, and not to the caller; `explain` and its bounds."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from quanma.errors import Misconfigured
from quanma.platform import config, server
from quanma.platform.keys.keystore import KeyStore
from quanma.platform.keys.refusals import SILENT_SECONDS, Cause, RefusalLog
from tests.contract.driver import NOW
from tests.platform.caller import Caller, Headers
from tests.support.every import every_row
from tests.support.platform import InProcess, Served, served

TARGET = "/v3/certificates"


def refused(caller: Caller, cause: Cause) -> Headers:
    signed = caller.authorization("GET", TARGET)
    return {
        Cause.NO_AUTHORIZATION: [],
        Cause.FORM: [("Authorization", "Basic c2VjcmV0")],
        Cause.MERCHANT: [("Authorization", caller.authorization("GET", TARGET, mchid="1900009999"))],
        Cause.SERIAL: [("Authorization", caller.authorization("GET", TARGET, serial_no="ABC"))],
        Cause.SIGNATURE: caller.headers("GET", f"{TARGET}?algorithm_type=RSA"),
        Cause.CLOCK: caller.headers("GET", TARGET, now=NOW - 301),
    }[cause] or [("X-Nothing", signed)]


@every_row("cause", Cause)
def test_a_refusal_is_counted_by_its_cause_and_told_in_the_log(
    still: InProcess, caller: Caller, caplog: pytest.LogCaptureFixture, cause: Cause
) -> None:
    still.app._refusal_log = RefusalLog()
    before = counted(still)
    with caplog.at_level(logging.WARNING, "quanma.platform.keys.refusals"):
        assert still.ask("GET", TARGET, refused(caller, cause)).status_code == 401
    after = counted(still)
    assert after.pop(cause) == before.pop(cause) + 1
    assert after == before
    (record,) = caplog.records
    assert (record.__dict__["cause"], record.__dict__["operation"]) == (cause.value, "GET /v3/certificates")
    # Nothing that was sent, and nothing that is a secret.
    assert "c2VjcmV0" not in record.getMessage()
    assert caller.merchant.mchid not in record.getMessage()


def counted(platform: InProcess) -> dict[str, float]:
    found = re.findall(r'quanma_signature_refusals_total\{cause="(\w+)"\} (\S+)', platform.app.metrics.text().decode())
    return {cause: float(count) for cause, count in found}


def test_a_missing_authorization_header_is_called_so(caplog: pytest.LogCaptureFixture) -> None:
    RefusalLog().tell(Cause.NO_AUTHORIZATION, "", NOW)
    assert caplog.messages[0].startswith("a signature was refused: no Authorization header")


def test_many_refusals_of_one_cause_are_one_line_and_none_is_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    told = RefusalLog()
    for second in (0, 1, 2, SILENT_SECONDS, SILENT_SECONDS + 1):
        told.tell(Cause.CLOCK, "", NOW + second)
    told.tell(Cause.SERIAL, "", NOW + 2)
    told.tell(Cause.CLOCK, "", NOW - 3600)  # A clock that was set back silences nothing.
    lines = [(record.__dict__["cause"], record.__dict__["count"]) for record in caplog.records]
    assert lines == [("clock", 1), ("clock", 3), ("serial", 1), ("clock", 2)]


# What platform.toml may say


def test_a_strict_platform_refuses_a_short_nonce(shared_world: Path, caller: Caller) -> None:
    settings = config.load(with_line(shared_world, "strict_nonce = true"))
    keystore = KeyStore.load(settings, shared_world)
    authorization = caller.authorization("GET", TARGET, nonce_str="k3jq2mz9x")
    with pytest.raises(Exception, match="as strict_nonce asks for"):
        keystore.verify("GET", TARGET, [authorization], b"", NOW)


@every_row("asked", ["serial", "SERIAL", "0serial"])
def test_the_key_that_is_asked_for_is_found_however_its_serial_is_written(still: InProcess, asked: str) -> None:
    serial = still.keystore.certificates[0].facts.serial_no
    wanted = {"serial": serial.lower(), "SERIAL": serial, "0serial": f"0{serial}"}[asked]
    assert still.keystore.signer(wanted, NOW) == serial


def test_a_key_that_is_not_there_is_not_found(still: InProcess) -> None:
    assert still.keystore.signer("ABC", NOW) == still.keystore.signer(None, NOW)
    assert still.keystore.signer("0" * 9000, NOW) == still.keystore.signer(None, NOW)


@pytest.fixture(scope="module")
def explaining_served(shared_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    path = with_line(shared_world, "explain = true")
    with served(shared_world, "--config", str(path), "--database", "sqlite:///explains.db") as running:
        yield running


@pytest.mark.slow
def test_a_local_world_that_explains_says_which_check_failed(explaining_served: Served, caller: Caller) -> None:
    with (
        explaining_served.wechatpay(serial_no="ABCDEF") as wxpay,
        pytest.raises(Exception, match="no certificate with"),
    ):
        wxpay.v3.certificates.get()


@every_row("host", ["0.0.0.0", "::"])
def test_a_world_that_explains_is_not_served_to_others(shared_world: Path, host: str) -> None:
    path = with_line(shared_world, "explain = true")
    with pytest.raises(Misconfigured, match=r"explain = true .* is not a loopback address: take the line out"):
        server.serve(path, host=host, port=0)


def with_line(world: Path, line: str) -> Path:
    """The world's settings with one more, beside the others."""
    path = world / f"platform-{line.partition(' ')[0]}.toml"
    path.touch(0o600)
    path.write_text(f"{line}\n{(world / 'platform.toml').read_text()}")
    return path
