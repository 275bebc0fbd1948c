"""Sheets of Excel workbooks (.xlsx, .xlsm): which of them are read, and their rows as codes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import islice
from operator import itemgetter
from typing import IO, Final, cast

from ...errors import SourceUnreadable
from ..odd import TOTAL_MARKS
from ..reasons import Reason
from .archive import look_into
from .block import Block
from .content import Content
from .kinds import no_workbook
from .layout import find
from .reading import Reading
from .table import Table
from .workbook import Cell, Damaged, NoText, Rows, SheetPart, Strings, Workbook, in_columns

ALL_SHEETS: Final = "*"


class Sheet:
    """The rows of one sheet. Only a cell that holds text is a code: a number has lost its leading zeros."""

    def __init__(
        self, content: Content, name: str, kept: _Kept, sheet: SheetPart, table: Table, reading: Reading
    ) -> None:
        self.name = name
        hidden = ", which is hidden" if sheet.hidden else ""
        self.notes = [f"Excel, sheet '{sheet.name}'{hidden}, {table.layout.told()}"]
        self._content = content
        self._kept = kept
        self._sheet = sheet
        self._table = table
        self._reading = reading

    def blocks(self) -> Iterator[Block]:
        with _opened(self._content.name, self._kept) as workbook:
            for rows in in_order(self._content.name, workbook, self._sheet):
                block = self._block(rows)
                if block.codes or block.left_out:
                    yield block
        self._kept.let_go(self._sheet.name)

    @property
    def values_seen(self) -> Mapping[str, Sequence[str]]:
        return self._table.values_seen

    def fingerprint(self) -> str:
        return self._content.fingerprint()

    def _block(self, rows: Rows) -> Block:
        layout = self._table.layout
        totals = not self._reading.take_odd and rows.may_hold(TOTAL_MARKS)
        if (
            self._table.plain
            and not totals
            and not rows.hidden
            and rows.numbers[0] > max(layout.header_row, layout.words_row)
            and max(rows.places) < layout.width
        ):
            codes = rows.column(layout.place)
            if set(map(type, codes)) == {str}:
                texts = cast(list[str], list(codes))
                stripped = list(map(str.strip, texts))
                if all(stripped) and not (layout.header and layout.header[layout.place].strip() in stripped):
                    return Block(rows.numbers, stripped if self._reading.trim else texts)
        return self._table.block(rows, self._too_wide(rows), totals=totals)

    def _too_wide(self, rows: Rows) -> dict[int, Reason]:
        """What stands behind the last column of the table may have moved the code there."""
        width = self._table.layout.width
        if max(rows.places) < width:
            return {}
        too_wide: dict[int, Reason] = {}
        for index, cells in enumerate(rows.by_row()):
            beyond = [place for place, cell in cells.items() if place >= width and _stands_there(cell)]
            if beyond and rows.numbers[index] > self._table.layout.header_row:
                too_wide[index] = Reason(
                    "FIELDS",
                    f"the row has {max(beyond) + 1} fields, {width} are expected: the code may stand in another column",
                )
        return too_wide


def open_sheets(path: str, names: Sequence[str], reading: Reading) -> list[Sheet]:
    """Open the sheets of a workbook that are named, ALL_SHEETS for each with rows; else the first to be seen with rows.

    Sheets that are not read are told in the notes of the first one. A sheet that was named has its name behind the
    workbook's: `codes.xlsx#Sheet2`.

    Raises:
        SourceUnreadable: no workbook, no such sheet, no such column; or several columns and none chosen.
    """
    content = Content(path)
    if not content.repeatable:
        raise SourceUnreadable(f"{content.name} is a pipe, and a workbook can be read only from a file")
    kept = _Kept(path)
    with _opened(content.name, kept) as workbook:
        if not workbook.sheets:
            raise SourceUnreadable(f"{content.name} has no sheet with cells")
        filled = {sheet.name: _has_rows(content.name, workbook, sheet) for sheet in workbook.sheets}
        chosen = _chosen(content.name, workbook.sheets, filled, names)
        opened: list[Sheet] = []
        for sheet in chosen:
            name = f"{content.name}#{sheet.name}" if names else content.name
            table = Table(find(name, _first_rows(content.name, workbook, sheet), reading), reading, typed=True)
            opened.append(Sheet(content, name, kept, sheet, table, reading))
    kept.wanted = {sheet.name for sheet in chosen}
    opened[0].notes += _told([sheet for sheet in workbook.sheets if sheet not in chosen], filled)
    return opened


_SAMPLE_ROWS: Final = 100


def _chosen(name: str, sheets: Sequence[SheetPart], filled: dict[str, bool], names: Sequence[str]) -> list[SheetPart]:
    known = {sheet.name: sheet for sheet in sheets}
    chosen: dict[str, SheetPart] = {}
    for wanted in names:
        if wanted in known:
            chosen[wanted] = known[wanted]
        elif wanted == ALL_SHEETS:
            chosen.update((sheet.name, sheet) for sheet in sheets if filled[sheet.name])
        else:
            raise SourceUnreadable(f"{name} has no sheet '{wanted}', only " + ", ".join(f"'{one}'" for one in known))
    if names:
        return list(chosen.values()) or [sheets[0]]
    # What a person sees on opening the workbook goes before what is hidden.
    seen_first = sorted(sheets, key=lambda sheet: (not filled[sheet.name], sheet.hidden))
    return seen_first[:1]


def _told(left: Sequence[SheetPart], filled: dict[str, bool]) -> list[str]:
    """Say what is not read."""
    told: list[str] = []
    for hidden, what in ((False, ""), (True, "hidden ")):
        names = [f"'{sheet.name}'" for sheet in left if sheet.hidden == hidden and filled[sheet.name]]
        if names:
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            sheets, have = ("sheets", "have") if len(names) > 1 else ("sheet", "has")
            told.append(
                f"the {what}{sheets} {shown} {have} rows too, and {'are' if len(names) > 1 else 'is'} not read: "
                f"--sheet NAME reads one, --sheet '{ALL_SHEETS}' all"
            )
    return told


class _Kept:
    """What the sheets of one workbook share: its texts, from the first look until each of them was read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.wanted: set[str] = set()
        self._strings: Strings | None = None
        self._state: tuple[int, ...] = ()

    def workbook(self, file: IO[bytes]) -> Workbook:
        """Raises Damaged: it is none."""
        found = os.fstat(file.fileno())
        state = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        workbook = Workbook(file, self._strings if state == self._state else None)
        self._strings, self._state = workbook.texts(), state
        return workbook

    def let_go(self, sheet: str) -> None:
        self.wanted.discard(sheet)
        if not self.wanted:
            self._strings = None


@contextlib.contextmanager
def _opened(name: str, kept: _Kept) -> Generator[Workbook]:
    try:
        # What was looked at is what is read, whatever comes to stand at the path.
        with open(kept.path, "rb") as file:
            if other := no_workbook(file):
                raise SourceUnreadable(f"{name} is no readable .xlsx workbook: it is {other}")
            try:
                look_into(name, file)
                yield kept.workbook(file)
            except Damaged as cause:
                raise SourceUnreadable(
                    f"{name} is no readable .xlsx workbook: {cause}; open it in a spreadsheet program and save it as "
                    ".xlsx"
                ) from cause
    except OSError as cause:
        raise SourceUnreadable(f"{name} cannot be read: {cause.strerror}") from cause


def in_order(name: str, workbook: Workbook, sheet: SheetPart, pieces_max: int | None = None) -> Iterator[Rows]:
    """The rows of a sheet in which something stands, by their numbers.

    Raises:
        SourceUnreadable: the sheet is damaged; two rows have one number; or a row stands behind one with a higher
            number, in a sheet of more than SORTED_BYTES_MAX.
    """
    last = 0
    try:
        batches = workbook.rows(sheet, pieces_max)
        if workbook.size(sheet) <= SORTED_BYTES_MAX:
            batches = iter(_sorted(list(batches)))
        for rows in batches:
            for number in rows.numbers if not _ascend(rows.numbers) or rows.numbers[0] <= last else ():
                if number <= last:
                    what = "comes twice" if number == last else f"stands behind row {last:,}"
                    raise Damaged(f"row {number:,} {what}")
                last = number
            last = rows.numbers[-1]
            yield rows
    except Damaged as cause:
        raise SourceUnreadable(
            f"{name}: sheet '{sheet.name}' is damaged: {cause}; open it in a spreadsheet program and save it as .xlsx"
        ) from cause


SORTED_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of a sheet's XML, some 60,000 rows. A larger one is read as it comes; writers put rows in order. Our choice."""


def _sorted(batches: list[Rows]) -> list[Rows]:
    """Rows by their numbers, where they are not."""
    if _ascend([number for rows in batches for number in rows.numbers]):
        return batches
    rows = [
        (number, index in hidden, cells)
        for batch in batches
        for hidden in (frozenset(batch.hidden),)
        for index, (number, cells) in enumerate(zip(batch.numbers, batch.by_row(), strict=True))
    ]
    rows.sort(key=itemgetter(0))
    columns: dict[int, dict[int, Cell]] = {}
    for at, (_, _, cells) in enumerate(rows):
        for place, cell in cells.items():
            columns.setdefault(place, {})[at] = cell
    return [in_columns([row[0] for row in rows], columns, [at for at, row in enumerate(rows) if row[1]])]


def _ascend(numbers: Sequence[int]) -> bool:
    return isinstance(numbers, range) or all(map(int.__lt__, numbers, islice(numbers, 1, None)))


_LOOK_PIECES: Final = 16


def _has_rows(name: str, workbook: Workbook, sheet: SheetPart) -> bool:
    """Say whether anything stands in a sheet, at its beginning."""
    return any(any(map(_is_filled, rows.by_row())) for rows in in_order(name, workbook, sheet, _LOOK_PIECES))


def _first_rows(name: str, workbook: Workbook, sheet: SheetPart) -> list[tuple[int, list[str]]]:
    sample: list[tuple[int, list[str]]] = []
    for rows in in_order(name, workbook, sheet):
        for number, cells in zip(rows.numbers, rows.by_row(), strict=True):
            if _is_filled(cells):
                sample.append((number, [_text_of(cells.get(place)) for place in range(max(cells) + 1)]))
                if len(sample) == _SAMPLE_ROWS:
                    return sample
    return sample


def _text_of(cell: Cell) -> str:
    if isinstance(cell, NoText):
        return cell.text or cell.kind
    return cell or ""


def _is_filled(cells: dict[int, Cell]) -> bool:
    return any(map(_stands_there, cells.values()))


def _stands_there(cell: Cell) -> bool:
    return isinstance(cell, NoText) or bool(cell and cell.strip())
