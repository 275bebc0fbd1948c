"""Make the spreadsheet from hell again: `python -m tests.upload.dirty.make`. Beside it stands what is said of it."""

from __future__ import annotations

import datetime
from pathlib import Path

from openpyxl import Workbook
from openpyxl.cell.cell import Cell

HERE = Path(__file__).parent
MADE_AT = datetime.datetime(2025, 11, 24, 12, 0)  # noqa: DTZ001  # A workbook knows no zones.

CSV_ROWS = [
    "\ufeff序号,券码,备注",
    "1,QM-0001,good",
    "2,QM－0002,a full-width hyphen",
    "3,ＱＭ0003,two full-width letters",
    "4,QM-0004 ,a trailing blank: legal",
    "5, QM-0005,a leading blank: legal",
    "6,1.23E+15,a spreadsheet's number",
    "7,123456.0,a program's number",
    "8,QM\t0008,a tab",
    "9,QM\x000009,NUL",
    "10,QM\u00a00010,a no-break space",
    "",
    ",,",
    "11,,no code in this row",
    "12,QM-0001,repeats row 2",
    "13,QM-0013-0013-0013-0013-0013-0013x,33 characters",
    '14,"=""0014""",a formula that keeps zeros',
    '15,"QM-00',
    '15",a line break in quotes',
    "16,qm-0001,small letters: another code",
    "17,QM-0017\u200b,a zero-width space",
    "18,QM+0018,a plus",
    "19,券码0019,two characters too many",
    "20,QM-0004,row 5 without its blank: another code",
    "21,QM\ufffd0021,lost in a conversion",
    "22,'00123,an apostrophe against lost zeros",
    "23,QM-0023-0023-0023-0023-0023-0023,32 characters: good",
    "24,QM-0024,one,column,more",
    "25",
    "26,\u3000,an ideographic space alone",
    '27,"QM-0027"x,a quote in the wrong place',
    "28,=1+1,a formula",
    "29,@SUM(A1),another",
    "30,QM\ue0000030,a private character",
    "31,QM-0031,the last row has no line ending",
]

CELLS: list[tuple[object, str]] = [
    ("QM-0001", "good"),
    ("QM－0002", "a full-width hyphen"),
    ("ＱＭ0003", "two full-width letters"),
    ("QM-0004 ", "a trailing blank: legal"),
    (" QM-0005", "a leading blank: legal"),
    ("1.23E+15", "a number that became text"),
    (1.23e15, "a number shown as 1.23E+15"),
    (12345, "a number that was 00012345"),
    (0.5, "a number"),
    ("0012345", "zeros kept in text: good"),
    ("QM\t0008", "a tab"),
    ("QM\u00a00010", "a no-break space"),
    (None, ""),
    (None, "no code in this row"),
    ("   ", "blanks alone"),
    ("QM-0001", "repeats row 2"),
    ("QM-0013-0013-0013-0013-0013-0013x", "33 characters"),
    ("QM-00\n15", "a line break"),
    ("qm-0001", "small letters: another code"),
    ("QM-0017\u200b", "a zero-width space"),
    ("QM+0018", "a plus"),
    ("券码0019", "two characters too many"),
    ("QM-0004", "row 5 without its blank: another code"),
    ("QM\ufffd0021", "lost in a conversion"),
    ("'00123", "an apostrophe against lost zeros"),
    (True, "a truth"),
    (datetime.date(2025, 3, 4), "2025-03-04 typed as a code"),
    ("=1+1", "a formula without a value"),
    ("#N/A", "an error"),
    (None, ""),
    ("QM-0023-0023-0023-0023-0023-0023", "32 characters: good"),
    ("QM-0031", "good"),
]


def make(folder: Path) -> None:
    (folder / "codes.csv").write_bytes("\r\n".join(CSV_ROWS).encode())
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["序号", "券码", "备注"])
    for number, (content, note) in enumerate(CELLS, 1):
        sheet.append([number if note else None, content, note or None])
        cell = sheet.cell(number + 1, 2)
        assert isinstance(cell, Cell)
        if content == "#N/A":
            cell.data_type = "e"
    book.properties.created = book.properties.modified = MADE_AT
    book.save(folder / "codes.xlsx")


if __name__ == "__main__":
    make(HERE)
