"""HTTP/1.1 as it arrives: bytes into requests, with strict framing and bounds on a head, on a body and on all of them.

A target is a path and perhaps a query; there are no trailers. Else what is verified would not be what was sent.
A request is handed over once it is whole, so that a slow sender holds a connection and nothing else.
"""

from __future__ import annotations

import re
from typing import Protocol

import httptools

from .messages import Request
from .shared import Serving

FRAMING_BYTES_MAX = 32 * 1024
HEAD_FIELDS_MAX = 100
"""A field of four bytes costs some hundred in memory. Source: our choice; a signed request has about ten."""
FIELD_BYTES = 128
"""What a field is counted for, beside its text."""
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
LARGE_BODY_BYTES = 16 * 1024
"""A smaller one is never refused for the memory of all: a full upload has 9 kB."""
LARGE_BODIES_BYTES_MAX = 64 * 1024 * 1024
"""Of all large bodies that are arriving."""

# All else would be changed on the way to the application: a fragment, a scheme and host in front, a byte that is not
# ASCII.
_TARGET = re.compile(rb"/[^?#\x00-\x20\x7f-\xff]*(\?[^#\x00-\x20\x7f-\xff]*)?")
_ANOTHER_TARGET = (
    "the target is not a path and a query of visible ASCII characters, as a signature covers it: escape all others, "
    "and send neither a fragment nor a scheme and host"
)
_ANOTHER_FRAMING = (
    "the request line, the headers or the framing of the body are not HTTP/1.1 of the one form taken here"
)


class Taker(Protocol):
    """Who is told what arrived."""

    def head_arrived(self, request: Request) -> None:
        """Its body is still to come."""
        ...

    def arrived(self, request: Request, head_bytes: int) -> None:
        """It is whole."""
        ...

    def arrived_cut(self, request: Request) -> None:
        """So much of it as is waited for. Nothing is read behind it."""
        ...

    def broke(self) -> None:
        """What arrived last is no HTTP of ours, and `why` says why. Nothing is read behind it."""
        ...


class Arriving:
    """What arrives on one connection, fed in pieces."""

    # More than a dozen attributes without slots are each found the slow way.
    __slots__ = (
        "_at_line",
        "_body",
        "_body_bytes_max",
        "_framing_bytes",
        "_head_again",
        "_headers",
        "_large_bytes",
        "_line",
        "_line_was_read",
        "_offered",
        "_parser",
        "_piece",
        "_serving",
        "_taker",
        "_target",
        "_version",
        "begun",
        "reading",
        "request",
        "why",
    )

    def __init__(self, serving: Serving, taker: Taker) -> None:
        self._serving = serving
        self._taker = taker
        self._parser = httptools.HttpRequestParser(self)
        self.reading = True
        """False: whatever else arrives is not looked at. The last request that was read is the last one answered."""
        self.begun = False
        """A request has begun to arrive."""
        self.request: Request | None = None
        """Its head is there, its body is not."""
        self.why = _ANOTHER_FRAMING
        self._framing_bytes = 0
        """Of the request that arrives: head, sizes of chunks, all that is not body."""
        self._version = ""
        self._offered: Request | None = None
        """Its head offers another protocol."""
        self._head_again = False
        """The head that arrives was read before."""
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: bytes | bytearray = b""
        self._body_bytes_max = 0
        self._large_bytes = 0
        self._piece = b""
        """What is being read."""
        self._at_line = False
        """It begins with the request line of the head that arrives, or an empty line before that."""
        self._line = b""
        """Of a head that comes in parts: those that came before the first field was whole."""
        self._line_was_read = False
        """Of such a head."""

    @property
    def untouched(self) -> bool:
        """No byte has come since the last request."""
        return self._framing_bytes == 0

    @property
    def head_bytes(self) -> int:
        """What the head that arrives is counted for."""
        return self._framing_bytes + len(self._line) + FIELD_BYTES * len(self._headers) if self.begun else 0

    def can_be_read_at_once(self, data: bytes) -> bool:
        """Whether one whole request is in it, or a part of its body, and the rest of no other: nearly always."""
        if self.request is not None:
            return len(data) <= _said_length(self.request) - len(self._body)
        if self.begun or len(data) > TOGETHER_BYTES:
            return False
        # A head ends in an empty line, and a body in JSON has no line that ends so.
        end = data.find(b"\r\n\r\n", 0, HEAD_BYTES_AT_ONCE)
        return end >= 0 and data.find(b"\r", end + 4) < 0 and data.count(b"\n", 0, end) < HEAD_LINES_AT_ONCE

    def end_of_piece(self, ahead: bytes, start: int) -> int:
        """Return where that ends which is read next of what was sent ahead: one head, one body, some chunks."""
        size = FRAMING_BYTES_MAX + 1 - self._framing_bytes
        if self.request is None:
            end = _behind(ahead, b"\r\n\r\n", start + REQUEST_BYTES_MIN)
        elif (left := _said_length(self.request) - len(self._body)) > 0:
            size, end = left, len(ahead)
        else:
            end = _behind(ahead, b"0\r\n\r\n", start + CHUNKS_BYTES_MIN)
        return min(end, start + size)

    def feed(self, piece: bytes) -> None:
        """Read it, and tell the taker what arrived with it."""
        self._framing_bytes += len(piece)
        self._piece, self._at_line = piece, not self.begun
        while piece and self.reading:
            try:
                self._parser.feed_data(piece)
                break
            except httptools.HttpParserUpgrade as offered:
                piece = self._declined() + piece[offered.args[0] :]
            except httptools.HttpParserError:
                self._break()
        if self.begun and self.request is None and self.reading and not self._line_was_read:
            self._line += self._piece
            if self._headers:
                self._line_was_read = True
                if self._is_of_another_protocol(self._line):
                    self._break()
                self._line = b""
        self._piece = b""  # Not kept.
        if self._framing_bytes > FRAMING_BYTES_MAX:
            self._break()

    def cut(self, *, too_late: bool = False, one_too_many: bool = False) -> None:
        """Hand over what has arrived of a request, and read nothing more."""
        request = self.request or Request("", b"", self._headers, None)  # Its head is not there, and is not waited for.
        if too_late:
            request.body = None
        elif request.body is not None:
            request.body = bytes(self._body)
        request.one_too_many = one_too_many
        self.stop()
        self._taker.arrived_cut(request)

    def stop(self) -> None:
        """Read nothing more, and keep nothing of what is not whole."""
        self.reading = self.begun = False
        self.request = None
        self._headers, self._line = [], b""
        self._drop_body()

    def end(self) -> None:
        """The connection is gone. Parser and taker hold this, as it holds them: they would be kept until cycles are
        looked for, with up to 32 kB of a head."""
        self.stop()
        del self._parser, self._taker

    def _break(self) -> None:
        if not self.reading:
            return  # Behind the last request.
        self.stop()
        self._taker.broke()

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
        self.begun = True
        self._target = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_again:
            return
        if self.request is not None:
            raise ValueError("a trailer: it would stand among the headers that the signature is read from")
        if len(self._headers) == HEAD_FIELDS_MAX:
            raise ValueError("more fields than a head may have")
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._head_again:
            self._head_again = False
            return
        if not self.reading:
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
            self.why = _ANOTHER_TARGET
            raise ValueError("a target that is not a path and a query: it would be verified in another form")
        if verb not in self._serving.verbs:
            # Of CONNECT the parser takes no body, though one is announced: it would be read as the next request.
            raise ValueError("a verb that nobody serves")
        request = self.request = Request(verb, self._target, self._headers)
        self._offered = request if self._parser.should_upgrade() else None
        self._body_bytes_max = 0
        self._taker.head_arrived(request)

    def _is_of_another_protocol(self, text: bytes) -> bool:
        """Whether the request line in it is RTSP's: the parser takes its GET and POST as well, and does not tell."""
        return re.search(re.escape(self._target) + rb" +RTSP/", text) is not None

    def on_body(self, body: bytes) -> None:
        self._framing_bytes -= len(body)
        request = self.request
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
            self.cut(one_too_many=one_too_many)

    def on_message_complete(self) -> None:
        if self._offered is not None:
            return  # Its body is still to come.
        head_bytes = self._framing_bytes + FIELD_BYTES * len(self._headers)
        self._framing_bytes = 0
        self._headers = []
        self.begun = self._at_line = False
        request, self.request = self.request, None
        if request is None:
            return
        if self._version == "1.0" or not self._parser.should_keep_alive():
            self.reading = False
        request.body = bytes(self._body)
        self._drop_body()
        self._taker.arrived(request, head_bytes)

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
