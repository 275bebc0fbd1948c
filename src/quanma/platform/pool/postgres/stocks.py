"""Stocks in the PostgreSQL pool: create, declare, show, change."""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import Any, NamedTuple

import msgspec

from ....api.stocks import CreatedStock, CreateStock, Stock
from ....wire.times import beijing_day, rfc3339
from ...coupons import responses, stocks
from ...coupons.stocks import Change, OfStock, Product, StockFacts
from .connections import Connection
from .queries import query
from .stock_queue import Asked, singly
from .stock_transaction import (
    ADD_COUNTERS,
    COUNTERS,
    NEW,
    StockCounters,
    StockTransaction,
    check_creator,
    facts_of,
    sent_on,
    stock_of,
)

_LOCK = query("lock")
_ADD_STOCK, _ADD_TURN = query("add_stock"), query("add_turn")
_MADE_UNDER, _OWN_STOCKS = query("stock_made_under"), query("own_stocks")
_STOCK, _CHANGE = query("stock"), query("change_stock")


async def create(
    connection: Connection, stock_id: str, mchid: str, request: CreateStock, now: int, stocks_max: int
) -> CreatedStock:
    """Make a stock of this id, new to this request: done twice, it is the same."""
    stocks.check_new_stock(request)
    # One at a time of a merchant: two could each find room for the last one.
    await connection.execute(_LOCK, f"stocks\n{mchid}")
    await _add(connection, stock_id, mchid, request, now, None)
    made, before = await connection.fetchrow(
        _MADE_UNDER,
        mchid,
        request.out_request_no,
        stock_id,
        stocks_max,
    )
    if made != stock_id:
        raise responses.stock_made_before(made)
    stocks.check_stock_count(before, stocks_max)  # What was added goes with the transaction.
    return CreatedStock(stock_id=stock_id, create_time=rfc3339(now))


async def declare(
    connection: Connection, mchid: str, stock_id: str, product: Product, request: CreateStock, now: int
) -> None:
    row = await connection.fetchrow(_STOCK, stock_id)
    if row is None:
        await _add(connection, stock_id, mchid, request, now, product)
        row = await connection.fetchrow(_STOCK, stock_id)
    if row is None or (facts_of(row).mchid, facts_of(row).product) != (mchid, product):
        raise responses.another_ones_stock(stock_id)


async def _add(
    connection: Connection, stock_id: str, mchid: str, request: CreateStock, now: int, product: Product | None
) -> None:
    """Write a stock, if neither its id nor its number was used before."""
    await connection.execute(_LOCK, "stocks")
    added = await connection.fetchval(
        _ADD_STOCK,
        stock_id,
        mchid,
        request.belong_merchant,
        request.out_request_no,
        msgspec.json.encode(request).decode(),
        now,
        *(product or (None, None)),
    )
    if added is None:
        return
    await connection.execute(_ADD_TURN, added)
    await connection.execute(ADD_COUNTERS, added, 0, *astuple(replace(NEW, day=beijing_day(now))))


async def list_own(connection: Connection, mchid: str, offset: int, limit: int) -> list[StockFacts]:
    """The latest first."""
    rows = await connection.fetch(_OWN_STOCKS, mchid, limit, offset)
    return [facts_of(row) for row in rows]


async def show(connection: Connection, mchid: str, stock_id: str, now: int) -> Stock:
    stock_no, facts = await stock_of(connection, stock_id)
    check_creator(facts, mchid)
    counters = StockCounters(*await connection.fetchrow(COUNTERS, stock_no))
    day = beijing_day(now)
    today = counters.sent_on_day if day == counters.day else await sent_on(connection, stock_no, day)
    return responses.stock(facts, responses.Counts(counters.total, counters.available, counters.sent, today), now)


class Changing(NamedTuple):
    """A request, and how it changes its stock."""

    change: Change[Any, Any]
    request: OfStock


async def change(transaction: StockTransaction, asked: Asked[Changing]) -> Any:
    mchid, (change, request), now = asked
    check_creator(transaction.facts, mchid)

    async def work() -> Any:
        facts, answer = change.decide(transaction.facts, request, transaction.counters.sent, now)
        text = msgspec.json.encode(facts.request).decode()
        await transaction.connection.execute(_CHANGE, transaction.stock_no, text)
        transaction.facts = facts
        return answer

    return await transaction.once(change.numbered(request), work)


CHANGE = singly(change)
