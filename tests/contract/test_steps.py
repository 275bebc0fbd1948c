"""Steps of coupons: the drawing in platform/coupons/states.py is true on every back end."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from quanma.api.coupons import Coupon
from quanma.api.operation import Node, Operation
from quanma.errors import RequestRefused, ResourceNotExists, StoreUnavailable
from quanma.platform.coupons.states import RETURN, STEPS
from quanma.platform.coupons.step import Decision, Seen, Step
from quanma.platform.coupons.stocks import Product
from tests.contract.driver import ENDS_AT, NOW, USE_RULE, DrivenPool
from tests.support.platform import MCHID, OTHER_MCHID, new_stock
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


class UseProductCoupon(msgspec.Struct, frozen=True, kw_only=True):
    product_coupon_id: str
    brand_id: str
    stock_id: str
    coupon_code: str
    out_request_no: str


class UsedProductCoupon(msgspec.Struct, frozen=True, kw_only=True):
    use_time: int


class UseProduct(Node[Any, Any]):
    """As a call of 商品券 could be."""

    path = "/v3/marketing/partner/product-coupon/users/use"
    post = Operation(UseProductCoupon, UsedProductCoupon, summary="核销", number="out_request_no")


def test_a_step_of_a_product_coupon_reaches_its_creator_alone_by_its_product(pool: DrivenPool) -> None:
    use = Step(
        UseProduct.post,
        product=lambda request: Product(request.product_coupon_id, request.brand_id),
        starts=("SENDED",),
        ends="USED",
        answer=lambda seen: UsedProductCoupon(use_time=seen.now),
    )
    product, stock_id = Product("100000001", "120344"), "5550000000000055"
    declared = new_stock("p1", coupon_use_rule=USE_RULE, coupon_code_mode="MERCHANT_API")
    pool.run(pool.pool.declare_stock(MCHID, stock_id, product, declared, NOW))

    def ask(mchid: str = MCHID, no: str = "u1", **changes: str) -> UsedProductCoupon:
        fields = {**product._asdict(), "stock_id": stock_id, "coupon_code": "A1", **changes}
        return pool.run(pool.pool.step(mchid, use, UseProductCoupon(**fields, out_request_no=no), NOW))

    for mchid, changes in [
        (OTHER_MCHID, {}),
        (MCHID, {"brand_id": "120345"}),
        (MCHID, {"stock_id": "5550000000000056"}),
    ]:
        with pytest.raises(ResourceNotExists, match="批次不存在"):
            ask(mchid, **changes)
    with pytest.raises(ResourceNotExists, match="券不存在"):
        ask()
    with pytest.raises(ResourceNotExists, match="批次不存在"):  # By no busifavor call.
        pool.use(stock_id, "A1")
    busifavor = Coupons(pool, 1)
    code, _ = busifavor.new("SENDED")
    with pytest.raises(ResourceNotExists, match="批次不存在"):  # And no busifavor stock by such a call.
        ask(stock_id=busifavor.stock_id, coupon_code=code)
