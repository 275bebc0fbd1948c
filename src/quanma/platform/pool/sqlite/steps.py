"""Steps of coupons in the SQLite pool: one function does any of them. What each is: coupons/states.py."""

from __future__ import annotations

from typing import TypeVar

from ...coupons.step import OfCoupon, Seen, Step
from . import issue_batches, subsidies
from .store import Store

Req = TypeVar("Req", bound=OfCoupon)
Resp = TypeVar("Resp")


def step(store: Store, mchid: str, step: Step[Req, Resp], request: Req, now: int) -> Resp:
    stock_id = step.stock_of(request)
    product = step.product(request)
    stock = store.shared(mchid, stock_id) if product is None else store.stock(mchid, stock_id, product)

    def work() -> Resp:
        found = store.coupon_of(stock, request.coupon_code)
        coupon = found.coupon
        payments = subsidies.payments_for(store.rows, stock_id, coupon.coupon_code) if step.of_payments else []
        decision = step.decide(Seen(stock.facts, coupon, payments, request, now))
        if decision.after != coupon:
            issue_batches.move(store.rows, step.starts, found, decision.after, now)
        subsidies.write(store.rows, decision.receipts)
        return decision.answer

    return store.once(stock_id, step.numbered(request), work)
