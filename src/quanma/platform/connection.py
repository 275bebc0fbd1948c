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

import httptools

from .http import Reply, Request
from .serving import Serving

FRAMING_BYTES_MAX = 32 * 1024
HEAD_FIELDS_MAX = 100
"""A field of four bytes costs some hundred in memory. Source: our choice; a signed request has about ten."""
FIELD_BYTES = 128
"""What a field is counted for, beside its text."""
LARGE_HEAD_BYTES = 4 * 1024
"""A smaller one is never refused for the memory of all: a signed request has 1 kB."""
LARGE_HEADS_BYTES_MAX = 16 * 1024 * 1024
"""Of all large heads that are arriving or wait, and of what was sent ahead behind them."""
TOGETHER_BYTES = 16 * 1024
"""What arrives together is read at once up to this, if it holds one whole request of a common form and no more. All
else is read in turn, up to where each request ends, so that of what was sent ahead no more is unpacked than is answered
next, and what strangers begin and do not end holds nobody up."""
HEAD_BYTES_AT_ONCE = 4 * 1024
HEAD_LINES_AT_ONCE = 32
"""A head is of a common form up to these: a signed request's has 1 kB, and some twelve lines."""
REQUEST_BYTES_MIN = len(b"GET / HTTP/1.1\r\n\r\n")
CHUNKS_BYTES_MIN = 128
"""Of a body in chunks so much is read at once, at the least: what is looked for as its end can stand in it often."""
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
CONNECTIONS_MAX = 8192
REFUSED_AT_ONCE = 8
"""Requests of one connection that are refused before others are looked at."""

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


class Connection(asyncio.Protocol):
    """One request at a time; those sent ahead wait."""

    # More than thirty attributes without slots are each found the slow way.
    __slots__ = (
        "_ahead",
        "_ahead_at",
        "_arriving",
        "_at_line",
        "_begun",
        "_body",
        "_body_bytes_max",
        "_broken",
        "_closing",
        "_current",
        "_cut",
        "_feeding",
        "_framing_bytes",
        "_head_again",
        "_headers",
        "_large_bytes",
        "_large_head_bytes",
        "_line",
        "_line_was_read",
        "_offered",
        "_parser",
        "_paused",
        "_piece",
        "_queued",
        "_reading",
        "_sent_all",
        "_serving",
        "_target",
        "_task",
        "_took",
        "_transport",
        "_version",
        "_waiting",
        "_waiting_bytes",
        "_why_broken",
        "_writable",
        "deadline",
    )

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
        self._body: bytes | bytearray = b""
        self._body_bytes_max = 0
        self._large_bytes = 0
        self._current: Request | None = None
        """The one that is being answered."""
        self._task: asyncio.Task[None] | None = None
        """Kept, or it could be forgotten before it is done."""
        self._waiting: deque[Request] = deque()
        self._reading = True
        """False: whatever else arrives is not looked at. The last request that was read is the last one answered."""
        self._ahead, self._ahead_at = b"", 0
        """What was sent ahead, and where it goes on: it is read once what was sent before it is answered."""
        self._feeding = False
        """What was sent ahead is being read."""
        self._queued = False
        """It goes on after some others."""
        self._took = 0
        """Requests that were there in what is being read of it, whole or cut."""
        self._piece = b""
        """What is being read."""
        self._at_line = False
        """It begins with the request line of the head that arrives, or an empty line before that."""
        self._line = b""
        """Of a head that comes in parts: those that came before the first field was whole."""
        self._line_was_read = False
        """Of such a head."""
        self._waiting_bytes = 0
        """Of the heads of those that wait."""
        self._large_head_bytes = 0
        """What this connection is counted for among all large heads."""
        self._broken = False
        """What arrived last is no HTTP of ours: it is refused once all before it is answered."""
        self._why_broken = _ANOTHER_FRAMING
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
        self._closing, self._reading = True, False
        self._waiting.clear()
        self._ahead = b""
        self._headers = []
        self._arriving = None
        self._drop_body()
        self._count_heads(0)
        self.deadline = 0.0

    def eof_received(self) -> bool:
        """Whoever sends no more may still read what it asked for."""
        self._sent_all = True
        if not self._ahead:
            self._reading = False
        return self._current is not None or bool(self._waiting or self._ahead)

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
        if self._framing_bytes == 0 and self.idle:  # Nothing is unread, or reading would be paused.
            self._wait(HEAD_SECONDS)  # The first byte of a head.
        if self._ahead or self._waiting or not self._can_be_read_at_once(data):
            self._ahead, self._ahead_at = self._ahead[self._ahead_at :] + data, 0
            self._look_at_size()
            if self._current is None:
                self._in_turn()
            self._pause_or_resume()
            return
        self._framing_bytes += len(data)
        self._feed(data)
        if self._begun or self._waiting or self._large_head_bytes:
            self._look_at_size()
            if self._waiting:
                self._pause_or_resume()

    def _can_be_read_at_once(self, data: bytes) -> bool:
        """Whether one whole request is in it, or a part of its body, and the rest of no other: nearly always."""
        if self._arriving is not None:
            return len(data) <= _said_length(self._arriving) - len(self._body)
        if self._begun or len(data) > TOGETHER_BYTES:
            return False
        # A head ends in an empty line, and a body in JSON has no line that ends so.
        end = data.find(b"\r\n\r\n", 0, HEAD_BYTES_AT_ONCE)
        return end >= 0 and data.find(b"\r", end + 4) < 0 and data.count(b"\n", 0, end) < HEAD_LINES_AT_ONCE

    def _read_on(self, requests: int) -> None:
        """Read what was sent ahead, until a request waits, or so many were refused."""
        self._feeding, self._took = True, 0
        while self._ahead and self._reading and not self._waiting and self._took < requests:
            piece = self._next_piece()
            self._framing_bytes += len(piece)
            self._feed(piece)
            if self._framing_bytes > FRAMING_BYTES_MAX:
                self._break()
        self._look_at_size()
        self._feeding = False
        if self._sent_all and not self._ahead:
            self._reading = False
        if not self._reading:
            self._ahead = b""
            if self._sent_all and self._current is None and not (self._waiting or self._closing or self._broken):
                self.close()
        if (self._waiting or self._ahead) and self._current is None and not self._closing:
            self._in_turn()
        self._pause_or_resume()

    def _next_piece(self) -> bytes:
        """Take what is read next of what was sent ahead: one head, one body, some chunks."""
        ahead, start = self._ahead, self._ahead_at
        size = FRAMING_BYTES_MAX + 1 - self._framing_bytes
        if self._arriving is None:
            end = _behind(ahead, b"\r\n\r\n", start + REQUEST_BYTES_MIN)
        elif (left := _said_length(self._arriving) - len(self._body)) > 0:
            size, end = left, len(ahead)
        else:
            end = _behind(ahead, b"0\r\n\r\n", start + CHUNKS_BYTES_MIN)
        end = min(end, start + size)
        self._ahead, self._ahead_at = (ahead, end) if end < len(ahead) else (b"", 0)
        return ahead[start:end]

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

    def _feed(self, piece: bytes) -> None:
        self._piece, self._at_line = piece, not self._begun
        while piece and self._reading:
            try:
                self._parser.feed_data(piece)
                break
            except httptools.HttpParserUpgrade as offered:
                piece = self._declined() + piece[offered.args[0] :]
            except httptools.HttpParserError:
                self._break()
        if self._begun and self._arriving is None and self._reading and not self._line_was_read:
            self._line += self._piece
            if self._headers:
                self._line_was_read = True
                if self._is_of_another_protocol(self._line):
                    self._break()
                self._line = b""
        self._piece = b""  # Not kept.

    def _look_at_size(self) -> None:
        """Refuse a head that is too large, by itself or with all others: it, or what was sent ahead."""
        if self._framing_bytes > FRAMING_BYTES_MAX:
            self._break()
        arriving = self._framing_bytes + len(self._line) + FIELD_BYTES * len(self._headers) if self._begun else 0
        self._count_heads(arriving + self._waiting_bytes + len(self._ahead))
        if self._large_head_bytes and self._reading and self._serving.large_heads_bytes > LARGE_HEADS_BYTES_MAX:
            if self._arriving is None:  # Its head is not there, and is not waited for.
                self._arriving = Request("", b"", self._headers, None)
            self._take(cut=True, one_too_many=True)
            self._count_heads(self._waiting_bytes)

    def _count_heads(self, count: int) -> None:
        large = count if count > LARGE_HEAD_BYTES else 0
        self._serving.large_heads_bytes += large - self._large_head_bytes
        self._large_head_bytes = large

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
        if len(self._headers) == HEAD_FIELDS_MAX:
            raise ValueError("more fields than a head may have")
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._head_again:
            self._head_again = False
            return
        if not self._reading:
            return
        verb = self._parser.get_method().decode("ascii")
        if self._line_was_read:
            self._line_was_read = False
        # Seldom it is sent otherwise: in parts, or with more than one space.
        elif not (self._at_line and self._piece.startswith(b" HTTP/1.", len(verb) + 1 + len(self._target))):
            if self._is_of_another_protocol(self._line + self._piece):
                raise ValueError("another protocol")
            self._line = b""
        self._version = self._parser.get_http_version()
        if self._version not in ("1.0", "1.1"):
            raise ValueError("another version of HTTP")
        if not _TARGET.fullmatch(self._target):
            self._why_broken = _ANOTHER_TARGET
            raise ValueError("a target that is not a path and a query: it would be verified in another form")
        if verb not in self._serving.verbs:
            # Of CONNECT the parser takes no body, though one is announced: it would be read as the next request.
            raise ValueError("a verb that nobody serves")
        request = self._arriving = Request(verb, self._target, self._headers)
        self._offered = request if self._parser.should_upgrade() else None
        self._body_bytes_max = 0
        if self._current is None:
            self._wait(BODY_SECONDS)
            if request.fields.get(b"expect", b"").lower() == b"100-continue":
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _is_of_another_protocol(self, text: bytes) -> bool:
        """Whether the request line in it is RTSP's: the parser takes its GET and POST as well, and does not tell."""
        return re.search(re.escape(self._target) + rb" +RTSP/", text) is not None

    def on_body(self, body: bytes) -> None:
        self._framing_bytes -= len(body)
        request = self._arriving
        if request is None:
            return
        if not self._body:
            self._body = body  # Mostly that is all.
        elif isinstance(self._body, bytearray):
            self._body += body
        else:
            self._body = bytearray(self._body + body)
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
        head_bytes = self._framing_bytes + FIELD_BYTES * len(self._headers)
        self._framing_bytes = 0
        self._headers = []
        self._begun = self._at_line = False
        if self._arriving is not None:
            if self._version == "1.0" or not self._parser.should_keep_alive():
                self._reading, self._ahead = False, b""
            self._take()
            if self._waiting:
                self._waiting_bytes += head_bytes

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
            self._stop_reading()
        self._took += 1
        if cut:  # Many may be cut at one moment: each is answered in its turn.
            self._waiting.append(request)
            if self._current is None and not self._closing:
                if self._writable:
                    self.deadline = 0.0
                self._in_turn()
        elif self._current is None and self._writable and not self._waiting and not self._closing:
            self._begin(request)
            if self._current is None:
                self._go_on()
        else:
            self._waiting.append(request)

    def _stop_reading(self) -> None:
        """Read nothing of what is still sent, or is not read yet."""
        self._cut, self._reading, self._begun = True, False, False
        self._arriving = None
        self._ahead = b""
        self._drop_body()

    def _go_on(self) -> None:
        """To the next request, if one waits; then to what is to be done after the last."""
        while self._waiting and self._current is None and self._writable and not self._closing:
            self._begin(self._waiting.popleft())
        if not self._waiting:
            self._waiting_bytes = 0
            if self._large_head_bytes and not self._begun and not self._feeding:
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
        return self._current is None and not (self._begun or self._waiting or self._ahead)

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
            self._pause_or_resume()
        else:
            self.close()

    def _end(self) -> None:
        """Close after the last answer. Whoever is still sending is let do so for a moment, or it would not read it."""
        if self._cut:
            self._closing, self._reading = True, False
            self._wait(LINGER_SECONDS)
            if self._paused:
                self._paused = False
                self._transport.resume_reading()
            self._transport.write_eof()
        else:
            self.close()

    def _break(self) -> None:
        if not self._reading:
            return  # Behind the last request.
        self._broken, self._reading, self._arriving = True, False, None
        self._headers, self._line = [], b""
        self._drop_body()
        if self._current is None and not self._waiting:
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
        if self._large_bytes:
            self._serving.large_bodies_bytes -= self._large_bytes
            self._large_bytes = 0
        self._body = b""


def _said_length(request: Request) -> int:
    said = request.fields.get(b"content-length", b"")
    return int(said) if said.isdigit() else 0


def _behind(text: bytes, mark: bytes, at_least: int) -> int:
    """Where the first such mark ends that ends there or later; without one, where the text ends."""
    found = text.find(mark, at_least - len(mark))
    return len(text) if found < 0 else found + len(mark)
