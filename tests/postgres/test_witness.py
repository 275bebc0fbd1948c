"""The witness of a host: its files, what they cost, and what becomes of one that is torn, copied, full or another's."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quanma.errors import Misconfigured, StoreUnavailable
from quanma.platform.pool.postgres.mark_file import ISSUED_KEPT, IssuedCoupon, Mark
from quanma.platform.pool.postgres.witness import EpochPassed, Witness, known_pools

EPOCH, HISTORY = "1.a", "1.h"


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Witness]]:
    """Opens the witness of a pool, for a worker each time; it has confirmed EPOCH."""
    witnesses: list[Witness] = []

    def open_it(pool_id: str = "pool", folder: Path = tmp_path) -> Witness:
        witness = Witness(folder, pool_id, "db/quanma")
        witness.change_host(epoch=EPOCH, history=HISTORY)
        witnesses.append(witness)
        return witness

    yield open_it
    for witness in witnesses:
        witness.close()


def note(witness: Witness, stock_id: str, mark: Mark, *issued: IssuedCoupon) -> None:
    witness.reserve(stock_id)
    witness.note(EPOCH, HISTORY, stock_id, mark, issued)


def test_a_mark_is_read_as_it_was_written_also_by_another_worker_and_after_a_restart(
    opened: Callable[..., Witness], tmp_path: Path
) -> None:
    one, other = opened(), opened()
    mark = Mark("coupon", "ABC9588200", 7, 1_790_000_000_123_456, transaction_no=12)
    note(one, "98065001", mark)
    assert one.mark_of("98065001", HISTORY) == mark
    assert other.mark_of("98065001", HISTORY) == mark
    again = Witness(tmp_path, "pool", "db/quanma")
    assert again.mark_of("98065001", HISTORY) == mark
    again.close()


def test_of_several_workers_marks_the_latest_turns_counts(opened: Callable[..., Witness]) -> None:
    one, other = opened(), opened()
    note(one, "98065001", Mark("upload", "u1", 0, 1, transaction_no=5))
    note(other, "98065001", Mark("answered", "UseCoupon\nn1", 0, 2, transaction_no=6))
    note(one, "98065002", Mark("upload", "u2", 0, 3, transaction_no=9))
    assert one.mark_of("98065001", HISTORY) == Mark("answered", "UseCoupon\nn1", 0, 2, transaction_no=6)
    assert other.mark_of("98065002", HISTORY) == Mark("upload", "u2", 0, 3, transaction_no=9)


def test_marks_of_another_history_do_not_count(opened: Callable[..., Witness]) -> None:
    witness = opened()
    note(witness, "98065001", Mark("upload", "u1", 0, 1, transaction_no=5))
    assert witness.mark_of("98065001", "2.h") is None


def test_nothing_is_acknowledged_of_an_epoch_that_has_passed_and_the_mark_stays(
    opened: Callable[..., Witness],
) -> None:
    witness, other = opened(), opened()
    before = Mark("upload", "u1", 0, 1, transaction_no=5)
    note(witness, "98065001", before)
    other.change_host(epoch="2.b")
    with pytest.raises(EpochPassed):
        note(witness, "98065001", Mark("coupon", "A1", 1, 2, transaction_no=6), IssuedCoupon("98065001", 1, "A1", "n1"))
    assert witness.mark_of("98065001", HISTORY) == before
    assert witness.issued(HISTORY) == []


def test_the_last_thousand_coupons_are_known_by_name(opened: Callable[..., Witness]) -> None:
    witness = opened()
    coupons = [IssuedCoupon("98065001", number, f"C{number}", f"n{number}") for number in range(1, ISSUED_KEPT + 301)]
    for first in range(0, len(coupons), 250):
        group = coupons[first : first + 250]
        note(witness, "98065001", Mark("coupon", group[-1].coupon_code, group[-1].coupon_id, 1, first), *group)
    assert sorted(witness.issued(HISTORY), key=lambda coupon: coupon.coupon_id) == coupons[-ISSUED_KEPT:]
    assert witness.issued("2.h") == []


def test_a_torn_mark_is_none_and_its_place_is_used_again(opened: Callable[..., Witness], tmp_path: Path) -> None:
    witness = opened()
    note(witness, "98065001", Mark("upload", "u1", 0, 1, transaction_no=5))
    note(witness, "98065002", Mark("upload", "u2", 0, 2, transaction_no=5))
    file = next((tmp_path / "witness" / "pool").glob("worker-*"))
    content = file.read_bytes()
    at = content.index(b"u1")
    with file.open("r+b") as torn:
        torn.seek(at)
        torn.write(b"XX")
    assert witness.mark_of("98065001", HISTORY) is None
    assert witness.mark_of("98065002", HISTORY) == Mark("upload", "u2", 0, 2, transaction_no=5)
    note(witness, "98065001", Mark("upload", "u3", 0, 3, transaction_no=6))
    assert witness.mark_of("98065001", HISTORY) == Mark("upload", "u3", 0, 3, transaction_no=6)


def test_a_number_that_is_too_long_to_be_kept_leaves_the_older_mark(opened: Callable[..., Witness]) -> None:
    witness = opened()
    note(witness, "98065001", Mark("upload", "u1", 0, 1, transaction_no=5))
    note(witness, "98065001", Mark("upload", "券" * 128, 0, 2, transaction_no=6))
    assert witness.mark_of("98065001", HISTORY) == Mark("upload", "u1", 0, 1, transaction_no=5)


def test_a_copied_folder_is_a_host_of_its_own_with_the_marks_of_the_other(
    opened: Callable[..., Witness], tmp_path: Path
) -> None:
    witness = opened()
    mark = Mark("upload", "u1", 0, 1, transaction_no=5)
    note(witness, "98065001", mark)
    witness.change_host(beat=7)
    shutil.copytree(tmp_path / "witness", tmp_path / "elsewhere" / "witness")
    copy = opened(folder=tmp_path / "elsewhere")
    assert copy.host.host_id != witness.host.host_id
    assert copy.host.beat == 0
    assert copy.mark_of("98065001", HISTORY) == mark


def test_a_pool_is_known_by_its_address_again(opened: Callable[..., Witness], tmp_path: Path) -> None:
    opened("pool-1")
    assert known_pools(tmp_path, "db/quanma") == ["pool-1"]
    assert known_pools(tmp_path, "db/other") == []


def test_files_are_private_and_a_wider_one_or_a_link_is_refused(opened: Callable[..., Witness], tmp_path: Path) -> None:
    opened()
    files = [*(tmp_path / "witness").rglob("*")]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o700, 0o600}
    worker = next(file for file in files if file.name.startswith("worker"))
    shutil.copytree(tmp_path / "witness", tmp_path / "wide" / "witness")
    copied = tmp_path / "wide" / worker.relative_to(tmp_path)
    copied.chmod(0o644)
    with pytest.raises(Misconfigured, match="open to others"):
        opened(folder=tmp_path / "wide")
    copied.unlink()
    copied.symlink_to(worker)
    with pytest.raises(Misconfigured, match="can't be written"):
        opened(folder=tmp_path / "wide")


def test_a_full_disk_is_met_before_anything_is_done(
    opened: Callable[..., Witness], monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = opened()
    note(witness, "98065001", Mark("upload", "u1", 0, 1, transaction_no=5))
    for number in range(63):
        witness.reserve(f"{number}")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StoreUnavailable, match=r"no room for another stock.*free the disk"):
        witness.reserve("98065002")
    # There is room for the marks of known stocks.
    note(witness, "98065001", Mark("upload", "u2", 0, 2, transaction_no=6))
    assert witness.mark_of("98065001", HISTORY) == Mark("upload", "u2", 0, 2, transaction_no=6)


def test_a_doubt_of_one_worker_is_known_to_all_until_it_is_cleared(opened: Callable[..., Witness]) -> None:
    one, other = opened(), opened()
    one.doubt()
    one.doubt()
    assert (one.doubts, other.doubts) == (2, 2)
    one.clear_doubts()
    assert (one.doubts, other.doubts) == (0, 0)


def test_whether_others_serve_is_known(opened: Callable[..., Witness]) -> None:
    one, other = opened(), opened()
    assert one.others_serve()
    assert other.others_serve()


@pytest.mark.slow
def test_twenty_thousand_stocks_stay_small(opened: Callable[..., Witness], tmp_path: Path) -> None:
    witness = opened()
    for number in range(20_000):
        note(witness, f"{98_000_000 + number}", Mark("coupon", f"CODE{number:08}", 1, number, transaction_no=3))
    tracemalloc.start()
    again = Witness(tmp_path, "pool", "db/quanma")
    assert again.mark_of("98019999", HISTORY) == Mark("coupon", "CODE00019999", 1, 19_999, transaction_no=3)
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()
    assert sum(file.stat().st_blocks * 512 for file in (tmp_path / "witness").rglob("worker-*")) < 30e6
    again.close()


def test_two_long_ids_of_products_stocks_are_two(opened: Callable[..., Witness]) -> None:
    """A product's stock has an id of up to 40 characters."""
    one, other = opened(), opened()
    marks = {f"{'9' * 39}{last}": Mark("upload", f"u{last}", 0, last, transaction_no=1) for last in (1, 2)}
    for stock_id, mark in marks.items():
        note(one, stock_id, mark)
    assert {stock_id: other.mark_of(stock_id, HISTORY) for stock_id in marks} == marks
    assert {stock_id for stock_id, _, _ in other.marks()} == marks.keys()
