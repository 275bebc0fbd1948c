"""What a request reads does not grow with its stock, however little the planner knows of the tables.

Statistics come minutes after the rows, and a plan that was made by guesses read all of a stock's coupons for each
group of draws: 20 ms at 100 thousand of them, and more with each.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from quanma.api.coupons import CouponPage, ListCoupons, UsedCoupon
from quanma.platform.pool import open_pool
from tests.contract.driver import NOW, DrivenPool, list_coupons
from tests.support.platform import APPID, MCHID
from tests.support.postgres import query

CODES = 12_000
STEPS = 300
"""Coupons that have taken one, before anything is counted."""
READ_A_REQUEST_MAX = 60
"""Rows and entries of indexes: a draw takes 27, all else less. To read the stock or its coupons once for each group is
190 and more: groups are small here."""


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


@pytest.mark.parametrize("known", ["nothing", "empty tables", "everything"])
def test_no_request_reads_its_whole_stock(postgres_url: str, tmp_path: Path, known: str) -> None:
    with contextlib.closing(DrivenPool(lambda: open_pool(postgres_url, tmp_path))) as pool:
        pool.run(pool.pool.set_callback(MCHID, MCHID, "http://127.0.0.1:9/", NOW))
        stock_id = pool.create(max_coupons_per_user=100)
        tables = (
            "code",
            "piece",
            "block",
            "upload",
            "terms",
            "coupon",
            "coupon_step",
            "deletion",
            "event",
        )
        asyncio.run(
            _execute(postgres_url, *(f"ALTER TABLE {table} SET (autovacuum_enabled = off)" for table in tables))
        )
        if known == "empty tables":
            asyncio.run(_execute(postgres_url, "ANALYZE"))
        for first in range(0, CODES, 2000):
            pool.upload(stock_id, [f"C{number:06}" for number in range(first, first + 2000)])
        for first in range(0, CODES // 2, 500):
            pool.together(*(pool.sending(stock_id, f"o{number}", f"s{number}") for number in range(first, first + 500)))
        if known == "everything":
            asyncio.run(_execute(postgres_url, "ANALYZE"))

        def cost(requests: int, work: Callable[[], object]) -> float:
            pool.reopen()  # A connection tells what it read when it ends.
            until_nobody_is_connected(postgres_url)
            asyncio.run(_execute(postgres_url, "SELECT pg_stat_reset()"))
            work()
            pool.reopen()
            until_nobody_is_connected(postgres_url)
            return asyncio.run(_read(postgres_url)) / requests

        codes = pool.codes(stock_id, status="DISPATCHED", limit=30)
        users = [f"o{number}" for number in range(30)]
        used = pool.codes(stock_id, status="DISPATCHED", offset=30, limit=STEPS)
        assert {type(one) for one in pool.together(*(pool.using(stock_id, code) for code in used))} == {UsedCoupon}
        costs = {
            "draws": cost(32, lambda: pool.together(*(pool.sending(stock_id, f"new{number}") for number in range(32)))),
            "draws again": cost(
                32, lambda: pool.together(*(pool.sending(stock_id, f"o{number}", f"s{number}") for number in range(32)))
            ),
            "uploads": cost(20, lambda: pool.upload(stock_id, [f"D{number}" for number in range(20)])),
            "uses": cost(30, lambda: [pool.use(stock_id, code) for code in codes]) / 2,
            "looks at a code": cost(30, lambda: [pool.show(stock_id, code) for code in codes]),
            "lists of a user": cost(30, lambda: [listed(pool, user) for user in users]),
            "pages of codes": cost(10, lambda: [pool.page(stock_id, offset=9000, limit=1000) for _ in range(10)])
            / 1000,
            "who waits": cost(30, lambda: [pool.run(pool.pool.merchants_waiting(NOW + 60)) for _ in range(30)]),
            "events": cost(16, lambda: pool.run(pool.pool.take_due_events(NOW + 60, 16))),
            "lists of events": cost(200, lambda: [pool.run(pool.pool.list_events(MCHID, 0, 20)) for _ in range(10)]),
        }
        assert max(costs.values()) < READ_A_REQUEST_MAX, costs


def until_nobody_is_connected(url: str) -> None:
    """A session has told what it read when it is no longer seen."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    deadline = time.monotonic() + 30
    while query(url, others) != [(0,)]:
        assert time.monotonic() < deadline, "somebody stays connected"
        time.sleep(0.02)


def listed(pool: DrivenPool, openid: str) -> CouponPage:
    return pool.run(list_coupons(pool.pool, MCHID, ListCoupons(openid=openid, appid=APPID), NOW))
