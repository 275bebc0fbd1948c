"""What was read is proven: where a COMMIT waits for a standby, a later COMMIT makes sure what all before it wrote."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

from ....errors import StoreUnavailable

Connection = Any

NOTHING_COMMITTED = "nothing can be committed: does PostgreSQL wait for a standby?: try again later"


class SureReads:
    """The reads of one process. `connections` gives connections, `transaction` commits surely, or raises."""

    def __init__(
        self,
        connections: Callable[[], contextlib.AbstractAsyncContextManager[Connection]],
        transaction: Callable[[Connection], contextlib.AbstractAsyncContextManager[None]],
    ) -> None:
        self._connections = connections
        self._transaction = transaction
        self.waits = False
        """Whether a COMMIT waits for a standby, as it was last seen."""
        self._committing: asyncio.Task[None] | None = None
        self._committing_next: asyncio.Task[None] | None = None

    @property
    def tasks(self) -> tuple[asyncio.Task[None] | None, ...]:
        """Those that go on by themselves."""
        return self._committing, self._committing_next

    async def commit(self, connection: Connection) -> None:
        """Commit something. What was committed before it is sure then, on every node."""
        async with self._transaction(connection):
            await connection.execute(
                "INSERT INTO about VALUES ('proof', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                uuid.uuid4().hex,
            )

    async def wait(self, seconds: float) -> None:
        """Where a COMMIT waits for a standby, nothing that was read is told before a later COMMIT was sure.

        A wait that somebody cancelled, or that ended with its session, shows to all what no standby has. One COMMIT
        does for all that have read before it began.

        Raises:
            StoreUnavailable: it takes longer.
        """
        if not self.waits:
            return
        if self._committing_next is None:
            self._committing_next = started(self._commit_next(self._committing))
        await within(self._committing_next, seconds, StoreUnavailable(NOTHING_COMMITTED))

    async def _commit_next(self, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.wait({before})
        self._committing, self._committing_next = self._committing_next, None
        async with self._connections() as connection:
            await self.commit(connection)


def started(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task that goes on by itself: its error is told to whoever waits for it, and to nobody where none does."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


async def within(task: asyncio.Task[None], seconds: float, otherwise: StoreUnavailable) -> None:
    """Wait for a task that goes on by itself. Raises `otherwise`, or what the task raised."""
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done or task.cancelled():
        raise otherwise
    task.result()
