"""Names of hosts looked up, so that one name without an answer holds up nothing else.

A lookup can take as long as the system's resolver likes, and can't be ended. So each runs on a thread of its own, a
daemon: the loop's threads stay free, and the process can end. Whoever waits gives up at its own time. One name has one
lookup at a time, one asker few, and all of them are bounded. What a lookup found is kept for a while, failures too.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import Callable
from threading import Thread
from typing import NamedTuple

LOOKUP_SECONDS = 5.0
ANSWERS_SECONDS = 10.0
"""How long the addresses of a name are kept. Our choice: short, since a name may move."""
FAILURES_SECONDS = 60.0
"""How long a name without an answer is not asked for again, at most. Our choice: as long as an event waits."""
BUSY_SECONDS = 1.0
LOOKUPS_MAX = 64
DOUBTFUL_MAX = 32
"""Of those, lookups of names that had no answer the last time: the rest is for names that mostly have one."""
LOOKUPS_EACH_MAX = 2
"""Lookups of one asker at a time."""
NAMES_MAX = 4096


class NotLookedUp(Exception):
    """Nothing was asked now: the name had no answer a moment ago, or too much is being asked. Comes again later."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class _Known(NamedTuple):
    at: float
    addresses: list[str]
    """Empty: the lookup failed."""
    problem: str


def ask_resolver(host: str, port: int) -> list[str]:
    """Ask the system's resolver, for as long as it takes. Raises OSError, UnicodeError: there is no answer."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Lookups:
    """Every method is called on one loop."""

    def __init__(
        self,
        look_up: Callable[[str, int], list[str]] = ask_resolver,
        *,
        failures_seconds: float = FAILURES_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`look_up` is called on threads, and may never return."""
        self._look_up = look_up
        self._failures_seconds = failures_seconds
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._under_way: dict[str, asyncio.Future[list[str]]] = {}
        self._of: Counter[str] = Counter()
        self._doubtful = 0

    async def addresses(self, asker: str, host: str, port: int, within_seconds: float) -> list[str]:
        """Return the addresses of a name.

        Raises:
            OSError: it has none, or no answer came in time. The name is not asked for again for a while.
            NotLookedUp: it was not asked for.
        """
        if (known := self._fresh(host)) is not None:
            if known.addresses:
                return known.addresses
            raise NotLookedUp(known.problem, self._failures_seconds - (self._clock() - known.at))
        under_way = self._under_way.get(host) or self._begin(asker, host, port)
        try:
            async with asyncio.timeout(within_seconds):
                return await asyncio.shield(under_way)
        except TimeoutError:
            problem = f"the resolver did not answer within {within_seconds:.0f} s"
            if host in self._under_way:
                self._keep(host, [], problem)
            raise OSError(problem) from None

    def _fresh(self, host: str) -> _Known | None:
        known = self._known.get(host)
        if known is None:
            return None
        seconds = ANSWERS_SECONDS if known.addresses else self._failures_seconds
        # Below 0: the clock was set back, and nobody knows how old it is.
        return known if 0 <= self._clock() - known.at < seconds else None

    def _begin(self, asker: str, host: str, port: int) -> asyncio.Future[list[str]]:
        known = self._known.get(host)
        doubtful = known is not None and not known.addresses
        if len(self._under_way) >= LOOKUPS_MAX or (doubtful and self._doubtful >= DOUBTFUL_MAX):
            raise NotLookedUp("too many names are being looked up", BUSY_SECONDS)
        if self._of[asker] >= LOOKUPS_EACH_MAX:
            raise NotLookedUp("too many of this merchant's names are being looked up", BUSY_SECONDS)
        loop = asyncio.get_running_loop()
        future = self._under_way[host] = loop.create_future()
        # Whoever waited may have given up: its error is nobody's then.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._of[asker] += 1
        self._doubtful += doubtful

        def end(found: list[str], problem: str) -> None:
            self._of[asker] -= 1
            self._of += Counter()  # Drops who has none.
            self._doubtful -= doubtful
            del self._under_way[host]
            self._keep(host, found, problem)
            if found:
                future.set_result(found)
            else:
                future.set_exception(OSError(problem))

        def run() -> None:
            found: list[str] = []
            problem = "the name has no address"
            try:
                found = self._look_up(host, port)
            except Exception as error:
                problem = str(error) or type(error).__name__
            with contextlib.suppress(RuntimeError):  # The loop was closed: nobody waits.
                loop.call_soon_threadsafe(end, found, problem)

        Thread(target=run, name=f"lookup of {host}", daemon=True).start()
        return future

    def _keep(self, host: str, addresses: list[str], problem: str) -> None:
        self._known.pop(host, None)
        while len(self._known) >= NAMES_MAX:
            del self._known[next(iter(self._known))]  # The one that was looked up longest ago.
        self._known[host] = _Known(self._clock(), addresses, problem)
