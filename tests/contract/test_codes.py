"""Single codes: the list, one code, and deleting one."""

from __future__ import annotations

import pytest

from quanma.errors import NotEnough, RequestRefused, ResourceNotExists
from tests.contract.driver import NOW, DrivenPool
from tests.support.every import every_row
from tests.support.platform import OTHER_MCHID

pytestmark = pytest.mark.both_back_ends


@pytest.fixture
def stock_id(pool: DrivenPool) -> str:
    """A stock of 30 codes in three uploads, C00 to C29."""
    made = pool.create()
    for first in (0, 10, 20):
        pool.upload(made, [f"C{number:02}" for number in range(first, first + 10)])
    return made


def test_codes_are_listed_in_upload_order_and_offset_is_a_position(pool: DrivenPool, stock_id: str) -> None:
    assert pool.codes(stock_id) == [f"C{number:02}" for number in range(30)]
    page = pool.page(stock_id, offset=9, limit=3)
    assert [code.code for code in page.data] == ["C09", "C10", "C11"]
    assert (page.stock_id, page.offset, page.limit, page.total_count) == (stock_id, 9, 3, 30)


def test_a_page_has_20_codes_by_default_and_the_last_one_what_is_left(pool: DrivenPool, stock_id: str) -> None:
    assert pool.page(stock_id).limit == 20
    assert [code.code for code in pool.page(stock_id, offset=28).data] == ["C28", "C29"]


@every_row("offset", [30, 31, 2**31, 2**63 - 1])
def test_a_page_beyond_the_end_is_empty(pool: DrivenPool, stock_id: str, offset: int) -> None:
    for status in (None, "AVAILABLE", "DISPATCHED"):
        page = pool.page(stock_id, offset=offset, limit=1000, status=status)
        assert (page.data, page.limit, page.total_count) == ([], 0, 30)


def test_a_list_by_status_has_the_codes_of_that_status_and_counts_all(pool: DrivenPool, stock_id: str) -> None:
    given = {pool.send(stock_id, no=f"s{number}", now=NOW + 60) for number in range(5)}
    assert set(pool.codes(stock_id, status="DISPATCHED")) == given
    assert pool.codes(stock_id, status="AVAILABLE") == [code for code in pool.codes(stock_id) if code not in given]
    assert pool.page(stock_id, status="DISPATCHED").total_count == 30
    one = pool.page(stock_id, status="DISPATCHED", limit=1).data[0]
    assert one.code_status == "DISPATCHED"
    assert one.openid == "oUser"
    assert (one.upload_time, one.dispatched_time) == ("2026-09-21T22:13:20+08:00", "2026-09-21T22:14:20+08:00")


def test_a_free_code_is_available_and_has_no_coupon(pool: DrivenPool, stock_id: str) -> None:
    detail = pool.show(stock_id, "C07")
    assert (detail.code_information.code, detail.code_information.code_status) == ("C07", "AVAILABLE")
    assert detail.code_information.upload_time == "2026-09-21T22:13:20+08:00"
    assert detail.coupon_information is None


def test_a_code_given_out_shows_its_user_and_its_coupon(pool: DrivenPool, stock_id: str) -> None:
    code = pool.send(stock_id, "oAnna", "s1")
    detail = pool.show(stock_id, code)
    assert (detail.code_information.code_status, detail.code_information.openid) == ("DISPATCHED", "oAnna")
    assert detail.coupon_information is not None
    assert detail.coupon_information == pool.coupon("oAnna", code)
    assert (detail.coupon_information.coupon_code, detail.coupon_information.send_request_no) == (code, "s1")


def test_a_code_that_is_not_there_is_not_found_and_not_named_whole(pool: DrivenPool, stock_id: str) -> None:
    for refused in (pool.show, pool.delete):
        with pytest.raises(ResourceNotExists) as refusal:
            refused(stock_id, "ABCDEFGH89")
        assert refusal.value.status_code == 404
        assert "AB…89" in str(refusal.value)
        assert "ABCDEFGH89" not in str(refusal.value)


def test_a_deleted_code_is_gone_and_is_never_drawn(pool: DrivenPool) -> None:
    stock_id = pool.create()
    pool.upload(stock_id, ["A1", "B2", "C3"])
    assert pool.delete(stock_id, "B2").stock_id == stock_id
    assert pool.counts(stock_id) == (2, 2)
    assert pool.codes(stock_id) == ["A1", "C3"]
    with pytest.raises(ResourceNotExists):
        pool.show(stock_id, "B2")
    assert {pool.send(stock_id), pool.send(stock_id)} == {"A1", "C3"}
    with pytest.raises(NotEnough):
        pool.send(stock_id)


def test_a_deleted_code_may_be_uploaded_again_and_stands_at_the_end(pool: DrivenPool) -> None:
    stock_id = pool.create(max_coupons=3)
    pool.upload(stock_id, ["A1", "B2", "C3"])
    pool.delete(stock_id, "A1")
    assert pool.upload(stock_id, ["A1"]).success_codes == ["A1"]
    pool.reopen()
    assert pool.codes(stock_id) == ["B2", "C3", "A1"]
    assert pool.counts(stock_id) == (3, 3)


def test_a_code_given_out_is_not_deleted(pool: DrivenPool) -> None:
    stock_id = pool.create()
    pool.upload(stock_id, ["A1"])
    pool.send(stock_id)
    with pytest.raises(RequestRefused) as refusal:
        pool.delete(stock_id, "A1")
    assert (refusal.value.status_code, refusal.value.code) == (400, "INVALID_REQUEST")
    assert pool.counts(stock_id) == (1, 0)


def test_the_same_delete_number_gives_the_same_answer_and_deletes_once(pool: DrivenPool, stock_id: str) -> None:
    first = pool.delete(stock_id, "C07", "d1")
    pool.upload(stock_id, ["C07"])
    pool.reopen()
    assert pool.delete(stock_id, "C07", "d1", now=NOW + 60) == first
    assert pool.show(stock_id, "C07").code_information.code_status == "AVAILABLE"


def test_the_same_delete_number_for_another_code_is_refused(pool: DrivenPool, stock_id: str) -> None:
    pool.delete(stock_id, "C07", "d1")
    with pytest.raises(RequestRefused, match="same delete_request_no"):
        pool.delete(stock_id, "C08", "d1")
    assert pool.counts(stock_id) == (29, 29)


def test_a_refused_delete_may_be_repeated_under_its_number(pool: DrivenPool, stock_id: str) -> None:
    with pytest.raises(ResourceNotExists):
        pool.delete(stock_id, "NEW", "d1")
    pool.upload(stock_id, ["NEW"])
    pool.delete(stock_id, "NEW", "d1")
    assert pool.counts(stock_id) == (30, 30)


def test_a_delete_number_of_another_stock_is_another_number(pool: DrivenPool, stock_id: str) -> None:
    other = pool.create()
    pool.upload(other, ["X"])
    pool.delete(stock_id, "C07", "d1")
    assert pool.delete(other, "X", "d1").stock_id == other


def test_a_foreign_merchant_reads_and_deletes_nothing(pool: DrivenPool, stock_id: str) -> None:
    for reached in (
        lambda: pool.page(stock_id, mchid=OTHER_MCHID),
        lambda: pool.show(stock_id, "C07", mchid=OTHER_MCHID),
        lambda: pool.delete(stock_id, "C07", mchid=OTHER_MCHID),
        lambda: pool.stock(stock_id, mchid=OTHER_MCHID),
    ):
        with pytest.raises(ResourceNotExists, match="批次不存在"):
            reached()
    assert pool.counts(stock_id) == (30, 30)


def test_codes_that_come_after_draws_are_given_out_once_each_and_each_shows_its_user(pool: DrivenPool) -> None:
    """More than a row of a back end's tables holds, and no multiple of it."""
    stock_id = pool.create(max_coupons_per_user=1)
    given: dict[str, str] = {}
    for day, (uploaded, drawn) in enumerate([(100, 70), (90, 83), (40, 77)]):
        pool.upload(stock_id, [f"D{day}N{number}" for number in range(uploaded)])
        users = [f"o{day}u{number}" for number in range(drawn)]
        for first in range(0, drawn, 7):
            group = users[first : first + 7]
            for user, code in zip(group, pool.together(*(pool.sending(stock_id, user) for user in group)), strict=True):
                assert isinstance(code, str)
                assert code not in given
                given[code] = user
    assert pool.counts(stock_id) == (230, 0)
    assert {row.code: row.openid for row in pool.page(stock_id, limit=1000).data} == given
