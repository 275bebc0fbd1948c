"""What a request reads does not grow with its stock, however little the planner knows of the tables.

Statistics come minutes after the rows, and a plan that was made by guesses read all of a stock's coupons for each
group of draws: 20 ms at 100 thousand of them, and more with each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from quanma.platform.pool import open_pool
from tests.contract.driver import DrivenPool

CODES = 12_000
READ_A_REQUEST_MAX = 20
"""Rows and entries of indexes: it takes 10. Those of the whole stock were 50, and would be more the larger it is."""


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def _read(url: str) -> int:
    """How many rows and index entries were read since the last `pg_stat_reset`, once that is told."""
    await asyncio.sleep(1.5)
    connection = await asyncpg.connect(url)
    rows = await connection.fetchval("SELECT sum(seq_tup_read) FROM pg_stat_user_tables")
    entries = await connection.fetchval("SELECT sum(idx_tup_read + idx_tup_fetch) FROM pg_stat_user_indexes")
    await connection.close()
    return int(rows + entries)


@pytest.mark.parametrize("known", ["nothing", "empty tables"])
def test_no_request_reads_its_whole_stock(postgres_url: str, tmp_path: Path, known: str) -> None:
    pool = DrivenPool(lambda: open_pool(postgres_url, tmp_path))
    stock_id = pool.create(max_coupons_per_user=100)
    tables = "code", "piece", "upload", "coupon", "displaced", "deletion"
    asyncio.run(_execute(postgres_url, *(f"ALTER TABLE {table} SET (autovacuum_enabled = off)" for table in tables)))
    if known == "empty tables":
        asyncio.run(_execute(postgres_url, "ANALYZE"))
    for first in range(0, CODES, 2000):
        pool.upload(stock_id, [f"C{number:06}" for number in range(first, first + 2000)])
    for first in range(0, CODES // 2, 500):
        pool.together(*(pool.sending(stock_id, f"o{number}", f"s{number}") for number in range(first, first + 500)))

    def cost(requests: int, work: Callable[[], object]) -> float:
        pool.reopen()  # A connection tells what it read when it ends.
        time.sleep(1)
        asyncio.run(_execute(postgres_url, "SELECT pg_stat_reset()"))
        work()
        pool.reopen()
        return asyncio.run(_read(postgres_url)) / requests

    draws = cost(256, lambda: pool.together(*(pool.sending(stock_id, f"new{number}") for number in range(256))))
    again = cost(
        256, lambda: pool.together(*(pool.sending(stock_id, f"o{number}", f"s{number}") for number in range(256)))
    )
    uploads = cost(200, lambda: pool.upload(stock_id, [f"D{number}" for number in range(200)]))
    assert max(draws, again, uploads) < READ_A_REQUEST_MAX, (draws, again, uploads)
    pool.close()
