"""What may stand between us and PostgreSQL, a pooler or a proxy: noticed, and refused in words that say the mend.

Each of our sessions must be one session of the server's, and that the primary's. Else our settings hold somewhere else
than where we work, or reads come from a replica that is behind.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import asyncpg

from ....errors import Misconfigured, StoreUnavailable

Connection = Any

OTHERS = 8
"""How many more connections are made at the start where something is in between: a proxy may choose by chance."""
OTHERS_MIN, OTHERS_SECONDS = 2, 2.0
"""So many at least, and no more after so long: a machine that is busy must not keep us from starting."""

PAGE = "see docs/en/operations.md, Behind a pooler or proxy"
SHARED_OUT = (
    "what is in front of PostgreSQL leads one of our sessions to several of the server's: a pooler must pool by "
    "session (PgBouncer: pool_mode = session, server_reset_query = DISCARD ALL), not by transaction or statement; or "
    f"connect to PostgreSQL itself; {PAGE}"
)
SPREAD = (
    "a proxy in front of PostgreSQL leads reads to a replica, which may be behind: let it lead all sessions of quanma "
    "to the primary (pgpool-II: app_name_redirect_preference_list = 'quanma:primary', or load_balance_mode = off); or "
    f"connect to the primary itself; {PAGE}"
)

# All of them stable or immutable: a volatile function, pg_is_in_recovery() too, would be led to the primary by pgpool.
WHERE = "current_setting('quanma.session', true), current_setting('transaction_read_only')"
"""In which session a statement runs, and whether that is a replica's."""


class Astray(StoreUnavailable):
    """A statement ran in another session than ours."""


def check_where(connection: Connection, session: str | None, read_only: str) -> None:
    """What WHERE read. Raises Astray: it is not the session that was set up."""
    if read_only == "on":
        raise Astray(SPREAD)
    if session != connection.session:
        raise Astray(SHARED_OUT)


async def look_where(connection: Connection) -> None:
    """One look, as a read would go. Raises Astray."""
    check_where(connection, *await connection.fetchrow(f"SELECT {WHERE}"))


async def look_closely(connection: Connection, another: Callable[[], Awaitable[Connection]]) -> None:
    """Where something is in between, look as often as it takes that it is not by luck that all is well.

    `another` opens a connection. A pooler that shares out is seen when two have something to do; a proxy that spreads
    reads chooses for each session, or each statement.

    Raises:
        Astray: see `check_where`.
        StoreUnavailable: there is no second connection to be had.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + OTHERS_SECONDS
    for made in range(OTHERS):
        if made >= OTHERS_MIN and loop.time() > until:
            return
        await look_where(connection)
        try:
            other = await another()
        except TimeoutError:
            raise StoreUnavailable(
                "what is in front of PostgreSQL gives us no second connection in time: each worker needs 8 "
                f"(PgBouncer: default_pool_size, max_db_connections); {PAGE}"
            ) from None
        try:
            await look_where(connection)
            async with asyncio.timeout(5):
                await other.execute("BEGIN")
                await look_where(other)
                await look_where(connection)
        finally:
            other.terminate()


@contextlib.contextmanager
def told() -> Generator[None, None, None]:
    """What only a pooler or proxy brings about, in words.

    Raises:
        Astray: a statement ran in another session than ours.
        Misconfigured: the pooler refuses us for good.
    """
    try:
        yield
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError):
        # What was prepared is in another session, or another's is in this one.
        raise Astray(SHARED_OUT) from None
    except asyncpg.ProtocolViolationError as problem:
        said = str(problem)
        if "pooling mode" in said:
            raise Astray(f"{SHARED_OUT} (it says: {said})") from None
        if "startup parameter" in said:
            raise Misconfigured(
                f"the pooler in front of PostgreSQL says: {said}: take the parameter out of the database URL, or name "
                "it in the pooler's ignore_startup_parameters"
            ) from None
        if said.startswith(_FOR_GOOD):
            raise Misconfigured(f"the pooler in front of PostgreSQL says: {said}: correct it, or the URL") from None
        raise


_FOR_GOOD = ("no such user", "no such database", "not allowed", "SSL required", "bouncer config error")
"""PgBouncer's words. Of what else it refuses (08P01 as well), most is over in a moment: a server that restarts."""
