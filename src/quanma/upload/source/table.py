"""The rows of a table into codes: which rows are read, which are no codes, and why. For every kind of table."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from ...errors import masked
from .. import odd
from ..reasons import ODD, PLATFORM, Reason
from .block import NO_PROBLEMS, Block
from .layout import Layout
from .reading import DIGITS_MAX, Reading

TO_TEXT: Final = (
    "in the spreadsheet choose 数据 → 分列 → 文本 (Data → Text to Columns → Text), or export the column as text"
)
VALUES_SEEN_MAX: Final = 5


class NoText(Protocol):
    """A cell that holds something else than a text."""

    @property
    def kind(self) -> str:
        """number, date, boolean, error, formula (without a stored result), or another word."""
        ...

    @property
    def text(self) -> str:
        """What is known of it, for reports."""
        ...


Cell = str | NoText | None


class Rows(Protocol):
    """A run of rows in which something stands, column by column."""

    @property
    def numbers(self) -> Sequence[int]: ...
    @property
    def hidden(self) -> Sequence[int]:
        """Indexes of rows that are not shown to who looks at the table."""
        ...

    @property
    def places(self) -> Iterable[int]:
        """The columns in which something stands, from 0."""
        ...

    def column(self, place: int) -> Sequence[Cell]: ...


class Fields(NamedTuple):
    """Rows of texts, row by row."""

    numbers: Sequence[int]
    table: Sequence[Sequence[Cell]]
    hidden: Sequence[int] = ()

    @property
    def places(self) -> Iterable[int]:
        return range(max(map(len, self.table), default=0))

    def column(self, place: int) -> Sequence[Cell]:
        return [cells[place] if place < len(cells) else None for cells in self.table]


class Taken(NamedTuple):
    """What a cell comes to: a text; why it is no code; what is to be told of it."""

    text: str
    problem: Reason | None = None
    remark: str | None = None


class Table:
    """The rules for the rows of one table.

    `typed`: a number is told from a text there, as in a workbook, and text stays what it is.
    """

    def __init__(self, layout: Layout, reading: Reading, *, typed: bool) -> None:
        self.layout = layout
        self._reading = reading
        self._typed = typed
        self._header = layout.header[layout.place].strip() if layout.header is not None else None
        self._seen: dict[int, list[str]] = {}

    @property
    def plain(self) -> bool:
        """Whether every row is read, and its code taken as it stands."""
        zeros = self._reading.digits is not None and not self._typed
        return not (self.layout.where or self.layout.corrections or zeros)

    @property
    def values_seen(self) -> Mapping[str, Sequence[str]]:
        """As Source says."""
        names = self.layout.header or ()
        return {
            names[place].strip() if place < len(names) else f"column {place + 1}": list(map(shown_value, values))
            for place, values in self._seen.items()
        }

    def block(self, rows: Rows, problems: Mapping[int, Reason] = NO_PROBLEMS, *, totals: bool = True) -> Block:
        """Return the codes of rows. `problems`: by index, what is wrong with them already. `totals`: look for such."""
        numbers = rows.numbers
        begin = bisect_right(numbers, self.layout.header_row) if self.layout.header_row else 0
        kept: Sequence[int] = range(begin, len(numbers))
        left_out = 0
        if self.layout.where:
            asked_for = self._asked_for(rows, kept)
            left_out, kept = len(kept) - len(asked_for), asked_for
        # In a file of rejected rows, the word stands in the reasons.
        totals = totals and self.layout.corrections is None and not self._reading.take_odd
        is_total = self._totals(rows) if totals else set[int]()
        hidden = set(rows.hidden)
        out_rows: list[int] = []
        codes: list[str] = []
        out_problems: dict[int, Reason] = {}
        remarks: list[tuple[str, int]] = []
        column = rows.column(self.layout.place)
        for index in kept:
            taken = self._taken(rows, index, column[index])
            problem = problems.get(index)
            if problem is None and index in is_total:
                problem = odd.total_row()
            if problem is None:
                problem = taken.problem
                if problem is not None and problem.code == "EMPTY" and not _anything_in(rows, index):
                    continue
            if problem is not None:
                out_problems[len(codes)] = problem
            elif taken.remark is not None:
                remarks.append((taken.remark, numbers[index]))
            if problem is None and index in hidden:
                remarks.append(("HIDDEN_ROW", numbers[index]))
            if problem is None and numbers[index] == self.layout.words_row:
                remarks.append(("FIRST_ROW_WORDS", numbers[index]))
            out_rows.append(numbers[index])
            codes.append(taken.text.strip() if self._reading.trim else taken.text)
        return Block(out_rows, codes, out_problems, left_out, tuple(remarks))

    def _asked_for(self, rows: Rows, indexes: Sequence[int]) -> list[int]:
        for place, values in self.layout.where:
            column = rows.column(place)
            seen = self._seen.setdefault(place, [])
            asked_for: list[int] = []
            for index in indexes:
                value = _text(column[index]).strip()
                if value in values:
                    asked_for.append(index)
                if len(seen) < VALUES_SEEN_MAX and value and value not in seen:
                    seen.append(value)
            indexes = asked_for
        return list(indexes)

    def _totals(self, rows: Rows) -> set[int]:
        return {
            index
            for place in rows.places
            for index, cell in enumerate(rows.column(place))
            if isinstance(cell, str) and odd.has_total(cell) and odd.is_total(cell)
        }

    def _taken(self, rows: Rows, index: int, cell: Cell) -> Taken:
        taken = self._code(cell)
        if self._header is not None and taken.text.strip() == self._header and not self._reading.take_odd:
            return Taken(taken.text, odd.header_again())
        corrections = self.layout.corrections
        if corrections is None:
            return taken
        corrected = rows.column(corrections.corrected)[index]
        if not (corrected is None or (isinstance(corrected, str) and not corrected.strip())):
            better = self._code(corrected)
            return better if better.problem else Taken(better.text, None, "CORRECTED")
        code = _text(rows.column(corrections.reason_code)[index]) if corrections.reason_code is not None else ""
        return not_corrected(taken, code.strip(), _text(rows.column(corrections.reason)[index]), self._reading)

    def _code(self, cell: Cell) -> Taken:
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            return Taken(cell or "", Reason("EMPTY", f"column {self.layout.place + 1} is empty in this row"))
        if isinstance(cell, str):
            return cell_text(cell, self._reading) if not self._typed else Taken(cell)
        if cell.kind == "number":
            return number(cell.text, self._reading)
        return Taken(cell.text, _why_no_text(cell))


def cell_text(text: str, reading: Reading) -> Taken:
    """A text of a file that knows only texts: there a number that lost its zeros looks like any other."""
    if reading.digits is None or not _DIGITS.fullmatch(text.strip()) or len(text.strip()) >= reading.digits:
        return Taken(text)
    return Taken(text.strip().zfill(reading.digits), None, "ZEROS_RESTORED")


def number(text: str, reading: Reading, what: str = "the cell holds", as_text: str = TO_TEXT) -> Taken:
    """A number where a code should be; `text` are its digits. Taken only if the user says so, and if it is whole.

    `as_text`: what to do about it.
    """
    whole = _WHOLE.fullmatch(text)
    digits = (whole[1].lstrip("0") or "0") if whole else ""
    if whole and len(digits) > DIGITS_MAX:
        return Taken(
            text,
            Reason(
                "DIGITS_LOST",
                f"{what} a number of {len(digits)} digits, and programs keep {DIGITS_MAX} of them: the last "
                "ones are lost; export the column as text from where the codes were made",
            ),
        )
    if not reading.numbers_as_text and reading.digits is None:
        return Taken(
            text,
            Reason(
                "NUMBER",
                f"{what} a number, leading zeros may be lost: {as_text}; if it never had any, take it with "
                "--numbers-as-text, or say how many digits a code has with --digits",
            ),
        )
    if not whole:
        return Taken(text, Reason("NOT_WHOLE", f"{what} a number that is not whole or is below 0, and no code"))
    if reading.digits is None:
        return Taken(digits, None, "NUMBER_AS_TEXT")
    if len(digits) > reading.digits:
        return Taken(
            text,
            Reason(
                "TOO_MANY_DIGITS",
                f"{what} a number of {len(digits)} digits, more than --digits {reading.digits}",
            ),
        )
    return Taken(
        digits.zfill(reading.digits), None, "ZEROS_RESTORED" if len(digits) < reading.digits else "NUMBER_AS_TEXT"
    )


def not_corrected(taken: Taken, code: str, words: str, reading: Reading) -> Taken:
    """A row of a file of rejected rows in which nobody has written a better code: it is refused as before.

    What the platform refused is offered to it again: the stock may have changed, and the text is a code.
    """
    if code.startswith(PLATFORM) or (code in ODD and reading.take_odd):
        return taken
    again = words.partition(_AGAIN)[0].strip() or "the row was refused before"
    return Taken(taken.text, Reason(code or "NOT_CORRECTED", f"{again}{_AGAIN}"))


_AGAIN: Final = "; it was refused before: write the right code under 改正 (corrected)"
_WHOLE: Final = re.compile(r"\+?([0-9]+)(?:\.0+)?", re.ASCII)
_DIGITS: Final = re.compile("[0-9]+", re.ASCII)


def shown_value(value: str) -> str:
    """A value of another column, as a message may show it."""
    return masked(value) if re.search("[0-9]", value) and value.isascii() else value[:24]


def _anything_in(rows: Rows, index: int) -> bool:
    return any(_text(rows.column(place)[index]).strip() for place in rows.places)


def _text(cell: Cell) -> str:
    if cell is None or isinstance(cell, str):
        return cell or ""
    return cell.text or cell.kind


def _why_no_text(cell: NoText) -> Reason:
    if cell.kind in _KINDS:
        return _KINDS[cell.kind]
    return Reason("NOT_TEXT", f"the cell holds no text ({cell.kind}): {TO_TEXT}")


_KINDS: Final = {
    "date": Reason("DATE", f"the cell holds a date or time: {TO_TEXT}"),
    "boolean": Reason("TRUTH", "the cell holds true or false, not a text: export the column as text"),
    "error": Reason(
        "CELL_ERROR", "the cell holds an error of a formula: correct the formula, or paste the codes as values"
    ),
    "formula": Reason(
        "NO_RESULT",
        "the cell holds a formula without a stored result: open the workbook in a spreadsheet program and save it, or "
        "paste the codes as values",
    ),
    "unclear": Reason(
        "NOT_TEXT", "the cell can't be read for certain: open the workbook in a spreadsheet program and save it anew"
    ),
}
