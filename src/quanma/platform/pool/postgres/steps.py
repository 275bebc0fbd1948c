"""Steps of coupons in the PostgreSQL pool: one function does any of them. What each is: coupons/states.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from ...coupons.coupon import LATER, STORED_STATES, CouponFacts, first_state
from ...coupons.product.changes import Caller
from ...coupons.step import Seen, Step
from ...coupons.stocks import Product
from . import coupons, products, subsidies
from .queries import query
from .stock_queue import Asked, singly
from .stock_transaction import StockTransaction, check_creator, check_shared

_MOVE_FIRST, _MOVE_NEXT = query("move_first"), query("move_next")


class Stepping(NamedTuple):
    """A request, and the step that it asks for. `caller` and `product`: of 商品券."""

    step: Step[Any, Any]
    request: Any
    caller: Caller | None = None
    product: Product | None = None


async def step(transactions: StockTransaction | Sequence[StockTransaction], asked: Asked[Stepping]) -> Any:
    mchid, (step, request, caller, product), now = asked
    each = [transactions] if isinstance(transactions, StockTransaction) else transactions
    for one in each:
        if product is None:
            check_shared(one.facts, mchid)
        else:
            check_creator(one.facts, mchid, product)
    stock_id = step.stock_of(request)
    transaction = next(one for one in each if one.stock_id == stock_id)

    async def work() -> Any:
        mine: Sequence[CouponFacts] = ()
        if (openid := step.user_of(request)) is not None:
            mine = await coupons.coupons_of(transaction, openid)
        coupon = await transaction.coupon_of(step.code_of(request, mine))
        payments = await subsidies.payments_for(transaction, coupon.coupon_code) if step.of_payments else []
        group = None if caller is None else await products.group_of(caller, each, coupon, now)
        decision = step.decide(Seen(transaction.facts, coupon, payments, request, now, group))
        before = {coupon.stock_id: coupon} | {one.coupon.stock_id: one.coupon for one in (group.held if group else ())}
        for after in (decision.after, *decision.beside):
            if after != before[after.stock_id]:
                its = next(one for one in each if one.stock_id == after.stock_id)
                await _move(its, step, before[after.stock_id], after, now)
        await subsidies.write(transaction, decision.receipts)
        return decision.answer

    return await transaction.once(step.numbered(request), work)


async def _move(
    transaction: StockTransaction, step: Step[Any, Any], read: CouponFacts, after: CouponFacts, now: int
) -> None:
    """Change the one row of a step. The decision was made in the same transaction: a change meanwhile is our fault."""
    # As they are stored: EXPIRED is SENDED, and by the time, which never changes.
    starts = [state for state in STORED_STATES if replace(read, coupon_state=state).state(now) in step.starts]
    moved = await transaction.connection.execute(
        _MOVE_FIRST if first_state(read.send_channel) in starts else _MOVE_NEXT,
        transaction.stock_no,
        read.coupon_id,
        starts,
        *(getattr(after, field) for field in LATER),
    )
    if moved not in ("INSERT 0 1", "UPDATE 1"):
        raise AssertionError("a coupon did not stand where the decision saw it")


STEP = singly(step)
