"""A proxy that leads reads to a replica, which is behind: pgpool-II, with the configuration of the page."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from quanma.errors import StoreUnavailable
from quanma.platform.pool import open_pool
from tests.contract.driver import DrivenPool
from tests.support import poolers, postgres
from tests.support.poolers import PGPOOL, pgpool
from tests.support.postgres import Server, execute, query

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.xdist_group("spread reads"),  # One pair of servers for all.
    pytest.mark.skipif(bool(poolers.why_absent(PGPOOL)), reason=poolers.why_absent(PGPOOL) or ""),
]

PIN = "app_name_redirect_preference_list"
SPREADING = {
    "by session": {PIN: "", "load_balance_mode": "on"},
    "by statement": {PIN: "", "load_balance_mode": "on", "statement_level_load_balance": "on"},
    "to the replica only": {PIN: "", "load_balance_mode": "on", "backend_weight0": "0", "backend_weight1": "1"},
}
PINNED = {
    "by name, as on the page": {"backend_weight0": "0", "backend_weight1": "1"},
    "by name, by statement": {"statement_level_load_balance": "on"},
    "not spread": {PIN: "", "load_balance_mode": "off"},
}


class Pair(NamedTuple):
    primary: Server
    replica: Server


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A primary, and a replica that follows it."""
    if why := postgres.why_absent(own_server=True):
        pytest.skip(why)
    with contextlib.closing(Server({"fsync": "on"}, in_memory=True)) as primary:
        primary.start()
        with contextlib.closing(primary.replica()) as replica:
            replica.start()
            yield Pair(primary, replica)


@pytest.fixture
def url(pair: Pair) -> Iterator[str]:
    """Of a new database, which the replica has too: what is done in it from then on, it has not."""
    url = pair.primary.databases.fresh()
    name = url.rpartition("/")[2]
    found = f"SELECT 1 FROM pg_database WHERE datname = '{name}'"
    while not query(pair.replica.url, found):
        pass
    execute(pair.replica.url, "SELECT pg_wal_replay_pause()")
    yield url
    execute(pair.replica.url, "SELECT pg_wal_replay_resume()")


@pytest.fixture
def pools() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as opened:
        yield opened


def opened(pools: contextlib.ExitStack, url: str, folder: Path) -> DrivenPool:
    return pools.enter_context(contextlib.closing(DrivenPool(lambda: open_pool(url, folder))))


@pytest.mark.parametrize("changes", SPREADING.values(), ids=SPREADING)
def test_a_proxy_that_spreads_reads_is_refused_at_the_start(
    pair: Pair, url: str, pools: contextlib.ExitStack, tmp_path: Path, changes: dict[str, str]
) -> None:
    with pgpool(*pair, url, changes) as proxy:
        for _ in range(3):
            pool = opened(pools, proxy.url, tmp_path)
            with pytest.raises(StoreUnavailable, match="app_name_redirect_preference_list = 'quanma:primary'"):
                pool.run(pool.pool.check())
        pools.close()


@pytest.mark.parametrize("changes", PINNED.values(), ids=PINNED)
def test_through_one_that_leads_us_to_the_primary_every_read_is_right(
    pair: Pair, url: str, pools: contextlib.ExitStack, tmp_path: Path, changes: dict[str, str]
) -> None:
    with pgpool(*pair, url, changes) as proxy:
        pool = opened(pools, proxy.url, tmp_path)
        stock_id = pool.create()
        pool.upload(stock_id, [f"A{number}" for number in range(20)])
        codes = {pool.send(stock_id, f"o{number}") for number in range(20)}
        assert len(codes) == 20
        for code in codes:
            assert pool.show(stock_id, code).coupon_information is not None
        assert pool.counts(stock_id) == (20, 0)
        pools.close()


def test_one_that_begins_to_spread_while_we_serve_is_noticed_before_a_stale_read_is_told(
    pair: Pair, url: str, pools: contextlib.ExitStack, tmp_path: Path
) -> None:
    weights = {"backend_weight0": "0", "backend_weight1": "1"}
    with pgpool(*pair, url, weights) as proxy:
        pool = opened(pools, proxy.url, tmp_path)
        stock_id = pool.create()
        pool.upload(stock_id, ["A1", "B2"])
        pool.run(pool.pool.check())
        proxy.restart("'quanma:primary'", "'quanma:standby'")
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="quanma:primary"):
                pool.counts(stock_id)
            with pytest.raises(StoreUnavailable, match="quanma:primary"):
                pool.run(pool.pool.check())
        pools.close()
