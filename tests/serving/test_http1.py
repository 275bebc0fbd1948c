"""Connections and what they share: one reply, one connection, one look that fails does not reach the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from quanma.serving import http1
from quanma.serving.http1 import Connection
from quanma.serving.messages import Outcome, Reply, Request
from quanma.serving.shared import PLACES, Serving
from tests.support.every import every_row

HEAD = "\r\nHost: x\r\n\r\n"


class Fragile:
    """An application that fails where the path says so."""

    verbs = frozenset({"GET", "POST"})
    noted = 0

    def share(self, request: Request) -> str:
        return self._fail(request, b"/share")

    def body_bytes_max(self, verb: str, path: bytes) -> int:
        return 1000

    def refusal(self, request: Request) -> Reply | None:
        self._fail(request, b"/refusal")
        return Reply(429, "", b"")

    async def answer(self, request: Request) -> Outcome:
        self._fail(request, b"/answer")
        if request.path == b"/cancelled":
            raise asyncio.CancelledError
        if request.path == b"/slow":
            await asyncio.sleep(0.2)
        return Outcome(200, request.path)

    def finish(self, request: Request, outcome: Outcome) -> Reply:
        self._fail(request, b"/finish")
        status = 299 if request.path == b"/status" else outcome.status
        return Reply(status, "X: \u5238\r\n" if request.path == b"/header" else "", outcome.body)

    def note(self, *, under_way: int, connections: int) -> None:
        self.noted += 1
        raise ValueError("no figures")

    def _fail(self, request: Request, where: bytes) -> str:
        if request.path == where:
            raise ValueError("as the path said")
        return ""

    async def start(self) -> None: ...

    def drain(self) -> None: ...

    async def stop(self) -> None: ...


def with_serving(story: Callable[[Serving, Fragile, int], Awaitable[None]]) -> None:
    async def run() -> None:
        loop, app = asyncio.get_running_loop(), Fragile()
        serving = Serving(app)
        serving.start(loop)
        server = await loop.create_server(lambda: Connection(serving), "127.0.0.1", 0)
        try:
            await asyncio.wait_for(story(serving, app, server.sockets[0].getsockname()[1]), 10)
        finally:
            serving.stop()
            server.close()

    asyncio.run(run())


async def asked(port: int, *paths: str) -> bytes:
    """Everything that is answered to requests on one connection, the last of which ends it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("".join(f"GET {path} HTTP/1.1{HEAD}" for path in paths).encode())
    writer.write_eof()
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@every_row("path", ["/finish", "/answer", "/cancelled", "/share", "/status", "/header"])
def test_an_answer_that_fails_gives_its_place_back_and_the_others_are_answered(path: str) -> None:
    async def story(serving: Serving, app: Fragile, port: int) -> None:
        both = ["/fine", path, "/fine"] * 10
        answers = await asyncio.gather(*[asked(port, one) for one in both])
        assert [answer.endswith(b"/fine") for answer in answers] == [True, False, True] * 10
        assert len(serving.under_way) == 0
        assert (await asked(port, "/again")).endswith(b"/again")
        await asyncio.sleep(0)
        assert not serving.connections

    with_serving(story)


def test_a_refusal_that_fails_keeps_no_connection() -> None:
    async def story(serving: Serving, app: Fragile, port: int) -> None:
        for number in range(PLACES):
            serving.under_way.take_all_the_same(number)
        assert await asked(port, "/refusal") == b""
        assert b" 429 " in await asked(port, "/fine")
        for number in range(PLACES):
            serving.under_way.give_back(number)
        assert (await asked(port, "/fine")).endswith(b"/fine")

    with_serving(story)


def test_figures_that_can_not_be_noted_do_not_end_the_looking() -> None:
    async def story(serving: Serving, app: Fragile, port: int) -> None:
        before = app.noted
        serving._look()
        serving._look()
        assert app.noted == before + 2
        assert serving._looking is not None
        assert not serving._looking.cancelled()

    with_serving(story)


@pytest.mark.slow
def test_requests_sent_ahead_in_one_piece_are_each_answered_in_order() -> None:
    async def story(serving: Serving, app: Fragile, port: int) -> None:
        paths = [f"/{'slow' if number % 50 == 0 else number}" for number in range(300)]
        answer = await asked(port, *paths)
        assert answer.count(b" 200 OK") == 300
        assert [line.rpartition(b"HTTP")[0] or line for line in answer.split(b"\r\n\r\n")[1:]] == [
            path.encode() for path in paths
        ]

    with_serving(story)


def test_above_the_most_connections_each_is_refused_and_closed_until_there_are_fewer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http1, "CONNECTIONS_MAX", 2)

    async def story(serving: Serving, app: Fragile, port: int) -> None:
        kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for each in kept:
            assert b" 200 OK" in await one_answer(each, "/fine")
        answer = await asked(port, "/one-too-many")
        assert b" 429 " in answer
        assert b"Connection: close" in answer
        while len(serving.connections) > 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
        # Those that were there before stay.
        for each in kept:
            answer = await one_answer(each, "/fine")
            assert b" 200 OK" in answer
            assert b"Connection: close" not in answer
            each[1].close()

    with_serving(story)


async def one_answer(open_one: tuple[asyncio.StreamReader, asyncio.StreamWriter], path: str) -> bytes:
    """The head of what is answered on a connection that stays, and its body, which is the path."""
    reader, writer = open_one
    writer.write(f"GET {path} HTTP/1.1{HEAD}".encode())
    return await reader.readuntil(f"\r\n\r\n{path}".encode())
