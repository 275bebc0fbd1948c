"""What all connections of one process share: the application, the places, the memory, the turns, the clock."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from email.utils import formatdate
from typing import Protocol

from .messages import Application, Outcome, Reply, Request
from .redact import trace_of

log = logging.getLogger(__name__)

SIGNED_AT_ONCE = 16
"""Answers that are signed before new requests are looked at: 4 ms."""
READ_SECONDS = 0.001
"""So long what came in parts, or was sent ahead, is read before new requests are looked at, and so long those are ended
whose time is over. A connection that has begun ends its own turn: a head, or eight refusals."""
LOOK_SECONDS = 0.25
"""How often deadlines are looked at."""
PLACES = 128
"""Requests that are being answered. More of them at once would keep a refusal from being written within 50 ms."""
OTHERS_SECONDS = 5.0
"""So long after its last request a merchant still counts as one that comes. A refused one is told to wait less."""
FOR_EACH_FREE_PLACE = 7
"""Nobody takes another place who holds so many times the free ones: of 128, one alone takes 112, of two each 59."""
_NOBODY = ""
"""The share of all who name no merchant that is known."""


class Connected(Protocol):
    """A connection, as far as it is known here."""

    deadline: float

    @property
    def idle(self) -> bool: ...
    def too_late(self) -> None:
        """Called at its deadline."""
        ...

    def its_turn(self) -> None:
        """Called after `Serving.read_soon`."""
        ...

    def answered(self, request: Request, reply: Reply) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class Serving:
    def __init__(self, app: Application) -> None:
        self.app = app
        self.verbs = app.verbs
        self.connections: set[Connected] = set()
        self.under_way = Places(PLACES)
        self.large_bodies_bytes = 0
        self.large_heads_bytes = 0
        self.draining = False
        self._to_sign: deque[tuple[Connected, Request, Outcome]] = deque()
        self._signing_soon = False
        self._to_read: deque[Connected] = deque()
        self._reading_soon = False
        self._late: deque[Connected] = deque()
        """Those whose deadline was past at the last look."""
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
        # First: whatever goes wrong with one connection, all are looked at again.
        self._looking = self.loop.call_later(LOOK_SECONDS, self._look)
        self.now = self.loop.time()
        self.date = f"Date: {formatdate(time.time(), usegmt=True)}\r\n"
        if not self._late:
            self._late.extend(one for one in self.connections if self._is_late(one))
            self._end_some()
        try:
            self.app.note(under_way=len(self.under_way), connections=len(self.connections))
        except Exception as error:
            log.error("the figures can't be noted: %s", trace_of(error))

    def _is_late(self, connection: Connected) -> bool:
        return 0.0 < connection.deadline <= self.now

    def _end_some(self) -> None:
        until = time.perf_counter() + READ_SECONDS
        while self._late:
            connection = self._late.popleft()
            try:
                if self._is_late(connection):  # Else it went on meanwhile.
                    connection.too_late()
            except Exception as error:
                self.give_up(connection, error)
            if time.perf_counter() >= until:
                break
        if self._late:
            self.loop.call_soon(self._end_some)

    def give_up(self, connection: Connected, error: BaseException) -> None:
        """Let one connection go, with its place: what went wrong there must not reach the others."""
        log.error("a connection is given up: %s", trace_of(error))
        self.under_way.give_back(connection)
        connection.abort()

    def drain(self) -> None:
        """From here on each answer is its connection's last."""
        self.draining = True

    def close_idle(self) -> None:
        for connection in [one for one in self.connections if one.idle]:
            connection.close()

    def sign_soon(self, connection: Connected, request: Request, outcome: Outcome) -> None:
        self._to_sign.append((connection, request, outcome))
        self._go_on_signing()

    def _go_on_signing(self) -> None:
        if self._to_sign and not self._signing_soon:
            self._signing_soon = True
            self.loop.call_soon(self._sign_some)

    def _sign_some(self) -> None:
        self._signing_soon = False
        try:
            for _ in range(min(SIGNED_AT_ONCE, len(self._to_sign))):
                self._sign(*self._to_sign.popleft())
        finally:
            self._go_on_signing()

    def read_soon(self, connection: Connected) -> None:
        """Let a connection go on with what was sent ahead on it, after those that asked before."""
        self._to_read.append(connection)
        self._go_on_reading()

    def _go_on_reading(self) -> None:
        if self._to_read and not self._reading_soon:
            self._reading_soon = True
            self.loop.call_soon(self._read_some)

    def _read_some(self) -> None:
        self._reading_soon = False
        until = time.perf_counter() + READ_SECONDS
        for _ in range(len(self._to_read)):
            connection = self._to_read.popleft()
            try:
                connection.its_turn()
            except Exception as error:
                self.give_up(connection, error)
            if time.perf_counter() >= until:
                break
        self._go_on_reading()

    def _sign(self, connection: Connected, request: Request, outcome: Outcome) -> None:
        """Whatever goes wrong with one answer, its place is given back and the others are signed."""
        try:
            reply = self.app.finish(request, outcome)
            self.under_way.give_back(connection)
            connection.answered(request, reply)
        except Exception as error:
            self.give_up(connection, error)


class Places:
    """Who is being answered: so many requests at once, and no merchant has all the places.

    Source: the documentation says nothing of shares. Ours: alone, a merchant leaves an eighth of the places free for
    whoever comes next; while others come, it has at most half. Whose share a request takes is what it says of itself,
    since nothing is verified yet: a lie can take the share of the merchant it names, and never more than that.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._share_of: dict[object, str] = {}
        """By who holds a place."""
        self._held: Counter[str] = Counter()
        self._came: dict[str, float] = {}
        """When a merchant came last: the latest at the end."""

    def __len__(self) -> int:
        return len(self._share_of)

    def take(self, holder: object, share: str, now: float) -> bool:
        """Take a place, if this share has one left. `now` in seconds, of a clock that never goes back."""
        if share != _NOBODY:  # Strangers must not make a merchant's share smaller.
            self._came.pop(share, None)
            self._came[share] = now
        held = self._held.get(share, 0)
        if held >= FOR_EACH_FREE_PLACE * (self._count - len(self._share_of)):
            return False
        if held >= self._count // 2 and self._others_come(share, now):
            return False
        self._put(holder, share)
        return True

    def take_all_the_same(self, holder: object) -> None:
        """For what costs next to nothing: it is nobody's share, and may be one too many."""
        self._put(holder, _NOBODY)

    def give_back(self, holder: object) -> None:
        """Nothing happens to whoever has none."""
        share = self._share_of.pop(holder, None)
        if share is not None:
            self._held[share] -= 1

    def _put(self, holder: object, share: str) -> None:
        self._share_of[holder] = share
        self._held[share] += 1

    def _others_come(self, share: str, now: float) -> bool:
        for other, at in reversed(self._came.items()):
            if other != share:
                return now - at < OTHERS_SECONDS
        return False
