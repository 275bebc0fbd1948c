"""The ledger's states, one arrow a test; who may open it; and that its sums close after any moves and any kill."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from quanma.errors import LedgerBusy, LedgerRefused, StoreUnavailable
from quanma.upload.ledger import Batch, Inputs, Ledger
from quanma.upload.plan import Duplicate, Planned, PlannedBatch
from quanma.upload.sorting import Rejected
from quanma.upload.target import Outcome, Refused
from tests.support.every import every_row
from tests.support.platform import mode_of

NOBODY_REFUSED = Outcome([], [])
Plan = Callable[..., Ledger]


def new_ledger(path: Path, *, restart: bool = False) -> Ledger:
    return Ledger.create(path, target="busifavor", mchid="1900000001", stock_id="98065001", restart=restart)


def resumed(path: Path) -> Ledger:
    return Ledger.resume(path, target="busifavor", mchid="1900000001", stock_id="98065001")


def keep(ledger: Ledger, *batches: PlannedBatch) -> None:
    codes = sum(len(batch.codes) for batch in batches)
    ledger.begin_plan()
    ledger.keep_batches(batches)
    ledger.end_plan(Planned(codes, codes, 0, 0, 0, []), Inputs(sources=[]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "codes.txt.98065001.quanma"


@pytest.fixture
def planned_ledger(path: Path) -> Iterator[Plan]:
    """Plans these batches in a new ledger, that is closed after the test."""
    with contextlib.ExitStack() as opened:

        def plan(*batches: PlannedBatch) -> Ledger:
            ledger = opened.enter_context(new_ledger(path))
            keep(ledger, *batches)
            return ledger

        yield plan


@pytest.fixture
def ledger(planned_ledger: Plan) -> Ledger:
    """One batch of two codes, planned."""
    return planned_ledger(PlannedBatch(["A1", "B2"], "1-2"))


def taken(ledger: Ledger) -> Batch:
    batch = ledger.take(1000.0)
    assert batch is not None
    return batch


def state(ledger: Ledger) -> str:
    (batch,) = ledger.batches()
    return batch.state


def change(path: Path, statement: str) -> None:
    db = apsw.Connection(str(path))
    db.execute(statement).fetchall()
    db.close()


class TestArrows:
    def test_a_planned_batch_is_taken_once_with_its_number_and_codes(self, ledger: Ledger) -> None:
        batch = taken(ledger)
        assert batch.codes == ["A1", "B2"]
        assert (batch.attempts, batch.unknown_attempts) == (0, 0)
        assert state(ledger) == "sending"
        assert ledger.take(1000.0) is None

    def test_an_answer_settles_each_code(self, planned_ledger: Plan) -> None:
        ledger = planned_ledger(PlannedBatch(["A1", "B2", "C3"], "1-3"))
        ledger.settle(taken(ledger), Outcome(["B2"], [Refused("C3", "LENGTH_LIMIT", "too long")]), 1001.0)
        assert state(ledger) == "answered"
        assert ledger.totals()[:6] == (3, 1, 1, 0, 1, 0)

    def test_without_an_answer_it_is_unknown_and_goes_out_again_the_same(self, ledger: Ledger) -> None:
        first = taken(ledger)
        ledger.unknown(first)
        assert state(ledger) == "unknown"
        again = taken(ledger)
        assert (again.upload_request_no, again.codes) == (first.upload_request_no, first.codes)
        assert (again.attempts, again.unknown_attempts) == (1, 1)

    def test_what_existed_after_an_unknown_attempt_is_stored(self, ledger: Ledger) -> None:
        ledger.unknown(taken(ledger))
        ledger.settle(taken(ledger), Outcome(["A1", "B2"], []), 1001.0)
        assert ledger.totals()[:6] == (2, 2, 0, 0, 0, 0)

    def test_not_accepted_leads_back_to_planned(self, ledger: Ledger) -> None:
        ledger.not_accepted(taken(ledger))
        assert state(ledger) == "planned"

    def test_not_accepted_does_not_make_an_unknown_attempt_undone(self, ledger: Ledger) -> None:
        ledger.unknown(taken(ledger))
        ledger.not_accepted(taken(ledger))
        assert state(ledger) == "unknown"
        assert taken(ledger).unknown_attempts == 1

    def test_a_refused_number_is_replaced(self, ledger: Ledger) -> None:
        first = taken(ledger)
        ledger.renumber(first, used=False)
        assert state(ledger) == "planned"
        assert taken(ledger).upload_request_no == f"{first.upload_request_no}-1"

    def test_a_number_used_before_was_used_by_us_so_the_codes_may_be_ours(self, ledger: Ledger) -> None:
        ledger.renumber(taken(ledger), used=True)
        assert state(ledger) == "unknown"
        ledger.settle(taken(ledger), Outcome(["A1", "B2"], []), 1001.0)
        assert ledger.totals().stored == 2

    def test_only_unknown_attempts_under_the_present_number_are_told_apart(self, ledger: Ledger) -> None:
        ledger.unknown(taken(ledger))
        second = taken(ledger)
        assert second.unknown_of_number == 1
        ledger.renumber(second, used=False)
        third = taken(ledger)
        assert (third.unknown_attempts, third.unknown_of_number) == (1, 0)

    def test_a_refused_request_rejects_all_its_codes(self, ledger: Ledger) -> None:
        ledger.settle_refused(taken(ledger), "PARAM_ERROR", "no", 1001.0)
        assert ledger.totals()[:6] == (2, 0, 0, 0, 2, 0)

    def test_unknown_batches_go_out_before_planned_ones(self, path: Path, planned_ledger: Plan) -> None:
        ledger = planned_ledger(PlannedBatch(["A1"], "1"), PlannedBatch(["B2"], "2"))
        taken(ledger)
        ledger.unknown(taken(ledger))
        ledger.close()
        with resumed(path) as ledger:
            assert [taken(ledger).codes, taken(ledger).codes] == [["A1"], ["B2"]]

    def test_requests_and_retries_are_counted(self, ledger: Ledger) -> None:
        ledger.not_accepted(taken(ledger))
        ledger.settle(taken(ledger), NOBODY_REFUSED, 1001.0)
        assert (ledger.totals().requests, ledger.totals().retries) == (2, 1)

    def test_seconds_add_up_and_a_learned_rate_stays(self, ledger: Ledger) -> None:
        ledger.spent(2.0, 17.5)
        ledger.spent(3.0, None)
        assert ledger.totals().seconds == 5.0
        assert ledger.learned_rate == 17.5


MOVES: dict[str, Callable[[Ledger, Batch], None]] = {
    "settle": lambda ledger, batch: ledger.settle(batch, NOBODY_REFUSED, 1001.0),
    "settle_refused": lambda ledger, batch: ledger.settle_refused(batch, "PARAM_ERROR", "no", 1001.0),
    "unknown": lambda ledger, batch: ledger.unknown(batch),
    "not_accepted": lambda ledger, batch: ledger.not_accepted(batch),
    "renumber": lambda ledger, batch: ledger.renumber(batch, used=True),
}


@every_row("move", MOVES)
@every_row("before", MOVES)
def test_a_batch_that_is_not_being_sent_does_not_move(tmp_path: Path, before: str, move: str) -> None:
    with new_ledger(tmp_path / "codes.quanma") as ledger:
        keep(ledger, PlannedBatch(["A1", "B2"], "1-2"))
        batch = taken(ledger)
        MOVES[before](ledger, batch)
        there = (ledger.totals(), list(ledger.batches()))
        with pytest.raises(LedgerBusy, match=r"batch 1 of .* was moved by another process"):
            MOVES[move](ledger, batch)
        assert (ledger.totals(), list(ledger.batches())) == there


class TestOpening:
    def test_a_new_ledger_is_private_with_its_companions(self, path: Path, ledger: Ledger) -> None:
        assert {mode_of(file) for file in path.parent.iterdir()} == {0o600}
        assert len(list(path.parent.iterdir())) == 3

    def test_one_that_is_there_is_not_begun_anew_by_accident(self, path: Path, ledger: Ledger) -> None:
        ledger.close()
        with pytest.raises(LedgerRefused, match="is there already: --resume goes on with it, --restart begins anew"):
            new_ledger(path)

    def test_restart_forgets_everything(self, path: Path, ledger: Ledger) -> None:
        number = taken(ledger).upload_request_no
        ledger.close()
        with new_ledger(path, restart=True) as again:
            assert again.totals() == (0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0)
            assert not again.planned
            keep(again, PlannedBatch(["A1", "B2"], "1-2"))
            assert taken(again).upload_request_no != number

    def test_what_was_being_sent_is_unknown_after_a_resume(self, path: Path, ledger: Ledger) -> None:
        taken(ledger)
        ledger.close()
        with resumed(path) as again:
            assert state(again) == "unknown"
            assert taken(again).unknown_attempts == 1

    @pytest.mark.parametrize(
        ("other", "said"),
        [
            ({"stock_id": "98065002"}, "belongs to busifavor stock 98065001 of merchant 1900000001, not to busifavor"),
            ({"mchid": "1900000002"}, "not to busifavor stock 98065001 of merchant 1900000002: name another"),
            ({"target": "product-coupon"}, "not to product-coupon stock 98065001"),
        ],
    )
    def test_another_upload_s_ledger_is_refused(
        self, path: Path, ledger: Ledger, other: dict[str, str], said: str
    ) -> None:
        ledger.close()
        about = {"target": "busifavor", "mchid": "1900000001", "stock_id": "98065001", **other}
        with pytest.raises(LedgerRefused, match=said):
            Ledger.resume(path, **about)

    def test_there_is_nothing_to_resume(self, path: Path) -> None:
        with pytest.raises(LedgerRefused, match=r"there is no ledger .* to resume: start without --resume"):
            resumed(path)
        with pytest.raises(LedgerRefused, match="there is no ledger"):
            Ledger.look(path)

    def test_a_folder_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(LedgerRefused, match="can't be opened: No such file or directory: name another"):
            new_ledger(tmp_path / "nowhere" / "a.quanma")

    @pytest.mark.parametrize("open_it", [resumed, lambda path: new_ledger(path, restart=True), Ledger.look])
    def test_a_file_that_is_no_database_is_left_alone(self, path: Path, open_it: Callable[[Path], Ledger]) -> None:
        path.write_bytes(b"coupon_code\nA1\n" * 100)
        path.chmod(0o600)
        with pytest.raises(LedgerRefused, match="name another"):
            open_it(path)
        assert path.read_bytes() == b"coupon_code\nA1\n" * 100

    @pytest.mark.parametrize("open_it", [resumed, lambda path: new_ledger(path, restart=True), Ledger.look])
    def test_another_program_s_database_is_left_alone(self, path: Path, open_it: Callable[[Path], Ledger]) -> None:
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE batch (precious TEXT)")
        other.close()
        path.chmod(0o600)
        before = path.read_bytes()
        with pytest.raises(LedgerRefused, match="is no ledger of an upload: name another with --ledger"):
            open_it(path)
        assert path.read_bytes() == before

    def test_a_ledger_of_another_version_is_refused(self, path: Path, ledger: Ledger) -> None:
        ledger.close()
        change(path, "PRAGMA user_version = 3")
        with pytest.raises(LedgerRefused, match=r"was written by another quanma \(form 3, this one reads 2\)"):
            resumed(path)

    def test_a_ledger_that_others_can_read_is_refused(self, path: Path, ledger: Ledger) -> None:
        ledger.close()
        path.chmod(0o644)
        with pytest.raises(LedgerRefused, match="has mode 0644, so others can read the codes: chmod 600"):
            resumed(path)

    @pytest.mark.parametrize("left", ["nothing", "an empty database"])
    def test_a_kill_before_the_ledger_was_begun_needs_no_hand(self, path: Path, left: str) -> None:
        path.touch(mode=0o600)
        if left == "an empty database":
            change(path, "PRAGMA journal_mode = wal")
        with resumed(path) as ledger:
            assert not ledger.planned
        path.unlink()
        path.touch(mode=0o600)
        if left == "an empty database":
            change(path, "PRAGMA journal_mode = wal")
        with new_ledger(path) as ledger:
            assert not ledger.planned

    def test_a_plan_that_was_cut_off_leaves_none(self, path: Path) -> None:
        ledger = new_ledger(path)
        ledger.begin_plan()
        ledger.keep_batches([PlannedBatch(["A1"], "1")])
        ledger.keep_duplicates([Duplicate(2, 1, "A1")])
        ledger.keep_rejected([Rejected(3, "券", "no")])
        ledger.close()
        with resumed(path) as again:
            assert not again.planned
            assert [*again.batches(), *again.duplicates(), *again.rejected()] == []


def second_process(path: Path, call: str) -> str:
    """What another process is told that opens the ledger too."""
    program = f"""
        from pathlib import Path
        from quanma.errors import QuanmaError
        from quanma.upload.ledger import Ledger
        path = Path({str(path)!r})
        about = dict(target="busifavor", mchid="1900000001", stock_id="98065001")
        try:
            print({call})
        except QuanmaError as error:
            print(type(error).__name__, error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.slow
def test_two_processes_do_not_run_one_ledger(path: Path, ledger: Ledger) -> None:
    taken(ledger)
    assert "LedgerBusy" in second_process(path, "Ledger.resume(path, **about)")
    assert "LedgerBusy" in second_process(path, "Ledger.create(path, **about, restart=True)")
    assert state(ledger) == "sending"


@pytest.mark.slow
def test_a_ledger_can_be_read_while_it_runs(path: Path, ledger: Ledger) -> None:
    ledger.settle(taken(ledger), NOBODY_REFUSED, 1001.0)
    assert second_process(path, "Ledger.look(path).totals()[:6]") == "(2, 2, 0, 0, 0, 0)"


def test_after_a_write_that_failed_nothing_more_is_written(path: Path, planned_ledger: Plan) -> None:
    ledger = planned_ledger(PlannedBatch(["A1"], "1"), PlannedBatch(["B2"], "2"))
    batch = taken(ledger)
    full = "CREATE TEMP TRIGGER full BEFORE UPDATE ON batch BEGIN SELECT raise(FAIL, 'disk is full'); END"
    ledger._db.execute(full)
    with pytest.raises(StoreUnavailable, match=r"can't be written or read .*disk is full.*then --resume"):
        ledger.settle(batch, NOBODY_REFUSED, 1001.0)
    ledger._db.execute("DROP TRIGGER full")
    with pytest.raises(StoreUnavailable, match="disk is full"):
        ledger.settle(batch, NOBODY_REFUSED, 1001.0)
    ledger.close()
    with resumed(path) as again:
        assert taken(again).unknown_attempts == 1
