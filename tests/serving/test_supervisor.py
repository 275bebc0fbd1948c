"""Several processes on one socket: started together, replaced when they die, ended together."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from typing import IO

import pytest

# Each worker answers a connection with its process id; "x" makes it die.
SERVING = """
import os, signal, socket, sys, time
from quanma.errors import Misconfigured, StoreUnavailable
from quanma.serving import supervisor

supervisor.STEADY_SECONDS = float(sys.argv[2])
supervisor.END_SECONDS = 2.0
listening = socket.create_server(("127.0.0.1", int(sys.argv[3])))

def work(place, ready):
    {before}
    ending = []
    signal.signal(signal.SIGTERM, lambda *_: ending.append(1))
    listening.settimeout(0.05)
    ready()
    while not ending:
        try:
            peer, _ = listening.accept()
        except TimeoutError:
            continue
        with peer:
            peer.settimeout(5)
            if peer.recv(1) == b"x":
                os._exit(7)
            if {slow}:
                os.write(1, b"asked\\n")  # At once: two workers share it.
                time.sleep({slow})
            peer.sendall(str(os.getpid()).encode())

supervisor.run_workers(
    int(sys.argv[1]),
    work,
    ready=lambda: print("ready", listening.getsockname()[1], flush=True),
    stopping=lambda: print("stopping", flush=True),
)
print("ended", flush=True)
"""


class Workers:
    def __init__(
        self, count: int = 2, *, steady_seconds: float = 60.0, port: int = 0, before: str = "", slow: float = 0
    ) -> None:
        script = SERVING.format(before=before or "pass", slow=slow)
        command = [sys.executable, "-c", script, str(count), str(steady_seconds), str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.said: IO[str] = self.process.stdout
        self.port = int(self.said.readline().rpartition(" ")[2] or 0)

    def ask(self, word: bytes = b"a", timeout: float = 5) -> int:
        """Returns which process answered, or 0."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as asking:
            asking.sendall(word)
            return int(asking.recv(100) or 0)

    def seen(self, enough: Callable[[set[int]], bool]) -> set[int]:
        """Ask until `enough` have answered."""
        pids: set[int] = set()
        deadline = time.monotonic() + 20
        while not enough(pids):
            assert time.monotonic() < deadline
            pids.add(self.ask())
        return pids

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextlib.contextmanager
def running(count: int = 2, **options: object) -> Generator[Workers, None, None]:
    workers = Workers(count, **options)  # type: ignore[arg-type]
    try:
        yield workers
    finally:
        workers.close()


@pytest.mark.slow
def test_all_serve_and_end_cleanly_when_the_parent_is_told_to() -> None:
    with running() as workers:
        pids = workers.seen(lambda pids: len(pids) == 2)
        assert workers.process.pid not in pids
        workers.process.send_signal(signal.SIGTERM)
        assert workers.process.wait(20) == 0
        assert workers.said.read() == "stopping\nended\n"
        assert not any(is_running(pid) for pid in pids)


@pytest.mark.slow
def test_what_was_asked_before_the_end_is_answered() -> None:
    with running(slow=0.5) as workers:
        answers: list[int] = []
        asking = [threading.Thread(target=lambda: answers.append(workers.ask())) for _ in range(2)]
        for thread in asking:
            thread.start()
        for _ in asking:
            assert workers.said.readline() == "asked\n"
        workers.process.send_signal(signal.SIGINT)
        assert workers.process.wait(20) == 0
        for thread in asking:
            thread.join()
        assert len(answers) == 2
        assert 0 not in answers


@pytest.mark.slow
def test_one_that_dies_is_followed_by_another() -> None:
    with running(steady_seconds=0) as workers:
        before = workers.seen(lambda pids: len(pids) == 2)
        assert workers.ask(b"x") == 0
        after = workers.seen(lambda pids: len(pids - before) == 1)
        assert len(after) == 2 or len(after | before) == 3


@pytest.mark.slow
def test_one_that_keeps_dying_is_followed_after_a_pause_that_grows() -> None:
    with running(1) as workers:
        waits: list[float] = []
        for _ in range(3):
            began = time.monotonic()
            workers.ask(b"x")
            workers.ask(timeout=60)
            waits.append(time.monotonic() - began)
        assert waits[0] >= 0.4
        assert waits[1] >= 0.9
        assert 1.8 <= waits[2] < 10


@pytest.mark.slow
def test_if_the_parent_is_killed_the_workers_end_and_the_address_is_free() -> None:
    with running(slow=30) as workers:
        asking = socket.create_connection(("127.0.0.1", workers.port))
        asking.sendall(b"a")
        assert workers.said.readline() == "asked\n"
        workers.process.kill()
        workers.process.wait(10)
        began = time.monotonic()
        with asking:
            assert asking.recv(10) == b""
        with running(port=workers.port) as again:
            assert again.ask() > 0
        assert time.monotonic() - began < 25  # It is busy for 30 s.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "status", "says"),
    [
        ("raise Misconfigured('the key is bad')", 1, "quanma.errors.Misconfigured: the key is bad"),
        ("raise StoreUnavailable('no database')", 1, "quanma.errors.StoreUnavailable: no database"),
        ("os._exit(9)", 1, "quanma.errors.StoreUnavailable: a worker ended with 9 before it could answer"),
        ("os.kill(os.getpid(), 9)", 1, "quanma.errors.StoreUnavailable: a worker ended with -9 before it could answer"),
    ],
)
def test_a_first_start_that_fails_is_the_parents_failure(before: str, status: int, says: str) -> None:
    with running(before=before) as workers:
        assert workers.process.wait(20) == status
        assert workers.process.stderr is not None
        assert workers.process.stderr.read().rstrip().endswith(says)


@pytest.mark.slow
def test_a_worker_that_does_not_end_is_killed_in_time() -> None:
    with running(slow=60) as workers:
        asking = socket.create_connection(("127.0.0.1", workers.port))
        asking.sendall(b"a")
        assert workers.said.readline() == "asked\n"
        began = time.monotonic()
        workers.process.send_signal(signal.SIGTERM)
        with asking:
            assert workers.process.wait(20) == 0
        assert time.monotonic() - began > 1
