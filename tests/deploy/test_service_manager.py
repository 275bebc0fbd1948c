"""What a service manager is told over its socket: a real datagram socket, and `quanma serve` in its own process."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.platform import Served, served


class Manager:
    """The receiving end of NOTIFY_SOCKET."""

    def __init__(self, folder: Path) -> None:
        self.address = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.address))

    def hear(self, seconds: float = 20.0) -> str:
        """Return the next thing that is said."""
        self._socket.settimeout(seconds)
        return self._socket.recv(4096).decode()

    def heard(self) -> list[str]:
        """Return what was said and not yet heard."""
        said: list[str] = []
        while select.select([self._socket], [], [], 0)[0]:
            said.append(self._socket.recv(4096).decode())
        return said

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    with tempfile.TemporaryDirectory() as folder:  # An address of a socket has 107 bytes at most.
        made = Manager(Path(folder))
        monkeypatch.setenv("NOTIFY_SOCKET", str(made.address))
        with contextlib.closing(made):
            yield made


def states(said: str) -> list[str]:
    return said.splitlines()


def answers(platform: Served) -> bool:
    with socket.create_connection(("127.0.0.1", platform.port), 5) as asking:
        asking.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        return asking.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.slow
def test_one_process_tells_when_it_serves_and_when_it_ends(world: Path, manager: Manager) -> None:
    with served(world) as platform:
        assert states(manager.hear())[0] == "READY=1"
        assert answers(platform)
        assert platform.stop() == 0
    assert [states(said)[0] for said in manager.heard()] == ["STOPPING=1"]


@pytest.mark.slow
def test_of_several_workers_only_the_parent_tells_and_once_all_of_them_serve(
    world: Path, postgres_url: str, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    with served(world, "--database", postgres_url, "--workers", "2") as platform:
        assert states(manager.hear())[0] == "READY=1"
        assert answers(platform)
        assert [manager.hear(), manager.hear()] == ["WATCHDOG=1", "WATCHDOG=1"]
        os.kill(platform.workers()[0], signal.SIGKILL)  # Another one in its place says nothing.
        assert {manager.hear() for _ in range(3)} == {"WATCHDOG=1"}
        assert platform.stop() == 0
    last = [said for said in manager.heard() if said != "WATCHDOG=1"]
    assert [states(said)[0] for said in last] == ["STOPPING=1"]


@pytest.mark.slow
def test_one_process_says_that_it_is_alive_as_long_as_its_loop_turns(
    world: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    with served(world) as platform:
        assert states(manager.hear())[0] == "READY=1"
        assert [manager.hear(), manager.hear()] == ["WATCHDOG=1", "WATCHDOG=1"]
        platform.process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)  # What was on its way has come.
        manager.heard()
        with pytest.raises(TimeoutError):
            manager.hear(1.0)
        platform.process.send_signal(signal.SIGCONT)
        assert manager.hear() == "WATCHDOG=1"


@pytest.mark.slow
def test_of_several_workers_one_whose_loop_stands_still_is_replaced_and_the_service_goes_on(
    world: Path, postgres_url: str, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "4000000")
    with served(world, "--database", postgres_url, "--workers", "2") as platform:
        assert states(manager.hear())[0] == "READY=1"
        stands_still, turns = platform.workers()
        os.kill(stands_still, signal.SIGSTOP)
        deadline = time.monotonic() + 30
        while stands_still in platform.workers():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        while len(platform.workers()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert turns in platform.workers()
        assert platform.stop() == 0
    assert f"worker {stands_still}: its loop has not turned for 4 s" in (world / "serve.log").read_text("utf-8")


@pytest.mark.slow
def test_a_watchdog_of_another_process_is_not_ours(
    world: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    with served(world):
        assert states(manager.hear())[0] == "READY=1"
        with pytest.raises(TimeoutError):
            manager.hear(0.5)


@pytest.mark.slow
def test_a_manager_that_is_gone_stops_nothing(world: Path, manager: Manager) -> None:
    manager.close()
    with served(world) as platform:
        assert answers(platform)
        assert platform.stop() == 0


@pytest.mark.slow
def test_it_is_not_ready_before_it_can_answer_and_a_start_that_fails_says_nothing(
    world: Path, manager: Manager
) -> None:
    (world / "quanma.db").write_bytes(b"not a database")
    assert serve(world).returncode == 1
    assert manager.heard() == []


@pytest.mark.slow
def test_whoever_listens_for_events_tells_too(world: Path, manager: Manager) -> None:
    config = next((world / "merchants").glob("*/quanma.toml"))
    command = [sys.executable, "-m", "quanma", "listen", "--port", "0", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as listening:
        assert states(manager.hear())[0] == "READY=1"
        listening.send_signal(signal.SIGTERM)
        assert states(manager.hear())[0] == "STOPPING=1"


@pytest.mark.slow
def test_a_setting_that_must_be_corrected_is_not_tried_again_by_a_manager(
    world: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    (world / "platform.toml").write_text("port = 'eight'", "utf-8")
    assert serve(world).returncode == 78
    monkeypatch.delenv("NOTIFY_SOCKET")
    assert serve(world).returncode == 1


@pytest.mark.slow
def test_an_address_that_is_taken_may_be_free_at_the_next_try(world: Path, manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = serve(world, "--port", str(taken.getsockname()[1]))
    assert "can't listen on" in done.stderr
    assert done.returncode == 1


@pytest.mark.slow
def test_an_empty_number_of_workers_is_the_default(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANMA_WORKERS", "")
    with served(world) as platform:
        assert platform.workers() == []
    monkeypatch.setenv("QUANMA_WORKERS", "2")
    assert "a SQLite pool is served by one process" in serve(world).stderr


def serve(world: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "quanma", "serve", "--config", str(world / "platform.toml"), "--port", "0"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
