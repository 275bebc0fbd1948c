"""A connection: requests in order, their answers, and all that has an end: time, number, what is sent ahead.

What arrives is read in arriving.py. What comes in parts or ahead is read in turn: see shared.py.
A drawing of its states: docs/serving.md.
"""

from __future__ import annotations

import asyncio
import http
import time
from collections import deque

from .arriving import TOGETHER_BYTES, Arriving
from .messages import Reply, Request, Sender
from .shared import Serving

LARGE_HEAD_BYTES = 4 * 1024
"""A smaller one is never refused for the memory of all: a signed request has 1 kB."""
LARGE_HEADS_BYTES_MAX = 16 * 1024 * 1024
"""Of all large heads that are arriving or wait, and of what was sent ahead behind them."""
HEAD_SECONDS = 8.0
"""For a head from its first byte on, and between requests. Source: the keep-alive timeout as seen in the field."""
BODY_SECONDS = 8.0
WRITE_SECONDS = 8.0
"""For whoever does not read its answer."""
LINGER_SECONDS = 1.0
"""How long the rest of a refused body is read and thrown away: to close on a sender would lose the answer."""
CONNECTIONS_MAX = 8192
REFUSED_AT_ONCE = 8
"""Requests of one connection that are refused before others are looked at."""
PIECES_AT_ONCE = 64
"""Of what one connection sent ahead, so many are read before others are looked at: a body may come in many chunks."""

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in http.HTTPStatus}


class Connection(asyncio.Protocol):
    """One request at a time; those sent ahead wait."""

    # More than a dozen attributes without slots are each found the slow way.
    __slots__ = (
        "_ahead",
        "_ahead_at",
        "_arriving",
        "_broken",
        "_closing",
        "_current",
        "_cut",
        "_feeding",
        "_large_head_bytes",
        "_paused",
        "_queued",
        "_sent_all",
        "_serving",
        "_task",
        "_took",
        "_transport",
        "_waiting",
        "_waiting_bytes",
        "_writable",
        "deadline",
    )

    _transport: asyncio.Transport

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._arriving = Arriving(serving, self)
        self.deadline = 0.0
        """By the clock of the loop; 0: none. What happens then depends on what is waited for."""
        self._current: Request | None = None
        """The one that is being answered."""
        self._task: asyncio.Task[None] | None = None
        """Kept, or it could be forgotten before it is done."""
        self._waiting: deque[Request] = deque()
        self._ahead, self._ahead_at = b"", 0
        """What was sent ahead, and where it goes on: it is read once what was sent before it is answered."""
        self._feeding = False
        """What was sent ahead is being read."""
        self._queued = False
        """It goes on after some others."""
        self._took = 0
        """Requests that were there in what is being read of it, whole or cut."""
        self._waiting_bytes = 0
        """Of the heads of those that wait."""
        self._large_head_bytes = 0
        """What this connection is counted for among all large heads."""
        self._broken = False
        """What arrived last is no HTTP of ours: it is refused once all before it is answered."""
        self._cut = False
        """The last request did not arrive whole."""
        self._sent_all = False
        """The other side sends no more. What it has sent is perhaps not read yet."""
        self._paused = False
        self._writable = True
        self._closing = False

    # Called by the loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is none of asyncio's.
        self._serving.connections.add(self)
        self._wait(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        # What is under way is finished all the same, and its answer dropped.
        self._serving.connections.discard(self)
        self._closing = True
        self._arriving.end()
        self._waiting.clear()
        self._ahead = b""
        self._count_heads(0)
        self.deadline = 0.0

    def eof_received(self) -> bool:
        """Whoever sends no more may still read what it asked for."""
        self._sent_all = True
        if not self._ahead:
            self._arriving.reading = False
        return self._current is not None or bool(self._waiting or self._ahead)

    def pause_writing(self) -> None:
        self._writable = False
        self._wait(WRITE_SECONDS)

    def resume_writing(self) -> None:
        self._writable = True
        if not self._closing:
            self._go_on()

    def data_received(self, data: bytes) -> None:
        arriving = self._arriving
        if not arriving.reading:
            return
        if arriving.untouched and self.idle:  # Nothing is unread, or reading would be paused.
            self._wait(HEAD_SECONDS)  # The first byte of a head.
        if self._ahead or self._waiting or not arriving.can_be_read_at_once(data):
            self._ahead, self._ahead_at = self._ahead[self._ahead_at :] + data, 0
            self._look_at_size()
            if self._current is None:
                self._in_turn()
            self._pause_or_resume()
            return
        arriving.feed(data)
        if arriving.begun or self._waiting or self._large_head_bytes:
            self._look_at_size()
            if self._waiting:
                self._pause_or_resume()

    def _read_on(self, requests: int) -> None:
        """Read what was sent ahead, until a request waits, or so many were refused."""
        arriving = self._arriving
        self._feeding, self._took = True, 0
        for _ in range(PIECES_AT_ONCE):
            if not self._ahead or not arriving.reading or self._waiting or self._took >= requests:
                break
            ahead, start = self._ahead, self._ahead_at
            end = arriving.end_of_piece(ahead, start)
            self._ahead, self._ahead_at = (ahead, end) if end < len(ahead) else (b"", 0)
            arriving.feed(ahead[start:end])
        self._look_at_size()
        self._feeding = False
        if self._sent_all and not self._ahead:
            arriving.reading = False
        if not arriving.reading:
            self._ahead = b""
            if self._sent_all and self._current is None and not (self._waiting or self._closing or self._broken):
                self.close()
        if (self._waiting or self._ahead) and self._current is None and not self._closing:
            self._in_turn()
        self._pause_or_resume()

    def _pause_or_resume(self) -> None:
        """Let the system keep what is sent ahead while something is still to be read, or to be answered before."""
        if self._closing:
            return
        if (self._waiting or len(self._ahead) - self._ahead_at > TOGETHER_BYTES) and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        elif self._paused and self._current is None and not self._waiting and not self._ahead and self._writable:
            self._paused = False
            self._transport.resume_reading()

    def _look_at_size(self) -> None:
        """Refuse a head that is too large, by itself or with all others: it, or what was sent ahead."""
        self._count_heads(self._arriving.head_bytes + self._waiting_bytes + len(self._ahead))
        too_many = self._serving.large_heads_bytes > LARGE_HEADS_BYTES_MAX
        if self._large_head_bytes and self._arriving.reading and too_many:
            self._arriving.cut(one_too_many=True)
            self._count_heads(self._waiting_bytes)

    def _count_heads(self, count: int) -> None:
        large = count if count > LARGE_HEAD_BYTES else 0
        self._serving.large_heads_bytes += large - self._large_head_bytes
        self._large_head_bytes = large

    # Called by what arrives.

    def head_arrived(self, request: Request) -> None:
        if self._current is None:
            self._wait(BODY_SECONDS)
            if request.fields.get(b"expect", b"").lower() == b"100-continue":
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def arrived(self, request: Request, head_bytes: int) -> None:
        if not self._arriving.reading:
            self._ahead = b""
        self._took += 1
        if self._current is None and self._writable and not self._waiting and not self._closing:
            self._begin(request)
            if self._current is None:
                self._go_on()
        else:
            self._waiting.append(request)
            self._waiting_bytes += head_bytes

    def arrived_cut(self, request: Request) -> None:
        """Many may be cut at one moment: each is answered in its turn."""
        self._cut = True
        self._ahead = b""
        self._took += 1
        self._waiting.append(request)
        if self._current is None and not self._closing:
            if self._writable:
                self.deadline = 0.0
            self._in_turn()

    def broke(self) -> None:
        """It is refused once all before it is answered."""
        self._broken = True
        if self._current is None and not self._waiting:
            self._refuse()

    # From a request to its answer.

    def _go_on(self) -> None:
        """To the next request, if one waits; then to what is to be done after the last."""
        while self._waiting and self._current is None and self._writable and not self._closing:
            self._begin(self._waiting.popleft())
        if not self._waiting:
            self._waiting_bytes = 0
            if self._large_head_bytes and not self._arriving.begun and not self._feeding:
                self._count_heads(len(self._ahead))
        if self._current is not None or self._closing:
            return
        if self._waiting or self._ahead:
            self._in_turn()
        elif self._broken:
            self._refuse()
        elif self._writable:
            self._wait(HEAD_SECONDS)
            if self._paused and not self._feeding:
                self._pause_or_resume()

    def _in_turn(self) -> None:
        """Go on after the others: the refusals of one that sends ahead would else keep all from being read."""
        if not self._queued and self._writable and not self._feeding:
            self._queued = True
            self._serving.read_soon(self)

    def its_turn(self) -> None:
        self._queued = False
        if self._waiting:
            self._go_on()
        elif self._current is None and not self._closing:
            if self.deadline == 0.0:
                self._wait(HEAD_SECONDS)
            self._read_on(REFUSED_AT_ONCE)

    def _begin(self, request: Request) -> None:
        serving, app = self._serving, self._serving.app
        self._current = request
        self.deadline = 0.0
        request.began = time.perf_counter()
        try:
            crowded = request.one_too_many or len(serving.connections) > CONNECTIONS_MAX
            if crowded or not serving.under_way.take(self, app.share(request), serving.now):
                refusal = app.refusal(request)
                if refusal is not None:
                    self._write(request, refusal)
                    return
                serving.under_way.take_all_the_same(self)
        except Exception as error:
            serving.give_up(self, error)
            return
        self._task = serving.loop.create_task(self._answer(request))

    async def _answer(self, request: Request) -> None:
        try:
            outcome = await self._serving.app.answer(request)
        except BaseException as error:
            self._serving.give_up(self, error)
            if isinstance(error, Exception):
                return
            raise
        self._serving.sign_soon(self, request, outcome)

    def answered(self, request: Request, reply: Reply) -> None:
        if self._closing:
            return
        self._write(request, reply)
        if self._ahead and not self._waiting and self._writable and not self._closing:
            if self.deadline == 0.0:
                self._wait(HEAD_SECONDS)
            self._read_on(1)
        else:
            self._go_on()

    def _write(self, request: Request, reply: Reply) -> None:
        serving = self._serving
        self._current = None
        last = not (self._waiting or self._ahead or self._broken) and (
            not self._arriving.reading or serving.draining or len(serving.connections) > CONNECTIONS_MAX
        )
        last |= reply.sender is not None
        framing = "Connection: close\r\n" if last else ""
        if reply.status != 204:
            framing += f"Content-Length: {len(reply.body)}\r\n"
        date = reply.date or serving.date
        head = f"{_STATUS_LINES[reply.status]}{date}{reply.headers}{framing}\r\n".encode("latin-1")
        if reply.sender is not None:
            self._hand_over(reply.sender, head, b"" if request.verb == "HEAD" else reply.body)
            return
        self._transport.write(head if request.verb == "HEAD" else head + reply.body)
        if last:
            self._end()

    def _hand_over(self, sender: Sender, head: bytes, body: bytes) -> None:
        """Let another write this last answer, in its own time."""
        self._closing = True
        self._arriving.stop()
        self.deadline = 0.0
        self._task = self._serving.loop.create_task(self._sent_by(sender, head, body))

    async def _sent_by(self, sender: Sender, head: bytes, body: bytes) -> None:
        try:
            await sender(self._transport, head, body)
        except Exception as error:
            self._serving.give_up(self, error)
        else:
            self._transport.close()

    # The end.

    @property
    def idle(self) -> bool:
        return self._current is None and not (self._arriving.begun or self._waiting or self._ahead)

    def close(self) -> None:
        """Close, once what was written is read."""
        self._closing = True
        self._arriving.stop()
        self._wait(WRITE_SECONDS)
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def too_late(self) -> None:
        """Called at the deadline."""
        if self._closing or not self._writable:
            self.abort()
        elif self._arriving.request is not None:
            self._arriving.cut(too_late=True)
            self._pause_or_resume()
        else:
            self.close()

    def _end(self) -> None:
        """Close after the last answer. Whoever is still sending is let do so for a moment, or it would not read it."""
        if self._cut:
            self._closing = True
            self._arriving.stop()
            self._wait(LINGER_SECONDS)
            if self._paused:
                self._paused = False
                self._transport.resume_reading()
            self._transport.write_eof()
        else:
            self.close()

    def _refuse(self) -> None:
        # Of the platform's form, so that a caller sees that it is no proxy's.
        body = f'{{"code":"PARAM_ERROR","message":"Invalid HTTP request received: {self._arriving.why}"}}'.encode()
        head = (
            "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self._transport.write(head.encode() + body)
        self.close()

    def _wait(self, seconds: float) -> None:
        self.deadline = self._serving.loop.time() + seconds
