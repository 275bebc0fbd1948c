"""Workbooks as programs write them: each cell is read as it was meant, or told, or the file is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from quanma.errors import SourceUnreadable
from quanma.upload.source import Reading, Source, open_source
from quanma.upload.source.workbook import NoText, Workbook, rowpattern
from tests.support.every import every_row
from tests.upload.parts import (
    MAIN,
    SHEET,
    STRICT_MAIN,
    STRICT_RELATIONS,
    STRINGS,
    inline,
    parts,
    write,
)


def read(path: str) -> list[tuple[int, str]]:
    return [
        (block.rows[at], code)
        for block in open_source(path).blocks()
        for at, code in enumerate(block.codes)
        if at not in block.problems
    ]


def problems(source: Source) -> dict[int, str]:
    return {block.rows[at]: reason for block in source.blocks() for at, reason in block.problems.items()}


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "codes.xlsx"


# Text of a cell

STORED = [
    ("QM-1_x000D_", "QM-1\r"),
    ("QM-1_x000d_", "QM-1\r"),
    ("QM-1_x001F_", "QM-1\x1f"),
    ("AAx005F_BB", "AAx005F_BB"),
    ("A_x005F_x0041_B", "A_x0041_B"),
    ("_x005F_x005F_", "_x005F_"),
    ("A_x0041_x0042_", "AAx0042_"),
    ("A_X0041_", "A_X0041_"),
    ("A_x004_", "A_x004_"),
    ("A_x00411_", "A_x00411_"),
    ("A&amp;_x0041_", "A&A"),
    ("A&#95;x0041_", "AA"),
    ("_xD83C__xDF9F_", "\U0001f39f"),
    ("_xD83C_", "\ufffd"),
    ("_x0000_A", "\0A"),
    ("A&#13;B", "A\rB"),
    ("A\r\nB", "A\nB"),
    (" A ", " A "),
    ("ＱＭ券", "ＱＭ券"),
    ("<![CDATA[A<B]]>", "A<B"),
    ("A<!-- B -->C", "AC"),
]


@every_row(("stored", "meant"), STORED)
def test_a_shared_text_is_what_its_writer_meant(book: Path, stored: str, meant: str) -> None:
    rows = '<row r="1"><c r="A1" t="s"><v>1</v></c></row><row r="2"><c r="A2" t="s"><v>0</v></c></row>'
    strings = f"<si><t>QM0</t></si><si><t>{stored}</t></si><si><t>QM2</t></si>"
    assert read(write(book, parts(rows, strings=strings))) == [(1, meant), (2, "QM0")]


@every_row(("stored", "meant"), STORED)
def test_a_text_inside_a_cell_is_what_its_writer_meant(book: Path, stored: str, meant: str) -> None:
    rows = f'<row r="1"><c r="A1" t="inlineStr"><is><t>{stored}</t></is></c></row>' + inline("QM2", first_row=2)
    assert read(write(book, parts(rows))) == [(1, meant), (2, "QM2")]


@every_row(("stored", "meant"), STORED)
def test_a_text_that_a_formula_came_to_is_what_its_writer_meant(book: Path, stored: str, meant: str) -> None:
    rows = f'<row r="1"><c r="A1" t="str"><f>B1</f><v>{stored}</v></c></row>' + inline("QM2", first_row=2)
    assert read(write(book, parts(rows))) == [(1, meant), (2, "QM2")]


RICH = "<r><t>QM</t></r><r><rPr><b/></rPr><t>-1</t></r>"
SPOKEN = "<t>QM-1</t><rPh sb='0' eb='1'><t>kyu emu</t></rPh><phoneticPr fontId='1'/>"


@every_row("text", [RICH, SPOKEN, RICH + "<rPh sb='0' eb='1'><t>kyu emu</t></rPh>", "<t>QM</t><t>-1</t>"])
def test_runs_are_joined_and_how_it_is_spoken_is_left_out(book: Path, text: str) -> None:
    shared = (
        f'<row r="1"><c r="A1" t="s"><v>0</v></c></row><row r="2"><c r="A2" t="inlineStr"><is>{text}</is></c></row>'
    )
    assert read(write(book, parts(shared, strings=f"<si>{text}</si>"))) == [(1, "QM-1"), (2, "QM-1")]


def test_excel_in_china_writes_how_it_is_spoken_behind_each_text(book: Path) -> None:
    strings = "".join(f'<si><t>QM{n}</t><phoneticPr fontId="1" type="noConversion"/></si>' for n in range(1000))
    rows = "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>{n - 1}</v></c></row>' for n in range(1, 1001))
    assert read(write(book, parts(rows, strings=strings))) == [(n + 1, f"QM{n}") for n in range(1000)]


# What is no text

CELLS = [
    ("<c r='A2'><v>12345</v></c>", "number", "12345"),
    ("<c r='A2' t='n'><v>1.2345E+17</v></c>", "number", "123450000000000000"),
    ("<c r='A2'><v>0.5</v></c>", "number", "0.5"),
    ("<c r='A2'><f>1+1</f><v>2</v></c>", "number", "2"),
    ("<c r='A2'><f>1+1</f><v>0</v></c>", "formula", "0"),
    ("<c r='A2' s='1'><v>45720</v></c>", "date", "2025-03-04 00:00:00"),
    ("<c r='A2' s='2'><v>0.5</v></c>", "date", "1899-12-30 12:00:00"),
    ("<c r='A2' t='d'><v>2025-03-04</v></c>", "date", "2025-03-04"),
    ("<c r='A2' t='b'><v>1</v></c>", "boolean", "TRUE"),
    ("<c r='A2' t='e'><v>#N/A</v></c>", "error", "#N/A"),
    ("<c r='A2'><f>\"QM\"&amp;1</f></c>", "formula", ""),
    ("<c r='A2'><f>B1</f><v></v></c>", "formula", ""),
    ("<c r='A2'><f>B1</f><v/></c>", "formula", ""),
    ("<c r='A2' t='str'><f>B1</f></c>", "formula", ""),
    ("<c r='A2' t='s'><f>B1</f></c>", "formula", ""),
    ("<c r='A2'><f t='shared' si='0'/></c>", "formula", ""),
    ("<c r='A2' t='s'><v>7</v></c>", "unclear", ""),
    ("<c r='A2' t='s'><v>-1</v></c>", "unclear", ""),
    ("<c r='A2' t='s'><v>QM-1</v></c>", "unclear", ""),
    ("<c r='A2' t='text'><v>QM-1</v></c>", "unclear", "QM-1"),
    ("<c r='A2' t='inlineStr'><v>QM-1</v></c>", "unclear", "QM-1"),
    ("<c r='A2'><is><t>QM-1</t></is></c>", "unclear", "QM-1"),
    ("<c r='A2'><v>QM-1</v></c>", "unclear", "QM-1"),
    ("<c r='A2' t='str'><v>QM-1</v></c><c r='A2' t='str'><v>QM-2</v></c>", "unclear", ""),
]
STYLES = (
    '<numFmts count="1"><numFmt numFmtId="164" formatCode="[$-409]h:mm&quot;x&quot;"/></numFmts>'
    '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/></cellXfs>'
)


@every_row(("cell", "kind", "text"), CELLS)
def test_a_cell_that_holds_no_text_is_told_by_what_it_holds(book: Path, cell: str, kind: str, text: str) -> None:
    row = f'<row r="2">{cell.replace(chr(39), chr(34))}</row>'
    path = write(book, parts(inline("QM-0") + row + inline("QM-3", first_row=3), strings="", styles=STYLES))
    with open(path, "rb") as file:
        workbook = Workbook(file)
        (rows,) = workbook.rows(workbook.sheets[0])
        told = rows.column(0)[1]
    assert isinstance(told, NoText)
    assert (told.kind, told.text) == (kind, text)
    assert read(path) == [(1, "QM-0"), (3, "QM-3")]
    assert list(problems(open_source(path))) == [2]


def test_a_formula_whose_result_is_an_empty_text_is_an_empty_cell(book: Path) -> None:
    path = write(book, parts('<row r="1"><c r="A1" t="str"><f>B1</f><v></v></c></row>' + inline("QM", first_row=2)))
    assert read(path) == [(2, "QM")]


def test_days_may_count_from_1904(book: Path) -> None:
    content = parts('<row r="1"><c r="A1" s="1"><v>1</v></c></row>', styles=STYLES)
    content["xl/workbook.xml"] = content["xl/workbook.xml"].replace(b"<sheets>", b'<workbookPr date1904="1"/><sheets>')
    with open(write(book, content), "rb") as file:
        workbook = Workbook(file)
        assert [rows.column(0)[0] for rows in workbook.rows(workbook.sheets[0])] == [
            NoText("date", "1904-01-02 00:00:00")
        ]


# Rows and cells


@every_row(
    ("rows", "expected"),
    [
        ('<row><c t="str"><v>A</v></c></row><row><c t="str"><v>B</v></c></row>', [(1, "A"), (2, "B")]),
        ('<row r="3"><c t="str"><v>A</v></c></row><row><c t="str"><v>B</v></c></row>', [(3, "A"), (4, "B")]),
        ('<row/><row><c r="A5" t="str"><v>A</v></c></row><row><c t="str"><v>B</v></c></row>', [(5, "A"), (6, "B")]),
        ('<row r="2"/><row><c t="str"><v>A</v></c></row>', [(3, "A")]),
        ('<row r="007"><c r="a7" t="str"><v>A</v></c></row>', [(7, "A")]),
        ('<row r="1048576"><c r="A1048576" t="str"><v>A</v></c></row>', [(1048576, "A")]),
    ],
)
def test_rows_and_cells_without_numbers_follow_each_other(
    book: Path, rows: str, expected: list[tuple[int, str]]
) -> None:
    assert read(write(book, parts(rows))) == expected


def test_cells_of_a_row_may_stand_in_any_order(book: Path) -> None:
    cells = "".join(
        f'<c r="{letter}1" t="str"><v>{text}</v></c>' for letter, text in (("C", "x"), ("A", "QM"), ("B", "y"))
    )
    path = write(book, parts(f'<row r="1">{cells}</row>'))
    assert [code for block in open_source(path, Reading(column="1")).blocks() for code in block.codes] == ["QM"]
    assert [code for block in open_source(path, Reading(column="3")).blocks() for code in block.codes] == ["x"]


@every_row(
    ("rows", "said"),
    [
        ('<row r="1048577"><c t="str"><v>A</v></c></row>', "a row has a number above 1,048,576"),
        ('<row r="99999999999999999999"/>', "a row has a number above 1,048,576"),
        ('<row r="1048576"/><row/>', "a row has a number above 1,048,576"),
        ('<row r="0"/>', "a row has the number 0"),
        ('<row r="-1"/>', "a row has the number '-1'"),
        ('<row r="1"><c r="XFE1"/></row>', "column XFE is behind XFD"),
        ('<row r="1"><c r="XFD1"/><c/></row>', "has more than 16,384 cells"),
        ('<row r="1"><c r="1A"/></row>', "is named '1A'"),
        ('<row r="1"><c r="A1" t="str"><v>A</v>', "is damaged"),
        ("<row r='1'><c r='A1' t='str'><v>A</w></c></row>", "mismatched tag"),
    ],
)
def test_what_no_sheet_has_is_refused_in_words(book: Path, rows: str, said: str) -> None:
    with pytest.raises(SourceUnreadable, match=said):
        read(write(book, parts(rows)))


def test_a_cell_behind_the_last_column_of_the_header_is_told_as_in_csv(book: Path) -> None:
    content = ["券码", "备注"], ["QM1", "a"], ["QM2", "b", "c"], ["QM3", "d", " "]
    rows = "".join(
        f'<row r="{row}">'
        + "".join(f'<c r="{"ABC"[at]}{row}" t="str"><v>{text}</v></c>' for at, text in enumerate(cells))
        + "</row>"
        for row, cells in enumerate(content, 1)
    )
    path = write(book, parts(rows))
    assert read(path) == [(2, "QM1"), (4, "QM3")]
    assert problems(open_source(path)) == {
        3: "the row has 3 fields, 2 are expected: the code may stand in another column"
    }


@every_row(
    ("attributes", "hidden"),
    [
        ('hidden="1"', True), ('hidden="true"', True), ('ht="0" customHeight="1"', True),
        ('hidden="0"', False), ('hidden="false" ht="12.8" collapsed="false"', False), ('x14ac:dyDescent="0.25"', False),
    ],
)  # fmt: skip
def test_rows_that_are_not_shown_are_known(book: Path, attributes: str, hidden: bool) -> None:
    row = '<row r="{0}" {1}><c r="A{0}" t="str"><v>QM</v></c></row>'
    content = parts("".join(row.format(number, attributes if number == 400 else "") for number in range(1, 1000)))
    content[SHEET] = content[SHEET].replace(b"<worksheet ", b'<worksheet xmlns:x14ac="urn:x" ')
    with open(write(book, content), "rb") as file:
        workbook = Workbook(file)
        found = [rows.numbers[at] for rows in workbook.rows(workbook.sheets[0]) for at in rows.hidden]
    assert found == ([400] if hidden else [])


# Parts


def test_the_strict_form_is_read(book: Path) -> None:
    content = parts(
        '<row r="1"><c r="A1" t="s"><v>0</v></c></row>', strings="<si><t>QM</t></si>",
        namespace=STRICT_MAIN, relations=STRICT_RELATIONS,
    )  # fmt: skip
    assert read(write(book, content)) == [(1, "QM")]
    usual = parts(inline("QM"))
    mixed = {**usual, SHEET: usual[SHEET].replace(MAIN.encode(), STRICT_MAIN.encode())}
    assert read(write(book, mixed)) == [(1, "QM")]


def _prefixed(content: bytes) -> bytes:
    for name in (b"worksheet", b"sheetData", b"row", b"c", b"is", b"t"):
        content = content.replace(b"<" + name + b">", b"<x:" + name + b">").replace(
            b"<" + name + b" ", b"<x:" + name + b" "
        )
        content = content.replace(b"</" + name + b">", b"</x:" + name + b">")
    return content.replace(b"xmlns=", b"xmlns:x=")


def _utf_16(content: bytes) -> bytes:
    return b"\xff\xfe" + ('<?xml version="1.0" encoding="UTF-16"?>' + content.decode()).encode("utf-16-le")


WRITTEN: dict[str, Callable[[bytes], bytes]] = {
    "prefixed": _prefixed,
    "in UTF-16": _utf_16,
    "with a byte order mark": lambda content: b"\xef\xbb\xbf" + content,
    "declared": lambda content: b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n' + content,
    "in small letters": lambda content: b'<?xml version="1.0" encoding="utf-8"?>' + content,
    "on many lines": lambda content: content.replace(b">", b">\n").replace(b"<t>\n", b"<t>"),
    "with a comment": lambda content: content.replace(b"<sheetData>", b"<!-- <sheetData> --><sheetData>"),
    "with a comment over rows": lambda content: content.replace(
        b'<row r="3"', b'<!-- <row r="9"></row> --><row r="3"'
    ),
    "with a wrong dimension": lambda content: content.replace(b"<sheetData>", b'<dimension ref="A1:A2"/><sheetData>'),
    "with attributes": lambda content: content.replace(b"<sheetData>", b'<sheetData xml:space="preserve" >'),
}  # fmt: skip


@every_row("how", WRITTEN)
def test_xml_may_be_written_in_many_ways(book: Path, how: str) -> None:
    content = parts(inline(*(f"QM券{number}" for number in range(1000))))
    content[SHEET] = WRITTEN[how](content[SHEET])
    assert read(write(book, content)) == [(number + 1, f"QM券{number}") for number in range(1000)]


def _in_capitals(content: dict[str, bytes]) -> dict[str, bytes]:
    return {name.upper(): part for name, part in content.items()}


def _absolute(content: dict[str, bytes]) -> dict[str, bytes]:
    relations = content["xl/_rels/workbook.xml.rels"].replace(b'Target="', b'Target="/xl/')
    return {**content, "xl/_rels/workbook.xml.rels": relations}


def _elsewhere(content: dict[str, bytes]) -> dict[str, bytes]:
    names = {name: name.replace("xl/", "excel/data/").replace("sheet1", "tabelle 1") for name in content}
    moved = {names[name]: part for name, part in content.items()}
    moved["_rels/.rels"] = moved["_rels/.rels"].replace(b"xl/", b"./excel/../excel/data/")
    relations = moved["excel/data/_rels/workbook.xml.rels"].replace(b"sheet1", b"tabelle%201")
    return {**moved, "excel/data/_rels/workbook.xml.rels": relations}


def _with_backslashes(content: dict[str, bytes]) -> dict[str, bytes]:
    relations = content["xl/_rels/workbook.xml.rels"].replace(b"worksheets/", b"worksheets\\")
    return {
        name.replace("/", "\\"): part for name, part in (content | {"xl/_rels/workbook.xml.rels": relations}).items()
    }


def _without_root_relations(content: dict[str, bytes]) -> dict[str, bytes]:
    return {name: part for name, part in content.items() if name != "_rels/.rels"}


@every_row("how", [_in_capitals, _absolute, _elsewhere, _with_backslashes, _without_root_relations])
def test_parts_are_found_wherever_they_are_named(
    book: Path, how: Callable[[dict[str, bytes]], dict[str, bytes]]
) -> None:
    content = how(parts('<row r="1"><c r="A1" t="s"><v>0</v></c></row>', strings="<si><t>QM</t></si>"))
    assert read(write(book, content)) == [(1, "QM")]


@every_row("styles", ["<cellXfs><xf numFmtId='x'/></cellXfs>", "<broken", "<fills><fill><x/></fill></fills>"])
def test_styles_that_cannot_be_read_do_no_harm(book: Path, styles: str) -> None:
    path = write(book, parts(inline("QM") + '<row r="2"><c r="A2" s="0"><v>1</v></c></row>', styles=styles))
    assert read(path) == [(1, "QM")]
    assert list(problems(open_source(path))) == [2]


@every_row(
    ("part", "before", "after"),
    [
        ("xl/workbook.xml", b"<sheets>", b'<!DOCTYPE x [<!ENTITY a "b">]><sheets>'),
        (SHEET, b"<worksheet", b'<!DOCTYPE x [<!ENTITY a "b">]><worksheet'),
        (STRINGS, b"<sst", b'<!DOCTYPE x [<!ENTITY a "b">]><sst'),
        (SHEET, b"</worksheet>", b""),
        (SHEET, b"</sheetData></worksheet>", b""),
        (SHEET, b"<worksheet", b"<html"),
        (STRINGS, b"</sst>", b""),
        (STRINGS, b"sst", b"html"),
        ("xl/workbook.xml", b'"rId1"', b'"rId9"'),
        ("xl/_rels/workbook.xml.rels", b"worksheets/sheet1.xml", b"worksheets/sheet9.xml"),
        ("[Content_Types].xml", b"</Types>", b""),
    ],
)
def test_a_damaged_part_is_refused_and_no_shorter_sheet_is_read(
    book: Path, part: str, before: bytes, after: bytes
) -> None:
    content = parts(inline("QM1", "QM2"), strings="<si><t>QM</t></si>")
    assert before in content[part]
    content[part] = content[part].replace(before, after)
    with pytest.raises(SourceUnreadable, match=r"save it as \.xlsx"):
        read(write(book, content))


@every_row("name", ["[Content_Types].xml", "xl/workbook.xml", SHEET])
def test_a_missing_part_is_refused(book: Path, name: str) -> None:
    content = parts(inline("QM"))
    del content[name]
    with pytest.raises(SourceUnreadable):
        read(write(book, content))


def test_a_file_that_was_cut_off_is_refused(book: Path) -> None:
    write(book, parts(inline("QM1", "QM2")))
    whole = book.read_bytes()
    for length in range(0, len(whole), 97):
        book.write_bytes(whole[:length])
        with pytest.raises(SourceUnreadable):
            read(str(book))


# The quick way


def test_plain_rows_are_read_the_quick_way(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick: list[bool] = []
    rows_of = rowpattern.RowPattern.rows

    def rows(pattern: rowpattern.RowPattern, block: bytes) -> object:
        found = rows_of(pattern, block)
        quick.append(found is not None)
        return found

    monkeypatch.setattr(rowpattern.RowPattern, "rows", rows)
    path = write(book, parts(inline(*(f"QM{number}" for number in range(3000)))))
    assert len(read(path)) == 3000
    # Each time, the first rows show what stands in which column; all others are read by it.
    assert quick == [False, True] * 3


def test_both_ways_say_the_same(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = ["QM&1", "QM\u3000", "_x0041_", "", " ", "QM"]
    rows = "".join(
        f'<row r="{n}" spans="1:3"><c r="A{n}" t="s"><v>{n % 7}</v></c>'
        + (f'<c r="B{n}" s="1"><v>{n}</v></c>' if n % 5 else '<c r="B{n}" s="1"/>'.replace("{n}", str(n)))
        + (f'<c r="C{n}" t="inlineStr"><is><t>{odd[n % 5].replace("&", "&amp;")}</t></is></c>' if n % 400 == 7 else "")
        + "</row>"
        for n in range(1, 4000)
    )
    strings = "".join(f"<si><t>QM{n}</t></si>" for n in range(6))
    path = write(book, parts(rows, strings=strings, styles=STYLES))

    def everything() -> list[tuple[int, dict[int, object]]]:
        with open(path, "rb") as file:
            workbook = Workbook(file)
            return [
                (number, dict(cells))
                for rows in workbook.rows(workbook.sheets[0])
                for number, cells in zip(rows.numbers, rows.by_row(), strict=True)
            ]

    quick = everything()
    monkeypatch.setattr(rowpattern.RowPattern, "rows", lambda pattern, block: None)
    assert everything() == quick
    assert len(quick) == 3999
