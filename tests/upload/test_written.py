"""What foreign libraries write into a workbook is what is read: each text as it was meant, or the row is told."""

from __future__ import annotations

import datetime
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import python_calamine
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.cell import WriteOnlyCell

from quanma.upload.source import Reading, open_source
from quanma.upload.source.workbook import NoText, Workbook

pytestmark = pytest.mark.slow
Value = str | int | float | bool | None
Table = list[list[Value]]


def _openpyxl(path: Path, sheets: dict[str, Table]) -> None:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, table in sheets.items():
        sheet = book.create_sheet(name)
        for row, cells in enumerate(table, 1):
            for column, value in enumerate(cells, 1):
                if value is not None:
                    cell = sheet.cell(row, column)
                    cell.value = value
                    if isinstance(value, str):
                        cell.data_type = "s"  # Else "=1" is a formula.
    book.save(path)


def _openpyxl_write_only(path: Path, sheets: dict[str, Table]) -> None:
    book = openpyxl.Workbook(write_only=True)
    for name, table in sheets.items():
        sheet = book.create_sheet(name)
        for cells in table:
            row = []
            for value in cells:
                cell = WriteOnlyCell(sheet, value=value)
                if isinstance(value, str):
                    cell.data_type = "s"
                row.append(cell)
            sheet.append(row)
    book.save(path)


def _xlsxwriter(path: Path, sheets: dict[str, Table], **options: bool) -> None:
    with xlsxwriter.Workbook(path, options) as book:
        for name, table in sheets.items():
            sheet = book.add_worksheet(name)
            for row, cells in enumerate(table):
                for column, value in enumerate(cells):
                    if isinstance(value, str):
                        sheet.write_string(row, column, value)
                    elif value is not None:
                        sheet.write(row, column, value)


def _xlsxwriter_inline(path: Path, sheets: dict[str, Table]) -> None:
    _xlsxwriter(path, sheets, constant_memory=True)


WRITERS: dict[str, Callable[[Path, dict[str, Table]], None]] = {
    "openpyxl": _openpyxl,
    "openpyxl, write only": _openpyxl_write_only,
    "xlsxwriter": _xlsxwriter,
    "xlsxwriter, constant memory": _xlsxwriter_inline,
}
# Characters that XML escapes, forbids or changes, what looks like an escape, and wide and astral ones.
LETTERS = st.one_of(
    st.text(st.sampled_from("QM0189 -_\\/=|"), min_size=1, max_size=12),
    st.text(st.sampled_from("A_x0041D&<>\"'\t\n券\U0001f39f é"), max_size=12),
    st.sampled_from(
        ["_x0041_", "_x005F_x0041_", "x005F_", "_x000D_", "=1+1", "'0", "1e5", "TRUE", "#N/A", "00123", "]]>"]
    ),
)
VALUES = st.one_of(LETTERS, LETTERS, st.none(), st.integers(-(10**15), 10**15), st.floats(-1e20, 1e20), st.booleans())
TABLES = st.lists(st.lists(VALUES, max_size=4), max_size=12)


def read(path: Path, number: int = 0) -> dict[tuple[int, int], Value | NoText]:
    with path.open("rb") as file:
        workbook = Workbook(file)
        return {
            (row, column): cell
            for rows in workbook.rows(workbook.sheets[number])
            for row, cells in zip(rows.numbers, rows.by_row(), strict=True)
            for column, cell in cells.items()
        }


@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=60, deadline=None)
@given(first=TABLES, second=TABLES)
def test_what_a_library_writes_is_read_as_it_was_meant(writer: str, first: Table, second: Table) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "codes.xlsx"
        WRITERS[writer](path, {"One": first, "Zwei & 三": second})
        for number, table in enumerate((first, second)):
            found = read(path, number)
            for row, cells in enumerate(table, 1):
                for column, value in enumerate(cells):
                    cell = found.pop((row, column), None)
                    if isinstance(value, str):
                        if not _ambiguous(writer, value):
                            assert (cell or "") == value
                    elif isinstance(value, bool):
                        assert cell == NoText("boolean", str(value).upper())
                    elif value is not None:
                        assert isinstance(cell, NoText)
                        assert cell.kind == "number"
            assert not any(isinstance(cell, str) and cell for cell in found.values())


def _ambiguous(writer: str, text: str) -> bool:
    """openpyxl writes what looks like an escape as it is, xlsxwriter so where two overlap: no reader can know."""
    return re.search("_x[0-9A-Fa-f]{4}_" if "openpyxl" in writer else "_x[0-9A-Fa-f]{4}_x", text) is not None


@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=40, deadline=None)
@given(table=st.lists(st.lists(VALUES, min_size=1, max_size=3), min_size=1, max_size=12))
def test_calamine_and_openpyxl_read_the_same(writer: str, table: Table) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "codes.xlsx"
        WRITERS[writer](path, {"One": table})
        ours = {place: cell for place, cell in read(path).items() if isinstance(cell, str) and cell}
        theirs = {
            "calamine": _texts(
                python_calamine.load_workbook(path).get_sheet_by_index(0).to_python(skip_empty_area=False)
            ),
            "openpyxl": _texts(openpyxl.load_workbook(path, data_only=True).worksheets[0].iter_rows(values_only=True)),
        }
        for reader, texts in theirs.items():
            for place in ours.keys() | texts.keys():
                one, other = ours.get(place, ""), texts.get(place, "")
                # Neither undoes every escape, openpyxl reads an error as text, and calamine drops blanks alone.
                if "_x" in one + other or "x005F" in one + other or other.startswith("#") or not one.strip():
                    continue
                assert one == other, (reader, place)


def _texts(rows: Any) -> dict[tuple[int, int], str]:
    return {
        (row, column): value
        for row, cells in enumerate(rows, 1)
        for column, value in enumerate(cells)
        if isinstance(value, str) and value
    }


@pytest.mark.parametrize("writer", WRITERS)
def test_a_large_sheet_is_read_to_its_last_row(writer: str, tmp_path: Path) -> None:
    blank = {17, 4000, 4001, 9999}
    table: Table = [
        [None] if row in blank else [f"QM{row:09}", row, None if row % 3 else "x"] for row in range(1, 20_001)
    ]
    WRITERS[writer](tmp_path / "codes.xlsx", {"One": table})
    found = open_source(str(tmp_path / "codes.xlsx"), Reading(column="1"))
    rows = [pair for block in found.blocks() for pair in zip(block.rows, block.codes, strict=True)]
    assert rows == [(row, f"QM{row:09}") for row in range(1, 20_001) if row not in blank]


def test_formulas_and_dates_of_libraries_are_told(tmp_path: Path) -> None:
    path = tmp_path / "codes.xlsx"
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for value in ("QM1", '="QM"&1', datetime.date(2025, 3, 4), datetime.time(1, 2), True, 5):
        sheet.append([value])
    book.save(path)
    kinds = [cell.kind if isinstance(cell, NoText) else cell for cell in read(path).values()]
    assert kinds == ["QM1", "formula", "date", "date", "boolean", "number"]
    with xlsxwriter.Workbook(path) as written:
        page: Any = written.add_worksheet()
        page.write_formula(0, 0, '="QM"&1')
        page.write_formula("A2", '="QM"&1', value="QM1")
        page.write_datetime(2, 0, datetime.datetime(2025, 3, 4), written.add_format({"num_format": "yyyy/m/d"}))  # noqa: DTZ001
        page.write_rich_string(3, 0, "QM", written.add_format({"bold": True}), "-4")
    found = read(path)
    kinds = [cell.kind if isinstance(cell, NoText) else cell for cell in found.values()]
    # It stores 0 for a result that it does not know.
    assert kinds == ["formula", "QM1", "date", "QM-4"]


FOREIGN = sorted((Path(__file__).parent / "foreign").glob("*.xlsx"))
"""Written by exceljs, SheetJS and LibreOffice: see make.mjs."""
TEXTS = [
    "QM-0001", " QM ", "A&B<C>\"'", "券码\U0001f39f", "A\tB", "line\nfeed", "=1+1", "00123", "1e5",
    "TRUE", "#N/A", "x005F_",
]  # fmt: skip


@pytest.mark.parametrize("path", FOREIGN, ids=lambda path: path.stem)
def test_what_other_programs_write_is_read_as_it_was_meant(path: Path) -> None:
    found = read(path)
    texts = [found.get((row, 0)) for row in range(1, 16)]
    assert texts == ["券码", *TEXTS, None, "QM-last"]
    assert [found[row, 1] for row in range(2, 15)] == [NoText("number", str(number)) for number in range(12)] + [
        NoText("number", "12")
    ]


@pytest.mark.parametrize("path", [path for path in FOREIGN if "sheetjs" not in path.stem], ids=lambda path: path.stem)
def test_a_row_that_other_programs_hide_is_known(path: Path) -> None:
    with path.open("rb") as file:
        workbook = Workbook(file)
        hidden = [rows.numbers[at] for rows in workbook.rows(workbook.sheets[0]) for at in rows.hidden]
    assert hidden == [9]
