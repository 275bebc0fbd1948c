"""A proxy before the platform that does to upload requests what networks, gateways and the platform itself do.

Which request meets which fault is drawn from a shuffled deck, so that each of them comes up, soon. It runs in a thread
of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from tests.support.conversing import Conversing

PASS: Final = "pass"
LOST, TRUNCATED = "lost answer after commit", "truncated answer"
RESET = "reset before forwarding"
SILENCE_BEFORE, SILENCE_AFTER = "silence before forwarding", "silence after commit"
LIMITED, LIMITED_UNTIL = "429 without Retry-After", "429 with Retry-After"
FAILED_BEFORE, FAILED_AFTER = "5xx before forwarding", "5xx after commit"
BAD_SIGNATURE, PROBE, REPLAYED = "bad signature", "SIGNTEST probe", "another request's signed answer"
CREATING, REFUSED = "STATEMENT_CREATING", "unsigned 400"

SILENCE_SECONDS_MAX = 60.0
LIMIT_SPELLINGS: Final = ("FREQUENCY_LIMITED", "FREQUENCY_LIMIT_EXCEED", "RATELIMIT_EXCEEDED")
FAILURES: Final = ((500, "SYSTEM_ERROR"), (502, "BAD_GATEWAY"), (503, "SERVICE_UNAVAILABLE"))

TRANSIENT: Final[Mapping[str, int]] = {
    LOST: 3,
    RESET: 2,
    FAILED_BEFORE: 1,
    FAILED_AFTER: 3,
    TRUNCATED: 2,
    BAD_SIGNATURE: 1,
    PROBE: 1,
    REPLAYED: 2,
    SILENCE_BEFORE: 1,
    SILENCE_AFTER: 1,
    LIMITED: 1,
    LIMITED_UNTIL: 1,
}
"""A deck; the first one that is dealt has one card of each. Left out: a stock still being created makes everything wait
for a minute, refusals stop it all."""


class Message(NamedTuple):
    head: bytes
    body: bytes

    @property
    def is_upload(self) -> bool:
        return self.head.startswith(b"POST ") and b"/couponcodes " in self.head

    @property
    def is_success(self) -> bool:
        return self.head.startswith(b"HTTP/1.1 200 ")


class FaultProxy:
    """`share` of the upload requests meet a fault, one of the deck. `counts` says which did."""

    def __init__(self, upstream: str, seed: int, *, share: float, deck: Mapping[str, int]) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname, parts.port)
        self._random = random.Random(seed)
        self._share = share
        self._deck = list(Counter(deck).elements())
        self._left = self._random.sample(list(deck), len(deck))
        self.counts: Counter[str] = Counter()
        self.on_answer: Callable[[], None] = lambda: None
        """Called when an answer to an upload has just left, whole or not, true or not."""
        self._good_answers: list[Message] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._thread.start()
        assert self._ready.wait(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        self._server = Conversing(self._converse)
        await self._server.open()
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._ready.set()
        await self._stopping.wait()
        await self._server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # One side may go away: also a thing that happens.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                request = await _read(reader)
                fault = self._drawn() if request.is_upload else PASS
                self.counts[fault] += request.is_upload
                await self._faults[fault](self, request, reader, writer)
                await writer.drain()
                if request.is_upload:
                    self.on_answer()
                if writer.is_closing():
                    return

    def _drawn(self) -> str:
        if self._random.random() >= self._share:
            return PASS
        if not self._left:
            self._left = self._random.sample(self._deck, len(self._deck))
        return self._left.pop()

    async def _forward(self, request: Message) -> Message:
        reader, writer = await self._server.reach(*self._upstream)
        try:
            writer.write(request.head + request.body)
            answer = await _read(reader)
        finally:
            writer.close()
        if request.is_upload and answer.is_success:
            self._good_answers.append(answer)
        return answer

    async def _pass(self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _write(writer, await self._forward(request))

    async def _lose(self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._forward(request)
        writer.close()

    async def _truncate(self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = await self._forward(request)
        writer.write(answer.head + answer.body[: len(answer.body) // 2])
        writer.close()

    async def _reset(self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def _be_silent(self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SILENCE_SECONDS_MAX):
                await reader.read(1)  # Until the client has had enough.
        writer.close()

    async def _be_silent_after(
        self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await self._forward(request)
        await self._be_silent(request, reader, writer)

    async def _limit(self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _write(writer, _error(429, self._random.choice(LIMIT_SPELLINGS)))

    async def _limit_until(self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _write(writer, _error(429, self._random.choice(LIMIT_SPELLINGS), "Retry-After: 1"))

    async def _fail(self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _write(writer, _error(*self._random.choice(FAILURES)))

    async def _fail_after(self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._forward(request)
        await self._fail(request, reader, writer)

    async def _sign_badly(self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = await self._forward(request)
        _write(writer, _resigned(answer, lambda signature: signature[1:-2] + signature[:1] + signature[-2:]))

    async def _probe(self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = await self._forward(request)
        _write(writer, _resigned(answer, lambda signature: b"WECHATPAY/SIGNTEST/" + signature))

    async def _replay(self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = await self._forward(request)
        others = [other for other in self._good_answers if other.body != answer.body]
        _write(writer, self._random.choice(others) if others else answer)

    async def _be_creating(self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _write(writer, _error(400, "STATEMENT_CREATING"))

    async def _refuse(self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _write(writer, _error(400, "INVALID_REQUEST"))

    _faults: Final[Mapping[str, Callable[..., Awaitable[None]]]] = {
        PASS: _pass,
        LOST: _lose,
        TRUNCATED: _truncate,
        RESET: _reset,
        SILENCE_BEFORE: _be_silent,
        SILENCE_AFTER: _be_silent_after,
        LIMITED: _limit,
        LIMITED_UNTIL: _limit_until,
        FAILED_BEFORE: _fail,
        FAILED_AFTER: _fail_after,
        BAD_SIGNATURE: _sign_badly,
        PROBE: _probe,
        REPLAYED: _replay,
        CREATING: _be_creating,
        REFUSED: _refuse,
    }


@contextlib.contextmanager
def faults(upstream: str, seed: int, **options: Any) -> Generator[FaultProxy, None, None]:
    proxy = FaultProxy(upstream, seed, **options)
    try:
        yield proxy
    finally:
        proxy.close()


async def _read(reader: asyncio.StreamReader) -> Message:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *([0-9]+)", head, re.IGNORECASE)
    return Message(head, await reader.readexactly(int(length[1])) if length else b"")


def _write(writer: asyncio.StreamWriter, answer: Message) -> None:
    writer.write(answer.head + answer.body)


def _error(status: int, code: str, *headers: str) -> Message:
    """Unsigned, as a gateway before the platform would answer."""
    body = json.dumps({"code": code, "message": "from the proxy"}).encode()
    lines = [f"HTTP/1.1 {status} No", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return Message("\r\n".join([*lines, "", ""]).encode(), body)


def _resigned(answer: Message, change: Callable[[bytes], bytes]) -> Message:
    def changed(found: re.Match[bytes]) -> bytes:
        return found[1] + change(found[2])

    head, count = re.subn(rb"(?i)(\r\nwechatpay-signature: *)([^\r]+)", changed, answer.head)
    assert count == 1, answer.head
    return Message(head, answer.body)
