"""A stock's counters, a row a transaction: few are kept, and the latest counts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from quanma.platform.pool import open_pool
from quanma.platform.pool.postgres.pool import PostgresPool
from quanma.platform.pool.postgres.stock_transaction import StockTransaction
from tests.contract.driver import DrivenPool
from tests.support.postgres import query


def test_old_counters_are_removed_and_the_latest_counts(postgres_url: str, tmp_path: Path) -> None:
    pool = DrivenPool(lambda: open_pool(postgres_url, tmp_path))
    stock_id = pool.create(max_coupons_per_user=100)
    for number in range(800):
        pool.upload(stock_id, [f"C{number}"])
    assert pool.counts(stock_id) == (800, 800)
    pool.close()

    async def transactions() -> list[int]:
        connection = await asyncpg.connect(postgres_url)
        rows = await connection.fetch(
            "SELECT transaction_no FROM stock_counters JOIN stock USING (stock_no) WHERE stock_id = $1"
            " ORDER BY transaction_no",
            stock_id,
        )
        await connection.close()
        return [transaction_no for (transaction_no,) in rows]

    assert asyncio.run(transactions()) == list(range(512, 801))


def test_a_turn_that_another_overtook_is_done_again(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on Citus while a shard moves: the row that a transaction locks shuts nobody out there."""
    pool = DrivenPool(lambda: open_pool(postgres_url, tmp_path))
    stock_id = pool.create()
    pool.upload(stock_id, ["A1", "B2"])
    assert isinstance(pool.pool, PostgresPool)
    pool.pool._connections.many_nodes = True
    end, overtaken = StockTransaction.end, False

    async def overtake(transaction: StockTransaction) -> None:
        nonlocal overtaken
        if not overtaken:
            overtaken = True
            connection = await asyncpg.connect(postgres_url)
            await connection.execute(
                "INSERT INTO stock_counters SELECT stock_no, transaction_no + 1, uploaded, deleted, free, stale,"
                " shift, sent, day, sent_on_day FROM stock_counters JOIN stock USING (stock_no) WHERE stock_id = $1"
                " ORDER BY transaction_no DESC LIMIT 1",
                stock_id,
            )
            await connection.close()
        await end(transaction)

    monkeypatch.setattr(StockTransaction, "end", overtake)
    assert pool.send(stock_id) in ("A1", "B2")
    assert overtaken
    assert pool.counts(stock_id) == (2, 1)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    pool.close()


def test_each_turn_that_writes_has_a_number_of_its_own(postgres_url: str, tmp_path: Path) -> None:
    pool = DrivenPool(lambda: open_pool(postgres_url, tmp_path))
    stock_id = pool.create()

    def last_transaction() -> int:
        (row,) = query(
            postgres_url,
            "SELECT max(transaction_no) FROM stock_counters JOIN stock USING (stock_no) WHERE stock_id = $1",
            stock_id,
        )
        return int(row[0])

    numbers = [last_transaction()]
    pool.upload(stock_id, ["A1", "B2"], "u1")
    numbers.append(last_transaction())
    code = pool.send(stock_id, "oUser", "s1")
    numbers.append(last_transaction())
    pool.use(stock_id, code, "use-1")
    numbers.append(last_transaction())
    pool.delete(stock_id, "B2" if code == "A1" else "A1", "d1")
    numbers.append(last_transaction())
    assert numbers == [0, 1, 2, 3, 4]
    # Repeats write nothing.
    pool.upload(stock_id, ["A1", "B2"], "u1")
    pool.send(stock_id, "oUser", "s1")
    pool.use(stock_id, code, "use-1")
    assert last_transaction() == 4
    pool.close()
