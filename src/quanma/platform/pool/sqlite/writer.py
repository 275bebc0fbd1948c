"""One writer, one history: work is done in turn, committed in groups, and answered only after its commit.

While one group's commit waits for the disk, the next one gathers; so many requests share an fsync, and a lonely one
does not wait for others. Reads take their turn too: an answer never shows what a power failure could take back.

A group is done in pieces, each in a savepoint of its own: what fails in one undoes that piece only. Requests that are
alike may share a piece; if one of them fails, each is done again alone.

Statements run on the event loop, where nothing competes for the interpreter; only the commit, which waits for the
disk, runs on a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import apsw

from ....errors import QuanmaError, StoreUnavailable
from ....serving.redact import trace_of
from .generation import CommitCounter, MarkUnwritable

T = TypeVar("T")
A = TypeVar("A")
S = TypeVar("S", bound=Hashable)
Together = Callable[[S, Sequence[A]], Sequence[T | QuanmaError]]
log = logging.getLogger(__name__)

GROUP_MAX = 256
CHECKPOINT_PAGES = 4000
LOOK_AGAIN_SECONDS = 1.0


class HalfDone(Exception):
    """What one piece of work left in memory can't be undone: the whole group is, and memory is made anew."""


_OF_THE_STORE = (
    apsw.FullError,
    apsw.IOError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.NoMemError,
    MemoryError,
    HalfDone,
)
"""Errors that concern the whole group: after them it is not certain what SQLite kept, or what is in memory."""


class Writer:
    def __init__(
        self,
        db: apsw.Connection,
        rebuild: Callable[[], None],
        settle: Callable[[], None] = lambda: None,
        probe: Callable[[], None] = lambda: None,
        commits: CommitCounter | None = None,
    ) -> None:
        """`rebuild` makes what is in memory anew from the store: it is called after a group was undone.

        `settle` lets go of what would hold a transaction open: it is called before each commit. `probe` writes some
        pages, after the disk was full. `commits` counts the commits.
        """
        self._settle = settle
        self._probe = probe
        self._commits = commits or CommitCounter()
        self._db = db
        self._rebuild = rebuild
        self._waiting: list[_Request] = []
        self._running: asyncio.Task[None] | None = None
        self._thread = _Thread()
        self._broken: str | None = None
        self._full = False
        self._unmarked: str | None = None
        """Why the mark does not know of the last commit. Nothing is answered until it does."""
        self._looking_again: asyncio.TimerHandle | None = None
        self._log_pages = 0
        # In place of SQLite's own checkpoints, which keep a failed fsync to themselves.
        db.set_wal_hook(self._count_log_pages)

    def check(self) -> None:
        """Raises StoreUnavailable: nothing more is acknowledged from this store."""
        if self._broken:
            raise StoreUnavailable(self._broken)
        if self._full:
            raise StoreUnavailable("the disk is full: free some space, the platform goes on by itself")
        if self._unmarked:
            raise StoreUnavailable(f"{self._unmarked}: the platform goes on by itself")

    async def do(self, work: Callable[[], T]) -> T:
        """Run `work` in its turn and return its result, or raise its refusal, once that is durable.

        `work` decides first, then writes, and changes what is in memory last: what is written before it raises is
        undone, what is in memory is not.

        Raises:
            StoreUnavailable: it failed, or its group could not be committed: it was undone.
        """
        return await self.do_together(_alone, work, None)

    def do_together(self, work: Together[S, A, T], subject: S, request: A) -> asyncio.Future[T]:
        """As `do`, for a request that may be done with others of its kind and subject: `work(subject, requests)`.

        It returns the outcomes of all of them, or of as many of the first ones as it could do together.
        """
        if self._broken:
            raise StoreUnavailable(self._broken)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, subject, request, future))
        if self._running is None:
            self._running = asyncio.create_task(self._drain())
        return future

    async def close(self) -> None:
        """Finish what was asked, then stop."""
        if self._running is not None:
            await self._running
        if self._looking_again is not None:
            self._looking_again.cancel()
        self._thread.close()

    async def _drain(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:GROUP_MAX], self._waiting[GROUP_MAX:]
                for future, outcome in await self._commit(group):
                    if future.done():  # The caller went away; what was done stays done.
                        continue
                    if isinstance(outcome, BaseException):
                        future.set_exception(outcome)
                    else:
                        future.set_result(outcome)
        finally:
            self._running = None
            if self._full or self._unmarked:
                # Not only when the next request comes: whoever asks /healthz first would never send one.
                loop = asyncio.get_running_loop()
                self._looking_again = self._looking_again or loop.call_later(LOOK_AGAIN_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._looking_again = None
        if (self._full or self._unmarked) and self._running is None:
            self.do_together(_alone, lambda: None, None).add_done_callback(lambda done: done.exception())

    async def _commit(self, group: list[_Request]) -> list[tuple[asyncio.Future[Any], Any]]:
        """Return for each one's future its result, or the error to raise."""
        if self._broken:  # While these were waiting.
            return [(future, StoreUnavailable(self._broken)) for *_, future in group]
        try:
            if self._full:
                await self._thread.do(self._probe)
                self._full = False
                log.warning("the disk has room again: the platform goes on")
            if self._unmarked:
                # Before a read as well: a repeated number would be answered from what the mark does not know.
                await self._thread.do(self._commits.catch_up)
                self._unmarked = None
                log.warning("the mark can be written again: the platform goes on")
            self._db.execute("BEGIN")
            outcomes = [outcome for alike in _gathered(group) for outcome in self._do(*alike)]
            self._settle()
            if self._db.txn_state() == apsw.SQLITE_TXN_WRITE:
                await self._thread.do(self._make_durable)
            else:
                self._db.execute("COMMIT")
                await asyncio.sleep(0)
            return outcomes
        except Exception as error:
            problem = self._undo(error)
            return [(future, StoreUnavailable(problem)) for *_, future in group]

    def _do(
        self, work: Together[S, A, T], subject: S, requests: Sequence[A], futures: Sequence[asyncio.Future[T]]
    ) -> list[tuple[asyncio.Future[T], Any]]:
        outcomes: list[Any] = []
        while len(outcomes) < len(requests):
            outcomes += self._piece(work, subject, requests[len(outcomes) :])
        return list(zip(futures, outcomes, strict=True))

    def _piece(self, work: Together[S, A, T], subject: S, requests: Sequence[A]) -> Sequence[T | QuanmaError]:
        self._db.execute("SAVEPOINT piece")
        writes = self._commits.writes
        try:
            outcomes = work(subject, requests)
        except _OF_THE_STORE:
            raise
        except Exception as error:
            if not self._db.in_transaction:  # SQLite has undone the group.
                raise
            self._settle()
            self._db.execute("ROLLBACK TO piece; RELEASE piece")
            self._commits.writes = writes
            if len(requests) > 1:
                return [outcome for request in requests for outcome in self._piece(work, subject, [request])]
            if isinstance(error, QuanmaError):
                return [error]
            log.error("a request was undone: %s", trace_of(error))
            return [StoreUnavailable("the request was undone")]
        self._db.execute("RELEASE piece")
        return outcomes

    def _make_durable(self) -> None:
        self._db.execute("COMMIT")
        self._commits.committed()
        if self._log_pages >= CHECKPOINT_PAGES:
            # Without room, or while someone reads the file: the log grows on, and the next commit tries again.
            with contextlib.suppress(apsw.FullError, apsw.BusyError, apsw.LockedError):
                self._db.wal_checkpoint()

    def _count_log_pages(self, db: apsw.Connection, name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _undo(self, error: Exception) -> str:
        if isinstance(error, MarkUnwritable):
            # Nothing is to be undone: it is committed, and answered under the same number once the mark knows.
            if self._unmarked is None:
                log.critical("requests are refused until the mark can be written: %s", error)
            self._unmarked = str(error)
            return self._unmarked
        was_full = self._full
        self._full = isinstance(error, apsw.FullError)
        if not self._full and isinstance(error, apsw.IOError | apsw.CorruptError | apsw.NotADBError):
            # After a failed write or fsync the kernel may have dropped the pages: what the file says is not known.
            self._broken = (
                f"the store failed ({type(error).__name__}: {error}): restart the platform once the disk is sound"
            )
            log.critical("%s", self._broken)
            return self._broken
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if not (was_full and self._full):
                self._rebuild()
        except Exception as cause:
            self._broken = "the store could not be read again: restart the platform"
            log.critical("%s: %s", self._broken, trace_of(cause))
            return self._broken
        if self._full:
            if not was_full:
                log.error("the disk is full: requests are refused until there is room")
            return "the disk is full"
        log.error("a group of requests was undone: %s", trace_of(error))
        return "the request was undone"


class _Thread:
    """Does one call after another. An executor would do, with twice the time for each: a lonely request pays that."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Callable[[], None], asyncio.Future[None]] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="commit", daemon=True)
        self._thread.start()

    def do(self, call: Callable[[], None]) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._calls.put((call, future))
        return future

    def close(self) -> None:
        self._calls.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (asked := self._calls.get()) is not None:
            call, future = asked
            problem: Exception | None = None
            try:
                call()
            except Exception as error:
                problem = error
            with contextlib.suppress(RuntimeError):  # The loop was closed: nobody waits.
                future.get_loop().call_soon_threadsafe(_settle, future, problem)


def _settle(future: asyncio.Future[None], error: Exception | None) -> None:
    if not future.done():  # It was cancelled.
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


_Request = tuple[Together[Any, Any, Any], Any, Any, asyncio.Future[Any]]
_Alike = tuple[Together[Any, Any, Any], Any, list[Any], list[asyncio.Future[Any]]]


def _alone(work: Callable[[], T], requests: Sequence[None]) -> list[T]:
    return [work()]


def _gathered(group: Sequence[_Request]) -> Iterable[_Alike]:
    """Bring together what is of one kind and subject, but nothing past a request that is done alone.

    All of a group are at the same moment, so any order would be right; but whoever sees that a budget was asked to be
    changed before a draw expects that it was.
    """
    gathered: dict[tuple[Any, Any], _Alike] = {}
    alike: _Alike | None = None
    for work, subject, request, future in group:
        if work is _alone:
            yield from gathered.values()
            yield work, subject, [request], [future]
            gathered, alike = {}, None
            continue
        # Mostly it is as the one before, and need not be looked up.
        if alike is None or subject != alike[1] or work != alike[0]:
            alike = gathered.setdefault((work, subject), (work, subject, [], []))
        alike[2].append(request)
        alike[3].append(future)
    yield from gathered.values()
