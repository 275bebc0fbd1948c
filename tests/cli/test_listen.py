"""`quanma listen` as a server of its own: an event is kept before it is answered, and nothing else is kept."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from quanma.cli.main import group
from tests.cli.conftest import Quanma
from tests.support.deliveries import APIV3_KEY, KEY, SENT, SERIAL, event_body, signing_headers
from tests.support.platform import merchant_config, mode_of

CONFIG = f"""[merchant]
mchid = "1900000001"
serial_no = "3775B6A45ACD588826D15E583A95F5DD00000001"
private_key = "key.pem"
apiv3_key = "{APIV3_KEY}"
[merchant.platform_keys]
"{SERIAL}" = "pub_key.pem"
"""


class Listening:
    """The command in a process of its own, with the ledger events.jsonl."""

    def __init__(self, folder: Path) -> None:
        self.ledger = folder / "events.jsonl"
        command = [sys.executable, "-m", "quanma", "listen", "--port", "0", "--ledger", str(self.ledger)]
        self.process = subprocess.Popen(
            [*command, "--config", str(folder / "quanma.toml")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        ready = self.process.stderr.readline()
        if not ready.startswith("listening on "):
            raise AssertionError(ready + self.stop()[2])
        self.port = int(ready.rpartition(":")[2])

    def post(self, body: bytes, headers: dict[str, str]) -> int:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("POST", "/", body, headers)
        status = connection.getresponse().status
        connection.close()
        return status

    def lines(self) -> list[str]:
        return self.ledger.read_text("utf-8").splitlines()

    def stop(self) -> tuple[int, str, str]:
        """Its exit status, and what it said."""
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


@pytest.fixture
def folder(made_world: Path, tmp_path: Path) -> Path:
    """Of a merchant whose platform signs with the published key."""
    own = merchant_config(made_world).with_name("apiclient_key.pem").read_bytes()
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for name, content in (("quanma.toml", CONFIG.encode()), ("key.pem", own), ("pub_key.pem", public)):
        (tmp_path / name).write_bytes(content)
        os.chmod(tmp_path / name, 0o600)
    return tmp_path


@pytest.fixture
def listening(folder: Path) -> Iterator[Listening]:
    running = Listening(folder)
    yield running
    if running.process.poll() is None:
        running.process.kill()
        running.process.communicate(timeout=10)


@pytest.mark.slow
def test_an_event_is_kept_printed_and_answered_and_a_forged_one_is_not(listening: Listening) -> None:
    now = int(time.time())
    body = event_body()
    headers = signing_headers(body, timestamp=now)
    assert listening.post(body, headers) in (200, 204)
    assert mode_of(listening.ledger) == 0o600
    (line,) = listening.lines()
    kept = json.loads(line)
    assert kept["id"] == "8b33f79f-8869-5ae5-b41b-3c0b59f957d0"
    assert {name: kept["content"][name] for name in ("stock_id", "coupon_code", "openid")} == {
        name: SENT[name] for name in ("stock_id", "coupon_code", "openid")
    }

    refused = [
        listening.post(body + b" ", headers),
        listening.post(body, {name: value for name, value in headers.items() if name != "Wechatpay-Signature"}),
        listening.post(body, signing_headers(body, timestamp=now - 3600)),
        listening.post(event_body(apiv3_key="0" * 32), signing_headers(event_body(apiv3_key="0" * 32), timestamp=now)),
    ]
    assert [status for status in refused if status < 400] == []
    assert listening.lines() == [line]

    status, out, err = listening.stop()
    assert status == 0
    assert out.splitlines() == [line]
    assert "Traceback" not in err


@pytest.mark.slow
def test_events_of_the_next_start_are_written_behind_those_of_the_last(folder: Path, listening: Listening) -> None:
    body = event_body()
    headers = signing_headers(body, timestamp=int(time.time()))
    listening.post(body, headers)
    listening.stop()
    again = Listening(folder)
    try:
        again.post(body, headers)
    finally:
        status, _, _ = again.stop()
    assert (status, len(again.lines())) == (0, 2)


def test_a_ledger_that_can_not_be_opened_is_named_before_anything_is_received(
    folder: Path, quanma: Quanma, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QUANMA_BASE_URL")
    ended = quanma("listen", "--port", "0", "--config", str(folder / "quanma.toml"), "--ledger", "no/events.jsonl")
    assert ended.status == 1
    assert "no/events.jsonl can't be opened: No such file or directory: name another with --ledger" in ended.err


def test_a_port_out_of_range_is_wrong_usage(quanma: Quanma) -> None:
    ended = quanma("listen", "--port", "65536")
    assert ended.status == 2
    assert "65536 is not in the range 0<=x<=65535" in ended.err


def test_a_port_that_is_taken_is_told_with_what_else_names_it(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        words = ["listen", "--port", str(other.getsockname()[1]), "--config", str(folder / "quanma.toml")]
        done = CliRunner().invoke(group, words, standalone_mode=False)
    assert "name another with --host and --port, and with `quanma api callbacks.post`" in str(done.exception)
