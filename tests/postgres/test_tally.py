"""A stock's counters, a row a turn: few are kept, and the latest counts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from quanma.platform.pool import open_pool
from quanma.platform.pool.postgres import PostgresPool
from quanma.platform.pool.postgres.turn import Turn
from tests.contract.driver import DrivenPool
from tests.support.postgres import query


def test_old_counters_are_removed_and_the_latest_counts(postgres_url: str, tmp_path: Path) -> None:
    pool = DrivenPool(lambda: open_pool(postgres_url, tmp_path))
    stock_id = pool.create(max_coupons_per_user=100)
    for number in range(800):
        pool.upload(stock_id, [f"C{number}"])
    assert pool.counts(stock_id) == (800, 800)
    pool.close()

    async def turns() -> list[int]:
        connection = await asyncpg.connect(postgres_url)
        rows = await connection.fetch(
            "SELECT turn_no FROM tally JOIN stock USING (stock_no) WHERE stock_id = $1 ORDER BY turn_no", stock_id
        )
        await connection.close()
        return [turn_no for (turn_no,) in rows]

    assert asyncio.run(turns()) == list(range(512, 801))


def test_a_turn_that_another_overtook_is_done_again(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on Citus while a shard moves: the row that a turn locks shuts nobody out there."""
    pool = DrivenPool(lambda: open_pool(postgres_url, tmp_path))
    stock_id = pool.create()
    pool.upload(stock_id, ["A1", "B2"])
    assert isinstance(pool.pool, PostgresPool)
    pool.pool._link.many_nodes = True
    end, overtaken = Turn.end, False

    async def overtake(turn: Turn) -> None:
        nonlocal overtaken
        if not overtaken:
            overtaken = True
            connection = await asyncpg.connect(postgres_url)
            await connection.execute(
                "INSERT INTO tally SELECT stock_no, turn_no + 1, uploaded, deleted, free, stale, shift, sent, day,"
                " sent_on_day FROM tally JOIN stock USING (stock_no) WHERE stock_id = $1 ORDER BY turn_no DESC LIMIT 1",
                stock_id,
            )
            await connection.close()
        await end(turn)

    monkeypatch.setattr(Turn, "end", overtake)
    assert pool.send(stock_id) in ("A1", "B2")
    assert overtaken
    assert pool.counts(stock_id) == (2, 1)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    pool.close()


def test_each_turn_that_writes_has_a_number_of_its_own(postgres_url: str, tmp_path: Path) -> None:
    pool = DrivenPool(lambda: open_pool(postgres_url, tmp_path))
    stock_id = pool.create()

    def last_turn() -> int:
        (row,) = query(
            postgres_url, "SELECT max(turn_no) FROM tally JOIN stock USING (stock_no) WHERE stock_id = $1", stock_id
        )
        return int(row[0])

    numbers = [last_turn()]
    pool.upload(stock_id, ["A1", "B2"], "u1")
    numbers.append(last_turn())
    code = pool.send(stock_id, "oUser", "s1")
    numbers.append(last_turn())
    pool.use(stock_id, code, "use-1")
    numbers.append(last_turn())
    pool.delete(stock_id, "B2" if code == "A1" else "A1", "d1")
    numbers.append(last_turn())
    assert numbers == [0, 1, 2, 3, 4]
    # Repeats write nothing.
    pool.upload(stock_id, ["A1", "B2"], "u1")
    pool.send(stock_id, "oUser", "s1")
    pool.use(stock_id, code, "use-1")
    assert last_turn() == 4
    pool.close()
