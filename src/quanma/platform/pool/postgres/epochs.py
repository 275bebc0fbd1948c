"""Whether the database is still the one that every host knows: epochs, and the witness that each host bears.

An epoch is begun whenever the database may have gone back: the server was started anew or another one took over, rows
were loaded anew, this host's own row is older than it remembers. Nothing is given out in an epoch until every host
with a live lease has confirmed it: it found every mark of its own in the database. That takes milliseconds where
nothing was lost. A host that finds one missing, or says nothing until its lease is long over, fences the pool.

A host that is dead when an epoch begins confirms nothing, and need not: a beat of a living host, made after the dead
one's lease was over and found in the database, proves that all before it is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import socket
import time
import uuid
from collections.abc import Callable
from typing import Any

from ....errors import StoreUnavailable
from ....serving.redact import trace_of
from ..contract import HostsAsked
from .between import WHERE, check_where
from .fencing import Fence
from .host_file import Host, Peer
from .missing import missing_marks, told
from .peers import (
    AROUND,
    KNOWN_SECONDS,
    LEFT,
    Around,
    ask_for,
    is_noticed,
    joined,
    peers_of_late,
    remember,
    remember_more,
    say_of_when,
)
from .seen import (
    IDENTITY,
    LEASE_SECONDS,
    SEEN,
    SEEN_FIELDS,
    UNKNOWN_SECONDS,
    WORD_SECONDS,
    Seen,
    Unconfirmed,
    lineage,
    went_back,
)
from .sure_reads import NOTHING_COMMITTED, SureReads, started, within
from .witness import Witness

Connection = Any

log = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
REMEMBERED_SECONDS = 60
"""A host that has not renewed its lease for so long is forgotten: what follows proves all that it did."""
COMMIT_OVERDUE_SECONDS = 3.0
"""A beat that takes longer: nothing can be committed."""


class Epochs:
    """The epochs of one pool, for the workers of one host."""

    def __init__(
        self,
        witness: Witness,
        connections: Callable[[], contextlib.AbstractAsyncContextManager[Connection]],
        transaction: Callable[[Connection], contextlib.AbstractAsyncContextManager[None]],
        *,
        many_nodes: bool,
    ) -> None:
        """`transaction` commits surely, or raises. `many_nodes`: it is a Citus cluster."""
        self._witness = witness
        self._connections = connections
        self._transaction = transaction
        self._many_nodes = many_nodes
        self.fence = Fence(witness, transaction, many_nodes=many_nodes)
        self.sure_reads = SureReads(connections, transaction)
        self._has_begun = False
        self._joins = False
        """No worker of this host served before, and the others do not know of it yet."""
        self._went_back_in: str | None = None
        self._nodes: dict[int, str] = {}
        self._settling: asyncio.Task[None] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._loop_task: asyncio.Task[None] | None = None

    @property
    def identity(self) -> str:
        return "''" if self._many_nodes else IDENTITY

    def check(self, seen: Seen, server: str, host: Host) -> None:
        """Raises Unconfirmed: nothing may be done. `host`: what this host remembered before `seen` was read."""
        self.sure_reads.waits = seen.waits
        if not seen.is_settled or seen.server != server or seen.epoch != host.confirmed:
            raise Unconfirmed
        if (seen.beat or 0) < host.beat:
            # A host that starts may have been forgotten since; one that serves has not.
            raise Unconfirmed(seen.key if self._has_begun or seen.beat is not None else None)

    async def enter(self, connection: Connection) -> Seen:
        """As a transaction of a stock does, for what is none. Raises Unconfirmed."""
        host = self._witness.host
        seen = await self._look(connection)
        if not seen.is_fenced:
            self.check(seen, connection.server, host)
        return seen

    def start(self) -> None:
        if self._loop_task is None:
            self._loop_task = asyncio.create_task(self._run())

    async def settle(self, seconds: float, went_back_in: str | None = None) -> None:
        """Have the epoch confirmed, by this host and by all; first, let another begin if this one is `went_back_in`.

        Raises:
            HostsAsked: that takes longer. It goes on meanwhile.
        """
        self._went_back_in = went_back_in or self._went_back_in
        if self._settling is None or self._settling.done():
            self._settling = started(self._settle())
        await within(self._settling, seconds, HostsAsked())

    async def beat(self, seconds: float = COMMIT_OVERDUE_SECONDS) -> None:
        """Renew this host's lease, which takes a COMMIT. Raises StoreUnavailable: it takes longer; HostsAsked."""
        if self._beating is None or self._beating.done():
            self._beating = started(self._beat())
        try:
            await within(self._beating, seconds, StoreUnavailable(NOTHING_COMMITTED))
        except StoreUnavailable:
            if self._settling is not None and not self._settling.done():
                raise HostsAsked from None
            raise

    async def check_commits(self) -> None:
        """Raises StoreUnavailable: nothing can be committed."""
        # The clock begins anew with the machine.
        if not 0 <= time.monotonic_ns() - self._witness.host.renewed_at <= 2 * BEAT_SECONDS * 1e9:
            await self.beat()

    async def close(self) -> None:
        """Say good-bye if no other worker of this host is left: nobody waits for it then."""
        own = (self._loop_task, self._settling, self._beating, *self.sure_reads.tasks)
        tasks = [task for task in own if task and not task.done()]
        if self._loop_task is not None:
            self._loop_task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=COMMIT_OVERDUE_SECONDS)
        for task in tasks:
            task.cancel()
        if self._witness.others_serve() or not self._witness.host.beat:
            return
        with contextlib.suppress(Exception):
            async with asyncio.timeout(COMMIT_OVERDUE_SECONDS), self._connections() as connection:
                seen, host = await self._look(connection), self._witness.host
                if not seen.is_fenced and (went_back(seen, host) or seen.beat is None):
                    # The only one who knows that something is missing may be the one that ends.
                    await self._settle()
                    seen = await self._look(connection)
                if seen.beat is not None and seen.beat >= self._witness.host.beat:
                    self._witness.change_host(claimed_at=0, confirmed="", peers={}, peers_at=0)
                    await connection.execute("UPDATE host SET confirmed = $2 WHERE host_id = $1", host.host_id, LEFT)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                host, now = self._witness.host, time.monotonic_ns()
                if 0 <= now - host.claimed_at < BEAT_SECONDS * 0.9e9:
                    continue  # Another worker of this host does it.
                self._witness.change_host(claimed_at=now)
                await self.beat(4 * LEASE_SECONDS)
            except Exception as problem:
                log.debug("the lease was not renewed: %s", trace_of(problem))

    async def _beat(self) -> None:
        async with self._connections() as connection:
            host, looked_at = self._witness.host, time.monotonic_ns()
            seen, around = await self._look_around(connection)
            if seen.is_fenced:
                await self.fence.hold(connection, seen)
                seen = await self._look(connection)
            else:
                if self._many_nodes and await self._a_node_was_started_anew(connection):
                    self._went_back_in = seen.key
                try:
                    self.check(seen, connection.server, host)
                    is_in_order = self._went_back_in != seen.key and seen.beat is not None
                except Unconfirmed as reason:
                    self._went_back_in = reason.went_back_in or self._went_back_in
                    is_in_order = False
                if not is_in_order:
                    await self.settle(2 * LEASE_SECONDS)
                    return
                remember(self._witness, around, looked_at)
            beat = max(seen.beat or 0, host.beat) + 1
            async with self._transaction(connection):
                # Where it looked: not in a copy that was put in its place since.
                done = await connection.execute(
                    "UPDATE host SET beat = $2, beat_at = now(), knows_at = coalesce($4, knows_at)"
                    " WHERE host_id = $1 AND beat = $3",
                    host.host_id,
                    beat,
                    seen.beat,
                    None if seen.is_fenced else around.at,
                )
                await connection.execute(
                    "DELETE FROM host WHERE beat_at < now() - make_interval(secs => $1::integer)", REMEMBERED_SECONDS
                )
            if done == "UPDATE 1":
                self._witness.change_host(beat=beat, renewed_at=time.monotonic_ns())
                await asyncio.to_thread(self._witness.sync)

    async def _a_node_was_started_anew(self, connection: Connection) -> bool:
        """Whether a node of the cluster was, since the last look: it may have been restored by itself."""
        rows = await connection.fetch(
            "SELECT nodeid, result FROM run_command_on_all_nodes("
            "'SELECT extract(epoch FROM pg_postmaster_start_time())::text') WHERE success"
        )
        nodes = {int(node): str(started_at) for node, started_at in rows}
        is_anew = any(self._nodes.get(node, started_at) != started_at for node, started_at in nodes.items())
        self._nodes.update(nodes)
        return is_anew

    async def _look(self, connection: Connection) -> Seen:
        return (await self._look_around(connection))[0]

    async def _look_around(self, connection: Connection) -> tuple[Seen, Around]:
        # On Citus the epoch is read from any node, where our session is another.
        where = "'', 'off'" if self._many_nodes else WHERE
        row = await connection.fetchrow(
            f"SELECT {SEEN.format(identity=self.identity, host='$1')}, {AROUND}, {where} FROM epoch e",
            self._witness.host.host_id,
        )
        around_until = SEEN_FIELDS + len(Around._fields)
        if not self._many_nodes:
            check_where(connection, *row[around_until:])
        seen = Seen(*row[:SEEN_FIELDS])
        self.sure_reads.waits = seen.waits
        return seen, Around(*row[SEEN_FIELDS:around_until])

    async def _settle(self) -> None:
        async with self._connections() as connection:
            while True:
                host = self._witness.host
                seen, around = await self._look_around(connection)
                if seen.is_fenced:
                    await self.fence.hold(connection, seen)
                    return
                own = await connection.fetchrow("SELECT confirmed, beat_at FROM host WHERE host_id = $1", host.host_id)
                # It may have slept through a restore that others have settled. So it looks for all of its marks. No
                # epoch begins, in which others would be asked: one that was killed shortly before would not answer.
                if not self._has_begun:
                    self._has_begun, self._joins = True, not self._witness.others_serve()
                    if self._joins:
                        host = self._witness.change_host(confirmed="", peers={}, peers_at=0)
                peers = peers_of_late(host)
                settled = str(await connection.fetchval("SELECT value FROM about WHERE name = 'settled'") or "")
                was_loaded = settled.startswith(f"{seen.key}.") and settled != seen.epoch
                is_older = seen.key == self._went_back_in or went_back(seen, host)
                if seen.server != connection.server or is_older or was_loaded:
                    await self._begin(connection, seen)
                elif own is None or own[0] != seen.key or host.confirmed != seen.epoch:
                    await self._confirm(connection, seen, around, None if own is None else own[1])
                elif (
                    not seen.is_settled
                    and (peers is None or host.met_fence)
                    and await self._strangers_may_come(connection, settled)
                ):
                    await asyncio.sleep(0.05)
                elif not (silent := await self._silent(connection, seen, peers)):
                    await connection.execute(
                        "INSERT INTO about VALUES ('settled', $1)"
                        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                        seen.epoch,
                    )
                    return
                elif any(is_late for _, is_late in silent):
                    names = ", ".join(name for name, is_late in silent if is_late)
                    await self.fence.begin(
                        connection,
                        f"the database was started anew or restored, and a host that served it before ({names}) does "
                        "not say whether anything that it acknowledged is missing",
                        [],
                    )
                else:
                    await asyncio.sleep(0.05)

    async def _begin(self, connection: Connection, seen: Seen) -> None:
        """Begin an epoch, if no other host has done so since."""
        await connection.execute(
            "UPDATE epoch SET number = greatest(number, $1) + 1, token = $2, server = $3, began_at = now()"
            " WHERE place = 1 AND number = $4 AND number || '.' || token = $5",
            self._witness.host.epoch_number,
            uuid.uuid4().hex,
            connection.server,
            seen.number,
            seen.key,
        )

    async def _strangers_may_come(self, connection: Connection, settled: str) -> bool:
        """Whether hosts that nobody knows of, this database neither, may still say that they live.

        `settled`: the last epoch that was. Where none ever was, nobody has served.
        """
        unheard = "SELECT now() < began_at + make_interval(secs => $1) FROM epoch"
        return bool(settled and await connection.fetchval(unheard, UNKNOWN_SECONDS))

    async def _confirm(
        self, connection: Connection, seen: Seen, around: Around, beat_at: datetime.datetime | None
    ) -> None:
        """Look whether all that this host acknowledged is there, and say so, or fence the pool.

        `beat_at`: its last beat that the database has.
        """
        before = self._witness.host
        # From now on, no worker of this host acknowledges what it began in an older epoch. All marks until now count.
        known = self._witness.change_host(epoch=seen.epoch, epoch_number=seen.number)
        if known.wrote_under_fence and lineage(seen.history) <= lineage(known.wrote_under_fence):
            await self.fence.begin(connection, _WRITTEN_UNDER_FENCE, [])
            return
        is_reconciled = seen.number >= before.epoch_number and lineage(seen.history) > lineage(before.history)
        if before.history and not is_reconciled:
            missing = await missing_marks(connection, self._witness, before.history, many_nodes=self._many_nodes)
            if missing or seen.history != before.history:
                await self.fence.begin(connection, told(missing) if missing else _UNRECONCILED, missing)
                return
        beat = max(seen.beat or 0, before.beat) + 1
        remember_more(self._witness, around)
        async with self._transaction(connection):
            await connection.execute(
                "INSERT INTO host (host_id, name, beat, beat_at, confirmed, proven_at, knows_at)"
                " VALUES ($1, $2, $3, now(), $4, $5, $6)"
                " ON CONFLICT (host_id) DO UPDATE SET name = excluded.name, beat = excluded.beat,"
                " beat_at = excluded.beat_at, confirmed = excluded.confirmed, proven_at = excluded.proven_at,"
                " knows_at = excluded.knows_at, joined_at = CASE WHEN $7 THEN NULL ELSE host.joined_at END",
                before.host_id,
                socket.gethostname(),
                beat,
                seen.key,
                beat_at,
                around.at,
                self._joins,
            )
        self._witness.change_host(beat=beat)
        if await self._be_noticed(connection, seen):
            self._witness.change_host(confirmed=seen.epoch, history=seen.history, renewed_at=time.monotonic_ns())
            self._joins = False

    async def _be_noticed(self, connection: Connection, seen: Seen) -> bool:
        """A host that joins gives nothing out before the others know of it. False: the epoch is over meanwhile."""
        host_id = self._witness.host.host_id
        await joined(connection, host_id)
        until = time.monotonic() + KNOWN_SECONDS
        while True:
            again, around = await self._look_around(connection)
            if again.is_fenced or again.epoch != seen.epoch:
                return False
            # The database's clock may be another one's since a failover: what is known is void by ours too.
            if await is_noticed(connection, host_id) or time.monotonic() > until:
                return True
            # The others may be joining too, and wait for this one.
            remember_more(self._witness, around)
            await say_of_when(connection, host_id, around)
            await asyncio.sleep(0.05)

    async def _silent(
        self, connection: Connection, seen: Seen, peers: dict[str, Peer] | None
    ) -> list[tuple[str, bool]]:
        """Hosts that must confirm and have not: their names, and whether they had their time.

        `peers` served a moment ago, and this database may not know of them. One whose lease was over when the epoch
        began has a few seconds to say that it lives.
        """
        if not seen.is_settled:
            await ask_for(connection, peers)
        rows = await connection.fetch(
            "SELECT h.name, now() > e.began_at + make_interval(secs => $2::integer)"
            " FROM host h, epoch e WHERE h.confirmed NOT IN ($1, $4)"
            " AND (h.beat_at > e.began_at - make_interval(secs => $2::integer)"
            " OR now() < e.began_at + make_interval(secs => $3::integer))"
            " AND NOT EXISTS (SELECT 1 FROM host g WHERE g.confirmed = $1"
            " AND g.proven_at > h.beat_at + make_interval(secs => $2::integer))",
            seen.key,
            LEASE_SECONDS,
            WORD_SECONDS,
            LEFT,
        )
        return [(str(name), bool(is_late)) for name, is_late in rows]

    async def fence_missing(self) -> None:
        """A transaction did not find a mark: look at all of them, and fence the pool."""
        async with self._connections() as connection:
            seen, host = await self._look(connection), self._witness.host
            if seen.is_fenced:
                await self.fence.hold(connection, seen)
            elif missing := await missing_marks(connection, self._witness, host.history, many_nodes=self._many_nodes):
                await self.fence.begin(connection, told(missing), missing)


_UNRECONCILED = (
    "this database is a copy of before the last `quanma reconcile`: what was taken out then would be given out again"
)
_WRITTEN_UNDER_FENCE = (
    "this database was put in the place of a fenced one, and lacks what was acknowledged there meanwhile"
)
