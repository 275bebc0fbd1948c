"""The ledger against a model of it: any moves in any order, closed and reopened in between."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from quanma.errors import LedgerBusy
from quanma.upload import report
from quanma.upload.ledger import Batch, Inputs, Ledger
from quanma.upload.plan import Duplicate, Planned, PlannedBatch
from quanma.upload.sorting import Rejected
from quanma.upload.target import Outcome, Refused

WAITING = ("planned", "unknown")
ABOUT = ("busifavor", "1900000001", "98065001")


@dataclass
class Known:
    """What a batch should be."""

    codes: list[str]
    state: str = "planned"
    attempts: int = 0
    sent_at: int = 0
    unknown_attempts: int = 0
    unknown_of_number: int = 0
    renumbered: int = 0
    outcomes: dict[str, str] = field(default_factory=dict)


class Uploads(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "a.quanma"
        target, mchid, stock_id = ABOUT
        self.ledger = Ledger.create(self.path, target=target, mchid=mchid, stock_id=stock_id)
        self.known: dict[int, Known] = {}
        self.sending: dict[int, Batch] = {}
        self.numbers: dict[int, str] = {}
        self.requests = 0

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder)

    @initialize(sizes=st.lists(st.integers(1, 3), min_size=1, max_size=4))
    def plan(self, sizes: list[int]) -> None:
        self.rows = sum(sizes) + 2
        row, batches = 1, []
        for batch_no, size in enumerate(sizes, 1):
            rows = list(range(row, row + size))
            self.known[batch_no] = Known([f"A{number}" for number in rows])
            batches.append(PlannedBatch(self.known[batch_no].codes, f"{rows[0]}-{rows[-1]}"))
            row += size
        self.ledger.begin_plan()
        self.ledger.keep_batches(batches)
        self.ledger.keep_duplicates([Duplicate(row, 1, "A1")])
        self.ledger.keep_rejected([Rejected(row + 1, "券", "no")])
        self.ledger.end_plan(Planned(self.rows, sum(sizes), 1, 1, 0, []), Inputs(sources=[]))

    @rule()
    def take(self) -> None:
        batch = self.ledger.take(float(self.requests))
        waiting = sorted(self._turn(number) for number, known in self.known.items() if known.state in WAITING)
        if not waiting:
            assert batch is None
            return
        assert batch is not None
        first = waiting[0][-1]
        known = self.known[first]
        assert batch.batch_no == first
        assert batch.codes == known.codes
        assert (batch.attempts, batch.unknown_attempts) == (known.attempts, known.unknown_attempts)
        assert (batch.unknown_of_number, batch.renumbered) == (known.unknown_of_number, known.renumbered)
        name = self.numbers.setdefault(batch.batch_no, batch.upload_request_no)
        assert batch.upload_request_no == (f"{name}-{known.renumbered}" if known.renumbered else name)
        known.state = "sending"
        known.attempts += 1
        known.sent_at = self.requests
        self.requests += 1
        self.sending[batch.batch_no] = batch

    def _turn(self, batch_no: int) -> tuple[int, int, int]:
        """Young questions first, then what was never sent, then old questions, the oldest first."""
        known = self.known[batch_no]
        if known.state == "unknown":
            return (0, 0, batch_no) if known.attempts < 3 else (2, known.sent_at, batch_no)
        return (1, 0, batch_no)

    def _one(self, choice: st.DataObject) -> tuple[Batch, Known]:
        batch_no = choice.draw(st.sampled_from(sorted(self.sending)))
        return self.sending.pop(batch_no), self.known[batch_no]

    def _back(self, known: Known) -> None:
        known.state = "unknown" if known.unknown_attempts else "planned"

    @precondition(lambda self: self.sending)
    @rule(choice=st.data())
    def settle(self, choice: st.DataObject) -> None:
        batch, known = self._one(choice)
        said = choice.draw(st.lists(st.sampled_from("ser"), min_size=len(known.codes), max_size=len(known.codes)))
        existed = [code for code, kind in zip(known.codes, said, strict=True) if kind == "e"]
        refused = [Refused(code, "X", "no") for code, kind in zip(known.codes, said, strict=True) if kind == "r"]
        self.ledger.settle(batch, Outcome(existed, refused), 1001.0)
        there = "stored" if known.unknown_attempts else "existed"
        known.outcomes = {
            code: {"s": "stored", "e": there, "r": "rejected"}[kind]
            for code, kind in zip(known.codes, said, strict=True)
        }
        known.state = "answered"

    @precondition(lambda self: self.sending)
    @rule(choice=st.data())
    def settle_refused(self, choice: st.DataObject) -> None:
        batch, known = self._one(choice)
        self.ledger.settle_refused(batch, "PARAM_ERROR", "no", 1001.0)
        known.outcomes = dict.fromkeys(known.codes, "rejected")
        known.state = "answered"

    @precondition(lambda self: self.sending)
    @rule(choice=st.data())
    def unknown(self, choice: st.DataObject) -> None:
        batch, known = self._one(choice)
        self.ledger.unknown(batch)
        known.unknown_attempts += 1
        known.unknown_of_number += 1
        known.state = "unknown"

    @precondition(lambda self: self.sending)
    @rule(choice=st.data())
    def not_accepted(self, choice: st.DataObject) -> None:
        batch, known = self._one(choice)
        self.ledger.not_accepted(batch)
        self._back(known)

    @precondition(lambda self: self.sending)
    @rule(choice=st.data(), used=st.booleans())
    def renumber(self, choice: st.DataObject, used: bool) -> None:
        batch, known = self._one(choice)
        self.ledger.renumber(batch, used=used)
        known.renumbered += 1
        known.unknown_of_number = 0
        known.unknown_attempts = max(known.unknown_attempts, used)
        self._back(known)

    @rule(choice=st.data())
    def what_is_not_being_sent_does_not_move(self, choice: st.DataObject) -> None:
        still = sorted(self.known.keys() - self.sending.keys())
        if still:
            batch_no = choice.draw(st.sampled_from(still))
            with pytest.raises(LedgerBusy):
                self.ledger.unknown(Batch(batch_no, "number", self.known[batch_no].codes, 0, 0, 0, 0))

    @rule()
    def close_and_resume(self) -> None:
        self.ledger.close()
        target, mchid, stock_id = ABOUT
        self.ledger = Ledger.resume(self.path, target=target, mchid=mchid, stock_id=stock_id)
        for batch_no in self.sending:
            known = self.known[batch_no]
            known.state = "unknown"
            known.unknown_attempts += 1
            known.unknown_of_number += 1
        self.sending.clear()

    @invariant()
    def the_sums_close(self) -> None:
        if not self.known:
            return
        totals = self.ledger.totals()
        outcomes = [outcome for known in self.known.values() for outcome in known.outcomes.values()]
        pending = sum(len(known.codes) for known in self.known.values() if known.state != "answered")
        assert totals[:6] == (
            self.rows,
            outcomes.count("stored"),
            outcomes.count("existed"),
            1,
            outcomes.count("rejected") + 1,
            pending,
        )
        assert totals.requests == self.requests
        assert totals.batches_open == sum(known.state != "answered" for known in self.known.values())
        assert [batch.state for batch in self.ledger.batches()] == [known.state for known in self.known.values()]

    @invariant()
    def the_report_has_each_row_once_and_agrees(self) -> None:
        lines = list(report.lines(self.ledger))
        if not self.known:
            return
        assert [line.row for line in lines] == list(range(1, self.rows + 1))
        for known in self.known.values():
            if known.state == "answered":
                assert {line.code: line.outcome for line in lines[:-2] if line.code in known.outcomes} == known.outcomes


@pytest.mark.parametrize("examples", [pytest.param(5, id="few"), pytest.param(60, id="many", marks=pytest.mark.slow)])
def test_the_ledger_does_what_its_model_does(examples: int) -> None:
    run_state_machine_as_test(Uploads, settings=settings(max_examples=examples, stateful_step_count=30, deadline=None))
