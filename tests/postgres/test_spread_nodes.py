"""A pool on many nodes: what it asks of which, and what becomes of the others when one is away.

Not Citus itself: see tests/support/spread.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from quanma.errors import StoreUnavailable
from quanma.platform.pool import open_pool
from quanma.platform.pool.postgres import due_stocks, schema
from quanma.platform.pool.postgres.session import ServerConnection
from tests.contract.driver import NOW, DrivenPool
from tests.platform.pool.test_shardable import shared_out
from tests.support import spread
from tests.support.platform import MCHID
from tests.support.postgres import query
from tests.support.spread import COORDINATOR, EVEN, ODD


@pytest.fixture
def spread_pool(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DrivenPool]:
    first = DrivenPool(lambda: open_pool(postgres_url, tmp_path))
    first.run(first.pool.set_callback(MCHID, MCHID, "http://127.0.0.1:9/", NOW))
    first.close()
    spread.stand_in(postgres_url)

    async def many(connection: object) -> bool:
        return True

    monkeypatch.setattr(schema, "has_many_nodes", many)
    monkeypatch.setattr(due_stocks, "AWAY_SECONDS", 0.0)
    pool = DrivenPool(lambda: open_pool(postgres_url, tmp_path))
    yield pool
    pool.close()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each statement that is sent."""
    sent: list[str] = []
    for name in ("execute", "fetch", "fetchrow", "fetchval"):
        send = getattr(ServerConnection, name)

        async def note(self: object, statement: str, *rest: object, send: object = send, **options: object) -> object:
            sent.append(statement)
            return await send(self, statement, *rest, **options)  # type: ignore[operator]

        monkeypatch.setattr(ServerConnection, name, note)
    return sent


def drawn(pool: DrivenPool, name: str) -> str:
    """A stock with one coupon given out, and its event."""
    stock_id = pool.create(max_coupons_per_user=100)
    pool.upload(stock_id, [f"{name}1", f"{name}2"])
    pool.send(stock_id, f"o{name}")
    return stock_id


def taken(pool: DrivenPool) -> list[str]:
    """The stocks of the events that are due now."""
    due = pool.run(pool.pool.take_due_events(NOW + 60, 10))
    return sorted(event.coupon.stock_id for event in due)


def test_each_call_of_a_stock_writes_table_by_table_and_lists_the_stock_apart(
    spread_pool: DrivenPool, asked: list[str]
) -> None:
    drawn(spread_pool, "A")
    assert [statement for statement in asked if shared_out(statement)] == []
    assert [statement for statement in asked if statement.startswith("WITH gone")] == []
    listed = next(at for at, statement in enumerate(asked) if statement.startswith("INSERT INTO due_stock"))
    # Not within the transaction that draws: that was undone before, and begins again after.
    before = [statement for statement in asked[:listed] if statement in ("BEGIN", "COMMIT", "ROLLBACK")]
    assert before[-1] == "ROLLBACK"


def test_events_come_from_every_node_and_then_no_node_is_asked_in_vain(
    spread_pool: DrivenPool, asked: list[str], postgres_url: str
) -> None:
    stocks = sorted(drawn(spread_pool, name) for name in "ABC")
    assert taken(spread_pool) == stocks
    for event in spread_pool.run(spread_pool.pool.take_due_events(NOW + 180, 10)):
        spread_pool.run(spread_pool.pool.event_delivered(event, NOW))
    query(postgres_url, "UPDATE due_stock SET until = now() - interval '1 s' RETURNING 1")
    assert spread_pool.run(spread_pool.pool.merchants_waiting(NOW + 600)) == []
    assert query(postgres_url, "SELECT stock_no FROM due_stock") == []
    asked.clear()
    assert spread_pool.run(spread_pool.pool.merchants_waiting(NOW + 600)) == []
    assert [statement for statement in asked if "FROM event" in statement or "run_command" in statement] == []


def test_a_stock_whose_event_is_due_later_is_asked_then_only(
    spread_pool: DrivenPool, asked: list[str], postgres_url: str
) -> None:
    stock_id = drawn(spread_pool, "A")
    assert taken(spread_pool) == [stock_id]
    query(postgres_url, "UPDATE due_stock SET until = now() - interval '1 s' RETURNING 1")
    assert spread_pool.run(spread_pool.pool.merchants_waiting(NOW + 61)) == []
    asked.clear()
    assert spread_pool.run(spread_pool.pool.merchants_waiting(NOW + 62)) == []
    assert [statement for statement in asked if "FROM event" in statement] == []
    (waiting,) = spread_pool.run(spread_pool.pool.merchants_waiting(NOW + 180))
    assert waiting.mchid == MCHID


def test_an_event_that_was_not_tried_is_due_at_once(spread_pool: DrivenPool, postgres_url: str) -> None:
    drawn(spread_pool, "A")
    (event,) = spread_pool.run(spread_pool.pool.take_due_events(NOW + 60, 10))
    query(postgres_url, "UPDATE due_stock SET until = now() - interval '1 s' RETURNING 1")
    assert spread_pool.run(spread_pool.pool.merchants_waiting(NOW + 61)) == []
    spread_pool.run(spread_pool.pool.event_not_tried(event, NOW + 61))
    assert len(spread_pool.run(spread_pool.pool.take_due_events(NOW + 62, 10))) == 1


def test_an_event_of_a_stock_that_nobody_listed_is_found_when_a_process_starts(
    spread_pool: DrivenPool, postgres_url: str
) -> None:
    stock_id = drawn(spread_pool, "A")
    query(postgres_url, "DELETE FROM due_stock RETURNING 1")
    spread_pool.reopen()
    assert taken(spread_pool) == [stock_id]


def test_a_node_that_is_away_stops_the_events_of_its_own_stocks_only(
    spread_pool: DrivenPool, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    stocks = {name: drawn(spread_pool, name) for name in "ABCD"}
    numbers = dict(query(postgres_url, "SELECT stock_id, stock_no FROM stock"))
    even = sorted(stock_id for stock_id in stocks.values() if numbers[stock_id] % 2 == 0)
    odd = sorted(stock_id for stock_id in stocks.values() if numbers[stock_id] % 2 == 1)
    spread_pool.run(spread_pool.pool.merchants_waiting(NOW + 60))
    spread.set_node(postgres_url, ODD, answers=False)
    assert taken(spread_pool) == even
    assert f"node {ODD} of the database does not answer" in caplog.text
    spread.set_node(postgres_url, ODD)
    assert taken(spread_pool) == odd


def test_a_node_that_is_away_is_named_and_the_pool_stays_ready(spread_pool: DrivenPool, postgres_url: str) -> None:
    spread_pool.run(spread_pool.pool.check())
    assert spread_pool.pool.away() == []
    spread.set_node(postgres_url, ODD, answers=False)
    spread_pool.run(spread_pool.pool.check())
    assert spread_pool.pool.away() == [ODD]
    spread.set_node(postgres_url, ODD)
    spread_pool.run(spread_pool.pool.check())
    assert spread_pool.pool.away() == []


@pytest.mark.parametrize(
    ("node", "settings", "said"),
    [
        (EVEN, "off,on,on", f"node {EVEN} runs with fsync = off"),
        (ODD, "on,off,on", f"node {ODD} runs with full_page_writes = off"),
        (ODD, "on,on,local", f"node {ODD} runs with synchronous_commit = local"),
        (COORDINATOR, "off,on,on", f"node {COORDINATOR} runs with fsync = off"),
    ],
)
def test_a_node_that_can_lose_what_it_keeps_is_refused(
    spread_pool: DrivenPool, postgres_url: str, node: str, settings: str, said: str
) -> None:
    spread_pool.run(spread_pool.pool.check())
    spread.set_node(postgres_url, node, settings=settings)
    with pytest.raises(StoreUnavailable, match=said):
        spread_pool.run(spread_pool.pool.check())
    spread_pool.reopen()
    with pytest.raises(StoreUnavailable, match=said):
        spread_pool.create()
    spread.set_node(postgres_url, node)


def test_a_stock_that_is_drawn_from_for_long_is_listed_again() -> None:
    class Silent:
        async def execute(self, *statement: object) -> None:
            pass

    now = 0.0
    listing = due_stocks.DueStocks(call=lambda work: work(Silent()), clock=lambda: now)
    with pytest.raises(due_stocks.NotListed):
        listing.check(7, "98065001", MCHID)
    asyncio.run(listing.list_stock(Silent(), 7, "98065001", MCHID))
    now = due_stocks.AGAIN_SECONDS
    listing.check(7, "98065001", MCHID)
    now += 0.1
    with pytest.raises(due_stocks.NotListed):
        listing.check(7, "98065001", MCHID)
