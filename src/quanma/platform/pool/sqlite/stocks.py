"""Stocks in the SQLite pool: create, declare, show, modify, budget."""

from __future__ import annotations

import msgspec

from ....api.stocks import ChangeBudget, ChangedBudget, CreatedStock, CreateStock, ModifyStock, Stock
from ....wire.times import rfc3339
from ... import rules
from ...rules import Product, StockFacts
from .. import answers
from .store import Held, Store
from .tables import STOCK, StockRow


def create(store: Store, mchid: str, request: CreateStock, now: int, stocks_max: int) -> CreatedStock:
    rules.check_new_stock(request)
    for first in store.rows.read(STOCK, "mchid = ? AND out_request_no = ?", mchid, request.out_request_no):
        raise answers.stock_made_before(first.stock_id)
    merchant = store.merchants.get(mchid)
    rules.check_stock_count(merchant.made if merchant else 0, stocks_max)
    stock_id = answers.new_stock_id()
    _add(store, stock_id, mchid, request, now, None)
    return CreatedStock(stock_id=stock_id, create_time=rfc3339(now))


def declare(store: Store, mchid: str, stock_id: str, product: Product, request: CreateStock, now: int) -> None:
    if (held := store.stocks.get(stock_id)) is None:
        _add(store, stock_id, mchid, request, now, product)
    elif (held.facts.mchid, held.facts.product) != (mchid, product):
        raise answers.another_ones_stock(stock_id)


def _add(store: Store, stock_id: str, mchid: str, request: CreateStock, now: int, product: Product | None) -> None:
    text = msgspec.json.encode(request).decode()
    of_product = product or (None, None)
    store.rows.add(STOCK, StockRow(stock_id, mchid, request.out_request_no, text, now, *of_product))
    store.hold(rules.stock_facts(stock_id, mchid, request, now, product))


def show(store: Store, mchid: str, stock_id: str, now: int, product: Product | None) -> Stock:
    held = store.held(mchid, stock_id, product)
    counts = answers.Counts(held.shelf.total, held.shelf.available, held.sent, held.sent_today(now))
    return answers.stock(held.facts, counts, now)


def list_own(store: Store, mchid: str, offset: int, limit: int) -> list[StockFacts]:
    """The latest first."""
    own = "mchid = ? AND product_coupon_id IS NULL ORDER BY created_at DESC, stock_id DESC LIMIT ? OFFSET ?"
    rows = store.rows.read(STOCK, own, mchid, limit, offset)
    return [store.stocks[row.stock_id].facts for row in rows]


def modify(store: Store, mchid: str, request: ModifyStock, now: int) -> None:
    held = store.held(mchid, request.stock_id)
    changed = held.facts

    def work() -> None:
        nonlocal changed
        rules.check_open(held.facts, now)
        changed = _replaced(store, held, rules.modified(held.facts.request, request))

    store.once(request.stock_id, "out_request_no", request, type(None), work)
    held.facts = changed


def change_budget(store: Store, mchid: str, request: ChangeBudget, now: int) -> ChangedBudget:
    held = store.held(mchid, request.stock_id)
    changed = held.facts

    def work() -> ChangedBudget:
        nonlocal changed
        rules.check_open(held.facts, now)
        changed = _replaced(store, held, rules.budgeted(held.facts, request, held.sent))
        by_day = changed.request.stock_send_rule.max_coupons_by_day
        return ChangedBudget(max_coupons=changed.max_coupons, max_coupons_by_day=by_day)

    answer = store.once(request.stock_id, "modify_budget_request_no", request, ChangedBudget, work)
    held.facts = changed
    return answer


def _replaced(store: Store, held: Held, request: CreateStock) -> StockFacts:
    """Write a stock's new request. Its facts are changed in memory only after all that is written with it."""
    text = msgspec.json.encode(request).decode()
    (row,) = store.rows.read(STOCK, "stock_id = ?", held.facts.stock_id)
    store.rows.change(STOCK, row, request=text)
    return held.facts._replace(request=request)
