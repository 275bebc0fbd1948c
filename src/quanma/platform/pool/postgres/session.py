"""One session on a PostgreSQL server: its settings, which server it is, and a COMMIT whose outcome is sure."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator
from typing import Any

import asyncpg

from ....errors import Misconfigured, StoreUnavailable
from . import between
from .address import Address

Connection = Any

CONNECT_SECONDS = 5
COMMIT_SECONDS = 16.0
"""How long a COMMIT may wait, for a synchronous standby perhaps. Then the connection is given up, and not cancelled:
a COMMIT that is cancelled is shown to all, replicated or not; one that is left alone goes on waiting, and shows
nothing."""

SETTINGS = {
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "statement_timeout": "10s",
    "lock_timeout": "8s",
    # A worker that is paused, or whose host is gone, must not keep a stock's lock.
    "idle_in_transaction_session_timeout": "5s",
    "tcp_user_timeout": "10s",
    # Each statement here is written so that one index is all that it can go by, however little the planner knows of the
    # tables: so a plan is made once for a session and kept. On Citus, a kept plan can't choose its node.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}
NO_SESSION = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.TargetServerAttributeNotMatched)
"""Why an address may give none: it is another one's turn."""
_NAME = "quanma"
_FOR_EVER = 86400.0
_CLOSE_SECONDS = 1.0


class ServerConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg tells no types.
    """A connection that knows which server it leads to."""

    system = 0
    timeline = 0
    server = ""
    """System identifier, timeline and start of the server: another one, and the database may have gone back."""
    session = ""
    """Noted in the session itself: a pooler that leads us to another one is noticed by it."""
    is_led = False
    """Something is between us and the server: a pooler, a proxy, an address translation."""
    looked_at = 0.0
    """When it was last seen to lead to its own session on the primary, on the loop's clock."""

    def note_look(self) -> None:
        self.looked_at = asyncio.get_running_loop().time()

    def own_port(self) -> int | None:
        """On this side of a TCP connection."""
        name = self._transport.get_extra_info("sockname")
        return int(name[1]) if isinstance(name, tuple) else None


class WrongServer(Exception):
    """This host has seen a later primary than the one that answers."""


class UnsureCommit(Exception):
    """A COMMIT was sent, and whether it is durable is not known."""


async def begin_session(address: Address, command_seconds: float | None) -> ServerConnection:
    """Connect, and make sure that our settings hold there.

    Raises:
        Misconfigured: the settings do not hold, and why; a pooler in front of the server refuses us.
        StoreUnavailable: the server can lose what it said it keeps; Astray: see `between`.
    """
    with between.told():
        connect: Any = asyncpg.connect  # Its types take whole seconds only.
        connection: ServerConnection = await connect(
            address.url,
            timeout=CONNECT_SECONDS,
            command_timeout=command_seconds,
            # The others are set afterwards: a pooler takes no others, or drops them in silence.
            server_settings={"application_name": _NAME},
            connection_class=ServerConnection,
        )
        try:
            # A pooler takes whom it has no place for, and lets the first statement wait.
            async with asyncio.timeout(CONNECT_SECONDS):
                await set_settings(connection)
                row: Any = await connection.fetchrow(
                    "SELECT system_identifier,"
                    " ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint,"
                    " (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,"
                    f" pg_backend_pid(), inet_client_port(), {GROUND} FROM pg_control_system()"
                )
            system, timeline, started_at, pid, port, *ground = row
            check_durable(*ground)
        except BaseException as problem:
            await give_up(connection, problem)
            raise
    connection.system, connection.timeline = system, timeline
    connection.server = f"{system}/{timeline}/{started_at}"
    connection.is_led = pid != connection.get_server_pid() or port != connection.own_port()
    connection.note_look()
    return connection


async def look_closely(connection: ServerConnection, address: Address) -> None:
    """Where something is in between, make sure that it is not by luck that all is well. Raises as `between` says."""
    with between.told():
        await between.look_closely(connection, lambda: begin_session(address, CONNECT_SECONDS))


async def give_up(connection: ServerConnection, problem: BaseException) -> None:
    """Close a connection that is of no use: at once where nobody waits for it any more."""
    if isinstance(problem, asyncio.CancelledError | TimeoutError):
        connection.terminate()
        return
    try:
        await connection.close(timeout=_CLOSE_SECONDS)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        connection.terminate()


async def set_settings(connection: ServerConnection) -> None:
    """Set what must hold in the session, and look whether it does."""
    connection.session = secrets.token_hex(8)
    wanted = {**SETTINGS, "quanma.session": connection.session}
    found = await connection.fetchrow(
        "SELECT current_setting('synchronous_commit'), EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"
    )
    assert found is not None
    committing, has_many_nodes = found
    # One that waits for replicas to apply what is committed promises more, and is left.
    if committing != "remote_apply":
        wanted["synchronous_commit"] = "on"
    if has_many_nodes:
        wanted["plan_cache_mode"] = "force_custom_plan"
    were_set = await connection.fetch(
        "SELECT name, set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS s(name, value)",
        list(wanted),
        list(wanted.values()),
    )
    # In a statement of its own: a pooler that shares its sessions out leads us to another one.
    hold = await connection.fetch(
        f"SELECT name, current_setting(name, true), {between.WHERE} FROM unnest($1::text[]) AS s(name)", list(wanted)
    )
    between.check_where(connection, *hold[0][2:])
    for (name, was_set), (_, holds, *_) in zip(were_set, hold, strict=True):
        if holds != was_set:
            raise Misconfigured(
                f"the setting {name} does not hold in our sessions, something in front of PostgreSQL changes it: "
                f"connect to PostgreSQL itself; {between.PAGE}"
            )


GROUND = "current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit')"


async def check_ground(connection: Connection) -> None:
    """Raises StoreUnavailable: the server can lose what it said it keeps, or it is not our session there."""
    *ground, session, read_only = await connection.fetchrow(f"SELECT {GROUND}, {between.WHERE}")
    between.check_where(connection, session, read_only)
    check_durable(*ground)


def check_durable(fsync: str, full_page_writes: str, synchronous_commit: str, server: str = "PostgreSQL") -> None:
    """Raises StoreUnavailable: with these settings a server can lose what it said it keeps."""
    for name, setting, unsafe in (
        ("fsync", fsync, ("off",)),
        ("full_page_writes", full_page_writes, ("off",)),
        ("synchronous_commit", synchronous_commit, ("off", "local")),
    ):
        if setting in unsafe:
            raise StoreUnavailable(
                f"{server} runs with {name} = {setting}, and can lose acknowledged codes: turn it on, and reload"
            )


@contextlib.asynccontextmanager
async def transaction(connection: Connection) -> AsyncGenerator[None, None]:
    """A transaction that is committed surely, or not.

    Raises:
        UnsureCommit: it may be committed, and may be lost by a failover. The connection is given up.
    """
    await connection.execute("BEGIN")
    try:
        yield
    except asyncio.CancelledError:
        connection.terminate()
        raise
    except BaseException:
        try:
            await connection.execute("ROLLBACK")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            connection.terminate()
        raise
    await _commit(connection)


async def _commit(connection: Connection) -> None:
    said: list[str] = []

    def listen(_: object, message: Any) -> None:
        if message.severity_en == "WARNING":
            said.append(str(message.message))

    connection.add_log_listener(listen)
    committing = asyncio.ensure_future(connection.execute("COMMIT", timeout=_FOR_EVER))
    committing.add_done_callback(_retrieve)
    try:
        done, _ = await asyncio.wait({committing}, timeout=COMMIT_SECONDS)
        if not done:
            raise UnsureCommit("a COMMIT waits, for a synchronous standby perhaps")
        tag = committing.result()
    except (UnsureCommit, asyncio.CancelledError):
        connection.terminate()
        raise
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as problem:
        # An ERROR is the server's word that it is undone.
        if getattr(problem, "severity_en", None) == "ERROR":
            raise
        connection.terminate()
        raise UnsureCommit(f"the connection was lost at a COMMIT ({type(problem).__name__})") from None
    if said:
        # The wait for a standby was cancelled: it is committed here, and perhaps nowhere else.
        connection.terminate()
        raise UnsureCommit(f"PostgreSQL warned at a COMMIT: {said[0]}")
    connection.remove_log_listener(listen)
    if tag != "COMMIT":
        raise StoreUnavailable(f"PostgreSQL answered a COMMIT with {tag}: nothing was changed")


def _retrieve(task: asyncio.Future[Any]) -> None:
    """Nobody waits for a COMMIT that was given up."""
    if not task.cancelled():
        task.exception()
