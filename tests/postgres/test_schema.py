"""The tables of a PostgreSQL pool: made, migrated, refused, and known for a copy."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg
import pytest

from quanma.errors import Misconfigured, PoolFenced, StoreUnavailable
from quanma.platform.pool import migrations, open_pool
from quanma.platform.pool.migrations import Migration
from quanma.platform.pool.postgres import schema
from tests.contract.driver import DrivenPool
from tests.support import postgres
from tests.support.postgres import Databases

T = TypeVar("T")

LAST = len(migrations.all_migrations(schema.BACK_END))
NEXT = Migration(
    LAST + 1,
    f"{LAST + 1:04}_colour.sql",
    f"-- runs from: {LAST}\nALTER TABLE stock ADD colour text;\nCREATE TABLE shade (n int);",
)


@pytest.fixture
def pool(postgres_url: str, tmp_path: Path) -> Iterator[DrivenPool]:
    driven = DrivenPool(lambda: open_pool(postgres_url, tmp_path))
    yield driven
    driven.close()


def on(url: str, work: Callable[[Any], Awaitable[T]]) -> T:
    async def connected() -> T:
        connection = await asyncpg.connect(url)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(connected())


def _statements(sql: str) -> list[str]:
    bare = re.sub(r"--[^\n]*", "", sql)
    return [statement for statement in bare.split(";") if statement.strip()]


def with_next_step(monkeypatch: pytest.MonkeyPatch, step: Migration = NEXT) -> None:
    known = migrations.all_migrations(schema.BACK_END)
    monkeypatch.setattr(migrations, "all_migrations", lambda back_end: [*known, step])


def test_an_empty_database_gets_its_tables_also_from_many_at_once(postgres_url: str, tmp_path: Path) -> None:
    async def many() -> None:
        pools = [open_pool(postgres_url, tmp_path) for _ in range(6)]
        await asyncio.gather(*(pool.check() for pool in pools))
        await asyncio.gather(*(pool.close() for pool in pools))

    asyncio.run(many())
    assert on(postgres_url, schema.migrate) == []


def test_an_older_schema_is_refused_until_it_is_migrated(
    pool: DrivenPool, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock_id = pool.create()
    with_next_step(monkeypatch)
    pool.reopen()
    with pytest.raises(StoreUnavailable, match="run `quanma migrate`"):
        pool.counts(stock_id)
    assert on(postgres_url, schema.migrate) == [NEXT.name]
    pool.reopen()
    assert pool.counts(stock_id) == (0, 0)


def test_old_code_runs_on_the_next_schema_that_says_so(
    pool: DrivenPool, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock_id = pool.create()
    with monkeypatch.context() as newer:
        with_next_step(newer)
        on(postgres_url, schema.migrate)
    pool.reopen()
    pool.upload(stock_id, ["A1"])
    assert pool.send(stock_id) == "A1"


def test_a_schema_from_tomorrow_is_refused(
    pool: DrivenPool, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.create()
    with monkeypatch.context() as newer:
        with_next_step(newer, NEXT._replace(sql="ALTER TABLE stock ADD colour text"))
        on(postgres_url, schema.migrate)
    pool.reopen()
    with pytest.raises(StoreUnavailable, match="upgrade quanma"):
        pool.create()


def test_another_programs_tables_are_refused(postgres_url: str, tmp_path: Path) -> None:
    on(postgres_url, lambda connection: connection.execute("CREATE TABLE stock (sku text)"))
    pool = DrivenPool(lambda: open_pool(postgres_url, tmp_path))
    with pytest.raises(StoreUnavailable, match="not a pool's"):
        pool.create()
    pool.close()


def test_tables_of_before_they_were_made_anew_are_refused(pool: DrivenPool, postgres_url: str) -> None:
    pool.create()
    on(postgres_url, lambda connection: connection.execute("DELETE FROM about WHERE name = 'tables'"))
    pool.reopen()
    with pytest.raises(StoreUnavailable, match=r"never published.*`quanma export`"):
        pool.create()


@pytest.mark.slow
def test_a_migration_that_dies_at_any_statement_is_done_by_the_next_one(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each statement of each step, and its notes, is the last one that is executed before the connection is cut."""
    with_next_step(monkeypatch)
    statements = 0

    async def migrate_and_die(connection: Any) -> None:
        left = statements
        execute = type(connection).execute

        async def counted(self: Any, query: str, *values: Any) -> Any:
            nonlocal left
            for part in [query] if values else _statements(query):
                if not left:
                    self.terminate()
                left -= 1
                await execute(self, part, *values)

        with monkeypatch.context() as dying:
            dying.setattr(type(connection), "execute", counted)
            await schema.migrate(connection)

    while True:
        url = databases.fresh()
        try:
            on(url, migrate_and_die)
            break
        except asyncpg.InterfaceError:
            assert on(url, schema.migrate) or on(url, schema.migrate) == []
            assert on(
                url, lambda connection: connection.fetchval("SELECT value FROM about WHERE name = 'schema'")
            ) == str(NEXT.number)
            assert on(url, lambda connection: connection.fetchval("SELECT count(*) FROM shade")) == 0
        finally:
            databases.drop(url)
        statements += 1
    assert statements > 30


def test_to_distribute_needs_the_extension_and_says_so(postgres_url: str) -> None:
    on(postgres_url, schema.migrate)
    with pytest.raises(StoreUnavailable, match="no Citus extension"):
        on(postgres_url, schema.distribute)


def test_a_copy_gives_nothing_out_until_it_is_reconciled(
    pool: DrivenPool, postgres_url: str, databases: Databases, tmp_path: Path
) -> None:
    stock_id = pool.create()
    pool.upload(stock_id, ["A1", "B2"])
    first = pool.send(stock_id, "oAnna", "n1")
    pool.close()
    copied = databases.fresh(template=urlsplit(postgres_url).path[1:])
    copy = DrivenPool(lambda: open_pool(copied, tmp_path))
    with pytest.raises(PoolFenced, match="quanma reconcile"):
        copy.send(stock_id, "oBob")
    assert copy.pool.fence()
    assert copy.send(stock_id, "oAnna", "n1") == first
    assert copy.counts(stock_id) == (2, 1)
    on(copied, schema.lift_fence)
    # Without a restart: whoever is connected asks again.
    assert copy.send(stock_id, "oBob") not in ("", first)
    on(copied, schema.raise_fence)
    with pytest.raises(PoolFenced):
        copy.send(stock_id, "oCleo")
    copy.close()
    databases.drop(copied)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": "wrong"}, "refuses us"),
        ({"database": "absent"}, "refuses us"),
    ],
)
def test_a_database_that_does_not_let_us_in_is_told(
    postgres_url: str, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    parts = urlsplit(postgres_url)
    password, database = change.get("password", parts.password), change.get("database", parts.path[1:])
    url = f"postgresql://{parts.username}:{password}@{parts.hostname}:{parts.port}/{database}"
    pool = DrivenPool(lambda: open_pool(url, tmp_path))
    with pytest.raises(Misconfigured, match=said) as told:
        pool.create()
    assert str(password) not in str(told.value)
    pool.close()


@pytest.mark.slow
def test_a_server_that_can_lose_what_it_acknowledged_is_refused(tmp_path: Path) -> None:
    if why := postgres.why_absent(own_server=True):
        pytest.skip(why)
    server = postgres.Server({"full_page_writes": "off"})
    server.start()
    pool = DrivenPool(lambda: open_pool(server.databases.fresh(), tmp_path))
    with pytest.raises(StoreUnavailable, match="full_page_writes = off"):
        pool.create()
    pool.close()
    server.close()
