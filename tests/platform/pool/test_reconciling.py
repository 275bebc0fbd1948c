"""What a file of given-out codes does to a copy, decided: it accounts for what is missing, or nothing is changed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quanma.platform.pool.reconcile_file import IssuedCode, ReconcileFile
from quanma.platform.pool.reconciling import (
    NOT_KNOWN,
    CodeState,
    Decision,
    Lacking,
    Missing,
    Named,
    Pair,
    decide,
    pairs,
)
from tests.support.every import every_row

S, T = "98065001", "98065002"
MADE = "98065003"
"""A stock that takes no uploads."""
FREE, GIVEN, KEPT_OUT = ("F1", "F2", "F3", "F4"), ("G1", "G2"), ("K1",)


def state(pair: Pair) -> CodeState:
    stock_id, code = pair
    if stock_id not in (S, T, MADE):
        return CodeState.NO_STOCK
    known = {"F": CodeState.FREE, "G": CodeState.GIVEN, "K": CodeState.KEPT_OUT}
    return known.get(code[:1], CodeState.OPEN if stock_id == MADE else CodeState.ABSENT)


def file_of(*codes: str | Pair) -> ReconcileFile:
    rows = [(S, code) if isinstance(code, str) else code for code in codes]
    issued = [IssuedCode(line, *row) for line, row in enumerate(rows, 1)]
    return ReconcileFile("issued.csv", issued, "column 1", "column 2", 0)


def decided(
    issued: ReconcileFile | None, lacking: Lacking, accept_short: int | None = None, *, fenced: bool = True
) -> Decision:
    states = {pair: state(pair) for pair in pairs(issued, lacking)}
    return decide(issued, lacking, states, {S, T, MADE}, fenced=fenced, accept_short=accept_short)


THREE = Lacking(3)
LAST = Lacking(3, last=Named(S, "F3"))


@every_row(
    ("codes", "lacking", "accept_short"),
    [
        (["F1", "F2", "F3"], THREE, None),
        (["F1", "F2", "F3", "F4", "G1", "K1", "X1"], THREE, None),
        (["F1", "F2", "F3"], LAST, 0),
        (["F1"], THREE, 2),
        (["F1", "F2"], LAST, 1),
        ([(MADE, "X1"), (MADE, "X2"), (MADE, "X3")], THREE, None),
        (["X1", "X2", "X3"], THREE, 3),
        (["F1", "X2", "X3"], THREE._replace(codes=200), None),
        (["F1", "F2", "X9"], Lacking(3, last=Named(S, "X9")), None),
        (["F1"], NOT_KNOWN, None),
        (["F1", "X1"], NOT_KNOWN, None),
        (["X1", "X2"], NOT_KNOWN, 2),
        (["G1"], Lacking(0), None),
        (["F1", (T, "F1")], Lacking(2, [Missing(S, 1), Missing(T, 1)]), None),
        (["F1"], Lacking(None, [Missing(S, 3, [Named(S, "F2"), Named(S, "X7", "n1")])]), None),
        (["X7", "X8"], Lacking(None, [Missing(S, 2, [Named(S, "X7", "n1"), Named(S, "X8", "n2")])]), None),
    ],
)
def test_what_accounts_for_all_is_done(codes: Sequence[str | Pair], lacking: Lacking, accept_short: int | None) -> None:
    decision = decided(file_of(*codes), lacking, accept_short)
    assert decision.refused == []
    named = [*lacking.named, *([lacking.last] if lacking.last else [])]
    everything = {*((S, code) if isinstance(code, str) else code for code in codes)}
    everything |= {(one.stock_id, one.coupon_code) for one in named}
    assert set(decision.take_out) == {pair for pair in everything if state(pair) is CodeState.FREE}
    assert set(decision.keep_out) == {pair for pair in everything if state(pair) in (CodeState.ABSENT, CodeState.OPEN)}


@every_row(
    ("codes", "lacking", "accept_short", "reasons"),
    [
        ([], THREE, None, ["holds no code", "3 coupons missing, 0 accounted for"]),
        ([], NOT_KNOWN, None, ["holds no code", "--nothing-issued"]),
        ([], THREE, 3, ["holds no code"]),
        (["F1"], THREE, None, ["3 missing, 1 accounted for", "--accept-short 2"]),
        (["F1", "F1", "F1"], THREE, None, ["3 missing, 1 accounted for"]),
        (["F1", "G1", "K1"], THREE, None, ["3 missing, 1 accounted for"]),
        (["F1"], THREE, 1, ["--accept-short 2"]),
        (["F1"], THREE, 3, ["--accept-short 2"]),
        (["F1", "F2", "F3"], THREE, 1, ["nothing is short: leave it out"]),
        (["F1", "F2", "F4"], LAST, None, ["3 missing, 2 accounted for", "the last coupon", "--accept-short 1"]),
        (["X1", "X2", "X3"], THREE, None, ["no line names a code", "lines 1, 2 and 3: this copy does not hold"]),
        (["X1", "X2", "X3"], Lacking(0), None, ["no line names a code", "--accept-short 3"]),
        (["X1", "X2", "X3"], NOT_KNOWN, None, ["no line names a code", "--accept-short 3"]),
        (["F1", "X2", "X3"], THREE._replace(codes=1), None, ["3 missing, 2 accounted for", "1 code uploaded since"]),
        (["G1", "G2"], NOT_KNOWN, None, ["nothing new", "--nothing-issued"]),
        (["F1"], NOT_KNOWN, 2, ["is not known: leave it out"]),
        ([("F1", S), ("F2", S), ("F3", S)], THREE, None, ["column 1 holds codes, and column 2 stock ids: swap them"]),
        (["F1", ("7", "F1"), ("8", "F2"), ("7", "F3")], THREE, 2, ["'7' (lines 2 and 4), '8' (line 3)"]),
        (["F1", "F2"], Lacking(2, [Missing(S, 1), Missing(T, 1)]), None, ["2 missing, 1 accounted", f"stock {T}: 1"]),
        (["F1"], Lacking(None, [Missing(S, 3, [Named(S, "F2")])]), None, ["3 missing, 2 accounted", "short 1"]),
    ],
)
def test_what_does_not_account_for_all_is_refused_with_the_reason(
    codes: Sequence[str | Pair], lacking: Lacking, accept_short: int | None, reasons: list[str]
) -> None:
    refused = "\n".join(decided(file_of(*codes), lacking, accept_short).refused)
    assert [reason for reason in reasons if reason not in refused] == [], refused


@every_row(
    ("lacking", "accept_short", "done"),
    [
        (NOT_KNOWN, None, True),
        (Lacking(0, commits=7), None, True),
        (THREE, None, False),
        (THREE, 2, False),
        (THREE, 3, True),
        (LAST, 3, True),
        (Lacking(None, [Missing(S, 1, [Named(S, "F1")])]), None, True),
        (Lacking(None, [Missing(S, 2, [Named(S, "F1")])]), None, False),
        (Lacking(None, [Missing(S, 2, [Named(S, "F1")])]), 1, True),
    ],
)
def test_that_nothing_was_given_out_is_believed_unless_it_is_known_better(
    lacking: Lacking, accept_short: int | None, done: bool
) -> None:
    decision = decided(None, lacking, accept_short)
    assert (not decision.refused) is done
    assert decision.by_itself == [*lacking.named, *([lacking.last] if lacking.last else [])]


def test_a_pool_that_is_not_fenced_takes_a_corrected_file() -> None:
    decision = decided(file_of("F1", "G1", "K1", "X1"), NOT_KNOWN, fenced=False)
    assert (decision.refused, decision.take_out, decision.keep_out) == ([], [(S, "F1")], [(S, "X1")])
    assert (decision.known, decision.again, decision.absent) == ([2], [3], [4])
    assert decided(file_of("K1"), NOT_KNOWN, fenced=False).refused == []
    for wrong in (file_of(), file_of("X1"), file_of(("F1", S)), file_of(("7", "F1"))):
        assert decided(wrong, NOT_KNOWN, fenced=False).refused


CODES = st.sampled_from([*FREE, *GIVEN, *KEPT_OUT, "X1", "X2"])
NAMED = st.lists(st.sampled_from([Named(S, "F1"), Named(S, "X1"), Named(T, "F4")]), unique=True)


@pytest.mark.slow
@given(
    st.lists(st.one_of(CODES, st.tuples(st.sampled_from([S, T, "7"]), CODES))),
    st.integers(0, 5),
    NAMED,
    st.none() | st.integers(0, 6),
)
def test_nothing_goes_on_that_is_short_by_another_number_than_was_said(
    codes: list[str | Pair], missing: int, named: list[Named], accept_short: int | None
) -> None:
    lacking = Lacking(missing, [Missing(S, len(named), named)] if named else [])
    decision = decided(file_of(*codes), lacking, accept_short)
    if not decision.refused:
        assert decision.short <= (accept_short or 0)
        assert {(one.stock_id, one.coupon_code) for one in named} <= {*decision.take_out, *decision.keep_out}
        assert len(decision.take_out) + len(decision.keep_out) + decision.short >= missing
