"""Which reader a file gets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ...errors import SourceUnreadable
from .block import Source
from .content import Content
from .delimited import looks_delimited, open_delimited
from .encoding import Text
from .jsonlines import open_json_lines
from .kinds import holds_workbook, other_kind
from .parquet import open_parquet
from .reading import PLAIN, Reading
from .shapes import refuse_other_shapes
from .sheet import open_sheets
from .text import beginning, open_plain_text

SHEETS: Final = (".xlsx", ".xlsm")
PARQUET: Final = (".parquet", ".pq")
DELIMITED: Final = (".csv", ".tsv", ".tab")
JSON_LINES: Final = (".jsonl", ".ndjson", ".json")


def open_sources(path: str, reading: Reading = PLAIN) -> list[Source]:
    """Open a file as `open_source` does; of a workbook each sheet that `reading` names.

    Raises:
        SourceUnreadable: as `open_source`; or sheets are named and it is no workbook.
    """
    file, sheet = _sheet_of(path)
    if sheet is None and not _is_workbook(file):
        if reading.sheet:
            raise SourceUnreadable(f"{path} is no Excel workbook, and has no sheets for --sheet")
        return [open_source(path, reading)]
    return [*open_sheets(file, reading.sheet if sheet is None else (sheet,), reading)]


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
    if _is_workbook(file):
        opened, *_ = open_sheets(file, reading.sheet if sheet is None else (sheet,), reading)
        return opened
    if ending in PARQUET:
        _refuse_header_row(path, reading)
        return open_parquet(path, reading)
    _refuse_other_kinds(path)
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
    """Take `book.xlsx#Sheet` apart. A name may hold the mark itself, on either side."""
    marks = [at for at, letter in enumerate(path) if letter == "#"] if not os.path.lexists(path) else []
    for at in marks:
        if os.path.isfile(path[:at]) and _is_workbook(path[:at]):
            return path[:at], path[at + 1 :]
    for at in marks:
        if path[:at].lower().endswith(SHEETS):
            return path[:at], path[at + 1 :]
    return path, None


def _is_workbook(path: str) -> bool:
    """By its name, or else by what is in it."""
    if Path(path).suffix.lower() in SHEETS:
        return True
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            return holds_workbook(file)
    except OSError:  # Told when it is opened.
        return False


def _refuse_other_kinds(path: str) -> None:
    if not os.path.isfile(path):
        return
    try:
        with open(path, "rb") as file:
            other = other_kind(file)
    except OSError as cause:
        raise SourceUnreadable(f"{path} cannot be read: {cause.strerror}") from cause
    if other is not None:
        raise SourceUnreadable(f"{path} is {other}")
