"""Steps of coupons: the drawing in platform/coupons/states.py is true on every back end."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from quanma.api.coupons import Coupon
from quanma.errors import RequestRefused, ResourceNotExists, StoreUnavailable
from quanma.platform.coupons.states import RETURN, STEPS
from quanma.platform.coupons.step import Decision, Seen, Step
from tests.contract.driver import ENDS_AT, NOW, DrivenPool
from tests.support.platform import MCHID, OTHER_MCHID
from tests.support.stepping import LEADS_TO, STATES, STEP, request_of

pytestmark = pytest.mark.both_back_ends

WAY_TO = {
    "USED": ("associate", "use", "pay"),
    "SENDED": ("associate", "use", "pay", "return"),
    "EXPIRED": ("associate", "use", "pay", "return"),
    "DEACTIVATED": ("associate", "use", "pay", "return", "deactivate"),
}
"""How a coupon comes there that is tied to an order and paid for."""


class Coupons:
    """A stock of coupons, one user's."""

    def __init__(self, pool: DrivenPool, count: int) -> None:
        self.pool = pool
        self.stock_id = pool.create(max_coupons_per_user=count)
        pool.upload(self.stock_id, [f"C{number}" for number in range(count)])

    def new(self, state: str) -> tuple[str, int]:
        """A coupon in this state, and a time at which it is."""
        code = self.pool.send(self.stock_id)
        for step in WAY_TO[state]:
            self.ask(STEP[step], request_of(step, self.stock_id, code, self.pool.fresh()), NOW)
        return code, ENDS_AT if state == "EXPIRED" else NOW

    def ask(self, step: Step[Any, Any], request: Any, now: int, mchid: str = MCHID) -> Any:
        return self.pool.run(self.pool.pool.step(mchid, step, request, now))

    def shown(self, code: str, now: int) -> Coupon:
        return self.pool.coupon("oUser", code, now=now)


def test_every_step_is_drawn() -> None:
    assert set(STEP.values()) == set(STEPS)
    assert LEADS_TO.keys() == STEP.keys()


def test_each_step_leads_from_each_state_where_the_drawing_says(pool: DrivenPool) -> None:
    coupons = Coupons(pool, len(STEP) * len(STATES))
    led: dict[str, dict[str, str]] = {step: {} for step in STEP}
    for step in STEP:
        for state in STATES:
            code, now = coupons.new(state)
            before = coupons.shown(code, now)
            assert before.coupon_state == state
            try:
                coupons.ask(STEP[step], request_of(step, coupons.stock_id, code, pool.fresh()), now)
                led[step][state] = coupons.shown(code, now).coupon_state or ""
            except RequestRefused:
                assert coupons.shown(code, now) == before
    assert led == LEADS_TO


class Blind(Step[Any, Any]):
    """A step that was decided on while its coupon stood where it starts from."""

    def __init__(self, step: Step[Any, Any]) -> None:
        vars(self).update(vars(step) | {"check": lambda seen: None})

    def decide(self, seen: Seen[Any]) -> Decision[Any]:
        was = msgspec.structs.replace(
            seen.coupon, coupon_state=self.starts[0], expires_at=seen.now + 1, associate_out_trade_no=None
        )
        return super().decide(seen._replace(coupon=was))


def test_a_step_is_not_written_where_its_coupon_stands_elsewhere(pool: DrivenPool) -> None:
    moving = [step for step in STEP if step not in ("disassociate", "take back")]
    coupons = Coupons(pool, len(moving) * len(STATES))
    written: dict[str, set[str]] = {step: set() for step in moving}
    for step in moving:
        blind = Blind(STEP[step])
        for state in STATES:
            code, now = coupons.new(state)
            before = coupons.shown(code, now)
            request = request_of(step, coupons.stock_id, code, f"{step} {state}"[:16])
            try:
                coupons.ask(blind, request, now)
                written[step].add(state)
            except StoreUnavailable:
                assert coupons.shown(code, now) == before
                payments = pool.run(pool.pool.payments(MCHID, coupons.stock_id, code))
                assert [payment.receipt.amount for payment in payments] == [10]
                with pytest.raises(RequestRefused):  # The number was not used either.
                    coupons.ask(STEP[step], request, now)
    assert written == {step: set(LEADS_TO[step]) for step in moving}


def test_no_step_finds_a_code_that_nobody_was_given_nor_anothers_stock(pool: DrivenPool) -> None:
    coupons = Coupons(pool, 2)
    code, now = coupons.new("SENDED")
    free = next(one for one in pool.codes(coupons.stock_id) if one != code)
    for name, step in STEP.items():
        for absent in (free, "nowhere"):
            with pytest.raises(ResourceNotExists, match="券不存在"):
                coupons.ask(step, request_of(name, coupons.stock_id, absent, "n1"), now)
        with pytest.raises(ResourceNotExists, match="批次不存在"):
            coupons.ask(step, request_of(name, coupons.stock_id, code, "n1"), now, OTHER_MCHID)


def test_a_step_that_is_repeated_has_its_first_answer_and_moves_nothing(pool: DrivenPool) -> None:
    coupons = Coupons(pool, len(STEP))
    for step in STEP:
        state = next(iter(LEADS_TO[step]))
        code, now = coupons.new(state)
        request = request_of(step, coupons.stock_id, code, f"again {step}")
        first = coupons.ask(STEP[step], request, now)
        after = coupons.shown(code, now)
        assert coupons.ask(STEP[step], request, now + 5) == first
        assert coupons.shown(code, now) == after
        changed = request_of(step, coupons.stock_id, f"{code}x", f"again {step}")
        with pytest.raises(RequestRefused, match=f"same {STEP[step].operation.number}, different request"):
            coupons.ask(STEP[step], changed, now)


def test_a_coupon_that_came_back_is_used_again_under_another_number(pool: DrivenPool) -> None:
    coupons = Coupons(pool, 1)
    code, now = coupons.new("USED")
    coupons.ask(RETURN, request_of("return", coupons.stock_id, code, "r1"), now)
    coupons.ask(STEP["use"], request_of("use", coupons.stock_id, code, "u2"), now)
    shown = coupons.shown(code, now)
    assert (shown.coupon_state, shown.use_request_no, shown.return_request_no) == ("USED", "u2", "r1")
