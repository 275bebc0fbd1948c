"""One loop serves all connections: what many of them send, or leave unsent, at one moment is worked off in turns."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest
from httptools import HttpRequestParser

from quanma.serving.http1 import Connection
from quanma.serving.messages import Outcome, Reply, Request
from quanma.serving.shared import Serving
from tests.support.heads import UNFINISHED

MANY = 600
WHOLE = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"


class Answering:
    """An application that says 200, or 408 to what did not arrive in time."""

    verbs = frozenset({"GET", "POST"})

    def share(self, request: Request) -> str:
        return ""

    def body_bytes_max(self, verb: str, path: bytes) -> int:
        return 1000

    def refusal(self, request: Request) -> Reply | None:
        return Reply(429, "", b"")

    async def answer(self, request: Request) -> Outcome:
        return Outcome(408 if request.body is None else 200, b"")

    def finish(self, request: Request, outcome: Outcome) -> Reply:
        return Reply(outcome.status, "", b"")

    def note(self, *, under_way: int, connections: int) -> None: ...
    async def start(self) -> None: ...
    def drain(self) -> None: ...
    async def stop(self) -> None: ...


class Wire(asyncio.Transport):
    """What a connection writes, and whether it closed."""

    def __init__(self, serving: Serving) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self.connection = Connection(serving)
        self.connection.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def write_eof(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


@pytest.fixture
def one_in_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many there are in a turn is a matter of time, but for this."""
    monkeypatch.setattr("quanma.serving.shared.READ_SECONDS", 0.0)


def with_serving(story: Callable[[Serving], Awaitable[None]]) -> None:
    async def run() -> None:
        serving = Serving(Answering())
        serving.start(asyncio.get_running_loop())
        try:
            await asyncio.wait_for(story(serving), 10)
        finally:
            serving.stop()

    asyncio.run(run())


async def until(holds: Callable[[], bool]) -> None:
    """So many turns as it takes, and no end: whoever waits sets one."""
    while True:
        if holds():
            return
        await asyncio.sleep(0)


@pytest.mark.slow
@pytest.mark.usefixtures("one_in_a_turn")
@pytest.mark.parametrize("name", UNFINISHED)
def test_what_arrived_after_the_heads_of_many_strangers_is_answered_before_most_of_them_are_read(name: str) -> None:
    async def story(serving: Serving) -> None:
        # Each is refused where it goes on: how many were is how many were read.
        strangers = [Wire(serving) for _ in range(MANY)]
        for stranger in strangers:
            stranger.connection.data_received(UNFINISHED[name][:-1] + b"\0\0")
        newcomer = Wire(serving)
        newcomer.connection.data_received(WHOLE)
        await until(lambda: bool(newcomer.written))
        assert newcomer.written.startswith(b"HTTP/1.1 200 OK")
        read = sum(bool(stranger.written) for stranger in strangers)
        assert read < 10
        await until(lambda: all(stranger.written for stranger in strangers))

    with_serving(story)


def test_bodies_that_are_all_too_late_at_one_moment_are_answered_in_turn() -> None:
    async def story(serving: Serving) -> None:
        late = [Wire(serving) for _ in range(100)]
        for one in late:
            one.connection.data_received(b"POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
            one.connection.deadline = serving.now
        serving._look()
        assert len(serving.under_way) == 0
        serving._look()  # None of them is closed while it waits for its turn.
        assert not any(one.closed for one in late)
        await until(lambda: all(one.written for one in late))
        assert {one.written[:12] for one in late} == {b"HTTP/1.1 408"}

    with_serving(story)


@pytest.mark.usefixtures("one_in_a_turn")
def test_connections_whose_time_is_over_at_one_moment_are_closed_in_turn() -> None:
    async def story(serving: Serving) -> None:
        idle = [Wire(serving) for _ in range(100)]
        for one in idle:
            one.connection.deadline = serving.now
        serving._look()
        assert sum(one.closed for one in idle) == 1
        await until(lambda: all(one.closed for one in idle))

    with_serving(story)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [*UNFINISHED.values(), WHOLE, WHOLE * 3], ids=[*UNFINISHED, "one", "three"])
def test_nothing_is_left_of_a_connection_that_ended_without_a_look_for_cycles(sent: bytes) -> None:
    """Such a look at what is old comes hardly ever: see COLLECT_EVERY."""

    async def story(serving: Serving) -> None:
        for _ in range(10):
            stranger = Wire(serving)
            stranger.connection.data_received(sent)
            for _ in range(10):
                await asyncio.sleep(0)
            stranger.connection.connection_lost(None)
            del stranger.connection  # A real transport forgets it likewise.
        await asyncio.sleep(0)
        assert sum(isinstance(one, (Connection, HttpRequestParser)) for one in gc.get_objects()) == 0

    gc.collect()
    gc.disable()
    try:
        with_serving(story)
    finally:
        gc.enable()


def test_a_head_that_came_with_the_end_of_its_sender_is_read_and_then_closed() -> None:
    async def story(serving: Serving) -> None:
        half, whole = Wire(serving), Wire(serving)
        half.connection.data_received(WHOLE[:-2])
        assert half.connection.eof_received()
        whole.connection.data_received(WHOLE + WHOLE)
        assert whole.connection.eof_received()
        await until(lambda: half.closed and whole.closed)
        assert half.written == b""
        assert whole.written.count(b"HTTP/1.1 200 OK") == 2

    with_serving(story)


def test_a_request_in_pieces_of_one_byte_is_read_whatever_else_is_read_in_between() -> None:
    async def story(serving: Serving) -> None:
        whole = Wire(serving)
        for byte in WHOLE * 2:
            whole.connection.data_received(bytes([byte]))
            if byte == ord("H"):
                await asyncio.sleep(0)
        await until(lambda: whole.written.count(b"HTTP/1.1 200 OK") == 2)

    with_serving(story)
