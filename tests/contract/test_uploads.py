"""Uploads: what becomes of each code, and what a repeated number is answered."""

from __future__ import annotations

import pytest

from quanma.errors import RequestRefused, ResourceNotExists
from tests.contract.driver import ENDS_AT, NOW, DrivenPool
from tests.support.every import every_row
from tests.support.platform import OTHER_MCHID

pytestmark = pytest.mark.both_back_ends


def test_every_distinct_code_is_accounted_for_once_and_the_lists_are_in_the_order_of_the_request(
    pool: DrivenPool,
) -> None:
    stock_id = pool.create()
    pool.upload(stock_id, ["OLD"])
    answer = pool.upload(stock_id, ["B2", "A1", "B2", "OLD", "x" * 33, "", "no!", "A1", "no!"])
    assert answer.stock_id == stock_id
    assert answer.total_count == 6
    assert answer.success_count == 2
    assert answer.success_codes == ["B2", "A1"]
    assert answer.fail_count == 3
    assert [(failed.coupon_code, failed.code) for failed in answer.fail_codes] == [
        ("x" * 33, "LENGTH_LIMIT"),
        ("", "LENGTH_LIMIT"),
        ("no!", "CHARACTER_LIMIT"),
    ]
    assert answer.fail_codes[0].message == "长度超过最大值32位"
    assert answer.exist_codes == ["OLD"]
    assert answer.duplicate_codes == ["B2", "A1", "no!"]
    assert answer.success_time == "2026-09-21T22:13:20+08:00"


def test_the_whole_character_set_is_taken_and_case_counts(pool: DrivenPool) -> None:
    stock_id = pool.create()
    codes = ["09 azAZ", "a-b_c", "a\\b", "a/b", "a=b|c", " lead", "trail ", "  ", "ab", "AB", "x" * 32]
    assert pool.upload(stock_id, codes).success_codes == codes
    assert pool.codes(stock_id) == codes


@every_row("code", ["a\n", "a\tb", "a\x00", "券", "a+b", "a.b", "a%2Fb", "ａ", "١", "a\u00a0b"])
def test_a_character_outside_the_set_fails_its_code_and_no_other(pool: DrivenPool, code: str) -> None:
    answer = pool.upload(pool.create(), [code, "A1"])
    assert [(failed.coupon_code, failed.code) for failed in answer.fail_codes] == [(code, "CHARACTER_LIMIT")]
    assert answer.success_codes == ["A1"]


def test_an_upload_without_a_new_code_is_a_success_of_none(pool: DrivenPool) -> None:
    stock_id = pool.create()
    pool.upload(stock_id, ["A1"])
    answer = pool.upload(stock_id, ["A1", ""])
    assert (answer.success_count, answer.success_codes) == (0, [])
    assert pool.counts(stock_id) == (1, 1)


def test_the_same_number_gives_the_first_answer_word_for_word_whatever_came_between(pool: DrivenPool) -> None:
    stock_id = pool.create()
    pool.upload(stock_id, ["OLD"])
    codes = ["A1", "OLD", "x" * 33, "A1", "B2"]
    first = pool.upload(stock_id, codes, "u1")
    pool.upload(stock_id, ["C3"])
    pool.delete(stock_id, "A1")
    pool.send(stock_id)
    assert pool.upload(stock_id, codes, "u1", now=NOW + 5) == first
    pool.reopen()
    # As sets: order and repeats don't count. After the stock's end too: it did take effect.
    assert pool.upload(stock_id, ["x" * 33, "B2", "A1", "OLD"], "u1", now=ENDS_AT) == first


@every_row("codes", [["A1"], ["A1", "B2", "C3"], ["A1", "C3"], ["A1", "B2", ""], ["a1", "B2"]])
def test_the_same_number_with_other_codes_is_refused_and_stores_nothing(pool: DrivenPool, codes: list[str]) -> None:
    stock_id = pool.create()
    first = pool.upload(stock_id, ["A1", "B2"], "u1")
    with pytest.raises(RequestRefused, match="same upload_request_no, different codes") as refusal:
        pool.upload(stock_id, codes, "u1")
    assert (refusal.value.status_code, refusal.value.code) == (400, "INVALID_REQUEST")
    assert pool.codes(stock_id) == ["A1", "B2"]
    assert pool.upload(stock_id, ["A1", "B2"], "u1") == first


def test_the_scope_of_a_number_is_one_stock_of_one_merchant(pool: DrivenPool) -> None:
    stocks = [pool.create(), pool.create(), pool.create(mchid=OTHER_MCHID)]
    for stock_id, codes, mchid in zip(
        stocks, (["A1"], ["B2"], ["C3"]), ("1900000001", "1900000001", OTHER_MCHID), strict=True
    ):
        assert pool.upload(stock_id, codes, "u1", mchid=mchid).success_codes == codes


def test_a_refused_upload_may_be_repeated_under_its_number_and_its_codes_are_success_then(pool: DrivenPool) -> None:
    stock_id = pool.create(max_coupons=2)
    pool.upload(stock_id, ["A1"])
    with pytest.raises(RequestRefused, match="上传的自定义code已达上限"):
        pool.upload(stock_id, ["B2", "C3"], "u1")
    assert pool.codes(stock_id) == ["A1"]
    pool.delete(stock_id, "A1")
    assert pool.upload(stock_id, ["B2", "C3"], "u1").success_codes == ["B2", "C3"]


def test_codes_up_to_max_coupons_are_taken_and_codes_that_exist_need_no_room(pool: DrivenPool) -> None:
    stock_id = pool.create(max_coupons=2)
    pool.upload(stock_id, ["A1", "B2"])
    pool.send(stock_id)
    assert pool.upload(stock_id, ["B2", "A1"]).exist_codes == ["B2", "A1"]
    with pytest.raises(RequestRefused, match="已达上限") as refusal:
        pool.upload(stock_id, ["A1", "C3"])
    assert (refusal.value.status_code, refusal.value.code) == (400, "INVALID_REQUEST")


def test_a_stock_takes_codes_until_the_second_it_ends(pool: DrivenPool) -> None:
    stock_id = pool.create()
    pool.upload(stock_id, ["A1"], now=ENDS_AT - 1)
    with pytest.raises(RequestRefused, match="批次已停止") as refusal:
        pool.upload(stock_id, ["B2"], now=ENDS_AT)
    assert (refusal.value.status_code, refusal.value.code) == (400, "INVALID_REQUEST")


@every_row("mode", ["WECHATPAY_MODE", "MERCHANT_API"])
def test_a_stock_of_another_mode_takes_no_codes(pool: DrivenPool, mode: str) -> None:
    with pytest.raises(RequestRefused, match="发券模式不合法") as refusal:
        pool.upload(pool.create(coupon_code_mode=mode), ["A1"])
    assert (refusal.value.status_code, refusal.value.code) == (400, "INVALID_REQUEST")


def test_one_code_may_lie_in_two_stocks(pool: DrivenPool) -> None:
    for stock_id in (pool.create(), pool.create()):
        assert pool.upload(stock_id, ["A1"]).success_codes == ["A1"]


def test_a_foreign_stock_is_as_absent_as_no_stock(pool: DrivenPool) -> None:
    foreign = pool.create(mchid=OTHER_MCHID)
    with pytest.raises(ResourceNotExists) as refusal:
        pool.upload(foreign, ["A1"])
    with pytest.raises(ResourceNotExists) as absent:
        pool.upload("98065001", ["A1"])
    assert (refusal.value.status_code, refusal.value.code) == (404, "RESOURCE_NOT_EXISTS")
    assert str(refusal.value).replace(foreign, "98065001") == str(absent.value)
