"""A request and its answer, as a connection and the application hand them to each other. Values only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol


class Request:
    """One whole request. What is verified must be what was sent: the target is kept as it came."""

    __slots__ = (
        "began",
        "body",
        "fields",
        "headers",
        "one_too_many",
        "operation",
        "path",
        "query",
        "span",
        "target",
        "verb",
    )

    def __init__(self, verb: str, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes | None = b"") -> None:
        self.verb = verb
        self.target = target
        """As it was sent, escapes and all, and a "?" with nothing behind it too: the signature is over it."""
        self.path, _, self.query = target.partition(b"?")
        self.headers = headers
        """Names in lower case."""
        self.fields: Mapping[bytes, bytes] = dict(reversed(headers))
        """The first of each name."""
        self.body = body
        """None: it did not arrive in time. One that is too long is cut: a byte too many shows it."""
        self.began = 0.0
        """When it had arrived, by `time.perf_counter`."""
        self.operation = ""
        """The declared operation, once it is found; for counts and spans."""
        self.span: Any = None
        """Of OpenTelemetry, where it is set up."""
        self.one_too_many = False
        """Its body is beyond what all bodies together may hold."""

    def header(self, name: bytes) -> str | None:
        value = self.fields.get(name)
        return None if value is None else value.decode("latin-1")

    def all(self, name: bytes) -> list[str]:
        """Every value that stands under a name."""
        if len(self.fields) == len(self.headers):  # None stands twice.
            return [self.fields[name].decode("latin-1")] if name in self.fields else []
        return [value.decode("latin-1") for other, value in self.headers if other == name]


class Outcome(NamedTuple):
    """What was decided, before it is signed."""

    status: int
    body: bytes
    headers: str = ""
    """Lines, each ended by CR LF."""
    signed: bool = True
    reason: int = 0
    """Why it was refused, as a number. 0: it was not."""


Sender = Callable[[asyncio.Transport, bytes, bytes], Awaitable[None]]
"""Writes the head and the body in place of the connection, and is its end. For `quanma sandbox`: answers that are late,
cut or wrong."""


class Reply(NamedTuple):
    status: int
    headers: str
    """Lines, each ended by CR LF, but for those of the framing, which are the connection's."""
    body: bytes
    sender: Sender | None = None
    date: str = ""
    """The line of its Date; empty: the system's time."""


class Application(Protocol):
    """What a connection asks. An answer is made in two steps: `answer` decides, `finish` signs.

    The second is done in small portions, so that a group of decisions does not keep new requests from being read.
    """

    @property
    def verbs(self) -> frozenset[str]:
        """Which are served. A request with another one is refused at its head."""
        ...

    def share(self, request: Request) -> str:
        """Whose share of the places a request takes, or "" for nobody's. It is only said, and not verified yet."""
        ...

    def body_bytes_max(self, verb: str, path: bytes) -> int: ...

    def refusal(self, request: Request) -> Reply | None:
        """The answer to a request that is one too many. None: take it all the same, it costs next to nothing."""
        ...

    async def answer(self, request: Request) -> Outcome:
        """Never raises: whatever goes wrong is an outcome too."""
        ...

    def finish(self, request: Request, outcome: Outcome) -> Reply:
        """May raise: the connection of this one request is then given up."""
        ...

    def note(self, *, under_way: int, connections: int) -> None:
        """How it stands, a few times a second."""
        ...

    async def start(self) -> None: ...

    def drain(self) -> None:
        """No new connections are taken from here on."""
        ...

    async def stop(self) -> None: ...
