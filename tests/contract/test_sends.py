"""Giving out coupons: which code, to whom, how many, and what a repeated number is answered."""

from __future__ import annotations

import pytest

from quanma.errors import NotEnough, RequestRefused, ResourceNotExists, RuleLimit
from tests.contract.driver import DAY, ENDS_AT, NOW, DrivenPool
from tests.support.platform import OTHER_MCHID
from tests.support.rounds import rounds

pytestmark = pytest.mark.both_back_ends

MIDNIGHT = NOW + 6400
"""2026-09-22T00:00:00+08:00."""


def test_a_coupon_carries_an_uploaded_code_and_the_user_has_it(pool: DrivenPool) -> None:
    stock_id = pool.create()
    pool.upload(stock_id, ["A1", "B2"])
    code = pool.send(stock_id, "oAnna", "s1")
    coupon = pool.coupon("oAnna", code)
    assert (coupon.coupon_code, coupon.stock_id, coupon.coupon_state) == (code, stock_id, "SENDED")
    assert (coupon.send_request_no, coupon.receive_time) == ("s1", "2026-09-21T22:13:20+08:00")
    assert coupon.expire_time == "2027-03-01T00:00:00+08:00"
    assert pool.counts(stock_id) == (2, 1)


def test_the_same_number_gives_the_same_coupon_whatever_came_between(pool: DrivenPool) -> None:
    stock_id = pool.create(max_coupons_per_user=1, max_coupons=2)
    pool.upload(stock_id, ["A1", "B2"])
    first = pool.send(stock_id, "oAnna", "s1")
    pool.send(stock_id, "oBob", "s1")
    pool.use(stock_id, first)
    # Now sold out, the user's limit reached, and ended.
    assert pool.send(stock_id, "oAnna", "s1", now=ENDS_AT) == first
    pool.reopen()
    assert pool.send(stock_id, "oAnna", "s1") == first
    assert pool.counts(stock_id) == (2, 0)


def test_the_same_number_with_another_field_is_refused_and_gives_nothing(pool: DrivenPool) -> None:
    stock_id = pool.create()
    pool.upload(stock_id, ["A1", "B2"])
    first = pool.send(stock_id, "oAnna", "s1")
    for changed in ({"appid": "wxother"}, {"coupon_code": "Z9"}):
        with pytest.raises(RequestRefused, match="same out_request_no, different request") as refusal:
            pool.send(stock_id, "oAnna", "s1", **changed)
        assert (refusal.value.status_code, refusal.value.code) == (400, "INVALID_REQUEST")
    assert pool.counts(stock_id) == (2, 1)
    assert pool.send(stock_id, "oAnna", "s1") == first


def test_the_scope_of_a_number_is_one_user_of_one_stock(pool: DrivenPool) -> None:
    one, other = pool.create(), pool.create()
    pool.upload(one, ["A1", "B2"])
    pool.upload(other, ["C3"])
    assert {pool.send(one, "oAnna", "s1"), pool.send(one, "oBob", "s1")} == {"A1", "B2"}
    assert pool.send(other, "oAnna", "s1") == "C3"


def test_the_last_code_is_given_out_and_then_none(pool: DrivenPool) -> None:
    stock_id = pool.create()
    pool.upload(stock_id, ["A1", "B2", "C3"])
    assert {pool.send(stock_id) for _ in range(3)} == {"A1", "B2", "C3"}
    with pytest.raises(NotEnough) as refusal:
        pool.send(stock_id)
    assert (refusal.value.status_code, refusal.value.code) == (403, "NOT_ENOUGH")


def test_a_number_does_not_remember_that_the_pool_was_empty(pool: DrivenPool) -> None:
    stock_id = pool.create()
    with pytest.raises(NotEnough):
        pool.send(stock_id, no="s1")
    pool.upload(stock_id, ["A1"])
    assert pool.send(stock_id, no="s1") == "A1"


def test_with_only_deleted_codes_left_the_pool_is_empty_and_goes_on_after_an_upload(pool: DrivenPool) -> None:
    stock_id = pool.create()
    pool.upload(stock_id, ["A1", "B2", "C3"])
    for code in ("A1", "B2", "C3"):
        pool.delete(stock_id, code)
    with pytest.raises(NotEnough):
        pool.send(stock_id)
    pool.upload(stock_id, ["B2"])
    assert pool.send(stock_id) == "B2"


def test_no_more_than_max_coupons_are_given_out_and_a_number_does_not_remember_it(pool: DrivenPool) -> None:
    stock_id = pool.create(max_coupons=2)
    pool.upload(stock_id, ["A1", "B2"])
    for _ in range(2):
        pool.send(stock_id)
    with pytest.raises(NotEnough) as refusal:
        pool.send(stock_id, no="s1")
    assert (refusal.value.status_code, refusal.value.code) == (403, "NOT_ENOUGH")


def test_a_user_gets_no_more_than_max_coupons_per_user(pool: DrivenPool) -> None:
    stock_id = pool.create(max_coupons_per_user=2)
    pool.upload(stock_id, ["A1", "B2", "C3"])
    for _ in range(2):
        pool.send(stock_id, "oAnna")
    with pytest.raises(RuleLimit) as refusal:
        pool.send(stock_id, "oAnna")
    assert (refusal.value.status_code, refusal.value.code) == (403, "RULELIMIT")
    pool.send(stock_id, "oBob")
    assert pool.counts(stock_id) == (3, 0)


def test_the_limit_of_a_day_starts_anew_at_midnight_in_beijing(pool: DrivenPool) -> None:
    stock_id = pool.create(max_coupons_by_day=2)
    pool.upload(stock_id, ["A1", "B2", "C3", "D4"])
    pool.send(stock_id, now=NOW)
    pool.send(stock_id, now=MIDNIGHT - 1)
    with pytest.raises(NotEnough):
        pool.send(stock_id, no="s1", now=MIDNIGHT - 1)
    pool.send(stock_id, no="s1", now=MIDNIGHT)
    counts = pool.stock(stock_id, now=MIDNIGHT).send_count_information
    assert counts is not None
    assert (counts.total_send_num, counts.today_send_num) == (3, 1)


@pytest.mark.parametrize("restart", [False, True])
def test_the_limit_of_a_day_holds_when_the_clock_goes_back_over_midnight(pool: DrivenPool, restart: bool) -> None:
    stock_id = pool.create(max_coupons_by_day=1)
    pool.upload(stock_id, ["A1", "B2", "C3"])
    pool.send(stock_id, now=MIDNIGHT - 1)
    pool.send(stock_id, now=MIDNIGHT)
    if restart:
        pool.reopen()
    with pytest.raises(NotEnough):
        pool.send(stock_id, now=MIDNIGHT - 1)


def test_the_limits_hold_after_a_restart(pool: DrivenPool) -> None:
    stock_id = pool.create(max_coupons=4, max_coupons_by_day=3, max_coupons_per_user=2)
    pool.upload(stock_id, ["A1", "B2", "C3", "D4"])
    pool.send(stock_id, "oAnna")
    pool.send(stock_id, "oAnna")
    pool.send(stock_id, "oBob")
    pool.reopen()
    with pytest.raises(RuleLimit):
        pool.send(stock_id, "oAnna", now=NOW + DAY)
    with pytest.raises(NotEnough):
        pool.send(stock_id, "oBob")
    pool.send(stock_id, "oBob", now=NOW + DAY)
    with pytest.raises(NotEnough):
        pool.send(stock_id, "oCleo", now=NOW + 2 * DAY)


def test_a_code_can_not_be_chosen(pool: DrivenPool) -> None:
    stock_id = pool.create()
    pool.upload(stock_id, ["A1"])
    with pytest.raises(RequestRefused) as refusal:
        pool.send(stock_id, coupon_code="A1")
    assert (refusal.value.status_code, refusal.value.code) == (400, "INVALID_REQUEST")
    assert pool.counts(stock_id) == (1, 1)


def test_a_stock_gives_out_until_the_second_it_ends(pool: DrivenPool) -> None:
    stock_id = pool.create()
    pool.upload(stock_id, ["A1", "B2"])
    pool.send(stock_id, now=ENDS_AT - 1)
    with pytest.raises(RequestRefused, match="批次已停止"):
        pool.send(stock_id, now=ENDS_AT)
    assert pool.counts(stock_id) == (2, 1)


def test_a_foreign_stock_gives_out_nothing(pool: DrivenPool) -> None:
    stock_id = pool.create()
    pool.upload(stock_id, ["A1"])
    with pytest.raises(ResourceNotExists) as refusal:
        pool.send(stock_id, mchid=OTHER_MCHID)
    assert refusal.value.status_code == 404
    assert pool.counts(stock_id) == (1, 1)


def test_a_deleted_and_returned_code_is_given_out_once(pool: DrivenPool) -> None:
    stock_id = pool.create()
    for _ in range(5):
        pool.upload(stock_id, ["A1"])
        pool.delete(stock_id, "A1")
    pool.upload(stock_id, ["A1"])
    assert pool.send(stock_id) == "A1"
    pool.reopen()
    with pytest.raises(NotEnough):
        pool.send(stock_id)
    assert pool.upload(stock_id, ["A1"]).exist_codes == ["A1"]


@pytest.mark.slow
def test_sold_out_is_said_only_when_nothing_is_free_and_every_last_code_is_given_out(pool: DrivenPool) -> None:
    """P6: as many draws at once as there are codes, then one more. Ten times for each size and number of deletions."""
    for size in range(rounds(210, 1000)):
        count = size % 7 + 1
        stock_id = pool.create()
        codes = [f"C{number}" for number in range(count + size % 3)]
        pool.upload(stock_id, codes)
        for code in codes[count:]:
            pool.delete(stock_id, code)
        given = pool.together(*(pool.sending(stock_id) for _ in range(count)))
        assert sorted(map(str, given)) == codes[:count]
        with pytest.raises(NotEnough):
            pool.send(stock_id)
