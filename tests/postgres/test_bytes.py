"""What a drawn coupon takes on the disk, all of its rows and index entries: at most 300 bytes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from quanma.platform.pool import open_pool
from tests.contract.driver import DrivenPool
from tests.support.postgres import query

COUPONS = 20_480
BYTES_MAX = 300
"""Of codes of 16 characters, users of 28 and numbers of 22, as `benchmarks.tables` has them."""
_GROW_WITH_COUPONS = "'(coupon|code|piece|block)(_pkey|_by_hash)?'"


@pytest.mark.slow
def test_a_drawn_coupon_takes_at_most_300_bytes(postgres_url: str, tmp_path: Path) -> None:
    pool = DrivenPool(lambda: open_pool(postgres_url, tmp_path))
    stock_id = pool.create(max_coupons_per_user=1)
    for first in range(0, COUPONS, 5120):
        pool.upload(stock_id, [f"CODE{number:012}" for number in range(first, first + 5120)])
    for first in range(0, COUPONS, 256):
        numbers = range(first, first + 256)
        pool.together(*(pool.sending(stock_id, f"o{number:027}", f"{number:022}") for number in numbers))
    assert pool.counts(stock_id) == (COUPONS, 0)
    pool.close()
    # Versions of before stay while some snapshot is open: what others do on the server is not judged here.
    asyncio.run(_pack(postgres_url))
    sizes = query(
        postgres_url,
        f"SELECT relname, pg_relation_size(oid) FROM pg_class WHERE relname SIMILAR TO {_GROW_WITH_COUPONS}",
    )
    assert len(sizes) == 8
    assert sum(size for _, size in sizes) / COUPONS <= BYTES_MAX, sizes


async def _pack(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("VACUUM FULL block")
    await connection.close()
