"""Rows of the input into batches of distinct codes: what will be sent, what repeats, what is refused unsent.

A batch is what one upload request holds. The whole input is read before the first request, so that a file that
can't be read to its end sends nothing, and a repeat is found at any distance. Memory stays flat: codes and rows
wait in temporary files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from pathlib import Path
from typing import NamedTuple, Protocol

from ..api.rules import CodeRule
from .rows import runs
from .sorting import Rejected
from .source import Block, Source
from .spool import Spool
from .survey import Survey


class PlannedBatch(NamedTuple):
    codes: list[str]
    rows: str
    """As `rows.runs`."""


class Duplicate(NamedTuple):
    row: int
    first_row: int
    text: str


class Keeper(Protocol):
    """Takes a plan as it is made, in pieces."""

    def keep_batches(self, batches: Sequence[PlannedBatch]) -> None: ...
    def keep_duplicates(self, rows: Sequence[Duplicate]) -> None: ...
    def keep_rejected(self, rows: Sequence[Rejected]) -> None: ...


class Planned(NamedTuple):
    """How many rows the input has, and what becomes of them."""

    rows: int
    distinct: int
    duplicate: int
    rejected: int
    warned: int
    """Kinds of warnings."""
    warnings: list[str]
    """Rows that are taken and look wrong: a line for each kind, with its first rows."""
    reasons: Sequence[str] = ()
    """Rejected rows: a line for each kind, the most frequent first."""
    left_out: int = 0
    """Rows that `--where` did not ask for. They are no part of `rows`."""
    remarks: Sequence[str] = ()
    """What was done to rows because it was asked for."""
    empty: Sequence[str] = ()
    """Why an input has no row, for each that has none."""
    shown: Sequence[str] = ()
    """The first three codes and the last one, masked."""


def plan(
    sources: Sequence[Source],
    rule: CodeRule,
    batch_codes_max: int,
    keeper: Keeper,
    folder: Path,
    progress: Callable[[int], None] = lambda rows: None,
    *,
    take_odd: bool = False,
    watch: Callable[[int, Block], None] = lambda input_no, block: None,
) -> Planned:
    """Read the sources to their end and hand the plan to the keeper.

    `progress` is told the rows read so far; `watch` sees each block, with the number of its input.

    Raises:
        SourceUnreadable: an input can't be read row by row. The keeper may hold a part of the plan by then.
    """
    survey = Survey([source.name for source in sources], rule, take_odd=take_odd)
    empty: list[str] = []
    with Spool(folder) as spool:
        for input_no, source in enumerate(sources):
            before = survey.rows
            for block in source.blocks():
                watch(input_no, block)
                good = survey.add(input_no, block)
                spool.add(good.rows, good.codes)
                if good.rejected:
                    keeper.keep_rejected(good.rejected)
                progress(survey.rows)
            if survey.rows == before:
                empty.append(_why_empty(source))
        duplicate = _hand_over(spool, keeper, batch_codes_max)
    warnings = survey.warnings(duplicate)
    return Planned(
        survey.rows,
        survey.rows - survey.rejected - duplicate,
        duplicate,
        survey.rejected,
        len(warnings),
        warnings,
        survey.reasons(),
        survey.left_out,
        survey.remarks(),
        empty,
        survey.shown(),
    )


def _why_empty(source: Source) -> str:
    seen = [
        f"'{column}' is " + (", ".join(f"'{value}'" for value in values) or "empty")
        for column, values in source.values_seen.items()
    ]
    if not seen:
        return f"{source.name} holds no row"
    return f"{source.name} holds no row that --where asks for: {'; '.join(seen)} in its first rows"


def _hand_over(spool: Spool, keeper: Keeper, batch_codes_max: int) -> int:
    """Give the keeper batches of distinct codes, in input order, and the repeats. Returns how many repeat."""
    duplicate = 0
    waiting_codes: list[str] = []
    waiting_rows: list[int] = []
    for codes, rows, repeats in spool.pieces():
        if repeats:
            duplicate += len(repeats)
            keeper.keep_duplicates([Duplicate(rows[index], first_row, codes[index]) for index, first_row in repeats])
            kept = bytearray(b"\1") * len(codes)
            for index, _ in repeats:
                kept[index] = 0
            codes, rows = list(compress(codes, kept)), list(compress(rows, kept))
        waiting_codes += codes
        waiting_rows += rows
        whole = len(waiting_codes) // batch_codes_max * batch_codes_max
        keeper.keep_batches(_cut(waiting_codes[:whole], waiting_rows[:whole], batch_codes_max))
        waiting_codes, waiting_rows = waiting_codes[whole:], waiting_rows[whole:]
    keeper.keep_batches(_cut(waiting_codes, waiting_rows, batch_codes_max))
    return duplicate


def _cut(codes: list[str], rows: list[int], size: int) -> list[PlannedBatch]:
    return [
        PlannedBatch(codes[begin : begin + size], runs(rows[begin : begin + size]))
        for begin in range(0, len(codes), size)
    ]
