"""Steps of coupons in the SQLite pool: one function does any of them. What each is: coupons/states.py."""

from __future__ import annotations

from typing import TypeVar

from ...coupons.product.bundles import beside
from ...coupons.product.changes import Caller
from ...coupons.step import OfCoupon, Seen, Step
from . import issue_batches, products, subsidies
from .store import Store

Req = TypeVar("Req", bound=OfCoupon)
Resp = TypeVar("Resp")


def step(
    store: Store, mchid: str, step: Step[Req, Resp], request: Req, now: int, caller: Caller | None, product_id: str
) -> Resp:
    stock_id = step.stock_of(request)
    if caller is None:
        stocks = [store.shared(mchid, stock_id)]
    else:
        product = caller.product(product_id)
        stocks = [store.stock(mchid, one, product) for one in beside(stock_id)]
    stock = next(one for one in stocks if one.facts.stock_id == stock_id)

    def work() -> Resp:
        openid = step.user_of(request)
        code = step.code_of(request, store.coupons_of(stock, openid) if openid else ())
        found = store.coupon_of(stock, code)
        coupon = found.coupon
        payments = subsidies.payments_for(store.rows, stock_id, coupon.coupon_code) if step.of_payments else []
        group = None if caller is None else products.group_of(store, caller, stocks, coupon, now)
        decision = step.decide(Seen(stock.facts, coupon, payments, request, now, group))
        for after in (decision.after, *decision.beside):
            before = issue_batches.find(store.rows, after.coupon_id)
            if after != before.coupon:
                issue_batches.move(store.rows, step.starts, before, after, now)
        subsidies.write(store.rows, decision.receipts)
        return decision.answer

    return store.once(stock_id, step.numbered(request), work)
