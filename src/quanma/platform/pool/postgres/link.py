"""Connections to PostgreSQL: with what settings, what must hold there, and what becomes of a call that one breaks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import asyncpg

from ....errors import Misconfigured, PoolFenced, QuanmaError, StoreUnavailable
from ...traces import trace_of
from . import schema

T = TypeVar("T")
Connection = Any
"""asyncpg's: what a statement's columns hold, only the statement says."""

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 8
CONNECT_SECONDS = 5.0
WAIT_SECONDS = 8.0
"""For a connection, when all are in use."""
KEEP_TRYING_SECONDS = 5.0
"""How long a call is tried again over new connections: a server that restarts is back by then."""

SETTINGS = {
    "application_name": "quanma",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "statement_timeout": "10s",
    "lock_timeout": "8s",
    # A worker that is paused, or whose host is gone, must not keep a stock's turn.
    "idle_in_transaction_session_timeout": "5s",
    "tcp_user_timeout": "10s",
    # Each statement here has an index to go by. Statistics are stale right after many uploads, but a plan that is made
    # for each statement at least knows how large a table is; one made when it was empty would be kept for minutes.
    "enable_seqscan": "off",
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
}

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
    OSError,  # TimeoutError too.
)
_SETTINGS_WRONG = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.ClientConfigurationError,
    asyncpg.CantChangeRuntimeParamError,
)
_AGAIN = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_REFUSED = (
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TooManyConnectionsError,
)


class Link:
    """A few connections to the primary, made when they are needed."""

    def __init__(self, url: str) -> None:
        """Raises Misconfigured: no URL of a PostgreSQL database."""
        self._url = with_primary(url)
        self._pool: Any = None
        self._opening = asyncio.Lock()
        self.fenced: str | None = None
        """Why nothing new may be given out: this is a restored copy."""

    async def call(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` on a connection, and again on another one if that breaks: `work` must be fit to be repeated.

        Raises:
            Misconfigured: the database does not let us in.
            StoreUnavailable: it could not be done, or it is not known whether it was.
        """
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + KEEP_TRYING_SECONDS, 0.02
        while True:
            try:
                async with self._connection() as connection:
                    return await work(connection)
            except QuanmaError:
                raise
            except _SETTINGS_WRONG as problem:
                raise Misconfigured(f"the database refuses us ({problem}): correct the database URL") from None
            except (*_LOST, *_AGAIN) as problem:
                if loop.time() + pause > until:
                    raise StoreUnavailable(f"the database can't be reached ({type(problem).__name__})") from None
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.5)
            except _REFUSED as problem:
                raise StoreUnavailable(f"the database refused ({type(problem).__name__}): try again later") from None

    async def transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """As `call`, in one transaction."""

        async def in_one(connection: Connection) -> T:
            async with connection.transaction():
                return await work(connection)

        return await self.call(in_one)

    async def check(self) -> None:
        """Raises StoreUnavailable: the database does not answer."""

        async def ask(connection: Connection) -> None:
            self.fenced = await schema.fence(connection)

        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self.call(ask)
        except TimeoutError:
            raise StoreUnavailable("the database does not answer") from None

    async def look_at_fence(self, connection: Connection) -> None:
        """Raises PoolFenced: nothing new may be given out."""
        self.fenced = await schema.fence(connection)
        if self.fenced is not None:
            raise PoolFenced(self.fenced)

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await pool.close()
            except (TimeoutError, *_LOST):
                pool.terminate()

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Connection, None]:
        pool = await self._opened()
        connection = await pool.acquire(timeout=WAIT_SECONDS)
        try:
            yield connection
        except (asyncpg.ReadOnlySQLTransactionError, asyncpg.TargetServerAttributeNotMatched):
            await pool.expire_connections()
            raise
        except asyncio.CancelledError:
            connection.terminate()  # Nobody knows how far its statement came.
            raise
        finally:
            await _released(pool, connection)

    async def _opened(self) -> Any:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=CONNECTIONS_MAX,
                    init=self._look,
                    # Nothing of a session is changed, so there is nothing to be put back.
                    reset=_nothing,
                    timeout=CONNECT_SECONDS,
                    command_timeout=WAIT_SECONDS * 2,
                    server_settings=SETTINGS,
                )
            return self._pool

    async def _look(self, connection: Connection) -> None:
        """Look at the ground before the first statement: other settings than safe ones, another schema, a copy."""
        await check_ground(connection)
        await schema.check(connection)
        self.fenced = await schema.fence(connection)


async def _nothing(connection: Connection) -> None:
    return None


async def _released(pool: Any, connection: Connection) -> None:
    try:
        await pool.release(connection)
    except Exception as problem:  # It was lost: what was done with it is already told.
        log.debug("a connection was lost: %s", trace_of(problem))


def with_primary(url: str) -> str:
    """Return the URL, asking for a host that can be written to: no decision is taken from a replica's read.

    Raises:
        Misconfigured: no URL of a PostgreSQL database.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
        raise Misconfigured("database is not postgresql://user:password@host:port/database")
    if "target_session_attrs" in parse_qs(parts.query):
        return url
    query = f"{parts.query}&" if parts.query else ""
    return parts._replace(query=f"{query}target_session_attrs=read-write").geturl()


async def check_ground(connection: Connection) -> None:
    """Raises StoreUnavailable: the server is set up so that it can lose what it said it keeps."""
    unsafe = await connection.fetch(
        "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off'"
    )
    for name, setting in unsafe:
        raise StoreUnavailable(
            f"PostgreSQL runs with {name} = {setting}, and can lose acknowledged codes: turn it on, and reload"
        )
    if await connection.fetchval("SHOW synchronous_commit") in ("off", "local"):
        await connection.execute("SET synchronous_commit = on")
