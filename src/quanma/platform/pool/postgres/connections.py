"""Connections to PostgreSQL: with what settings, what must hold there, and what becomes of a call that one breaks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from ....errors import Misconfigured, PoolFenced, QuanmaError, StoreUnavailable
from ....serving.redact import trace_of
from . import between, schema
from .address import Address, addresses_of, shown
from .between import Astray
from .due_stocks import DueStocks, NotListed
from .epochs import Epochs
from .nodes import nodes_away
from .numbers import Numbers
from .peers import LEFT
from .seen import Missing, Unconfirmed, lineage
from .session import (
    CONNECT_SECONDS,
    NO_SESSION,
    ServerConnection,
    UnsureCommit,
    WrongServer,
    begin_session,
    check_ground,
    give_up,
    look_closely,
    transaction,
)
from .witness import EpochPassed, Witness, known_pools

T = TypeVar("T")
Connection = Any
"""asyncpg's: what a statement's columns hold, only the statement says."""

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 8
WAIT_SECONDS = 8.0
"""For a connection, when all are in use."""
KEEP_TRYING_SECONDS = 5.0
"""How long a call is tried again over new connections: a server that restarts is back by then."""
LOOK_SECONDS = 1.0
"""How long ago a connection that was only read over may have been seen to lead to the primary."""
KEEP_ASKING_SECONDS = 5.0
"""How long a call waits until all hosts have confirmed an epoch."""
ASKS_MAX = 10
ASTRAY_SECONDS = 30.0
"""How long the probe says that a connection led elsewhere: another one may lead right by chance."""

# The connection is of no use any more, or never came about; what was asked over it may have been done or not.
_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,
    asyncpg.InterfaceError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # The host was the primary before.
    asyncpg.TargetServerAttributeNotMatched,
    WrongServer,
    UnsureCommit,
    OSError,  # TimeoutError too.
)
_SETTINGS_WRONG = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.ClientConfigurationError,
    asyncpg.CantChangeRuntimeParamError,
)
_AGAIN = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.InvalidCachedStatementError,  # The tables were loaded anew.
    EpochPassed,
)
_REFUSED = (
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TooManyConnectionsError,
    asyncpg.UndefinedTableError,  # A restore is under way.
)


class Connections:
    """A few connections to the primary, made when they are needed; and the witness of what was done over them."""

    def __init__(self, url: str, folder: Path, *, accept_lost_failover: bool = False) -> None:
        """`folder`: where the witness is kept. Raises Misconfigured: no URL of a PostgreSQL database."""
        self._url = url
        self._addresses = addresses_of(url)
        self._folder = folder
        self._accept_lost_failover = accept_lost_failover
        self._pool: Any = None
        self._opening = asyncio.Lock()
        self._looking = asyncio.Lock()
        self.fenced: str | None = None
        """Why nothing new may be given out: this is a restored copy, or something is missing."""
        self._witness: Witness | None = None
        self._epochs: Epochs | None = None
        self.numbers = Numbers()
        self.many_nodes = False
        """It is a Citus cluster."""
        self.listing: DueStocks | None = None
        """Of stocks with events due, where it is a Citus cluster."""
        self.nodes_away: list[str] = []
        """Nodes of a Citus cluster that did not answer when they were last asked."""
        self._astray: tuple[str, float] | None = None
        """What was last said of a connection that led elsewhere, and when, on the loop's clock."""

    @property
    def witness(self) -> Witness:
        assert self._witness is not None
        return self._witness

    @property
    def epochs(self) -> Epochs:
        assert self._epochs is not None
        return self._epochs

    async def call(
        self,
        work: Callable[[Connection], Awaitable[T]],
        acknowledge: Callable[[], bool] | None = None,
        acknowledge_what_was_read: Callable[[], None] | None = None,
        *,
        writes: bool = False,
    ) -> T:
        """Run `work` on a connection, and again on another one if that breaks: `work` must be fit to be repeated.

        `acknowledge`: writes down what was done, before it is told to anyone, and says whether `work` wrote anything;
        `writes`: it does. What was only read is told when a later COMMIT is sure; `acknowledge_what_was_read` then
        writes that down.

        Raises:
            Misconfigured: the database does not let us in.
            StoreUnavailable: it could not be done, or it is not known whether it was.
        """
        loop = asyncio.get_running_loop()
        until, pause, asks = loop.time() + KEEP_TRYING_SECONDS, 0.02, ASKS_MAX
        while True:
            try:
                async with self.connection() as connection:
                    if self.witness.doubts:
                        await self._prove(connection)
                    done = await work(connection)
                    wrote = acknowledge() if acknowledge is not None else writes
                    if not wrote and loop.time() - connection.looked_at > LOOK_SECONDS:
                        await between.look_where(connection)
                        connection.note_look()
                if not wrote:
                    await self._lost_is_unavailable(self.epochs.sure_reads.wait(WAIT_SECONDS))
                    if acknowledge_what_was_read is not None:
                        acknowledge_what_was_read()
                return done
            except QuanmaError:
                raise
            except Unconfirmed as reason:
                if not (asks := asks - 1):
                    raise StoreUnavailable("the database changes again and again: try again later") from None
                await self._lost_is_unavailable(self.epochs.settle(KEEP_ASKING_SECONDS, reason.went_back_in))
            except NotListed as asked:
                assert self.listing is not None
                await self.call(partial(self.listing.list_stock, **asked.stock), writes=True)
            except Missing:
                if not (asks := asks - 1):
                    raise StoreUnavailable("something that was acknowledged is missing: try again later") from None
                await self._lost_is_unavailable(self.epochs.fence_missing())
            except _SETTINGS_WRONG as problem:
                raise Misconfigured(f"the database refuses us ({problem}): correct the database URL") from None
            except (*_LOST, *_AGAIN, asyncpg.UniqueViolationError) as problem:
                if isinstance(problem, asyncpg.UniqueViolationError) and not self.many_nodes:
                    raise
                # On Citus: another transaction of the stock was quicker while a shard moved. See docs/postgres.md.
                if loop.time() + pause > until:
                    raise self._unreachable(problem) from None
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.5)
            except _REFUSED as problem:
                raise StoreUnavailable(f"the database refused ({type(problem).__name__}): try again later") from None

    async def transaction(
        self,
        work: Callable[[Connection], Awaitable[T]],
        acknowledge: Callable[[], bool] | None = None,
        acknowledge_what_was_read: Callable[[], None] | None = None,
    ) -> T:
        """As `call`, in one transaction."""

        async def in_one(connection: Connection) -> T:
            async with self.transacted(connection):
                return await work(connection)

        return await self.call(in_one, acknowledge, acknowledge_what_was_read, writes=True)

    @contextlib.asynccontextmanager
    async def transacted(self, connection: Connection) -> AsyncGenerator[None, None]:
        """A transaction on a connection. Raises UnsureCommit: it may be seen, and be lost by a failover."""
        try:
            async with transaction(connection):
                yield
        except UnsureCommit:
            self.witness.doubt()
            raise

    async def check(self) -> None:
        """Raises StoreUnavailable: the database does not answer, or nothing can be committed there."""

        async def ask(connection: Connection) -> None:
            await check_ground(connection)
            await self._note_fence(connection)
            if self.many_nodes:
                await self._look_at_nodes(connection)

        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self.call(ask, writes=True)
                if self._astray and asyncio.get_running_loop().time() - self._astray[1] < ASTRAY_SECONDS:
                    raise StoreUnavailable(self._astray[0])
                if not self.nodes_away:  # A host's beat is committed on all of them.
                    await self._lost_is_unavailable(self.epochs.check_commits())
        except TimeoutError:
            raise StoreUnavailable("the database does not answer") from None

    async def due_stocks(self) -> DueStocks | None:
        """The list of stocks with events due. None: there is one node, which needs none."""
        if self._witness is None:  # Not connected yet.
            await self.call(_nothing)
        return self.listing

    async def _look_at_nodes(self, connection: Connection) -> None:
        """Raises StoreUnavailable: a node can lose what it said it keeps. One that is away is told of in the log."""
        away = await nodes_away(connection)
        if away and away != self.nodes_away:
            log.error("nodes of the database do not answer: %s: requests for their stocks are refused", ", ".join(away))
        self.nodes_away = away

    async def look_at_fence(self, connection: Connection) -> None:
        """Raises PoolFenced: nothing new may be given out."""
        await self._note_fence(connection)
        if self.fenced is not None:
            raise PoolFenced(self.fenced)

    async def close(self) -> None:
        if self._epochs is not None:
            await self._epochs.close()
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await pool.close()
            except (TimeoutError, *_LOST):
                pool.terminate()
        if self._witness is not None:
            self._witness.close()
            self._witness = self._epochs = None

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection, None]:
        pool = await self._opened()
        with self._noted():
            connection = await pool.acquire(timeout=WAIT_SECONDS)
        try:
            with self._noted():
                yield connection
        except Astray:
            connection.terminate()
            raise
        except (asyncpg.ReadOnlySQLTransactionError, asyncpg.TargetServerAttributeNotMatched):
            await pool.expire_connections()
            raise
        except asyncio.CancelledError:
            connection.terminate()  # Nobody knows how far its statement came.
            raise
        finally:
            await _released(pool, connection)

    @contextlib.contextmanager
    def _noted(self) -> Generator[None, None, None]:
        """Notes for the probe, and in the log, that a connection led elsewhere."""
        try:
            with between.told():
                yield
        except Astray as problem:
            now = asyncio.get_running_loop().time()
            if self._astray is None or now - self._astray[1] > ASTRAY_SECONDS:
                log.critical("%s", problem)
            self._astray = str(problem), now
            raise

    async def _prove(self, connection: Connection) -> None:
        """Nothing is told while a COMMIT has no sure outcome: a later one that is sure makes all before it sure."""
        await self.epochs.sure_reads.commit(connection)
        self.witness.clear_doubts()

    async def _lost_is_unavailable(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (*_LOST, *_AGAIN, *_REFUSED, asyncpg.PostgresError) as problem:
            raise self._unreachable(problem) from None

    def _unreachable(self, problem: BaseException) -> StoreUnavailable:
        if isinstance(problem, WrongServer):
            return StoreUnavailable(str(problem))
        if isinstance(problem, UnsureCommit):
            return StoreUnavailable(f"{problem}: send the same request again, under the same number")
        return StoreUnavailable(unreachable(self._url, problem))

    async def _note_fence(self, connection: Connection) -> None:
        fenced = await schema.fence(connection)
        if fenced is not None and self.fenced is None:
            self.epochs.fence.tell(fenced)
        self.fenced = fenced

    async def _opened(self) -> Any:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    min_size=0,
                    max_size=CONNECTIONS_MAX,
                    connect=self._connect,
                    # Nothing of a session is changed, so there is nothing to be put back.
                    reset=_nothing,
                    connection_class=ServerConnection,
                )
            return self._pool

    async def _connect(self, *_: Any, **options: Any) -> ServerConnection:
        """Connect to the first address that is the primary, and look at the ground before the first statement."""
        problem: BaseException = OSError("no address")
        for address in self._addresses:
            try:
                connection = await begin_session(address, WAIT_SECONDS * 2)
            except NO_SESSION as failed:
                problem = failed
                continue
            try:
                if connection.is_led and self._witness is None:
                    await look_closely(connection, address)
                await self._look(connection, address)
            except WrongServer as failed:
                await give_up(connection, failed)
                problem = failed
            except BaseException as failed:
                await give_up(connection, failed)
                raise
            else:
                return connection
        raise problem

    async def _look(self, connection: ServerConnection, address: Address) -> None:
        """Another schema, an old primary, a copy, a failover that may lose what was acknowledged."""
        async with self._looking:
            pool_id = await schema.pool_id(connection)
            if pool_id is None and (known := known_pools(self._folder, address.name)):
                raise StoreUnavailable(
                    f"the database is empty, and this host served a pool there: restore it; if a new pool is meant, "
                    f"remove {self._folder / 'witness' / known[0]}"
                )
            await schema.check(connection)
            if self._witness is None:
                await self._begin(connection, address, await schema.pool_id(connection) or "")
            elif self._witness.folder.name != pool_id:
                raise StoreUnavailable("another pool was put in the place of the one that is served: restart quanma")
            host = self.witness.host
            is_known = lineage(await schema.history(connection)) <= lineage(host.history)
            if is_known and connection.system == host.system and connection.timeline < host.timeline:
                raise WrongServer(
                    f"a server of timeline {connection.timeline} answers, and this host has seen {host.timeline}: "
                    "it is an old primary: keep it stopped until pg_rewind has run; if it is a restored copy that "
                    "is to go on, run `quanma reconcile`"
                )
            if (connection.system, connection.timeline) != (host.system, host.timeline):
                self.witness.change_host(system=connection.system, timeline=connection.timeline)
            await self._note_fence(connection)
            self.epochs.start()

    async def _begin(self, connection: Connection, address: Address, pool_id: str) -> None:
        """What is done once, at the first connection of this process."""
        is_alone = not await connection.fetchval("SHOW synchronous_standby_names")
        if is_alone and len(self._addresses) > 1:
            said = (
                "the database URL names several hosts, and no standby is synchronous (synchronous_standby_names is "
                "empty): a failover can lose coupons that were given out"
            )
            if not self._accept_lost_failover:
                raise Misconfigured(
                    f"{said}: set synchronous_standby_names on the primary, or accept_lost_failover = true in "
                    "platform.toml: then each failover that may have lost something stops the draws until "
                    "`quanma reconcile`"
                )
            log.warning("%s; accept_lost_failover is set: each such failover stops the draws", said)
        self.many_nodes = await schema.has_many_nodes(connection)
        if self.many_nodes:
            self.listing = DueStocks(partial(self.call, writes=True))
            await self._look_at_nodes(connection)
        self._witness = Witness(self._folder, pool_id, address.name)
        self._epochs = Epochs(self._witness, self.connection, transaction, many_nodes=self.many_nodes)
        if self._witness.is_new and await connection.fetchval("SELECT EXISTS (SELECT FROM stock)"):
            others = await connection.fetchval(
                "SELECT count(*) FROM host WHERE confirmed <> $1 AND beat_at > now() - make_interval(secs => 10)",
                LEFT,
            )
            log.warning(
                "this host has no witness of the pool yet%s: until it acknowledged something of a stock, it can't "
                "notice that the database went back to before",
                "" if others else ", and no other host serves it",
            )


def unreachable(url: str, problem: BaseException) -> str:
    """Say which database can't be reached, why, and what to do. No user and no password is in it."""
    name = f" {known}" if (known := shown(url)) else ""
    return (
        f"the database{name} can't be reached: {_cause_of(problem)}: see that PostgreSQL runs there, or correct the "
        "database URL"
    )


_CAUSES: dict[type[BaseException], str] = {
    ConnectionRefusedError: "nothing listens there",
    socket.gaierror: "no such host is known",
    FileNotFoundError: "there is no such socket",
    PermissionError: "this user may not connect",
    TimeoutError: "no answer in time",
    ConnectionResetError: "the connection broke",
    ConnectionAbortedError: "the connection broke",
    BrokenPipeError: "the connection broke",
    asyncpg.CannotConnectNowError: "it starts or ends at the moment",
    asyncpg.TooManyConnectionsError: "it has no connection left",
}


def _cause_of(problem: BaseException) -> str:
    """In words, with the kind of the error; in its own words if it is a pooler's, or that only standbys answer."""
    if isinstance(problem, asyncpg.ProtocolViolationError):
        return f"what is in front of it says: {problem}"
    if isinstance(problem, asyncpg.TargetServerAttributeNotMatched):
        return "what answers is a standby, or a proxy leads to one"
    kind = type(problem).__name__
    said = next((words for known, words in _CAUSES.items() if isinstance(problem, known)), "")
    return f"{said} ({kind})" if said else kind


async def _nothing(connection: Connection) -> None:
    return None


async def _released(pool: Any, connection: Connection) -> None:
    try:
        await pool.release(connection)
    except Exception as problem:  # It was lost: what was done with it is already told.
        log.debug("a connection was lost: %s", trace_of(problem))
