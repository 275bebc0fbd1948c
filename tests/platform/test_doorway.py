"""New connections go to the worker that has the fewest, and to another one if that does not take them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator

import pytest

from quanma.platform.doorway import Counts

# Each worker answers with its process id.
SERVING = """
import os, socket, sys
from quanma.platform import server, workers
from quanma.platform.asgi import Behind
from quanma.platform.doorway import Counts

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d." % os.getpid()})

listening = server.bind("127.0.0.1", 0)
counts = Counts(2)
workers.run_workers(
    2,
    lambda place, ready: server.run(Behind(app, 1000), listening, lambda _: ready(), place=(counts, place)),
    ready=lambda: print(listening.getsockname()[1], flush=True),
    stopping=listening.close,
    ended=lambda place, pid: counts.leave(place),
)
"""


class Served:
    def __init__(self, port: int) -> None:
        self._port = port
        self._opened = contextlib.ExitStack()

    def connect(self) -> socket.socket:
        """A connection that stays."""
        return self._opened.enter_context(socket.create_connection(("127.0.0.1", self._port), 5))

    def who_answers(self, connection: socket.socket) -> int:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b"."):
            received = connection.recv(1000)
            assert received
            answer += received
        return int(answer.rpartition(b"\r\n")[2][:-1])

    def close(self) -> None:
        self._opened.close()


@pytest.fixture
def served() -> Generator[Served, None, None]:
    process = subprocess.Popen([sys.executable, "-c", SERVING], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    served = Served(int(process.stdout.readline()))
    try:
        yield served
    finally:
        served.close()
        process.terminate()
        assert process.wait(20) == 0
        process.stdout.close()


def test_whoever_has_more_leaves_the_next_one_to_another() -> None:
    counts = Counts(3)
    assert not any(counts.another_has_fewer(place) for place in range(3))
    for place, count in enumerate((4, 5, 4)):
        counts.note(place, count)
    assert [counts.another_has_fewer(place) for place in range(3)] == [False, True, False]
    counts.leave(0)
    counts.note(2, 9)
    assert [counts.another_has_fewer(place) for place in (1, 2)] == [False, True]


@pytest.mark.slow
def test_many_connections_are_spread_evenly_also_after_some_have_ended(served: Served) -> None:
    connections = [served.connect() for _ in range(60)]
    by_worker = Counter(served.who_answers(connection) for connection in connections)
    assert len(by_worker) == 2
    assert min(by_worker.values()) >= 27
    # All of one worker's end. The next ones are his.
    (few, _), _ = by_worker.most_common()
    for connection in connections:
        if served.who_answers(connection) == few:
            connection.close()
    time.sleep(0.2)
    assert Counter(served.who_answers(served.connect()) for _ in range(20))[few] >= 18


@pytest.mark.slow
def test_a_worker_that_is_stuck_keeps_nobody_waiting(served: Served) -> None:
    stuck = served.who_answers(served.connect())
    others = [
        connection for connection in (served.connect() for _ in range(9)) if served.who_answers(connection) != stuck
    ]
    assert len(others) >= 4
    for connection in others[:2]:
        connection.close()
    os.kill(stuck, signal.SIGSTOP)
    try:
        # He has the fewest once some of the other's are added.
        began = time.monotonic()
        for _ in range(20):
            assert served.who_answers(served.connect()) != stuck
        assert time.monotonic() - began < 4
    finally:
        os.kill(stuck, signal.SIGCONT)


@pytest.mark.slow
def test_a_worker_that_died_is_no_longer_counted(served: Served) -> None:
    pids = {served.who_answers(served.connect()) for _ in range(6)}
    assert len(pids) == 2
    os.kill(pids.pop(), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while len({served.who_answers(served.connect()) for _ in range(4)}) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
