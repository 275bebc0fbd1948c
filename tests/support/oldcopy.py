"""All rows of a small pool in a PostgreSQL database, kept to be put back in place: what a restore does, in a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import asyncpg

from quanma.platform.pool import migrations

_TRIES = 20
_WAITING_BEATS = "SELECT count(*) FROM pg_locks WHERE relation = 'host'::regclass AND NOT granted"


class OldCopy:
    """A database's tables at one moment."""

    def __init__(self, rows: dict[str, list[Any]]) -> None:
        self._rows = rows

    @classmethod
    def of(cls, url: str) -> Self:
        async def read(connection: Any) -> Self:
            async with connection.transaction(isolation="repeatable_read"):
                tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
                return cls({table: await connection.fetch(f'SELECT * FROM public."{table}"') for (table,) in tables})

        copy: Self = _done(url, read)
        return copy

    def put_back(self, url: str, *, anew: bool = False, under_beats: int = 0) -> None:
        """In one transaction: as `pg_restore --data-only`; or `anew`, as `--clean` does, into tables made again.

        `under_beats`: so many hosts have looked where they are, and are about to renew their lease there.
        """

        async def write(connection: Any) -> None:
            async with connection.transaction():
                # As --disable-triggers: foreign keys are not looked at while tables are filled in any order.
                await connection.execute("SET LOCAL session_replication_role = replica; SET LOCAL lock_timeout = '2s'")
                if under_beats:
                    await connection.execute("LOCK TABLE host IN SHARE MODE")
                    for _ in range(500):
                        if await connection.fetchval(_WAITING_BEATS) == under_beats:
                            break
                        await asyncio.sleep(0.01)
                    else:
                        raise TimeoutError(f"{under_beats} hosts did not come to renew their leases")
                if anew:
                    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
                    for step in migrations.all_migrations("postgres"):
                        await connection.execute(step.sql)
                names = ", ".join(f'public."{table}"' for table in self._rows)
                await connection.execute(f"TRUNCATE {names}")
                for table, rows in self._rows.items():
                    if rows:
                        await connection.copy_records_to_table(table, records=rows, columns=list(rows[0].keys()))

        _done(url, write)


def _done(url: str, work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    """On a thread, for the caller may have a loop that runs. Again, where those who are connected were in the way."""

    async def connected() -> Any:
        connection = await asyncpg.connect(url)
        try:
            for attempt in range(_TRIES):
                try:
                    return await work(connection)
                except (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError):
                    if attempt == _TRIES - 1:
                        raise
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, connected()).result(60)
