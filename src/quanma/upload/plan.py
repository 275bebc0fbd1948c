"""Rows of the input into batches of distinct codes: what will be sent, what repeats, what is refused unsent.

A batch is what one upload request holds. The whole input is read before the first request, so that a file that
can't be read to its end sends nothing, and a repeat is found at any distance. Memory stays flat: codes and rows
wait in temporary files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import compress
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from ..api.rules import CodeRule
from . import dirt
from .distinct import Distinct
from .rows import input_and_row, row_id, runs
from .source import Block, Source

WARNINGS_MAX, REASONS_MAX = 3, 10
_READ_BYTES = 1 << 20


class PlannedBatch(NamedTuple):
    codes: list[str]
    rows: str
    """As `rows.runs`."""


class Rejected(NamedTuple):
    row: int
    text: str
    reason: str


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
    warnings: list[str]
    """The first of the legal but suspicious codes."""
    reasons: Sequence[str] = ()
    """Of the first rejected rows."""


def plan(
    sources: Sequence[Source],
    rule: CodeRule,
    batch_codes_max: int,
    keeper: Keeper,
    folder: Path,
    progress: Callable[[int], None] = lambda rows: None,
) -> Planned:
    """Read the sources to their end and hand the plan to the keeper. `progress` is told the rows read so far.

    Raises:
        SourceUnreadable: an input can't be read row by row. The keeper may hold a part of the plan by then.
    """
    rows = rejected = warned = 0
    warnings: list[str] = []
    reasons: list[str] = []
    with _Spool(folder) as spool:
        for input_no, source in enumerate(sources):
            place = f"{source.name}, " if len(sources) > 1 else ""
            for block in source.blocks():
                good = sorted_block(block, input_no, rule)
                spool.add(good.rows, good.codes)
                if good.rejected:
                    keeper.keep_rejected(good.rejected)
                if good.blank:
                    warned += len(good.blank)
                    warnings += [place + warning for warning in good.blank[: WARNINGS_MAX - len(warnings)]]
                reasons += [
                    f"{place}row {input_and_row(one.row)[1]}: {one.reason}"
                    for one in good.rejected[: REASONS_MAX - len(reasons)]
                ]
                rejected += len(good.rejected)
                rows += len(block.codes)
                progress(rows)
        duplicate = spool.hand_over(keeper, batch_codes_max)
    return Planned(rows, rows - rejected - duplicate, duplicate, rejected, warned, warnings, reasons)


class SortedBlock(NamedTuple):
    """A block's good rows and bad rows. `blank` are warnings of good ones."""

    rows: Sequence[int]
    codes: list[str]
    rejected: list[Rejected]
    blank: list[str]


def sorted_block(block: Block, input_no: int, rule: CodeRule) -> SortedBlock:
    """Take a block's good rows and bad rows apart. The common block, all good, costs nothing per row in Python."""
    first = row_id(input_no, 0)
    rows: Sequence[int] = (
        range(block.rows.start + first, block.rows.stop + first)
        if isinstance(block.rows, range) and block.rows.step == 1
        else [row + first for row in block.rows]
    )
    if not block.problems and rule.takes_all(block.codes):
        return SortedBlock(rows, block.codes, [], _warned(block.rows, block.codes))
    verdicts: list[object] = list(map(rule.pattern.fullmatch, block.codes))
    for index in block.problems:
        verdicts[index] = None
    rejected = [
        Rejected(rows[index], code, block.problems.get(index) or dirt.explain(code, rule) or "the code is not allowed")
        for index, code in enumerate(block.codes)
        if verdicts[index] is None
    ]
    codes = list(compress(block.codes, verdicts))
    blank = _warned(list(compress(block.rows, verdicts)), codes)
    return SortedBlock(list(compress(rows, verdicts)), codes, rejected, blank)


def _warned(rows: Sequence[int], codes: Sequence[str]) -> list[str]:
    # One look at the whole text: most blocks have no outer blank.
    text = "\n".join(codes)
    if not (" \n" in text or "\n " in text or text[:1] == " " or text[-1:] == " "):
        return []
    return [
        f"row {row}: {warning}"
        for row, code in zip(rows, codes, strict=True)
        if (warning := dirt.warn(code)) is not None
    ]


class _Spool:
    """Good rows, waiting on disk until it is known which of them repeat."""

    def __init__(self, folder: Path) -> None:
        self._codes = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # No name: it vanishes with the process.
        self._rows = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._distinct = Distinct(folder)

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, *exception: object) -> None:
        self._codes.close()
        self._rows.close()
        self._distinct.__exit__()

    def add(self, rows: Sequence[int], codes: list[str]) -> None:
        if codes:
            lines = ("\n".join(codes) + "\n").encode()
            self._codes.write(lines)
            numbers = np.arange(rows.start, rows.stop) if isinstance(rows, range) else np.array(rows, np.int64)
            numbers.tofile(self._rows)
            self._distinct.add(numbers, lines)

    def hand_over(self, keeper: Keeper, batch_codes_max: int) -> int:
        """Give the keeper batches of distinct codes, in input order, and the repeats. Returns how many repeat."""
        repeats = self._distinct.repeats()
        waiting_codes: list[str] = []
        waiting_rows: list[int] = []
        for codes, rows in self._pieces():
            low, high = np.searchsorted(repeats.rows, (rows[0], rows[-1] + 1))
            if low < high:
                indexes = np.searchsorted(np.array(rows), repeats.rows[low:high])
                first_rows = repeats.first_rows[low:high].tolist()
                keeper.keep_duplicates(
                    [
                        Duplicate(rows[index], first_row, codes[index])
                        for index, first_row in zip(indexes.tolist(), first_rows, strict=True)
                    ]
                )
                kept = np.ones(len(codes), bool)
                kept[indexes] = False
                codes, rows = list(compress(codes, kept)), list(compress(rows, kept))
            waiting_codes += codes
            waiting_rows += rows
            whole = len(waiting_codes) // batch_codes_max * batch_codes_max
            keeper.keep_batches(_cut(waiting_codes[:whole], waiting_rows[:whole], batch_codes_max))
            waiting_codes, waiting_rows = waiting_codes[whole:], waiting_rows[whole:]
        keeper.keep_batches(_cut(waiting_codes, waiting_rows, batch_codes_max))
        return len(repeats.rows)

    def _pieces(self) -> Iterator[tuple[list[str], list[int]]]:
        """The spooled codes and their rows again."""
        self._codes.seek(0)
        self._rows.seek(0)
        begun = b""
        while piece := self._codes.read(_READ_BYTES):
            whole, newline, begun_next = piece.rpartition(b"\n")
            if not newline:
                begun += piece
                continue
            codes = (begun + whole).decode().split("\n")
            begun = begun_next
            yield codes, np.fromfile(self._rows, np.int64, len(codes)).tolist()


def _cut(codes: list[str], rows: list[int], size: int) -> list[PlannedBatch]:
    return [
        PlannedBatch(codes[begin : begin + size], runs(rows[begin : begin + size]))
        for begin in range(0, len(codes), size)
    ]
