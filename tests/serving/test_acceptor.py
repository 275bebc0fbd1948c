"""New connections go to the worker that has the fewest, and to another one if that does not take them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator

import pytest

from quanma.serving import server
from quanma.serving.acceptor import BACKLOG, LEAVE_SECONDS, Acceptor, ConnectionCounts
from quanma.serving.asgi import Behind
from quanma.serving.shared import Serving

# Each worker answers with its process id.
SERVING = """
import os, socket, sys
from quanma.serving import server, supervisor
from quanma.serving.asgi import Behind
from quanma.serving import server
from quanma.serving.asgi import Behind
from quanma.serving.shared import Serving
from quanma.serving.acceptor import LEAVE_SECONDS, ConnectionCounts, Acceptor

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d." % os.getpid()})

listening = server.bind("127.0.0.1", 0)
counts = ConnectionCounts(2)
supervisor.run_workers(
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
    counts = ConnectionCounts(3)
    assert not any(counts.another_has_fewer(place) for place in range(3))
    for place, count in enumerate((4, 5, 4)):
        counts.note(place, count)
    assert [counts.another_has_fewer(place) for place in range(3)] == [False, True, False]
    counts.leave(0)
    counts.note(2, 9)
    assert [counts.another_has_fewer(place) for place in (1, 2)] == [False, True]


class Workers:
    """Several in one process and on one loop, so that which of them takes a connection is no matter of time."""

    def __init__(self, count: int) -> None:
        self._listening = server.bind("127.0.0.1", 0)
        self.address = self._listening.getsockname()
        counts = ConnectionCounts(count)
        self.servings = [Serving(Behind(nobody, 1000)) for _ in range(count)]
        self._doors = [
            Acceptor(serving, self._listening.dup(), counts, place) for place, serving in enumerate(self.servings)
        ]

    def listen(self) -> None:
        """Let the system keep who comes until they are taken."""
        self._listening.listen(BACKLOG)

    async def __aenter__(self) -> Workers:
        for serving, door in zip(self.servings, self._doors, strict=True):
            serving.start(asyncio.get_running_loop())
            door.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        for serving, door in zip(self.servings, self._doors, strict=True):
            door.close()
            serving.stop()
        self._listening.close()
        await asyncio.sleep(0)

    def has(self) -> list[int]:
        return [len(serving.connections) for serving in self.servings]

    async def welcome(self, opened: contextlib.ExitStack) -> None:
        """Connect, and wait until some worker has it, and those that left it are back."""
        before = sum(self.has())
        connection = opened.enter_context(socket.socket())
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, self.address)
        await until(lambda: sum(self.has()) > before)
        await asyncio.sleep(2 * LEAVE_SECONDS)


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(20_000):
        if holds():
            return
        await asyncio.sleep(0.0005)
    raise AssertionError("it does not come to hold")


async def nobody(scope: object, receive: object, send: object) -> None:
    raise AssertionError("nothing is asked here")


def test_connections_are_spread_evenly_also_after_all_of_one_have_ended() -> None:
    async def story() -> None:
        with contextlib.ExitStack() as opened:
            async with Workers(3) as workers:
                for _ in range(30):
                    await workers.welcome(opened)
                    assert max(workers.has()) - min(workers.has()) <= 1
                assert workers.has() == [10, 10, 10]
                for connection in list(workers.servings[1].connections):
                    connection.abort()
                await until(lambda: not workers.has()[1])
                for _ in range(10):
                    await workers.welcome(opened)
                # The first may go by what it had, for it tells when someone comes; and who left five takes one itself.
                assert workers.has()[1] >= 7

    asyncio.run(asyncio.wait_for(story(), 60))


def test_whoever_waits_to_be_taken_is_not_taken_one_in_a_turn_of_the_loop() -> None:
    """A turn of a loop that has much to do takes 10 ms: behind 100 others, a newcomer would wait for a second."""

    async def story() -> None:
        with contextlib.ExitStack() as opened:
            workers = Workers(1)
            workers.listen()
            for _ in range(100):
                opened.enter_context(socket.create_connection(workers.address, 5))
            async with workers:
                turns = 0
                while workers.has() != [100]:
                    turns += 1
                    await asyncio.sleep(0)
                assert turns < 50

    asyncio.run(asyncio.wait_for(story(), 60))


@pytest.mark.slow
def test_both_of_two_processes_take_connections(served: Served) -> None:
    assert len({served.who_answers(served.connect()) for _ in range(20)}) == 2


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
        # He has the fewest once some of the other's are added. Nobody is left to him: whoever is asks in vain for 5 s.
        for _ in range(20):
            assert served.who_answers(served.connect()) != stuck
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
