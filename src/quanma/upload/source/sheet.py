"""Excel workbooks (.xlsx), one sheet, row by row."""

from __future__ import annotations

import contextlib
import datetime
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from ...errors import SourceUnreadable
from .archive import look_into
from .block import ROWS_PER_BLOCK, Block
from .content import Content
from .layout import find
from .reading import Reading
from .table import Cell, Fields, Table

if TYPE_CHECKING:
    from openpyxl import Workbook


class Sheet:
    """The rows of one sheet. Only a cell that holds text is a code: a number has lost its leading zeros."""

    def __init__(self, content: Content, path: str, sheet: str, table: Table) -> None:
        self.name = content.name
        self.notes = [f"Excel, sheet '{sheet}', {table.layout.told()}"]
        self._content = content
        self._path = path
        self._sheet = sheet
        self._table = table

    def blocks(self) -> Iterator[Block]:
        numbers: list[int] = []
        rows: list[list[Cell]] = []
        with _opened(self.name, self._path) as workbook:
            for row, cells in enumerate(_table(self.name, workbook, self._sheet), 1):
                if not _is_filled(cells):
                    continue
                numbers.append(row)
                rows.append(list(map(_cell, cells)))
                if len(rows) == ROWS_PER_BLOCK:
                    yield self._table.block(Fields(numbers, rows))
                    numbers, rows = [], []
        if rows:
            yield self._table.block(Fields(numbers, rows))

    @property
    def values_seen(self) -> Mapping[str, Sequence[str]]:
        return self._table.values_seen

    def fingerprint(self) -> str:
        return self._content.fingerprint()


def open_sheet(path: str, sheet: str | None, reading: Reading) -> Sheet:
    """Open one sheet of a workbook, the first unless named.

    Raises:
        SourceUnreadable: no workbook, no such sheet, no such column; or several columns and none chosen.
    """
    content = Content(path)
    if not content.repeatable:
        raise SourceUnreadable(f"{content.name} is a pipe, and a workbook can be read only from a file")
    with _opened(content.name, path) as workbook:
        names = [worksheet.title for worksheet in workbook.worksheets]
        if not names:
            raise SourceUnreadable(f"{content.name} has no sheet with cells")
        if sheet is not None and sheet not in names:
            raise SourceUnreadable(
                f"{content.name} has no sheet '{sheet}', only " + ", ".join(f"'{name}'" for name in names)
            )
        chosen = sheet or names[0]
        filled = (
            (row, cells) for row, cells in enumerate(_table(content.name, workbook, chosen), 1) if _is_filled(cells)
        )
        first_rows = [(row, [_text(cell) for cell in cells]) for row, cells in islice(filled, _SAMPLE_ROWS)]
    return Sheet(content, path, chosen, Table(find(content.name, first_rows, reading), reading, typed=True))


_SAMPLE_ROWS: Final = 100
ROWS_MAX: Final = 1_048_576
"""Of a sheet. Source: documented, as a limit of Excel."""


@contextlib.contextmanager
def _opened(name: str, path: str) -> Generator[Workbook]:
    from openpyxl import load_workbook  # Here: it takes longer to import than all else together.

    with contextlib.ExitStack() as opened:
        try:
            # What was looked at is what is read, whatever comes to stand at the path.
            file = opened.enter_context(open(path, "rb"))
            look_into(name, file)
            with warnings.catch_warnings():
                # It warns of styles and extensions that it drops; we only read values.
                warnings.simplefilter("ignore")
                # data_only: the text that a formula has come to, not the formula. keep_links: of other workbooks.
                workbook = load_workbook(file, read_only=True, data_only=True, keep_links=False)
        except SourceUnreadable:
            raise
        # It raises whatever its zip and XML readers do.
        except Exception as cause:
            raise SourceUnreadable(
                f"{name} is no readable .xlsx workbook ({cause}); save it as .xlsx without a password"
            ) from cause
        opened.callback(workbook.close)
        yield workbook


def _table(name: str, workbook: Workbook, sheet: str) -> Iterator[tuple[object, ...]]:
    worksheet = workbook[sheet]
    # The size that the file claims can be a million empty rows of 16,384 cells.
    worksheet.reset_dimensions()
    rows, rows_read = worksheet.iter_rows(values_only=True), 0
    while True:
        try:
            cells = next(rows, None)
        except Exception as cause:
            raise SourceUnreadable(f"{name}: sheet '{sheet}' is damaged: {cause}") from cause
        if cells is None:
            return
        rows_read += 1
        if rows_read > ROWS_MAX:  # A row may claim any number, and all before it are given as empty ones.
            raise SourceUnreadable(f"{name}: sheet '{sheet}' is damaged: a row has a number above {ROWS_MAX:,}")
        yield cells


def _is_filled(cells: tuple[object, ...]) -> bool:
    return any(cell is not None and not (isinstance(cell, str) and not cell.strip()) for cell in cells)


class _NoText(NamedTuple):
    """A cell that holds something else than a text."""

    kind: str
    text: str


def _cell(cell: object) -> Cell:
    if cell is None or (isinstance(cell, str) and not cell.startswith("#")):
        return cell
    if isinstance(cell, str):
        return _NoText("error", cell) if cell in _ERRORS else cell
    if isinstance(cell, bool):
        return _NoText("boolean", str(cell))
    if isinstance(cell, int | float):
        return _NoText("number", _text(cell))
    if isinstance(cell, datetime.datetime | datetime.date | datetime.time | datetime.timedelta):
        return _NoText("date", str(cell))
    return _NoText(type(cell).__name__, str(cell))


_ERRORS: Final = ("#N/A", "#NAME?", "#VALUE!", "#REF!", "#DIV/0!", "#NUM!", "#NULL!")


def _text(cell: object) -> str:
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e21:
        return f"{cell:.0f}"
    return "" if cell is None else str(cell)
