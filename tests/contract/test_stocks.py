"""Stocks: creating one, its counts, and the counter behind sealed envelopes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from quanma.api.stockrules import (
    SPANS_MAX,
    CouponAvailableTime,
    CouponUseRule,
    DiscountCoupon,
    FixedNormalCoupon,
    Span,
)
from quanma.errors import ParamError, ResourceAlreadyExists
from quanma.platform.coupons.stocks import Product
from tests.contract.driver import ENDS_AT, NOW, USE_RULE, DrivenPool
from tests.support.every import every_row
from tests.support.platform import MCHID, OTHER_MCHID, new_stock

pytestmark = pytest.mark.both_back_ends


def test_a_stock_shows_what_it_was_created_with_also_after_a_restart(pool: DrivenPool) -> None:
    stock_id = pool.create(stock_name="八月券", comment="备注", max_coupons=7, max_coupons_per_user=3)
    pool.reopen()
    stock = pool.stock(stock_id)
    assert (stock.stock_id, stock.stock_name, stock.comment) == (stock_id, "八月券", "备注")
    assert (stock.stock_send_rule.max_coupons, stock.stock_send_rule.max_coupons_per_user) == (7, 3)
    assert stock.coupon_use_rule == USE_RULE
    assert (stock.coupon_code_mode, stock.stock_state) == ("MERCHANT_UPLOAD", "RUNNING")
    assert pool.stock(stock_id, now=ENDS_AT).stock_state == "STOPED"


def test_a_stock_that_was_taken_under_wider_limits_is_still_there_after_a_restart(pool: DrivenPool) -> None:
    spans = [Span(begin_time="2026-10-01T00:00:00+08:00", end_time="2026-10-02T00:00:00+08:00")] * (SPANS_MAX + 1)
    times = msgspec.structs.replace(USE_RULE.coupon_available_time, irregulary_avaliable_time=spans)
    # The pool checks no lengths: whoever asks it has.
    stock_id = pool.create(coupon_use_rule=msgspec.structs.replace(USE_RULE, coupon_available_time=times))
    pool.reopen()
    assert pool.stock(stock_id).coupon_use_rule.coupon_available_time == times


def test_a_stock_id_fits_its_field_and_no_two_are_alike(pool: DrivenPool) -> None:
    stock_ids = [pool.create() for _ in range(20)]
    assert len(set(stock_ids)) == 20
    assert all(stock_id.isdigit() and 1 <= len(stock_id) <= 20 for stock_id in stock_ids)


def test_a_number_creates_one_stock_of_a_merchant(pool: DrivenPool) -> None:
    stock_id = pool.create(out_request_no="c1")
    pool.reopen()
    with pytest.raises(ResourceAlreadyExists, match=stock_id) as refusal:
        pool.create(out_request_no="c1")
    assert (refusal.value.status_code, refusal.value.code) == (400, "RESOURCE_ALREADY_EXISTS")
    assert pool.create(out_request_no="c1", mchid=OTHER_MCHID) != stock_id


def test_a_merchants_stocks_are_listed_the_latest_first_after_a_restart_too(pool: DrivenPool) -> None:
    made = [pool.create(now=NOW + number) for number in range(3)]
    pool.create(mchid=OTHER_MCHID)
    pool.run(pool.pool.declare_stock(MCHID, "400000001", Product("1002", "1001"), new_stock("product"), NOW))
    pool.reopen()

    def listed(offset: int, limit: int) -> list[str]:
        return [facts.stock_id for facts in pool.run(pool.pool.list_stocks(MCHID, offset, limit))]

    assert listed(0, 20) == made[::-1]
    assert listed(1, 1) == [made[1]]
    assert listed(3, 20) == []


def test_a_refused_stock_may_be_created_under_its_number(pool: DrivenPool) -> None:
    with pytest.raises(ParamError):
        pool.create(out_request_no="c1", stock_type="EXCHANGE")
    assert pool.create(out_request_no="c1")


def _rule(begins: str, ends: str, **times: Any) -> dict[str, Any]:
    return {
        "coupon_use_rule": CouponUseRule(
            coupon_available_time=CouponAvailableTime(available_begin_time=begins, available_end_time=ends, **times),
            use_method="OFF_LINE",
            fixed_normal_coupon=FixedNormalCoupon(discount_amount=100, transaction_minimum=1000),
        )
    }


@every_row(
    ("changes", "names"),
    [
        ({"stock_type": "EXCHANGE"}, "exchange_coupon"),
        (
            {
                "coupon_use_rule": CouponUseRule(
                    coupon_available_time=USE_RULE.coupon_available_time,
                    use_method="OFF_LINE",
                    fixed_normal_coupon=USE_RULE.fixed_normal_coupon,
                    discount_coupon=DiscountCoupon(discount_percent=88, transaction_minimum=1),
                )
            },
            "exactly one",
        ),
        (
            {
                "coupon_use_rule": CouponUseRule(
                    coupon_available_time=USE_RULE.coupon_available_time,
                    use_method="BY_POST",
                    fixed_normal_coupon=USE_RULE.fixed_normal_coupon,
                )
            },
            "use_method",
        ),
        (_rule("2026-09-01", "2027-03-01"), "coupon_available_time"),
        (_rule("2027-03-01T00:00:00+08:00", "2026-09-01T00:00:00+08:00"), "not after"),
        (_rule("2026-09-01T00:00:00+08:00", "2028-03-01T00:00:00+08:00"), "a year at most"),
        (
            _rule("2026-09-01T00:00:00+08:00", "2027-03-01T00:00:00+08:00", wait_days_after_receive=1),
            "wait_days_after_receive",
        ),
        # Times that exist on one side of the date line and can't be printed on the other.
        (_rule("9999-12-01T00:00:00-12:00", "9999-12-31T23:59:59-12:00"), "coupon_available_time"),
        (_rule("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:01+14:00"), "coupon_available_time"),
    ],
)
def test_rules_that_contradict_each_other_make_no_stock(pool: DrivenPool, changes: dict[str, Any], names: str) -> None:
    with pytest.raises(ParamError, match=names) as refusal:
        pool.create(**changes)
    assert (refusal.value.status_code, refusal.value.code) == (400, "PARAM_ERROR")


def test_the_counts_add_up_after_any_mix(pool: DrivenPool) -> None:
    """P3: total = free + given out, at every step, and the stock says the same after a restart."""
    stock_id = pool.create()
    pool.upload(stock_id, [f"C{number}" for number in range(20)])
    given: list[str] = []
    total = 20
    for step in range(6):
        given.append(pool.send(stock_id))
        pool.delete(stock_id, next(code for code in pool.codes(stock_id) if code not in given))
        total -= 1
        if step % 2:
            pool.use(stock_id, given[step])
            pool.upload(stock_id, [f"D{step}"])
            total += 1
        assert pool.counts(stock_id) == (total, total - len(given))
        counts = pool.stock(stock_id).send_count_information
        assert counts is not None
        assert (counts.total_send_num, counts.today_send_num) == (len(given), len(given))
        pool.reopen()
        assert pool.counts(stock_id) == (total, total - len(given))


def test_only_a_stock_that_takes_uploads_shows_a_count_of_codes(pool: DrivenPool) -> None:
    assert pool.stock(pool.create(coupon_code_mode="WECHATPAY_MODE")).coupon_code_count is None


def test_a_nonce_is_never_given_twice_also_after_a_restart(pool: DrivenPool) -> None:
    taken: list[object] = []
    for _ in range(3):
        taken += pool.together(*(pool.pool.take_nonce(MCHID) for _ in range(20)))
        pool.reopen()
    assert len(set(taken)) == 60
    assert pool.run(pool.pool.take_nonce(OTHER_MCHID)) >= 0
    assert pool.run(pool.pool.take_nonce(MCHID)) not in taken


def test_the_time_of_creation_is_the_platforms(pool: DrivenPool) -> None:
    assert pool.create(now=NOW)
    pool.run(pool.pool.check())
