"""Coupons that stand many in a row, and alone since they changed: each is found, as it is, wherever it stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from msgspec.structs import replace

from quanma.errors import StoreUnavailable
from quanma.platform.coupons.coupon import CouponFacts
from quanma.platform.pool import open_pool
from quanma.platform.pool.sqlite import issue_batches, pool_file
from quanma.platform.pool.sqlite.issue_batches import TOGETHER_MAX, SentCoupon, SentWhen
from quanma.platform.pool.sqlite.rows import COUPON, ISSUE_BATCH, STOCK, Rows, StockRow
from tests.contract.driver import DrivenPool

STOCK_ID = "98065001"
WHEN = SentWhen(1_790_000_000, 1_790_000_000, 1_803_830_400)


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Rows]:
    db = pool_file.connect(tmp_path / "quanma.db")
    rows = Rows(db)
    rows.add(STOCK, StockRow(STOCK_ID, "1900000001", "n1", "{}", 0, None, None))
    yield rows
    db.close()


def sent(number: int) -> SentCoupon:
    request = "券\n" if number % 2 else None
    return SentCoupon(
        number,
        f"C{number}",
        f"o{number}",
        "wxd678efh567hg6787",
        f"s{number}",
        request,
        "1900000001",
        "BUSICOUPON_SEND_CHANNEL_API",
    )


def row(coupon_id: int, number: int) -> CouponFacts:
    return issue_batches.as_coupon(coupon_id, STOCK_ID, sent(number), WHEN)


def changed(row: CouponFacts, **changes: Any) -> CouponFacts:
    return replace(row, **changes)


def move(rows: Rows, coupon_id: int, **changes: Any) -> None:
    """Any step that starts from SENDED or USED."""
    found = issue_batches.find(rows, coupon_id)
    issue_batches.move(rows, ("SENDED", "USED"), found, replace(found.coupon, **changes), WHEN[0])


def test_each_of_many_is_read_as_it_was_given_out(rows: Rows) -> None:
    count = 2 * TOGETHER_MAX + 3
    issue_batches.add(rows, 1, STOCK_ID, [sent(number) for number in range(count)], WHEN)
    issue_batches.add(rows, count + 1, STOCK_ID, [sent(count)], WHEN)
    assert [one.coupon_count for one in rows.read(ISSUE_BATCH, "1")] == [TOGETHER_MAX, TOGETHER_MAX, 3, 1]
    wanted = [row(number + 1, number) for number in range(count + 1)]
    assert [issue_batches.coupon(rows, one.coupon_id) for one in wanted] == wanted
    assert list(issue_batches.scan(rows)) == wanted
    for absent in (0, count + 2):
        with pytest.raises(StoreUnavailable, match=f"coupon {absent} is not there"):
            issue_batches.coupon(rows, absent)


def test_a_step_gives_a_coupon_a_row_of_its_own_and_the_next_one_changes_that(rows: Rows) -> None:
    issue_batches.add(rows, 1, STOCK_ID, [sent(number) for number in range(5)], WHEN)
    before = rows.read(ISSUE_BATCH, "1")
    move(rows, 3, coupon_state="USED", used_at=7)
    used = changed(row(3, 2), coupon_state="USED", used_at=7)
    assert issue_batches.coupon(rows, 3) == used
    move(rows, 3, coupon_state="SENDED", returned_at=8)
    returned = changed(used, coupon_state="SENDED", returned_at=8)
    assert issue_batches.coupon(rows, 3) == returned
    assert rows.read(COUPON, "1") == [returned]
    assert rows.read(ISSUE_BATCH, "1") == before
    assert list(issue_batches.scan(rows)) == [row(1, 0), row(2, 1), returned, row(4, 3), row(5, 4)]


def test_a_step_of_a_coupon_that_moved_since_it_was_found_is_a_fault(rows: Rows) -> None:
    issue_batches.add(rows, 1, STOCK_ID, [sent(0)], WHEN)
    for state in ("USED", "SENDED"):  # First as it was given out, then in a row of its own.
        before = issue_batches.find(rows, 1)
        move(rows, 1, coupon_state=state)
        with pytest.raises(AssertionError, match="did not stand"):
            issue_batches.move(rows, ("SENDED", "USED"), before, replace(before.coupon, used_at=7), WHEN[0])
        assert issue_batches.coupon(rows, 1) == changed(row(1, 0), coupon_state=state)


def test_a_step_that_does_not_start_from_where_its_coupon_stands_is_a_fault(rows: Rows) -> None:
    issue_batches.add(rows, 1, STOCK_ID, [sent(0)], WHEN)
    for starts, now in [(("USED",), WHEN[0]), (("SENDED",), WHEN[2])]:
        found = issue_batches.find(rows, 1)
        with pytest.raises(AssertionError, match="did not stand"):
            issue_batches.move(rows, starts, found, replace(found.coupon, used_at=7), now)
    assert rows.read(COUPON, "1") == []


def test_coupons_that_were_imported_stand_alone_beside_later_ones(rows: Rows) -> None:
    for number in range(3):
        rows.add(COUPON, row(number + 1, number))
    issue_batches.add(rows, 4, STOCK_ID, [sent(3), sent(4)], WHEN)
    move(rows, 2, associate_out_trade_no="t1")
    move(rows, 5, associate_out_trade_no="t2")
    wanted = [row(number + 1, number) for number in range(5)]
    wanted[1] = changed(wanted[1], associate_out_trade_no="t1")
    wanted[4] = changed(wanted[4], associate_out_trade_no="t2")
    assert list(issue_batches.scan(rows)) == wanted
    assert [issue_batches.coupon(rows, one.coupon_id) for one in wanted] == wanted


def test_a_pool_whose_coupons_stand_alone_goes_on(tmp_path: Path) -> None:
    """As one that was imported."""
    pool = DrivenPool(lambda: open_pool("sqlite:///quanma.db", tmp_path))
    stock_id = pool.create(max_coupons_per_user=2)
    pool.upload(stock_id, [f"C{number}" for number in range(30)])
    had = pool.together(*(pool.sending(stock_id, f"o{number}", f"s{number}") for number in range(20)))
    pool.use(stock_id, str(had[0]), "u0")
    pool.close()
    db = apsw.Connection(str(tmp_path / "quanma.db"))
    rows = Rows(db)
    with db:
        alone = list(issue_batches.scan(rows))
        db.execute("DELETE FROM issue_batch; DELETE FROM coupon")
        for one in alone:
            rows.add(COUPON, one)
    db.close()
    pool = DrivenPool(lambda: open_pool("sqlite:///quanma.db", tmp_path))
    assert [pool.send(stock_id, f"o{number}", f"s{number}") for number in range(20)] == had
    for number in range(1, 6):
        pool.use(stock_id, str(had[number]), f"u{number}")
    later = [pool.send(stock_id, f"o{number}") for number in range(10)]
    pool.reopen()
    assert len({*had, *later}) == 30
    states = [pool.coupon(f"o{number}", str(had[number])).coupon_state for number in range(7)]
    assert states == ["USED"] * 6 + ["SENDED"]
    assert pool.counts(stock_id) == (30, 0)
    pool.close()
