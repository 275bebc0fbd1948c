"""Which sheets of a workbook are read, how they are named, and what is told of the others; and what is no workbook."""

from __future__ import annotations

import bz2
import lzma
import os
import zipfile
from pathlib import Path

import pytest

from quanma.errors import LedgerRefused, SourceUnreadable
from quanma.upload import BUSIFAVOR, Ledger, prepare, report
from quanma.upload.source import Reading, Source, open_source, open_sources, sheet
from tests.support.every import every_row
from tests.support.platform import MCHID
from tests.upload.parts import inline, parts, write

STOCK = "98065001"


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "codes.xlsx"


def codes(source: Source) -> list[str]:
    return [code for block in source.blocks() for code in block.codes]


def three(book: Path, **how: dict[int, str]) -> str:
    """A workbook of three sheets, as an export of many rows is cut."""
    return write(book, parts(inline("券码", "QM1"), inline("券码", "QM2"), inline("券码", "QM3"), **how))  # type: ignore[arg-type]


def test_the_first_sheet_is_read_and_others_with_rows_are_told(book: Path) -> None:
    source = open_source(three(book))
    assert codes(source) == ["QM1"]
    assert source.notes == [
        "Excel, sheet 'Sheet1', header row, column '券码' (1 of 1)",
        "the sheets 'Sheet2', 'Sheet3' have rows too, and are not read: --sheet NAME reads one, --sheet '*' all",
    ]


def test_all_sheets_are_read_if_asked_for_and_each_is_an_input_of_its_own(book: Path) -> None:
    path = three(book)
    sources = open_sources(path, Reading(sheet=("*",)))
    assert [source.name for source in sources] == [f"{path}#Sheet1", f"{path}#Sheet2", f"{path}#Sheet3"]
    assert [codes(source) for source in sources] == [["QM1"], ["QM2"], ["QM3"]]
    assert all("not read" not in note for source in sources for note in source.notes)


def test_sheets_are_read_as_they_are_named(book: Path) -> None:
    sources = open_sources(three(book), Reading(sheet=("Sheet3", "Sheet1", "Sheet3")))
    assert [codes(source) for source in sources] == [["QM3"], ["QM1"]]
    with pytest.raises(SourceUnreadable, match="has no sheet 'Sheet9', only 'Sheet1', 'Sheet2', 'Sheet3'"):
        open_sources(three(book), Reading(sheet=("Sheet9",)))


def test_a_hidden_sheet_is_read_only_if_it_is_named_and_told_otherwise(book: Path) -> None:
    for state in ("hidden", "veryHidden"):
        path = three(book, states={1: state}, names={1: "old"})
        source = open_source(path)
        assert codes(source) == ["QM2"]
        assert source.notes[-1].startswith("the hidden sheet 'old' has rows too, and is not read")
        (named,) = open_sources(path, Reading(sheet=("old",)))
        assert codes(named) == ["QM1"]
        assert named.notes[0].startswith("Excel, sheet 'old', which is hidden,")


def test_a_workbook_of_hidden_sheets_says_so(book: Path) -> None:
    source = open_source(write(book, parts(inline("QM1"), states={1: "hidden"})))
    assert codes(source) == ["QM1"]
    assert "which is hidden" in source.notes[0]


@every_row("empty", ["", '<row r="1"/>', '<row r="1"><c r="A1" s="0"/></row>', inline(" ")])
def test_an_empty_first_sheet_is_passed_over(book: Path, empty: str) -> None:
    source = open_source(write(book, parts(empty, inline("QM1"))))
    assert codes(source) == ["QM1"]
    assert source.notes == ["Excel, sheet 'Sheet2', no header row, column 1 of 1"]


def test_a_sheet_is_named_behind_the_path_also_with_the_sign_in_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a#b.xlsx", parts(inline("QM1"), inline("QM2"), names={2: "Batch #2"}))
    assert codes(open_source(f"{path}#Batch #2")) == ["QM2"]
    assert codes(open_source(path)) == ["QM1"]
    (tmp_path / "a").write_text("X1\n")
    assert codes(open_source(f"{path}#Batch #2")) == ["QM2"]


def test_rows_of_two_sheets_are_told_apart_and_a_resume_knows_them(book: Path, tmp_path: Path) -> None:
    path = write(book, parts(inline("券码", "QM1", "QM+2"), inline("券码", "QM1", "QM+4"), names={1: "A", 2: "B"}))
    both = Reading(sheet=("A", "B"))
    with Ledger.create(tmp_path / "l.quanma", target=BUSIFAVOR.name, mchid=MCHID, stock_id=STOCK) as ledger:
        planned = prepare.make_plan(ledger, BUSIFAVOR, open_sources(path, both), both)
        assert (planned.rows, planned.distinct, planned.duplicate, planned.rejected) == (4, 1, 1, 2)
        where = {line.row: line for line in report.lines(ledger)}
        assert len(where) == 4
        report.write(ledger, tmp_path)
        prepare.check_unchanged(ledger, open_sources(path, both), both)
        for other in (Reading(sheet=("B", "A")), Reading(sheet=("A",)), Reading()):
            with pytest.raises(LedgerRefused):
                prepare.check_unchanged(ledger, open_sources(path, other), other)
    rows = [line.split(",")[0] for line in (tmp_path / report.REPORT).read_text("utf-8-sig").splitlines()[1:]]
    assert rows == [f"{path}#A:2", f"{path}#A:3", f"{path}#B:2", f"{path}#B:3"]


def test_the_command_that_resumes_names_the_sheets() -> None:
    assert prepare.options(Reading(sheet=("A", "B b"))) == ["--sheet", "A", "--sheet", "B b"]


def test_hidden_rows_are_told_and_sent(book: Path, tmp_path: Path) -> None:
    rows = inline("券码", "QM1", "QM2", "QM3").replace('<row r="3"', '<row r="3" hidden="1"')
    with Ledger.create(tmp_path / "l.quanma", target=BUSIFAVOR.name, mchid=MCHID, stock_id=STOCK) as ledger:
        planned = prepare.make_plan(ledger, BUSIFAVOR, [open_source(write(book, parts(rows)))])
    assert planned.distinct == 3
    assert [warning.partition(":")[0] for warning in planned.warnings] == ["1 × hidden row (row 3)"]


@every_row("order", ["1,3,2", "3,2,1", "7,1,9,5"])
def test_rows_may_stand_in_any_order(book: Path, order: str) -> None:
    numbers = list(map(int, order.split(",")))
    rows = "".join(inline(f"QM{number}", first_row=number) for number in numbers).replace('r="3"', 'r="3" hidden="1"')
    source = open_source(write(book, parts(rows)))
    found = [pair for block in source.blocks() for pair in zip(block.rows, block.codes, strict=True)]
    assert found == [(number, f"QM{number}") for number in sorted(numbers)]
    hidden = [remark for block in source.blocks() for remark in block.remarks]
    assert hidden == ([("HIDDEN_ROW", 3)] if 3 in numbers else [])


def test_a_header_stands_first_by_its_number_and_not_by_its_place(book: Path) -> None:
    rows = inline("QM2", "QM3", first_row=2) + inline("券码")
    assert codes(open_source(write(book, parts(rows)))) == ["QM2", "QM3"]


def test_two_rows_of_one_number_are_refused(book: Path) -> None:
    rows = inline("QM1", "QM2") + inline("QM3", first_row=2)
    with pytest.raises(SourceUnreadable, match=r"row 2 comes twice; open it in a spreadsheet"):
        codes(open_source(write(book, parts(rows))))


def test_rows_out_of_order_in_a_large_sheet_are_refused_with_their_numbers(
    book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheet, "SORTED_BYTES_MAX", 100)
    with pytest.raises(SourceUnreadable, match=r"row 2 stands behind row 3; open it in a spreadsheet"):
        codes(open_source(write(book, parts(inline("QM1") + inline("QM3", first_row=3) + inline("QM2", first_row=2)))))


def test_sheets_are_for_workbooks(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text("code\nA1\n")
    with pytest.raises(SourceUnreadable, match="is no Excel workbook, and has no sheets for --sheet"):
        open_sources(str(tmp_path / "codes.csv"), Reading(sheet=("A",)))


def test_a_workbook_is_known_by_its_content(tmp_path: Path) -> None:
    for name in ("codes.xls", "codes.csv", "codes", "codes.XLSX", "codes.et"):
        assert codes(open_source(write(tmp_path / name, parts(inline("QM1"))))) == ["QM1"]


def _zip(path: Path, names: dict[str, bytes]) -> bytes:
    with zipfile.ZipFile(path, "w") as made:
        for name, content in names.items():
            made.writestr(name, content)
    return path.read_bytes()


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000)
OTHERS: dict[str, tuple[str, bytes | dict[str, bytes], str]] = {
    "old Excel": ("codes.xls", OLE, "an old Excel workbook (.xls; WPS: .et)"),
    "WPS": ("codes.et", OLE, "an old Excel workbook (.xls; WPS: .et)"),
    "old Excel, renamed": ("codes.xlsx", OLE, "an old Excel workbook (.xls; WPS: .et)"),
    "with a password": ("codes.xlsx", OLE + "EncryptedPackage".encode("utf-16-le"), "a workbook with a password"),
    "OpenDocument": (
        "codes.ods",
        {"mimetype": b"application/vnd.oasis.opendocument.spreadsheet", "content.xml": b"<x/>"},
        "an OpenDocument file (.ods)",
    ),
    "OpenDocument, renamed": (
        "codes.xlsx",
        {"mimetype": b"application/vnd.oasis.opendocument.spreadsheet"},
        "an OpenDocument file (.ods)",
    ),
    "binary Excel": ("codes.xlsb", {"[Content_Types].xml": b"<x/>", "xl/workbook.bin": b""}, "a binary Excel workbook"),
    "Numbers": ("codes.numbers", {"Index/Document.iwa": b""}, "a Numbers document"),
    "Word": ("codes.docx", {"[Content_Types].xml": b"", "word/document.xml": b""}, "a Word document"),
    "zip": ("codes.zip", {"codes.csv": b"code\nA1\n"}, "a zip archive: unpack it, and give the file in it"),
    "zip, cut off": ("codes.xlsx", b"PK\x03\x04" + bytes(100), "a zip file that is cut off or damaged"),
    "bzip2": ("codes.csv.bz2", bz2.compress(b"code\nA1\n"), "packed with bzip2: unpack it with bunzip2"),
    "xz": ("codes.csv.xz", lzma.compress(b"code\nA1\n"), "packed with xz: unpack it with unxz"),
    "xz, renamed": ("codes.csv", lzma.compress(b"code\nA1\n"), "packed with xz: unpack it with unxz"),
    "7z": ("codes.7z", b"7z\xbc\xaf\x27\x1c\0\4" + bytes(99), "a 7z archive"),
    "rar": ("codes.rar", b"Rar!\x1a\x07\x01\0" + bytes(99), "a RAR archive"),
    "pdf": ("codes.pdf", b"%PDF-1.7\n", "a PDF"),
    "web page": ("codes.xls", b"\xef\xbb\xbf<html><body><table><tr><td>A1</td></tr></table>", "a web page (HTML)"),
    "table of a web page": ("codes.xls", b'\r\n<table border="1"><tr><td>A1</td></tr></table>', "a web page (HTML)"),
    "Excel 2003": (
        "codes.xls",
        b'<?xml version="1.0"?>\n<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"></Workbook>',
        "an XML spreadsheet of Excel 2003",
    ),
    "text": ("codes.xlsx", b"code\nA1\n", "no zip file, as each workbook is: if it is a text, name it .csv or .txt"),
    "nothing": ("codes.xlsx", b"", "it is empty: export it again"),
}


@every_row("kind", OTHERS)
def test_what_is_not_read_is_named_as_what_it_is(tmp_path: Path, kind: str) -> None:
    name, content, said = OTHERS[kind]
    path = tmp_path / name
    path.write_bytes(_zip(tmp_path / "made.zip", content) if isinstance(content, dict) else content)
    with pytest.raises(SourceUnreadable) as refused:
        open_source(str(path))
    assert said.replace("a workbook with", "an Excel workbook with") in str(refused.value)
    assert str(refused.value).startswith(os.fspath(path))


def test_an_old_excel_file_that_is_a_table_of_text_is_read(tmp_path: Path) -> None:
    (tmp_path / "codes.xls").write_text("序号\t券码\n1\tQM1\n2\tQM2\n")
    assert codes(open_source(str(tmp_path / "codes.xls"))) == ["QM1", "QM2"]
