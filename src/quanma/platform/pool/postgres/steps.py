"""Steps of coupons in the PostgreSQL pool: one function does any of them. What each is: coupons/states.py."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...coupons.coupon import LATER, STORED_STATES, CouponFacts, first_state
from ...coupons.step import OfCoupon, Seen, Step
from . import subsidies
from .queries import query
from .stock_queue import Asked, singly
from .stock_transaction import StockTransaction, check_creator, check_shared

_MOVE = query("move_coupon")


class Stepping(NamedTuple):
    """A request, and the step that it asks for."""

    step: Step[Any, Any]
    request: OfCoupon


async def step(transaction: StockTransaction, asked: Asked[Stepping]) -> Any:
    mchid, (step, request), now = asked
    if (product := step.product(request)) is None:
        check_shared(transaction.facts, mchid)
    else:
        check_creator(transaction.facts, mchid, product)

    async def work() -> Any:
        coupon = await transaction.coupon_of(request.coupon_code)
        payments = await subsidies.payments_for(transaction, coupon.coupon_code) if step.of_payments else []
        decision = step.decide(Seen(transaction.facts, coupon, payments, request, now))
        if decision.after != coupon:
            await _move(transaction, step, coupon, decision.after, now)
        await subsidies.write(transaction, decision.receipts)
        return decision.answer

    return await transaction.once(step.numbered(request), work)


async def _move(
    transaction: StockTransaction, step: Step[Any, Any], read: CouponFacts, after: CouponFacts, now: int
) -> None:
    """Change the one row of a step. The decision was made in the same transaction: a change meanwhile is our fault."""
    moved = await transaction.connection.execute(
        _MOVE,
        transaction.stock_no,
        read.coupon_id,
        # As they are stored: EXPIRED is SENDED, and by the time, which never changes.
        [state for state in STORED_STATES if read._replace(coupon_state=state).state(now) in step.starts],
        first_state(read.send_channel),
        *(getattr(after, field) for field in LATER),
    )
    if moved != "INSERT 0 1":
        raise AssertionError("a coupon did not stand where the decision saw it")


STEP = singly(step)
