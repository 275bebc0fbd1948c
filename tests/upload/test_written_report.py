"""The workbooks that a report is written to: what stands in a cell is the text, for our reader and for another."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openpyxl import load_workbook

from quanma.upload import report, workbook
from quanma.upload.ledger import Input, Inputs, Ledger
from quanma.upload.plan import Planned, PlannedBatch
from quanma.upload.source import Reading, open_sources
from tests.support.platform import mode_of

# What a file of ours may hold: no half of a pair, which is no text.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def written(rows: Sequence[Sequence[str]], rows_max: int = workbook.ROWS_MAX) -> bytes:
    file = io.BytesIO()
    workbook.write(file, "report", ["row", "code"], rows, rows_max=rows_max)
    return file.getvalue()


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@example(["0012345", "=1+1", "_x0041_", "a\rb", "\x00", "\ufffe", "<&>\"'", " A ", "1.23E+15", "+1", "2026/8/1"])
@given(st.lists(TEXT.filter(str.strip), min_size=1, max_size=20))
def test_our_own_reader_finds_every_text_as_it_was(codes: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.xlsx"
        path.write_bytes(written([(str(row), code) for row, code in enumerate(codes)]))
        (source,) = open_sources(str(path), Reading(header_row=1, column="2"))
        read = [code for block in source.blocks() for code in block.codes]
    assert read == codes


@pytest.mark.slow
@given(st.lists(st.text("0123456789QM-=+_x ", min_size=1, max_size=20), min_size=1, max_size=9))
def test_another_reader_finds_texts_and_no_numbers_or_formulas(codes: list[str]) -> None:
    sheet = load_workbook(io.BytesIO(written([("1", code) for code in codes]))).active
    assert sheet is not None
    cells = [row[1] for row in sheet.iter_rows(min_row=2)]
    assert [cell.data_type for cell in cells] == ["s"] * len(codes)
    assert {cell.number_format for cell in cells} == {"@"}
    assert [cell.value for cell in cells] == codes or any("_x" in code for code in codes)


def test_more_rows_than_a_sheet_takes_go_on_in_the_next_one(tmp_path: Path) -> None:
    codes = [f"QM{number:05}" for number in range(10)]
    (tmp_path / "report.xlsx").write_bytes(written([("1", code) for code in codes], rows_max=4))
    book = load_workbook(tmp_path / "report.xlsx")
    assert book.sheetnames == ["report", "report (2)", "report (3)", "report (4)"]
    read = open_sources(str(tmp_path / "report.xlsx"), Reading(sheet=("*",)))
    assert [code for source in read for block in source.blocks() for code in block.codes] == codes


def test_the_report_as_a_workbook_has_the_lines_of_the_other_and_is_private(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "a.quanma", target="busifavor", mchid="1", stock_id="1") as ledger:
        ledger.begin_plan()
        ledger.keep_batches([PlannedBatch(["=1+1", "0012"], "1-2")])
        ledger.end_plan(Planned(2, 2, 0, 0, 0, []), Inputs(sources=[Input("codes.txt", "0" * 64)]))
        kept = report.write(ledger, tmp_path / "report", xlsx=True)
    assert kept.report_xlsx is not None
    assert mode_of(kept.report_xlsx) == 0o600
    sheet = load_workbook(kept.report_xlsx).active
    assert sheet is not None
    lines = list(sheet.iter_rows(values_only=True))
    assert lines[0] == report.FIELDS
    assert lines[1][:3] == ("1", "=1+1", "pending")
    assert lines[2][:3] == ("2", "0012", "pending")


def test_a_file_of_an_earlier_report_does_not_stay(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "a.quanma", target="busifavor", mchid="1", stock_id="1") as ledger:
        ledger.begin_plan()
        ledger.keep_batches([PlannedBatch(["A1"], "1")])
        ledger.end_plan(Planned(1, 1, 0, 0, 0, []), Inputs(sources=[Input("codes.txt", "0" * 64)]))
        report.write(ledger, tmp_path / "report", xlsx=True)
        (tmp_path / "report" / report.REJECTED_XLSX).touch()
        report.write(ledger, tmp_path / "report")
    assert sorted(file.name for file in (tmp_path / "report").iterdir()) == ["leftover.txt", "report.csv"]
