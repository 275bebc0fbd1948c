"""One writer, one history: work is done in turn, committed in groups, and answered only after its commit.

While one group's commit waits for the disk, the next one gathers; so many requests share an fsync, and a lonely one
does not wait for others. Reads take their turn too: an answer never shows what a power failure could take back.

Statements run on the event loop, where nothing competes for the interpreter; only the commit, which waits for the
disk, runs on a thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import apsw

from ...errors import QuanmaError, StoreUnavailable

T = TypeVar("T")
log = logging.getLogger(__name__)

GROUP_MAX = 256


class Journal:
    def __init__(self, db: apsw.Connection, rebuild: Callable[[], None]) -> None:
        """`rebuild` makes what is in memory anew from the store: it is called after a group was undone."""
        self._db = db
        self._rebuild = rebuild
        self._waiting: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._running: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._broken: str | None = None
        self._full = False

    def check(self) -> None:
        """Raises StoreUnavailable: nothing more is acknowledged from this store."""
        if self._broken:
            raise StoreUnavailable(self._broken)
        if self._full:
            raise StoreUnavailable("the disk is full: free some space, the platform goes on by itself")

    async def do(self, work: Callable[[], T]) -> T:
        """Run `work` in its turn and return its result, or raise its refusal, once that is durable.

        `work` decides first and writes last: if it raises a QuanmaError it has changed nothing.

        Raises:
            StoreUnavailable: the group could not be committed and was undone.
        """
        if self._broken:
            raise StoreUnavailable(self._broken)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, future))
        if self._running is None:
            self._running = asyncio.create_task(self._drain())
        return await future

    async def close(self) -> None:
        """Finish what was asked, then stop."""
        if self._running is not None:
            await self._running
        self._thread.shutdown()

    async def _drain(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:GROUP_MAX], self._waiting[GROUP_MAX:]
                outcomes = await self._commit([work for work, _ in group])
                for (_, future), outcome in zip(group, outcomes, strict=True):
                    if future.done():  # The caller went away; what was done stays done.
                        continue
                    if isinstance(outcome, BaseException):
                        future.set_exception(outcome)
                    else:
                        future.set_result(outcome)
        finally:
            self._running = None

    async def _commit(self, group: list[Callable[[], Any]]) -> list[Any]:
        """Return each one's result, or the error to raise."""
        try:
            if self._full:
                await self._on_thread(self._probe)
                self._full = False
            self._db.execute("BEGIN")
            outcomes = [_outcome(work) for work in group]
            if self._db.txn_state() == apsw.SQLITE_TXN_WRITE:
                await self._on_thread(lambda: self._db.execute("COMMIT"))
            else:
                self._db.execute("COMMIT")
                await asyncio.sleep(0)
            return outcomes
        except Exception as error:
            problem = self._undo(error)
            return [StoreUnavailable(problem) for _ in group]

    async def _on_thread(self, call: Callable[[], object]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _probe(self) -> None:
        """Write one page, to learn whether the disk has room again."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("UPDATE about SET value = value WHERE name = 'made_by'")
        self._db.execute("COMMIT")

    def _undo(self, error: Exception) -> str:
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
            self._broken = f"the store could not be read again ({type(cause).__name__}: {cause}): restart the platform"
            log.critical("%s", self._broken)
            return self._broken
        if self._full:
            log.error("the disk is full: writes are refused until there is room")
            return "the disk is full"
        log.exception("a group of requests was undone", exc_info=error)
        return "the request was undone"


def _outcome(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except QuanmaError as refusal:
        return refusal
