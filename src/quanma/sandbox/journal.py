"""The journal of a sandbox: each exchange with its answer, why, and how long. Users and secrets are not shown whole."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Any, Generic, Protocol, TypeVar

import msgspec

KEPT_MAX = 10_000
BODY_KEPT_MAX = 64 * 1024
WAIT_SECONDS_MAX = 60.0
_USER_IN_PATH = re.compile(r"(/users/)([^/?]+)")
_USER_IN_BODY = re.compile(r'("(?:openid|unionid|sp_openid|sub_openid)"\s*:\s*")([^"]*)')
_USER_IN_QUERY = re.compile(r"((?:^|[?&])openid=)([^&]*)")


class Exchange(msgspec.Struct, kw_only=True):
    """One request to the platform, and what became of it."""

    id: str
    at: float
    """By the sandbox's clock, Unix seconds."""
    verb: str
    target: str
    operation: str
    """The chain, or empty: no operation was asked for."""
    merchant: str
    """Who signed it; empty: the signature did not hold."""
    status: int
    """0: no answer was sent whole."""
    code: str
    """The error code; empty: none."""
    message: str
    fault: str
    """The id of the rule that hit it; empty: none."""
    milliseconds: float
    request: str
    answer: str
    headers: list[tuple[str, str]] = []
    """Of the request, without Authorization."""
    explain: str = ""
    """Where a signature that did not hold is explained."""


class Delivery(msgspec.Struct, kw_only=True):
    """One attempt to deliver an event."""

    id: str
    at: float
    event: str
    """The event's own id: the same at each attempt."""
    merchant: str
    url: str
    kind: str
    """`attempt`, or what was asked for: duplicate, late, forged …"""
    status: int
    """0: nobody answered."""
    problem: str
    headers: list[tuple[str, str]]
    body: str


class Filter(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """Which entries. What is not said does not matter."""

    operation: str | None = None
    merchant: str | None = None
    status: int | None = None
    code: str | None = None
    fault: str | None = None
    event: str | None = None
    kind: str | None = None
    after: str | None = None
    """Only those behind this id."""
    since: float | None = None
    body: dict[str, str | int | bool] = {}
    """Fields of the request's body."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=KEPT_MAX)] = 1000


class Entry(Protocol):
    id: str
    at: float


E = TypeVar("E", bound=Entry)


class Journal(Generic[E]):
    """The latest entries, the oldest first."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._entries: deque[E] = deque(maxlen=KEPT_MAX)
        self._count = 0
        self._came = asyncio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    def next_id(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count:06d}"

    def add(self, entry: E) -> None:
        self._entries.append(entry)
        self._came.set()
        self._came = asyncio.Event()

    def clear(self, merchant: str | None = None) -> int:
        """Forget all, or those of one merchant. Returns how many."""
        before = len(self._entries)
        kept = [one for one in self._entries if merchant is not None and getattr(one, "merchant", "") != merchant]
        self._entries = deque(kept, maxlen=KEPT_MAX)
        if merchant is None:
            self._count = 0
        return before - len(kept)

    def get(self, number: str) -> E | None:
        return next((one for one in self._entries if one.id == number), None)

    def find(self, wanted: Filter) -> list[E]:
        found = [one for one in self._entries if _fits(one, wanted)]
        return found[-wanted.limit :]

    async def wait(self, wanted: Filter, count: int, seconds: float) -> list[E]:
        """Return what is there once it is so many, or at the end of the time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + min(seconds, WAIT_SECONDS_MAX)
        while len(found := self.find(wanted)) < count and loop.time() < until:
            came = self._came
            try:
                async with asyncio.timeout_at(until):
                    await came.wait()
            except TimeoutError:
                return self.find(wanted)
        return found


def _fits(entry: Any, wanted: Filter) -> bool:
    for name in ("merchant", "status", "code", "fault", "event", "kind"):
        value = getattr(wanted, name)
        if value is not None and getattr(entry, name, None) != value:
            return False
    if wanted.operation is not None:
        operation = getattr(entry, "operation", "")
        if not (fnmatchcase(operation, wanted.operation) or fnmatchcase(operation, f"*.{wanted.operation}")):
            return False
    if wanted.after is not None and entry.id <= wanted.after:
        return False
    if wanted.since is not None and entry.at < wanted.since:
        return False
    return not wanted.body or _has(getattr(entry, "request", ""), wanted.body)


def _has(body: str, fields: dict[str, str | int | bool]) -> bool:
    try:
        sent = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return False
    return isinstance(sent, dict) and all(
        fnmatchcase(value, wanted)
        if isinstance(value := sent.get(name), str) and isinstance(wanted, str)
        else value == wanted
        for name, wanted in fields.items()
    )


def without_users(text: str) -> str:
    """A body or a target with its users cut: no openid stands whole in a journal, an export or a report."""
    for pattern in (_USER_IN_BODY, _USER_IN_PATH, _USER_IN_QUERY):
        text = pattern.sub(_without_user, text)
    return text


def _without_user(found: re.Match[str]) -> str:
    return f"{found[1]}{_cut(found[2])}"


def _cut(user: str) -> str:
    return f"{user[:2]}…" if len(user) > 4 else "…"


def kept(body: bytes) -> str:
    """A body as the journal keeps it: text, without users, cut where it is long."""
    text = body[:BODY_KEPT_MAX].decode("utf-8", "replace")
    return without_users(text) + ("…" if len(body) > BODY_KEPT_MAX else "")


def without_secrets(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    hidden = {b"authorization", b"cookie"}
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers if name not in hidden]
