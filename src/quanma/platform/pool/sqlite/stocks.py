"""Stocks in the SQLite pool: create, declare, show, change."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from ....api.stocks import CreatedStock, CreateStock, Stock
from ....wire.times import rfc3339
from ...coupons import responses, stocks
from ...coupons.stocks import Change, OfStock, Product, StockFacts
from .rows import STOCK, StockRow
from .store import Store

Req = TypeVar("Req", bound=OfStock)
Resp = TypeVar("Resp")


def create(store: Store, mchid: str, request: CreateStock, now: int, stocks_max: int) -> CreatedStock:
    stocks.check_new_stock(request)
    for first in store.rows.read(STOCK, "mchid = ? AND out_request_no = ?", mchid, request.out_request_no):
        raise responses.stock_made_before(first.stock_id)
    merchant = store.merchants.get(mchid)
    stocks.check_stock_count(merchant.made if merchant else 0, stocks_max)
    stock_id = responses.new_stock_id()
    _add(store, stock_id, mchid, request, now, None)
    return CreatedStock(stock_id=stock_id, create_time=rfc3339(now))


def declare(store: Store, mchid: str, stock_id: str, product: Product, request: CreateStock, now: int) -> None:
    if (stock := store.stocks.get(stock_id)) is None:
        _add(store, stock_id, mchid, request, now, product)
    elif (stock.facts.mchid, stock.facts.product) != (mchid, product):
        raise responses.another_ones_stock(stock_id)


def _add(store: Store, stock_id: str, mchid: str, request: CreateStock, now: int, product: Product | None) -> None:
    text = msgspec.json.encode(request).decode()
    of_product = product or (None, None)
    store.rows.add(STOCK, StockRow(stock_id, mchid, request.out_request_no, text, now, *of_product))
    store.add_stock(stocks.stock_facts(stock_id, mchid, request, now, product))


def show(store: Store, mchid: str, stock_id: str, now: int) -> Stock:
    stock = store.stock(mchid, stock_id)
    counts = responses.Counts(stock.codes.total, stock.codes.available, stock.sent, stock.sent_today(now))
    return responses.stock(stock.facts, counts, now)


def list_own(store: Store, mchid: str, offset: int, limit: int) -> list[StockFacts]:
    """The latest first."""
    own = "mchid = ? AND product_coupon_id IS NULL ORDER BY created_at DESC, stock_id DESC LIMIT ? OFFSET ?"
    rows = store.rows.read(STOCK, own, mchid, limit, offset)
    return [store.stocks[row.stock_id].facts for row in rows]


def change(store: Store, mchid: str, change: Change[Req, Resp], request: Req, now: int) -> Resp:
    stock = store.stock(mchid, request.stock_id)
    facts = stock.facts

    def work() -> Resp:
        nonlocal facts
        facts, answer = change.decide(stock.facts, request, stock.sent, now)
        (row,) = store.rows.read(STOCK, "stock_id = ?", facts.stock_id)
        store.rows.change(STOCK, row, request=msgspec.json.encode(facts.request).decode())
        return answer

    answer = store.once(request.stock_id, change.numbered(request), work)
    stock.facts = facts  # Only after all that is written with it.
    return answer
