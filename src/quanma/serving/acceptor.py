"""Who takes a new connection, and how many at once: of several workers one that has no more than any other.

Left to the system, whoever is woken first takes what there is, and keeps it: of 128 connections one worker had 50, the
other 78, and was idle for want of requests while the other was late. So each worker's count stands in memory that all
of them see, and one that has more than another leaves a newcomer to that one for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import mmap
import socket
import time

from .http1 import Connection
from .shared import Serving

log = logging.getLogger(__name__)

LEAVE_SECONDS = 0.002
LEFT_AT_MOST = 5
"""Times, until it takes one itself: the one with fewer connections may be busy, or stuck."""
TAKE_SECONDS = 0.002
"""So long connections are taken before all else is looked at. Left to uvloop it is one in a turn of the loop: behind
500 others a newcomer waits for 500 turns, and while strangers ask for much, each of them takes 10 ms."""
PAUSE_SECONDS = 0.1
"""After the system refused a connection: there are too many files."""
BACKLOG = 2048
"""Connections that wait to be taken. The system's own limit may be lower: net.core.somaxconn."""
_ABSENT = 2**32 - 1


class ConnectionCounts:
    """How many connections each worker has. Made before the workers are: they share its memory."""

    def __init__(self, workers: int) -> None:
        self._counts = memoryview(mmap.mmap(-1, 4 * workers)).cast("I")
        for place in range(workers):
            self.leave(place)

    def note(self, place: int, count: int) -> None:
        self._counts[place] = count

    def leave(self, place: int) -> None:
        """This one takes no connections: it ended, or did not begin."""
        self._counts[place] = _ABSENT

    def another_has_fewer(self, place: int) -> bool:
        return min(self._counts) < self._counts[place]


async def open_door(
    serving: Serving, listening: socket.socket, place: tuple[ConnectionCounts, int] | None
) -> Acceptor | asyncio.Server:
    """Take connections from here on, until what is returned is closed. `place`: which of several processes this is."""
    acceptor = Acceptor(serving, listening, *(place or (ConnectionCounts(1), 0)))
    try:
        acceptor.open()
    except NotImplementedError:  # The loop of Windows watches no socket: it takes the connections itself.
        return await serving.loop.create_server(lambda: Connection(serving), sock=listening, backlog=BACKLOG)
    return acceptor


class Acceptor:
    """Takes connections for one process from the socket that it listens on, perhaps with others."""

    def __init__(self, serving: Serving, listening: socket.socket, counts: ConnectionCounts, place: int) -> None:
        self._serving = serving
        self._listening = listening
        self._counts = counts
        self._place = place
        self._left = 0
        self._opened = False
        self._coming: set[asyncio.Task[object]] = set()

    def open(self) -> None:
        self._listening.setblocking(False)
        self._listening.listen(BACKLOG)
        self._opened = True
        self._serving.loop.add_reader(self._listening, self._someone_is_there)
        self._note()

    def close(self) -> None:
        self._opened = False
        self._serving.loop.remove_reader(self._listening)
        self._listening.close()
        self._counts.leave(self._place)

    def _note(self) -> None:
        """Tell the other workers how many connections this one has."""
        if self._opened:
            self._counts.note(self._place, len(self._serving.connections) + len(self._coming))

    def _someone_is_there(self) -> None:
        until = time.perf_counter() + TAKE_SECONDS
        while self._took_one() and time.perf_counter() < until:
            pass

    def _took_one(self) -> bool:
        """Take one, if one is there and no other worker should."""
        self._note()
        if self._left < LEFT_AT_MOST and self._counts.another_has_fewer(self._place):
            self._left += 1
            self._pause(LEAVE_SECONDS)
            return False
        self._left = 0
        try:
            taken, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return False  # Another worker took it, or nobody is there any more.
        except OSError as problem:
            log.error("a connection can't be taken: %s", problem.strerror)
            self._pause(PAUSE_SECONDS)
            return False
        task = self._serving.loop.create_task(self._welcome(taken))
        self._coming.add(task)
        task.add_done_callback(self._coming.discard)
        self._note()
        return True

    async def _welcome(self, taken: socket.socket) -> None:
        with contextlib.suppress(OSError):  # It is gone.
            await self._serving.loop.connect_accepted_socket(lambda: Connection(self._serving), taken)

    def _pause(self, seconds: float) -> None:
        self._serving.loop.remove_reader(self._listening)
        self._serving.loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        if self._opened:
            self._serving.loop.add_reader(self._listening, self._someone_is_there)
