"""The pool's tables in a PostgreSQL database: made, brought up to date, spread over nodes, and known for a copy."""

from __future__ import annotations

import time
import uuid
from typing import Any

from ....errors import StoreUnavailable
from .. import migrations

Connection = Any

BACK_END = "postgres"
TABLES = "3"
"""Which form the tables have, as they note it: the first step was changed while nothing was published."""
DISTRIBUTED = (
    "stock_lock",
    "stock_counters",
    "day_counter",
    "code",
    "piece",
    "extent",
    "block",
    "upload",
    "terms",
    "coupon",
    "coupon_step",
    "deletion",
    "answered",
    "pay_receipt",
    "return_receipt",
    "event",
    "barred",
)
"""Tables whose every key carries stock_no, the column that they are spread by."""
REFERENCE = ("about", "stock", "callback", "document", "epoch", "host", "missing")
"""Small tables that every node has: to write one takes a commit in two phases."""
LOCAL = ("card", "nonce", "nonce_seen", "due_stock")
"""Tables that stay on the node that we are connected to. No statement reads them together with others."""

_LOCK = "SELECT pg_advisory_xact_lock(7381240617)"  # One who migrates at a time.


async def check(connection: Connection) -> None:
    """Make the tables in an empty database.

    Raises:
        StoreUnavailable: the schema is older than this code, or newer and not for it; or these are another's tables.
    """
    lacking = await _lacking(connection)
    if not lacking:
        return
    if len(lacking) < len(migrations.all_migrations(BACK_END)):
        raise StoreUnavailable(
            f"the database has schema {lacking[0].number - 1}, this quanma needs {lacking[-1].number}: "
            "run `quanma migrate` with the same --config and --database"
        )
    await migrate(connection)


async def migrate(connection: Connection) -> list[str]:
    """Apply the steps that the database lacks, each in one transaction with its number. Returns their names.

    Killed at any moment, the database is before a step or after it. Raises StoreUnavailable: see `check`.
    """
    applied: list[str] = []
    while True:
        async with connection.transaction():
            await connection.execute(_LOCK)
            lacking = await _lacking(connection)
            if not lacking:
                return applied
            # An empty database gets all at once: other workers that start see none of its tables, or all of them.
            for step in lacking if lacking[0].number == 1 else lacking[:1]:
                await connection.execute(step.sql)
                if step.number == 1:
                    await _note(connection, "home", await home(connection))
                version, runs_from = await _noted(connection, "schema"), await _noted(connection, "runs_from")
                assert version is None or int(version) == step.number - 1
                await _note(connection, "schema", str(step.number))
                await _note(connection, "runs_from", str(max(step.runs_from, int(runs_from or 1))))
                applied.append(step.name)


async def distribute(connection: Connection) -> list[str]:
    """Spread the tables over the nodes of a Citus cluster, by stock_no. Returns the tables that were not spread yet.

    Raises:
        StoreUnavailable: the database has no Citus extension.
    """
    if not await connection.fetchval("SELECT count(*) FROM pg_extension WHERE extname = 'citus'"):
        raise StoreUnavailable(
            "this database has no Citus extension, so its tables can't be distributed: CREATE EXTENSION citus in it, "
            "or leave out --distributed"
        )
    spread: list[str] = []
    async with connection.transaction():
        await connection.execute(_LOCK)
        known = {
            str(name)
            for (name,) in await connection.fetch(
                "SELECT c.relname FROM pg_dist_partition p JOIN pg_class c ON c.oid = p.logicalrelid"
            )
        }
        for table in REFERENCE:
            if table not in known:
                await connection.execute(f"SELECT create_reference_table('{table}')")
                spread.append(table)
        for table in DISTRIBUTED:
            if table not in known:
                await connection.execute(f"SELECT create_distributed_table('{table}', 'stock_no')")
                spread.append(table)
    return spread


async def home(connection: Connection) -> str:
    """Which database this is: of which cluster. A copy that was restored elsewhere, or loaded anew, is another one."""
    return str(
        await connection.fetchval(
            "SELECT (SELECT system_identifier FROM pg_control_system()) || ' ' || oid"
            " FROM pg_database WHERE datname = current_database()"
        )
    )


async def pool_id(connection: Connection) -> str | None:
    """Which pool this is: a copy has the same id. None: the database is empty, or is not a pool's."""
    if "about" not in await _tables(connection):
        return None
    return await _noted(connection, "pool_id") or ""


async def history(connection: Connection) -> str:
    """Which history of the pool this is: a new one begins with each `quanma reconcile`."""
    return str(await connection.fetchval("SELECT history FROM epoch"))


async def has_many_nodes(connection: Connection) -> bool:
    """Whether it is a Citus cluster."""
    return bool(await connection.fetchval("SELECT count(*) FROM pg_extension WHERE extname = 'citus'"))


async def fence(connection: Connection) -> str | None:
    """Return why nothing may be given out from here, or None. What is found is noted, for all hosts."""
    why = await _noted(connection, "fenced")
    if why is None:
        if await _noted(connection, "home") == await home(connection):
            return None
        why = "this database is a restored copy, and may lack coupons that were given out since"
        await raise_fence(connection, why)
    said = "this database was declared a copy" if why == "yes" else why
    return f"{said}: nothing is drawn until `quanma reconcile` says so"


async def raise_fence(connection: Connection, why: str = "yes") -> None:
    """Let nothing be given out until `lift_fence`: for a copy that can't be known for one."""
    await _note(connection, "fenced", why)


async def lift_fence(connection: Connection) -> None:
    """Say that this database is the pool from now on. A new history begins: what hosts remember of before is void."""
    await connection.execute("DELETE FROM about WHERE name = 'fenced'")
    await connection.execute("DELETE FROM missing")
    await _note(connection, "home", await home(connection))
    lineage = await connection.fetchval("SELECT split_part(history, '.', 1)::bigint FROM epoch")
    await connection.execute(
        "UPDATE epoch SET history = $1, number = number + 1, token = $2, began_at = now() WHERE place = 1",
        # Later than any history that a host knows, be this copy as old as it may.
        f"{max(lineage + 1, int(time.time()))}.{uuid.uuid4().hex}",
        uuid.uuid4().hex,
    )


async def _lacking(connection: Connection) -> list[migrations.Migration]:
    there = await _tables(connection)
    version, runs_from = 0, 0
    if "about" in there:
        version = int(await _noted(connection, "schema") or 0)
        runs_from = int(await _noted(connection, "runs_from") or 0)
    if there and not version:
        raise StoreUnavailable("the database has tables that are not a pool's: name another database")
    if version and await _noted(connection, "tables") != TABLES:
        raise StoreUnavailable(
            "the database was made by a quanma that was never published, with other tables: run that quanma's "
            "`quanma export`, and `quanma import` of this one into an empty database"
        )
    return list(migrations.missing(migrations.all_migrations(BACK_END), version, runs_from, "the database"))


async def _tables(connection: Connection) -> set[str]:
    # Read from the catalog: to_regclass may answer from what the session remembers, which another one has outdated.
    rows = await connection.fetch(
        "SELECT relname FROM pg_catalog.pg_class WHERE relname IN ('about', 'stock', 'coupon')"
        " AND relkind IN ('r', 'p') AND pg_catalog.pg_table_is_visible(oid)"
    )
    return {str(name) for (name,) in rows}


async def _noted(connection: Connection, name: str) -> str | None:
    value: str | None = await connection.fetchval("SELECT value FROM about WHERE name = $1", name)
    return value


async def _note(connection: Connection, name: str, value: str) -> None:
    await connection.execute(
        "INSERT INTO about VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value
    )
