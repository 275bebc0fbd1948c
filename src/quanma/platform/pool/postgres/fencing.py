"""The fence that a host raises around a pool that lacks something, and what each host says under it, once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any

from ....errors import StoreUnavailable
from .mark_file import Mark
from .missing import missing_marks, note_missing
from .peers import LEFT, ask_for, peers_of_late
from .seen import LEASE_SECONDS, UNKNOWN_SECONDS, WORD_SECONDS, Seen, lineage
from .witness import Witness

Connection = Any

log = logging.getLogger(__name__)

SPOKE_UNDER_FENCE = "fenced"
"""What a host has confirmed that has noted what it knows to be missing: no epoch."""
_POLL_SECONDS = 0.1


class Fence:
    """Raised by this host, or by another one."""

    def __init__(
        self,
        witness: Witness,
        transaction: Callable[[Connection], contextlib.AbstractAsyncContextManager[None]],
        *,
        many_nodes: bool,
    ) -> None:
        self._witness = witness
        self._transaction = transaction
        self._many_nodes = many_nodes
        self._told_in: str | None = None
        self._noted_in: str | None = None
        """In which history of this host's it was told, and what is missing noted."""

    async def begin(self, connection: Connection, why: str, missing: Sequence[tuple[str, Mark]]) -> None:
        """In a transaction of its own, for all hosts."""
        async with self._transaction(connection):
            await connection.execute("INSERT INTO about VALUES ('fenced', $1) ON CONFLICT (name) DO NOTHING", why)
            await self._note(connection, missing)
        self.tell(why)
        self._noted_in = self._witness.host.history

    def tell(self, why: str) -> None:
        """In the log, once: with each fence that is lifted, another history begins."""
        if not self._witness.host.met_fence:
            self._witness.change_host(met_fence=True)
        if self._told_in != (history := self._witness.host.history):
            self._told_in = history
            log.critical("nothing is given out: %s: run `quanma reconcile`", why)

    async def hold(self, connection: Connection, seen: Seen) -> None:
        """Tell of it, and note, once, what this host knows to be missing, for whoever reconciles."""
        self.tell(str(await connection.fetchval("SELECT value FROM about WHERE name = 'fenced'")))
        history = self._witness.host.history
        if self._noted_in == history and await self._has_spoken(connection):
            return
        missing: list[tuple[str, Mark]] = []
        if history and lineage(seen.history) <= lineage(history):
            missing = await missing_marks(connection, self._witness, history, many_nodes=self._many_nodes)
        async with self._transaction(connection):
            # Whoever lifts the fence has its row, and has read what is noted.
            if await connection.fetchval("SELECT 1 FROM about WHERE name = 'fenced' FOR UPDATE"):
                await self._note(connection, missing)
        self._noted_in = history

    async def _has_spoken(self, connection: Connection) -> bool:
        """By this database: one that went back once more has another fence, and knows nothing of that."""
        confirmed = await connection.fetchval(
            "SELECT confirmed FROM host WHERE host_id = $1", self._witness.host.host_id
        )
        return bool(confirmed == SPOKE_UNDER_FENCE)

    async def _note(self, connection: Connection, missing: Sequence[tuple[str, Mark]]) -> None:
        """And that this host has spoken."""
        await note_missing(connection, self._witness, missing)
        host = self._witness.host
        await ask_for(connection, peers_of_late(host))
        await connection.execute(
            "INSERT INTO host (host_id, name, beat, beat_at, confirmed) VALUES ($1, $2, $3, now(), $4)"
            " ON CONFLICT (host_id) DO UPDATE SET beat_at = excluded.beat_at, confirmed = excluded.confirmed",
            host.host_id,
            socket.gethostname(),
            host.beat,
            SPOKE_UNDER_FENCE,
        )


async def until_hosts_have_spoken(connection: Connection) -> None:
    """Wait until each living host has noted what it knows to be missing of a fenced pool.

    Raises:
        StoreUnavailable: one lives, and has not.
    """
    # A living host that nobody knows of, this database neither, sees the fence with its next beat.
    await asyncio.sleep(UNKNOWN_SECONDS)
    for _ in range(round(WORD_SECONDS / _POLL_SECONDS)):
        if not await connection.fetchval(
            "SELECT EXISTS (SELECT FROM host WHERE confirmed NOT IN ($1, $2))", SPOKE_UNDER_FENCE, LEFT
        ):
            return
        await asyncio.sleep(_POLL_SECONDS)
    rows = await connection.fetch(
        "SELECT name FROM host"
        " WHERE confirmed NOT IN ($1, $3) AND beat_at > now() - make_interval(secs => $2::integer)",
        SPOKE_UNDER_FENCE,
        LEASE_SECONDS,
        LEFT,
    )
    if rows:
        raise StoreUnavailable(
            f"the host {rows[0][0]} serves the pool, and has not said yet what it knows to be missing: try again in a "
            "few seconds, or stop it"
        )
