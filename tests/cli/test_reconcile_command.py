"""`quanma reconcile`: backup, sends, loss, restore. Only a file of what was given out since lifts the fence (C7)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from quanma.api.events import CHANNEL_API, CONTENT_TYPE, COUPON_SEND, CouponSent
from quanma.errors import NotEnough, PoolFenced, RequestRefused, SourceUnreadable, StoreUnavailable
from quanma.platform.pool import open_pool
from tests.cli.conftest import Run
from tests.conftest import SQLITE
from tests.contract.driver import DrivenPool
from tests.support.platform import MCHID
from tests.support.postgres import Databases

pytestmark = pytest.mark.slow

OLD, SINCE, LEFT = 5, 50, 30


class Drill:
    """A pool with a backup, that gave out `SINCE` coupons after it, was lost, and is the backup again."""

    def __init__(self, world: Path, database: str, run: Run, copy_of: Callable[[], str], restore: Callable[[], None]):
        self.world, self.database = world, database
        self._run = run
        self.pool = self.opened()
        self.stock_id = self.pool.create(max_coupons_per_user=1)
        self.pool.upload(self.stock_id, [f"KF{number:04}X" for number in range(OLD + SINCE + LEFT)])
        self.issued: list[str] = []
        self.draw(OLD)
        self.pool.close()
        copy = copy_of()
        self.pool = self.opened()
        self.draw(SINCE)
        self.pool.close()
        restore()
        self.database = copy
        self.since = self.issued[OLD:]

    def opened(self) -> DrivenPool:
        return DrivenPool(lambda: open_pool(self.database, self.world))

    def draw(self, count: int) -> None:
        for _ in range(count):
            self.issued.append(self.pool.send(self.stock_id, f"o{len(self.issued)}"))

    def draw_to_the_end(self) -> None:
        self.pool = self.opened()
        with pytest.raises(NotEnough):
            self.draw(OLD + SINCE + LEFT)
        self.pool.close()

    def reconcile(self, *arguments: str) -> tuple[int, str]:
        try:
            return self._run("reconcile", "--database", self.database, *arguments)
        except SourceUnreadable as unreadable:
            return 1, str(unreadable)

    def file(self, content: str) -> str:
        path = self.world / "issued"
        path.write_text(content)
        return str(path)

    def table(self, codes: list[str], header: str = "stock_id,coupon_code\n") -> str:
        return self.file(header + "".join(f"{self.stock_id},{code}\n" for code in codes))


@pytest.fixture
def drill(world: Path, run: Run, back_end: str, request: pytest.FixtureRequest) -> Iterator[Drill]:
    if back_end == SQLITE:
        yield _sqlite_drill(world, run)
        return
    # What a dump that is loaded into another database is: all of it, and another one.
    databases: Databases = request.getfixturevalue("databases")
    made = [databases.fresh()]

    def copied() -> str:
        made.append(databases.fresh(template=made[0].rpartition("/")[2]))
        return made[1]

    yield Drill(world, made[0], run, copied, lambda: None)
    for url in made:
        databases.drop(url)


def _sqlite_drill(world: Path, run: Run) -> Drill:
    database, copy = "sqlite:///quanma.db", world / "copy.db"

    def backup() -> str:
        assert run("backup", str(copy))[0] == 0
        return database

    def restore() -> None:
        (world / "quanma.db").unlink()
        shutil.copy(copy, world / "quanma.db")

    return Drill(world, database, run, backup, restore)


WRONG: dict[str, tuple[Callable[[Drill], str], str]] = {
    "empty": (lambda drill: drill.file(""), "holds no code"),
    "only a header": (lambda drill: drill.table([]), "holds no code"),
    "columns swapped": (
        lambda drill: drill.file("".join(f"{code},{drill.stock_id}\n" for code in drill.since)),
        "column 1 holds codes, and column 2 stock ids",
    ),
    "columns swapped under their header": (
        lambda drill: drill.table(drill.since, "券码,批次\n"),
        "column '批次' holds codes, and column '券码' stock ids",
    ),
    "another stock": (
        lambda drill: drill.file("".join(f"98065001,{code}\n" for code in drill.since)),
        "names stocks that are not here: '98065001' (lines 1, 2, 3, 4, 5 and 45 more)",
    ),
    "a stock id as a spreadsheet ruins it": (
        lambda drill: drill.file("".join(f"8.33382E+15,{code}\n" for code in drill.since)),
        "names stocks that are not here: '8.33382E+15'",
    ),
    "one line of another stock": (
        lambda drill: drill.file(Path(drill.table(drill.since)).read_text() + "98065001,KF0001X\n"),
        "'98065001' (line 52)",
    ),
    "a header that says nothing": (lambda drill: drill.table(drill.since, "活动,会员\n"), "no column that is known"),
    "a header without the stock": (lambda drill: drill.table(drill.since, "活动,券码\n"), "no column of stocks"),
    "codes in small letters": (
        lambda drill: drill.table([code.lower() for code in drill.since]),
        "no line names a code that this copy holds",
    ),
    "a line with the sum": (
        lambda drill: drill.file(Path(drill.table(drill.since)).read_text() + "合计,\n"),
        "nothing was changed",
    ),
}
SHORT: dict[str, tuple[Callable[[Drill], str], str]] = {
    "what was given out before the backup": (lambda drill: drill.table(drill.issued[:OLD]), ""),
    "half of it": (lambda drill: drill.table(drill.since[:25]), "50 missing, 25 accounted for"),
    "all but the first": (lambda drill: drill.table(drill.since[1:]), "50 missing, 49 accounted for"),
    "all but the last": (lambda drill: drill.table(drill.since[:-1]), "50 missing, 49 accounted for"),
    "one code, fifty times": (lambda drill: drill.table(drill.since[:1] * 50), "50 missing, 1 accounted for"),
    "the last one slipped": (
        lambda drill: drill.table([*drill.since[:-1], drill.since[-1] + "1"]),
        "line 51: this copy does not hold the code",
    ),
}
"""To be seen only where it is known how many are missing, and not which ones."""


def ledger(drill: Drill) -> str:
    """As `quanma listen` keeps it; it began before the backup."""
    lines = [
        {
            "id": f"event {number}",
            "event_type": COUPON_SEND,
            "create_time": "2026-09-21T22:13:20+08:00",
            "content": CouponSent(
                event_type=CONTENT_TYPE,
                coupon_code=code,
                stock_id=drill.stock_id,
                send_time="2026-09-21T22:13:20+08:00",
                send_channel=CHANNEL_API,
                send_merchant=MCHID,
            ),
        }
        for number, code in enumerate(drill.issued[2:])
    ]
    return drill.file("".join(msgspec.json.encode(line).decode() + "\n" for line in lines))


@pytest.mark.both_back_ends
def test_wrong_files_change_nothing_and_the_right_one_lifts_the_fence(drill: Drill, back_end: str) -> None:
    before = drill.reconcile()
    assert before[0] == 1
    assert "50 coupons" in before[1]
    assert before[1].count(", out_request_no ") == (0 if back_end == SQLITE else SINCE)
    assert not any(code in before[1] for code in drill.since)
    # The witness of PostgreSQL knows all that are missing by name: there, no file is too short.
    wrong = {**WRONG, **SHORT} if back_end == SQLITE else WRONG
    assert len(wrong) >= 11
    for name, (make, reason) in wrong.items():
        file = make(drill)
        for options in ([], ["--dry-run"]):
            status, said = drill.reconcile("--issued", file, *options)
            assert (name, status) == (name, 1), said
            assert reason in said, name
    assert drill.reconcile() == before
    drill.pool = drill.opened()
    with pytest.raises(PoolFenced):
        drill.draw(1)
    drill.pool.close()

    right = ledger(drill)
    status, said = drill.reconcile("--issued", right, "--dry-run")
    assert status == 0
    assert "50 codes would be taken out, and the fence lifted; nothing was changed" in said
    assert drill.reconcile() == before
    status, said = drill.reconcile("--issued", right)
    assert status == 0
    assert "53 codes read: 50 taken out of the pool, 3 known as given out, 0 not held" in said
    drill.draw_to_the_end()
    assert len(drill.issued) == OLD + SINCE + LEFT == len(set(drill.issued))


@pytest.mark.both_back_ends
def test_a_corrected_file_can_be_read_after_the_fence_was_lifted(drill: Drill, back_end: str) -> None:
    accept = ["--accept-short", "20"] if back_end == SQLITE else []
    status, said = drill.reconcile("--issued", drill.table(drill.since[-30:]), *accept)
    assert status == 0
    if back_end == SQLITE:
        assert "20 coupons that are missing were accepted" in said
    else:
        assert said.count("known here as given out since, though no line names it: taken out too") == 20
    left = 20 if back_end == SQLITE else 0
    status, said = drill.reconcile("--issued", drill.table(drill.since), "--dry-run")
    assert (status, f"{left} codes would be taken out; nothing was changed" in said) == (0, True)
    status, said = drill.reconcile("--issued", drill.table(drill.since))
    assert status == 0
    again = 50 - left
    assert f"50 codes read: {left} taken out of the pool, 0 known as given out, 0 not held, {again} again" in said
    assert "the pool was not fenced" in said
    assert drill.reconcile("--issued", drill.table(drill.since))[0] == 0
    assert drill.reconcile("--issued", drill.file(""))[0] == 1
    drill.draw_to_the_end()
    assert len(drill.issued) == OLD + SINCE + LEFT == len(set(drill.issued))


def test_the_word_that_nothing_was_given_out_needs_the_number_that_is_known(drill: Drill) -> None:
    for wrong in ([], ["--accept-short", "49"], ["--accept-short", "51"]):
        status, said = drill.reconcile("--nothing-issued", *wrong)
        assert status == 1
        assert "50 coupons missing" in said
        assert "--accept-short 50" in said
    assert drill.reconcile("--nothing-issued", "--accept-short", "50")[0] == 0
    drill.pool = drill.opened()
    # Whatever was said: the last one is known by name, and goes to nobody else.
    assert drill.since[-1] not in drill.pool.codes(drill.stock_id)
    drill.pool.close()


def test_what_is_missing_is_known_after_a_fenced_pool_went_on_with_all_else(drill: Drill) -> None:
    """Its commits count on while it is fenced, past those that it lacks."""
    drill.pool = drill.opened()
    for number in range(60):
        drill.pool.upload(drill.stock_id, [f"NEW{number}"], f"more{number}")
    drill.pool.close()
    status, said = drill.reconcile("--issued", drill.table(drill.since[1:]))
    assert (status, "50 missing, 49 accounted for" in said) == (1, True)
    assert drill.reconcile("--issued", drill.table(drill.since))[0] == 0


def test_where_the_mark_cant_be_written_nothing_is_done(drill: Drill) -> None:
    mark = drill.world / "quanma.db.mark"
    mark.rename(drill.world / "kept")
    mark.symlink_to(drill.world / "not mounted" / "mark")
    before = drill.reconcile()
    with pytest.raises(StoreUnavailable, match="can't be written: No such file or directory"):
        drill.reconcile("--issued", drill.table(drill.since))
    assert drill.reconcile() == before
    (drill.world / "kept").rename(mark)
    assert drill.reconcile("--issued", drill.table(drill.since))[0] == 0
    drill.draw_to_the_end()
    assert len(drill.issued) == len(set(drill.issued))


@pytest.mark.both_back_ends
def test_a_merchants_own_number_leaves_no_code_to_be_drawn(drill: Drill) -> None:
    """A code that was deleted under a number that looks like ours, and uploaded again, before or after the backup."""
    drill.pool = drill.opened()
    for no in ("reconciled {}", "reconciled\n{}", "reconciled"):
        code = drill.since[0]
        drill.pool.delete(drill.stock_id, code, no.format(code))
        drill.pool.upload(drill.stock_id, [code], f"again {no}")
    drill.pool.close()
    status, said = drill.reconcile("--issued", drill.table(drill.since))
    assert (status, "50 taken out of the pool" in said) == (0, True)
    drill.draw_to_the_end()
    assert len(drill.issued) == OLD + SINCE + LEFT == len(set(drill.issued))


@pytest.mark.both_back_ends
def test_a_code_that_a_merchant_chose_is_kept_out_too(drill: Drill) -> None:
    """In a stock that takes no uploads a code comes with its coupon: the copy does not hold those given out since."""
    drill.pool = drill.opened()
    chosen = drill.pool.create(coupon_code_mode="MERCHANT_API", out_request_no="chosen")
    drill.pool.close()
    rows = "".join(f"{chosen},OWN{number}\n" for number in range(3))
    assert drill.reconcile("--issued", drill.file(Path(drill.table(drill.since)).read_text() + rows))[0] == 0
    drill.pool = drill.opened()
    try:
        with pytest.raises(RequestRefused):
            drill.pool.send(chosen, "oNew", coupon_code="OWN1")
        assert drill.pool.send(chosen, "oNew", coupon_code="OWN9") == "OWN9"
    finally:
        drill.pool.close()
