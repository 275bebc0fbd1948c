"""Whose a stock is, is asked before it is locked: and still no stock that this host knows of is called absent."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import asyncpg
import pytest

from quanma.errors import PoolFenced
from quanma.platform.pool import open_pool
from tests.contract.driver import DrivenPool
from tests.support.platform import OTHER_MCHID


async def _lose(url: str, stock_id: str) -> None:
    """As a database that went back to before the stock was made."""
    connection = await asyncpg.connect(url)
    stock_no = await connection.fetchval("SELECT stock_no FROM stock WHERE stock_id = $1", stock_id)
    for table in ("upload", "piece", "code", "extent", "stock_counters", "stock_lock", "stock"):
        await connection.execute(f"DELETE FROM {table} WHERE stock_no = $1", stock_no)
    await connection.close()


@pytest.mark.parametrize("mchid", [None, OTHER_MCHID], ids=["its own merchant", "another"])
def test_a_stock_that_this_host_acknowledged_and_that_is_gone_is_missing_and_not_absent(
    postgres_url: str, tmp_path: Path, mchid: str | None
) -> None:
    pool = DrivenPool(lambda: open_pool(postgres_url, tmp_path))
    stock_id = pool.create()
    pool.upload(stock_id, ["A1"])
    pool.reopen()  # Whose it is, is not in memory any more.
    asyncio.run(_lose(postgres_url, stock_id))
    asked = {"mchid": mchid} if mchid else {}
    with contextlib.closing(pool), pytest.raises(PoolFenced, match=f"the last upload of stock {stock_id}"):
        pool.send(stock_id, **asked)
