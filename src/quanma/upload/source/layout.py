"""Where a table's header stands, and which column holds the codes: found in its first rows. Pure.

A header is a row that names a column of codes, or words above a column of digits. Above it only titles may stand:
rows with one filled cell, or with nothing like a code where the codes are. Whatever else stands there may be a code,
so then nothing is taken, and the user is asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import Final, NamedTuple

from ...api import rules
from ...errors import SourceUnreadable, masked
from ...storage import headers
from .reading import Reading

HEADER_ROWS: Final = 10
"""So many filled rows are looked at for the header. Our choice."""
_ROWS_SHOWN: Final = 5
_COLUMNS_SHOWN: Final = 12

NumberedRows = Sequence[tuple[int, Sequence[str]]]
"""The first filled rows of a table, each with its number in the file."""

CORRECTED: Final = ("改正", "corrected")
REASON: Final = ("原因", "reason")
REASON_CODE: Final = ("原因代码", "reason_code")
"""Columns of a file of rejected rows: see `report.py`."""


class Corrections(NamedTuple):
    """The columns of a file of rejected rows, from 0."""

    corrected: int
    reason: int
    reason_code: int | None


class Layout(NamedTuple):
    """Where in a table the codes are."""

    place: int
    """The column of the codes, from 0."""
    width: int
    """How many columns a row has."""
    header: Sequence[str] | None
    """The names of the columns, if a row is a header."""
    header_row: int
    """Its number. It and all above it hold no codes; 0: there is none."""
    titles: Sequence[int] = ()
    """The rows above it."""
    where: Sequence[tuple[int, frozenset[str]]] = ()
    """Columns, and the values that a row must have there to be read."""
    corrections: Corrections | None = None
    words_row: int = 0
    """A first row whose code has no digit, while all others have one: perhaps a header that nobody knows."""

    def told(self) -> str:
        """Say it in one line."""
        if self.header is None:
            return f"no header row, column {self.place + 1} of {self.width}"
        row = f"header in row {self.header_row}" if self.titles else "header row"
        said = f"{row}, column '{self.header[self.place].strip()}' ({self.place + 1} of {self.width})"
        if not self.titles:
            return said
        first, last = self.titles[0], self.titles[-1]
        above = (
            f"row {first} above it is a title and" if first == last else f"rows {first} to {last} above it are titles,"
        )
        return f"{said}; {above} no code{'' if first == last else 's'}"


def find(name: str, first_rows: NumberedRows, reading: Reading) -> Layout:
    """Find the codes in the first filled rows of a table.

    Raises:
        SourceUnreadable: no such column or header row; or several columns, and nothing says which. The message
            shows the first rows.
    """
    if not first_rows:
        return Layout(0, 1, None, 0)
    at = _header_at(name, first_rows, reading)
    width = max(len(cells) for _, cells in first_rows)
    if at is None:
        place = _place_without_header(name, first_rows, width, reading)
        layout = Layout(
            place, width, None, 0, words_row=0 if reading.header_row == 0 else _words_row(first_rows, place)
        )
    else:
        row, header = first_rows[at]
        # What stands behind the last name has none; a title may be wider than the table.
        below = [len(cells) for _, cells in first_rows[at + 1 :]]
        names = [*header, *[""] * (max(below, default=0) - len(header))]
        width = len(header)
        corrections = _corrections(header)
        if corrections is not None and reading.column is None:
            known = headers.place(headers.CODE_NAMES, header)
            place = known[1][0] if known else corrections.corrected
        else:
            place = _named_place(name, names, first_rows, reading.column)
        layout = Layout(place, max(width, place + 1), names, row, [number for number, _ in first_rows[:at]])
        layout = layout._replace(corrections=corrections)
        if reading.header_row is None:
            _check_titles(name, first_rows, at, layout)
    return layout._replace(where=_where(name, layout, reading))


def filled_columns(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the places of the columns that hold anything in these rows."""
    return [place for place, cells in enumerate(zip_longest(*rows, fillvalue="")) if any(map(str.strip, cells))]


def choose_by_name(name: str, names: Sequence[str], column: str | None) -> int:
    """Find the column among names; column is one of them, or a number from 1. Return its index.

    Raises:
        SourceUnreadable: no such column; or several columns, and nothing says which.
    """
    return _named_place(name, names, (), column)


def looks_like_a_code(text: str) -> bool:
    """Whether a text is one that the platform takes, and has a digit, as nearly every code has."""
    return rules.BUSIFAVOR.pattern.fullmatch(text.strip()) is not None and _has_digit(text)


def shown_rows(first_rows: NumberedRows) -> str:
    """Show the first rows, each in a line, and no whole code."""
    lines = [f"  row {row}: {_shown(cells)}" for row, cells in first_rows[:_ROWS_SHOWN]]
    return "".join(f"\n{line}" for line in lines)


# The header


def _header_at(name: str, first_rows: NumberedRows, reading: Reading) -> int | None:
    if reading.header_row is not None:
        if reading.header_row == 0:
            return None
        for at, (row, _) in enumerate(first_rows):
            if row == reading.header_row:
                return at
        raise SourceUnreadable(
            f"{name} has nothing in row {reading.header_row}, which --header-row names; its first rows:"
            f"{shown_rows(first_rows)}"
        )
    looked_at = [cells for _, cells in first_rows[:HEADER_ROWS]]
    named = [at for at, cells in enumerate(looked_at) if _has_name(cells, reading.column)]
    known = [at for at, cells in enumerate(looked_at) if any(map(headers.names_codes, cells))]
    if candidates := named or known:
        # A title may hold the word alone.
        at = max(candidates, key=lambda at: (min(_filled(looked_at[at]), 2), -at))
        # In one column, a name below codes, good or bad, is a row like them, and is told as one.
        if max(map(len, looked_at)) > 1 or all(_CHINESE.search(cells[0]) for cells in looked_at[:at]):
            return at
        return None
    widest = max(map(_filled, looked_at))
    for at, cells in enumerate(looked_at):
        if _filled(cells) == widest:
            return at if _is_unknown_header(cells, [cells for _, cells in first_rows[at + 1 :]]) else None
        if _filled(cells) > 1:
            return None
    return None


def _has_name(cells: Sequence[str], column: str | None) -> bool:
    return column is not None and not column.isdecimal() and bool(_same(cells, column))


def _is_unknown_header(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    # Several words without a digit, above a column with digits in every row. One column alone is not enough:
    # a first code without a digit would be lost.
    if len(first) < 2 or not others or not all(first) or any(map(_has_digit, first)):
        return False
    return any(all(_has_digit(cell) for cell in cells) for cells in zip_longest(*others, fillvalue=""))


def _check_titles(name: str, first_rows: NumberedRows, at: int, layout: Layout) -> None:
    for row, cells in first_rows[:at]:
        code = cells[layout.place] if layout.place < len(cells) else ""
        if _may_be_a_code(code) and _filled(cells) > 1:
            raise SourceUnreadable(
                f"{name}: the header seems to be in row {layout.header_row}, but row {row} above it holds what may be "
                f"a code: say --header-row {layout.header_row}, or --header-row 0 if there is none; its first rows:"
                f"{shown_rows(first_rows)}"
            )


def _words_row(first_rows: NumberedRows, place: int) -> int:
    first, *others = [cells[place] if place < len(cells) else "" for _, cells in first_rows]
    words = rules.BUSIFAVOR.pattern.fullmatch(first) is not None and not _has_digit(first)
    return first_rows[0][0] if words and len(others) > 1 and all(map(_has_digit, others)) else 0


def _may_be_a_code(text: str) -> bool:
    return rules.BUSIFAVOR.pattern.fullmatch(text.strip()) is not None


def _corrections(header: Sequence[str]) -> Corrections | None:
    corrected, reason = headers.place(CORRECTED, header), headers.place(REASON, header)
    if corrected is None or reason is None:
        return None
    code = headers.place(REASON_CODE, header)
    return Corrections(corrected[1][0], reason[1][0], code[1][0] if code else None)


# The column


def _named_place(name: str, names: Sequence[str], first_rows: NumberedRows, column: str | None) -> int:
    if column is None:
        known = [index for index, header in enumerate(names) if headers.names_codes(header)]
        return known[0] if len(known) == 1 else _numbered(name, names, first_rows, None)
    same = _same(names, column)
    if len(same) > 1:
        raise SourceUnreadable(
            f"{name} has {len(same)} columns '{column}'; choose one by its number, "
            + " or ".join(f"--column {index + 1}" for index in same)
        )
    return same[0] if same else _numbered(name, names, first_rows, column)


def _place_without_header(name: str, first_rows: NumberedRows, width: int, reading: Reading) -> int:
    filled = filled_columns([cells for _, cells in first_rows])
    if reading.column is None and len(filled) == 1:
        return filled[0]
    # The first of the widest rows: a title says nothing about the columns.
    fullest = max((cells for _, cells in first_rows), key=_filled)
    shown = [_shown_cell(cell) for cell in fullest] + [""] * (width - len(fullest))
    return _numbered(name, shown, first_rows, reading.column)


def _numbered(name: str, shown: Sequence[str], first_rows: NumberedRows, column: str | None) -> int:
    if column is None and len(shown) == 1:
        return 0
    if column is not None and column.isdecimal() and 1 <= int(column) <= len(shown):
        return int(column) - 1
    columns = ", ".join(f"{number} '{cell.strip()[:24]}'" for number, cell in enumerate(shown[:_COLUMNS_SHOWN], 1))
    if len(shown) > _COLUMNS_SHOWN:
        columns += f" and {len(shown) - _COLUMNS_SHOWN:,} more"
    rows = f"; its first rows:{shown_rows(first_rows)}" if first_rows else ""
    if column is None:
        raise SourceUnreadable(
            f"{name} has several columns: {columns}; "
            f"say which one holds the codes, with --column and its name or number{rows}"
        )
    raise SourceUnreadable(f"{name} has no column '{column}', only {columns}; choose with --column{rows}")


def _where(name: str, layout: Layout, reading: Reading) -> list[tuple[int, frozenset[str]]]:
    values: dict[int, set[str]] = {}
    for column, value in reading.where:
        values.setdefault(_where_place(name, layout, column), set()).add(value.strip())
    return [(place, frozenset(wanted)) for place, wanted in values.items()]


def _where_place(name: str, layout: Layout, column: str) -> int:
    names = layout.header or ()
    same = _same(names, column)
    if len(same) == 1:
        return same[0]
    if not same and column.isdecimal() and 1 <= int(column) <= max(layout.width, len(names)):
        return int(column) - 1
    there = ", ".join(f"'{one.strip()[:24]}'" for one in names) or f"1 to {layout.width}, without names"
    several = f"{len(same)} columns" if same else "no column"
    raise SourceUnreadable(f"{name} has {several} '{column}', which --where names; its columns: {there}")


def _same(names: Sequence[str], column: str) -> list[int]:
    exact = [index for index, header in enumerate(names) if header.strip() == column.strip()]
    return exact or [
        index for index, header in enumerate(names) if header.strip().casefold() == column.strip().casefold()
    ]


# Cells


def _filled(cells: Sequence[str]) -> int:
    return sum(bool(cell.strip()) for cell in cells)


def _has_digit(cell: str) -> bool:
    return any(map(str.isdigit, cell))


def _shown(cells: Sequence[str]) -> str:
    # Words without a digit are a header; codes nearly always have one.
    words = _filled(cells) > 1 and not any(map(_has_digit, cells))
    shown = [re.sub(r"\s+", " ", cell.strip())[:24] if words else _shown_cell(cell) for cell in cells[:_COLUMNS_SHOWN]]
    return " | ".join(shown) + (" | …" if len(cells) > _COLUMNS_SHOWN else "")


def _shown_cell(cell: str) -> str:
    """A cell that may be a code is masked. A code has no Chinese characters."""
    text = re.sub(r"\s+", " ", cell.strip())
    return masked(text) if text and _CHINESE.search(text) is None else text[:24]


_CHINESE: Final = re.compile("[一-鿿]")
