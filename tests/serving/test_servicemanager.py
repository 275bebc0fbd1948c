"""What a service manager is told, and what is made of the environment in which it asks for it."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from pathlib import Path

import pytest

from quanma.serving.servicemanager import ServiceManager, asks
from tests.support.every import every_row


def listening(address: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(address)
    made.settimeout(5)
    return made


def test_it_is_told_in_whole_messages_over_a_socket_in_the_abstract_space() -> None:
    name = f"quanma-{secrets.token_hex(8)}"
    with contextlib.closing(listening(f"\0{name}")) as heard:
        manager = ServiceManager({"NOTIFY_SOCKET": f"@{name}"})
        manager.ready()
        manager.alive()
        manager.stopping()
        said = [heard.recv(100).decode().split("\n")[0] for _ in range(3)]
    assert said == ["READY=1", "WATCHDOG=1", "STOPPING=1"]


def test_where_nobody_asks_no_socket_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise AssertionError("a socket was made")

    monkeypatch.setattr(socket, "socket", refuse)
    for environment in ({}, {"NOTIFY_SOCKET": ""}, {"WATCHDOG_USEC": "1000000"}):
        manager = ServiceManager(environment)
        manager.ready()
        manager.alive()
        manager.stopping()
        assert manager.beat_seconds is None


@every_row("address", ["/nowhere/notify", "/" + "x" * 200, "relative", "vsock:2:1234", "@", "/a\0b"], ids=repr)
def test_an_address_that_leads_nowhere_is_told_and_stops_nothing(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    ServiceManager({"NOTIFY_SOCKET": address}).ready()
    assert "the service manager can't be told READY=1: NOTIFY_SOCKET" in caplog.text


def test_a_manager_that_reads_nothing_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("quanma.serving.servicemanager.SEND_SECONDS", 0.001)
    monkeypatch.chdir(tmp_path)  # An address of a socket has 107 bytes at most.
    with contextlib.closing(listening("full")):
        manager = ServiceManager({"NOTIFY_SOCKET": "full"})
        for _ in range(2000):
            manager.alive()
            if caplog.records:
                break
    assert "can't be told WATCHDOG=1" in caplog.text


@every_row(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "１０"}, None),
        ({"WATCHDOG_USEC": ""}, None),
    ],
)
def test_it_is_told_twice_as_often_as_it_looks(environment: dict[str, str], seconds: float | None) -> None:
    assert ServiceManager({"NOTIFY_SOCKET": "/run/notify", **environment}).beat_seconds == seconds


def test_only_a_name_of_a_socket_says_that_a_manager_reads_the_exit_status() -> None:
    assert asks({"NOTIFY_SOCKET": "/run/systemd/notify"})
    assert not asks({})
    assert not asks({"NOTIFY_SOCKET": ""})
