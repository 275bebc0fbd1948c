"""HTTP/1.1 on sockets: strict framing, bounds on size, time and number, and one form of a request.

A target is a path and perhaps a query; there are no trailers. Else what is verified would not be what was sent.
A request is handed over once it is whole, so that a slow sender holds a connection and nothing else.
"""

from __future__ import annotations

import asyncio
import http
import re
import time
from collections import deque
from email.utils import formatdate

import httptools

from .http import Application, Outcome, Reply, Request

FRAMING_BYTES_MAX = 32 * 1024
HEAD_SECONDS = 8.0
"""For a head from its first byte on, and between requests. Source: the keep-alive timeout as seen in the field."""
BODY_SECONDS = 8.0
WRITE_SECONDS = 8.0
"""For whoever does not read its answer."""
LINGER_SECONDS = 1.0
"""How long the rest of a refused body is read and thrown away: to close on a sender would lose the answer."""
LARGE_BODY_BYTES = 16 * 1024
"""A smaller one is never refused for the memory of all: a full upload has 9 kB."""
LARGE_BODIES_BYTES_MAX = 64 * 1024 * 1024
"""Of all large bodies that are arriving."""
UNDER_WAY_MAX = 128
"""Requests that are being answered. More of them at once would keep a refusal from being written within 50 ms."""
CONNECTIONS_MAX = 8192
SIGNED_AT_ONCE = 16
"""Answers that are signed before new requests are looked at: 4 ms."""
LOOK_SECONDS = 0.25
"""How often deadlines are looked at."""

# All else would be changed on the way to the application: a fragment, a scheme and host in front, a byte that is not
# ASCII.
_TARGET = re.compile(rb"/[^?#\x00-\x20\x7f-\xff]*(\?[^#\x00-\x20\x7f-\xff]*)?")
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in http.HTTPStatus}
_ANOTHER_TARGET = (
    "the target is not a path and a query of visible ASCII characters, as a signature covers it: escape all others, "
    "and send neither a fragment nor a scheme and host"
)
_ANOTHER_FRAMING = (
    "the request line, the headers or the framing of the body are not HTTP/1.1 of the one form taken here"
)


class Serving:
    """All connections of one process, and what they share: the application, the bounds, the clock."""

    def __init__(self, app: Application) -> None:
        self.app = app
        self.connections: set[Connection] = set()
        self.under_way: set[Connection] = set()
        self.large_bodies_bytes = 0
        self.draining = False
        self._to_sign: deque[tuple[Connection, Request, Outcome]] = deque()
        self._looking: asyncio.TimerHandle | None = None
        self.now = 0.0
        """By the clock of the loop, at the last look."""
        self.date = ""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._look()

    def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        for connection in list(self.connections):
            connection.abort()

    def _look(self) -> None:
        self.now = self.loop.time()
        self.date = f"Date: {formatdate(time.time(), usegmt=True)}\r\n"
        for connection in [one for one in self.connections if 0.0 < one.deadline <= self.now]:
            connection.too_late()
        self.app.note(under_way=len(self.under_way), connections=len(self.connections))
        self._looking = self.loop.call_later(LOOK_SECONDS, self._look)

    def drain(self) -> None:
        """From here on each answer is its connection's last."""
        self.draining = True

    def close_idle(self) -> None:
        for connection in [one for one in self.connections if one.idle]:
            connection.close()

    def sign_soon(self, connection: Connection, request: Request, outcome: Outcome) -> None:
        self._to_sign.append((connection, request, outcome))
        if len(self._to_sign) == 1:
            self.loop.call_soon(self._sign_some)

    def _sign_some(self) -> None:
        for _ in range(min(SIGNED_AT_ONCE, len(self._to_sign))):
            connection, request, outcome = self._to_sign[0]
            reply = self.app.finish(request, outcome)
            # Only now: as long as one is there, it is known that this is called again.
            self._to_sign.popleft()
            self.under_way.discard(connection)
            connection.answered(request, reply)
        if self._to_sign:
            self.loop.call_soon(self._sign_some)


class Connection(asyncio.Protocol):
    """One request at a time; those sent ahead wait."""

    _transport: asyncio.Transport

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._parser = httptools.HttpRequestParser(self)
        self.deadline = 0.0
        """By the clock of the loop; 0: none. What happens then depends on what is waited for."""
        self._framing_bytes = 0
        """Of the request that arrives: head, sizes of chunks, all that is not body."""
        self._begun = False
        """A request has begun to arrive."""
        self._version = ""
        self._offered: Request | None = None
        """Its head offers another protocol."""
        self._head_again = False
        """The head that arrives was read before."""
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._arriving: Request | None = None
        """Its head is there, its body is not."""
        self._body = bytearray()
        self._body_bytes_max = 0
        self._large_bytes = 0
        self._current: Request | None = None
        """The one that is being answered."""
        self._task: asyncio.Task[None] | None = None
        """Kept, or it could be forgotten before it is done."""
        self._waiting: deque[Request] = deque()
        self._reading = True
        """False: whatever else arrives is not looked at. The last request that was read is the last one answered."""
        self._broken = False
        """What arrived last is no HTTP of ours: it is refused once all before it is answered."""
        self._why_broken = _ANOTHER_FRAMING
        self._cut = False
        """The last request did not arrive whole."""
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
        self._closing, self._reading = True, False
        self._waiting.clear()
        self._drop_body()
        self.deadline = 0.0

    def eof_received(self) -> bool:
        """Whoever sends no more may still read what it asked for."""
        self._reading = False
        return self._current is not None

    def pause_writing(self) -> None:
        self._writable = False
        self._wait(WRITE_SECONDS)

    def resume_writing(self) -> None:
        self._writable = True
        if not self._closing:
            self._go_on()

    def data_received(self, data: bytes) -> None:
        if not self._reading:
            return
        if self._framing_bytes == 0 and self.idle:
            self._wait(HEAD_SECONDS)  # The first byte of a head.
        self._framing_bytes += len(data)
        while data:
            try:
                self._parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as offered:
                data = self._declined() + data[offered.args[0] :]
            except httptools.HttpParserError:
                self._break()
                return
        if self._framing_bytes > FRAMING_BYTES_MAX:
            self._break()

    def _declined(self) -> bytes:
        """Go on in HTTP/1.1 where another protocol was offered, as Java's client does on each connection.

        The parser takes all that follows for that protocol. So there is a new one, to be fed the same head without the
        offer, and what follows.
        """
        self._parser = httptools.HttpRequestParser(self)
        request, self._offered = self._offered, None
        if request is None:  # Behind the last request.
            return b""
        self._head_again = True
        fields = b"".join([b"%s: %s\r\n" % (name, value) for name, value in request.headers if name != b"upgrade"])
        return f"{request.verb} / HTTP/{self._version}\r\n".encode() + fields + b"\r\n"

    # Called by the parser.

    def on_message_begin(self) -> None:
        if self._head_again:
            return
        self._begun = True
        self._target = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_again:
            return
        if self._arriving is not None:
            raise ValueError("a trailer: it would stand among the headers that the signature is read from")
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._head_again:
            self._head_again = False
            return
        if not self._reading:
            return
        self._version = self._parser.get_http_version()
        if self._version not in ("1.0", "1.1"):
            raise ValueError("another version of HTTP")
        if not _TARGET.fullmatch(self._target):
            self._why_broken = _ANOTHER_TARGET
            raise ValueError("a target that is not a path and a query: it would be verified in another form")
        request = self._arriving = Request(self._parser.get_method().decode("ascii"), self._target, self._headers)
        self._offered = request if self._parser.should_upgrade() else None
        self._body_bytes_max = 0
        if self._current is None:
            self._wait(BODY_SECONDS)
            if request.fields.get(b"expect", b"").lower() == b"100-continue":
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._framing_bytes -= len(body)
        request = self._arriving
        if request is None:
            return
        self._body += body
        if len(self._body) <= LARGE_BODY_BYTES:
            return
        self._large_bytes += len(body)
        self._serving.large_bodies_bytes += len(body)
        if not self._body_bytes_max:
            self._body_bytes_max = self._serving.app.body_bytes_max(request.verb, request.path)
        one_too_many = self._serving.large_bodies_bytes > LARGE_BODIES_BYTES_MAX
        if len(self._body) > self._body_bytes_max or one_too_many:
            self._take(cut=True, one_too_many=one_too_many)

    def on_message_complete(self) -> None:
        if self._offered is not None:
            return  # Its body is still to come.
        self._framing_bytes = 0
        self._begun = False
        if self._arriving is not None:
            if self._version == "1.0" or not self._parser.should_keep_alive():
                self._reading = False
            self._take()

    # From a request to its answer.

    def _take(self, *, cut: bool = False, one_too_many: bool = False) -> None:
        """The request has arrived, or as much of it as is waited for: answer it after those before it."""
        request, self._arriving = self._arriving, None
        assert request is not None
        if request.body is not None:
            request.body = bytes(self._body)
        request.one_too_many = one_too_many
        self._drop_body()
        if cut:
            self._cut, self._reading, self._begun = True, False, False
        self._waiting.append(request)
        if self._current is None and self._writable:
            self._go_on()
        if self._waiting and not self._paused and not self._closing:
            self._paused = True
            self._transport.pause_reading()

    def _go_on(self) -> None:
        """To the next request, as long as one waits; then to what is to be done after the last."""
        while self._waiting and self._current is None and self._writable and not self._closing:
            self._begin(self._waiting.popleft())
        if self._current is not None or self._closing:
            return
        if self._broken:
            self._refuse()
        elif self._writable:
            self._wait(HEAD_SECONDS)
            if self._paused:
                self._paused = False
                self._transport.resume_reading()

    def _begin(self, request: Request) -> None:
        serving = self._serving
        self._current = request
        self.deadline = 0.0
        request.began = time.perf_counter()
        under_way = len(serving.under_way)
        if request.one_too_many or under_way >= UNDER_WAY_MAX or len(serving.connections) > CONNECTIONS_MAX:
            refusal = serving.app.refusal(request)
            if refusal is not None:
                self._write(request, refusal)
                return
        serving.under_way.add(self)
        self._task = serving.loop.create_task(self._answer(request))

    async def _answer(self, request: Request) -> None:
        self._serving.sign_soon(self, request, await self._serving.app.answer(request))

    def answered(self, request: Request, reply: Reply) -> None:
        if not self._closing:
            self._write(request, reply)
            self._go_on()

    def _write(self, request: Request, reply: Reply) -> None:
        serving = self._serving
        self._current = None
        last = not (self._waiting or self._broken) and (
            not self._reading or serving.draining or len(serving.connections) > CONNECTIONS_MAX
        )
        framing = "Connection: close\r\n" if last else ""
        if reply.status != 204:
            framing += f"Content-Length: {len(reply.body)}\r\n"
        head = f"{_STATUS_LINES[reply.status]}{serving.date}{reply.headers}{framing}\r\n".encode("latin-1")
        self._transport.write(head if request.verb == "HEAD" else head + reply.body)
        if last:
            self._end()

    # The end.

    @property
    def idle(self) -> bool:
        return self._current is None and not self._begun

    def close(self) -> None:
        """Close, once what was written is read."""
        self._closing, self._reading = True, False
        self._wait(WRITE_SECONDS)
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def too_late(self) -> None:
        """Called at the deadline."""
        if self._closing or not self._writable:
            self.abort()
        elif self._arriving is not None:
            self._arriving.body = None
            self._take(cut=True)
        else:
            self.close()

    def _end(self) -> None:
        """Close after the last answer. Whoever is still sending is let do so for a moment, or it would not read it."""
        if self._cut:
            self._closing, self._reading = True, False
            self._wait(LINGER_SECONDS)
            self._transport.write_eof()
        else:
            self.close()

    def _break(self) -> None:
        if not self._reading:
            return  # Behind the last request.
        self._broken, self._reading, self._arriving = True, False, None
        self._drop_body()
        if self._current is None:
            self._refuse()

    def _refuse(self) -> None:
        # Of the platform's form, so that a caller sees that it is no proxy's.
        body = f'{{"code":"PARAM_ERROR","message":"Invalid HTTP request received: {self._why_broken}"}}'.encode()
        head = (
            "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self._transport.write(head.encode() + body)
        self.close()

    def _wait(self, seconds: float) -> None:
        self.deadline = self._serving.loop.time() + seconds

    def _drop_body(self) -> None:
        self._serving.large_bodies_bytes -= self._large_bytes
        self._large_bytes = 0
        self._body = bytearray()
