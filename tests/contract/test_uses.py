"""Redeeming coupons: when, by whom, and what a repeated number is answered."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from quanma.api.stockrules import CouponAvailableTime, CouponUseRule, FixedNormalCoupon
from quanma.errors import ParamError, RequestRefused, ResourceAlreadyExists, ResourceNotExists, RuleLimit
from quanma.platform.coupons.states import USE
from tests.contract.driver import DAY, ENDS_AT, NOW, DrivenPool
from tests.support.every import every_row
from tests.support.platform import APPID, MCHID, OTHER_MCHID

pytestmark = pytest.mark.both_back_ends


@pytest.fixture
def stock_id(pool: DrivenPool) -> str:
    """A stock whose only code, A1, oAnna has."""
    made = pool.create()
    pool.upload(made, ["A1"])
    pool.send(made, "oAnna", "s1")
    return made


def test_a_coupon_is_used_once(pool: DrivenPool, stock_id: str) -> None:
    used = pool.use(stock_id, "A1", "u1", now=NOW + 60)
    assert (used.stock_id, used.openid) == (stock_id, "oAnna")
    assert used.wechatpay_use_time == "2026-09-21T22:14:20+08:00"
    coupon = pool.coupon("oAnna", "A1")
    assert (coupon.coupon_state, coupon.use_request_no) == ("USED", "u1")
    assert coupon.use_time == "2026-09-21T22:13:20+08:00"


def test_the_same_number_gives_the_same_answer_also_after_the_end(pool: DrivenPool, stock_id: str) -> None:
    first = pool.use(stock_id, "A1", "u1")
    assert pool.use(stock_id, "A1", "u1", now=NOW + 60) == first
    pool.reopen()
    assert pool.use(stock_id, "A1", "u1", now=ENDS_AT) == first


def test_another_number_on_a_used_coupon_is_refused(pool: DrivenPool, stock_id: str) -> None:
    pool.use(stock_id, "A1", "u1")
    with pytest.raises(ResourceAlreadyExists, match="券已被其他订单核销") as refusal:
        pool.use(stock_id, "A1", "u2")
    assert (refusal.value.status_code, refusal.value.code) == (400, "RESOURCE_ALREADY_EXISTS")
    assert pool.coupon("oAnna", "A1").use_request_no == "u1"


@every_row(
    "changed",
    [{"appid": "wxother"}, {"use_time": "2026-09-21T22:13:21+08:00"}, {"openid": "oAnna"}, {"out_trade_no": "o2"}],
)
def test_the_same_number_with_another_field_is_refused(
    pool: DrivenPool, stock_id: str, changed: dict[str, Any]
) -> None:
    first = pool.use(stock_id, "A1", "u1")
    with pytest.raises(RequestRefused, match="same use_request_no, different request"):
        pool.use(stock_id, "A1", "u1", **changed)
    assert pool.use(stock_id, "A1", "u1") == first


def test_a_coupon_is_used_for_an_order(pool: DrivenPool, stock_id: str) -> None:
    order: dict[str, Any] = {
        "out_trade_no": "MCH_102233445",
        "mch_id": "1900000001",
        "transaction_id": "4200000913202101152566792388",
    }
    first = pool.use(stock_id, "A1", "u1", **order)
    assert pool.use(stock_id, "A1", "u1", **order) == first


def test_a_repeat_is_known_also_of_a_version_that_knew_fewer_fields(pool: DrivenPool, stock_id: str) -> None:
    older = msgspec.defstruct(
        "UseCoupon",
        [(name, str | None) for name in ("coupon_code", "stock_id", "appid", "use_time", "use_request_no", "openid")],
        frozen=True,
        kw_only=True,
    )
    fields = {"appid": APPID, "use_time": "2026-09-21T22:13:20+08:00", "use_request_no": "u1", "openid": None}
    request: Any = older(stock_id=stock_id, coupon_code="A1", **fields)
    first = pool.run(pool.pool.step(MCHID, USE, request, NOW))
    assert pool.use(stock_id, "A1", "u1") == first


def test_a_number_that_used_one_coupon_does_not_use_another(pool: DrivenPool, stock_id: str) -> None:
    pool.upload(stock_id, ["B2"])
    pool.send(stock_id, "oBob")
    pool.use(stock_id, "A1", "u1")
    with pytest.raises(RequestRefused, match="same use_request_no"):
        pool.use(stock_id, "B2", "u1")
    assert pool.coupon("oBob", "B2").coupon_state == "SENDED"


def test_a_refused_use_may_be_repeated_under_its_number(pool: DrivenPool, stock_id: str) -> None:
    with pytest.raises(RuleLimit):
        pool.use(stock_id, "A1", "u1", now=NOW - 1)
    pool.use(stock_id, "A1", "u1", now=NOW)


def test_a_free_code_is_no_coupon(pool: DrivenPool, stock_id: str) -> None:
    pool.upload(stock_id, ["B2"])
    for code in ("B2", "nowhere"):
        with pytest.raises(ResourceNotExists) as refusal:
            pool.use(stock_id, code)
        assert refusal.value.status_code == 404


def test_another_users_coupon_is_refused_when_the_user_is_given(pool: DrivenPool, stock_id: str) -> None:
    with pytest.raises(RequestRefused, match="another user's"):
        pool.use(stock_id, "A1", openid="oBob")
    assert pool.coupon("oAnna", "A1").coupon_state == "SENDED"
    assert pool.use(stock_id, "A1", openid="oAnna").openid == "oAnna"


def test_the_stock_must_be_named_and_the_time_readable(pool: DrivenPool, stock_id: str) -> None:
    with pytest.raises(ParamError, match="stock_id is required"):
        pool.use(None, "A1")
    for text in ("2026-09-21", "2026-09-21 22:13:20", "2026-13-21T22:13:20+08:00", "soon"):
        with pytest.raises(ParamError, match="use_time"):
            pool.use(stock_id, "A1", use_time=text)
    assert pool.coupon("oAnna", "A1").coupon_state == "SENDED"


def test_a_foreign_merchant_uses_and_sees_nothing(pool: DrivenPool, stock_id: str) -> None:
    with pytest.raises(ResourceNotExists, match="批次不存在"):
        pool.use(stock_id, "A1", mchid=OTHER_MCHID)
    with pytest.raises(ResourceNotExists, match="券不存在"):
        pool.coupon("oAnna", "A1", mchid=OTHER_MCHID)
    assert pool.coupon("oAnna", "A1").coupon_state == "SENDED"


def test_only_its_user_sees_a_coupon(pool: DrivenPool, stock_id: str) -> None:
    with pytest.raises(ResourceNotExists, match="券不存在"):
        pool.coupon("oBob", "A1")


def test_of_two_coupons_with_one_code_the_latest_is_shown(pool: DrivenPool, stock_id: str) -> None:
    other = pool.create()
    pool.upload(other, ["A1"])
    pool.send(other, "oAnna")
    assert pool.coupon("oAnna", "A1").stock_id == other


def test_an_unused_coupon_expires_and_a_used_one_stays_used(pool: DrivenPool, stock_id: str) -> None:
    assert pool.coupon("oAnna", "A1", now=ENDS_AT - 1).coupon_state == "SENDED"
    assert pool.coupon("oAnna", "A1", now=ENDS_AT).coupon_state == "EXPIRED"
    with pytest.raises(RuleLimit, match="券不在有效期") as refusal:
        pool.use(stock_id, "A1", now=ENDS_AT)
    assert (refusal.value.status_code, refusal.value.code) == (403, "RULELIMIT")
    pool.use(stock_id, "A1", now=ENDS_AT - 1)
    assert pool.coupon("oAnna", "A1", now=ENDS_AT).coupon_state == "USED"


MIDNIGHT = NOW + 6400
"""2026-09-22T00:00:00+08:00, after the day on which the coupon was received."""


@pytest.mark.parametrize(
    ("times", "starts_at", "ends_at"),
    [
        ({"available_day_after_receive": 1}, NOW, MIDNIGHT),
        ({"available_day_after_receive": 3}, NOW, MIDNIGHT + 2 * DAY),
        (
            {"available_day_after_receive": 2, "wait_days_after_receive": 1},
            MIDNIGHT,
            MIDNIGHT + 2 * DAY,
        ),
        ({"available_second_after_receive": 90}, NOW, NOW + 90),
        ({"available_day_after_receive": 365}, NOW, ENDS_AT),
    ],
)
def test_a_validity_after_receipt_counts_days_of_beijing(
    pool: DrivenPool, times: dict[str, Any], starts_at: int, ends_at: int
) -> None:
    rule = CouponUseRule(
        coupon_available_time=CouponAvailableTime(
            available_begin_time="2026-09-01T00:00:00+08:00", available_end_time="2027-03-01T00:00:00+08:00", **times
        ),
        use_method="OFF_LINE",
        fixed_normal_coupon=FixedNormalCoupon(discount_amount=100, transaction_minimum=1000),
    )
    stock_id = pool.create(coupon_use_rule=rule)
    pool.upload(stock_id, ["A1"])
    pool.send(stock_id, "oAnna")
    for outside in (starts_at - 1, ends_at):
        with pytest.raises(RuleLimit):
            pool.use(stock_id, "A1", "u1", now=outside)
    assert pool.coupon("oAnna", "A1", now=ends_at - 1).coupon_state == "SENDED"
    assert pool.coupon("oAnna", "A1", now=ends_at).coupon_state == "EXPIRED"
    pool.use(stock_id, "A1", "u1", now=ends_at - 1)
