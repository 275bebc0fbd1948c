"""Which reader a file gets."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ...errors import SourceUnreadable
from .block import Source
from .content import Content
from .delimited import looks_delimited, open_delimited
from .encoding import Text
from .jsonlines import open_json_lines
from .parquet import open_parquet
from .reading import PLAIN, Reading
from .shapes import refuse_other_shapes
from .sheet import open_sheet
from .text import beginning, open_plain_text

SHEETS: Final = (".xlsx", ".xlsm")
PARQUET: Final = (".parquet", ".pq")
DELIMITED: Final = (".csv", ".tsv", ".tab")
JSON_LINES: Final = (".jsonl", ".ndjson", ".json")


def open_source(path: str, reading: Reading = PLAIN) -> Source:
    """Open a file of coupon codes by its ending, "-" for standard input; its first rows are read at once.

    Endings: .csv .tsv .jsonl .ndjson .xlsx .parquet, or any other for text; texts may have .gz or .zst behind
    it. A text without a telling ending is a table if its first lines are even rows of several columns.
    `book.xlsx#Sheet2` names a sheet. `reading` is what the user says about it; nothing of a code is ever changed
    but what that asks for.

    Raises:
        SourceUnreadable: it is not there, not text, not what its ending says; or has several columns, and
            neither column nor a header says which one holds the codes.
        RequestInvalid: there is no such encoding.
    """
    file, sheet = _sheet_of(path)
    ending = Path(file).suffix.lower()
    if ending in SHEETS:
        return open_sheet(file, sheet, reading)
    if ending in PARQUET:
        _refuse_header_row(path, reading)
        return open_parquet(path, reading)
    if ending == ".xls":
        raise SourceUnreadable(f"{path} is an old Excel workbook; save it as .xlsx")
    text = Text(Content(path), reading.encoding)
    sample = beginning(text)
    refuse_other_shapes(text.name, sample, column=reading.column)
    if ending in (".gz", ".zst"):
        ending = Path(path).with_suffix("").suffix.lower()
    if ending in JSON_LINES or (ending not in DELIMITED and sample.lstrip().startswith("{")):
        _refuse_header_row(text.name, reading)
        return open_json_lines(text, sample, reading)
    if ending in DELIMITED or reading.column is not None or looks_delimited(sample):
        return open_delimited(text, sample, reading)
    return open_plain_text(text, sample, reading)


def _refuse_header_row(name: str, reading: Reading) -> None:
    if reading.header_row is not None:
        raise SourceUnreadable(f"{name} has named values and no header row: leave --header-row out")


def _sheet_of(path: str) -> tuple[str, str | None]:
    file, mark, sheet = path.rpartition("#")
    if mark and file.lower().endswith(SHEETS) and not Path(path).exists():
        return file, sheet
    return path, None
