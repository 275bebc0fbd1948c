"""A stock's counters, a row a turn: few are kept, and the latest counts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg

from quanma.platform.pool import open_pool
from tests.contract.driver import DrivenPool


def test_old_counters_are_removed_and_the_latest_counts(postgres_url: str, tmp_path: Path) -> None:
    pool = DrivenPool(lambda: open_pool(postgres_url, tmp_path))
    stock_id = pool.create(max_coupons_per_user=100)
    for number in range(800):
        pool.upload(stock_id, [f"C{number}"])
    assert pool.counts(stock_id) == (800, 800)
    pool.close()

    async def turns() -> list[int]:
        connection = await asyncpg.connect(postgres_url)
        rows = await connection.fetch("SELECT turn_no FROM tally WHERE stock_id = $1 ORDER BY turn_no", stock_id)
        await connection.close()
        return [turn_no for (turn_no,) in rows]

    assert asyncio.run(turns()) == list(range(512, 801))
