"""Which reader a file gets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ...errors import SourceUnreadable
from .block import Source
from .columns import CODE_NAMES
from .content import Content
from .delimited import looks_delimited, open_delimited
from .jsonlines import open_json_lines
from .kinds import holds_workbook, other_kind
from .parquet import open_parquet
from .sheet import open_sheets
from .text import PlainText, beginning, notes_on

SHEETS: Final = (".xlsx", ".xlsm")
PARQUET: Final = (".parquet", ".pq")
DELIMITED: Final = (".csv", ".tsv", ".tab")
JSON_LINES: Final = (".jsonl", ".ndjson", ".json")


def open_sources(
    path: str, *, sheets: Sequence[str] = (), column: str | None = None, trim: bool = False
) -> list[Source]:
    """Open a file as `open_source` does; of a workbook the named sheets, `*` for all that have rows.

    Raises:
        SourceUnreadable: as `open_source`; or sheets are named and it is no workbook.
    """
    file, sheet = _sheet_of(path)
    if sheet is not None:
        return [*open_sheets(file, [sheet], column=column, trim=trim)]
    if _is_workbook(file):
        return [*open_sheets(file, sheets, column=column, trim=trim)]
    if sheets:
        raise SourceUnreadable(f"{path} is no Excel workbook, and has no sheets for --sheet")
    return [open_source(path, column=column, trim=trim)]


def open_source(path: str, *, column: str | None = None, trim: bool = False) -> Source:
    """Open a file of coupon codes by its ending, "-" for standard input; its first rows are read at once.

    Endings: .csv .tsv .jsonl .ndjson .xlsx .parquet, or any other for text; texts may have .gz or .zst behind
    it. A text without a telling ending is a table if its first lines are even rows of several columns.
    `book.xlsx#Sheet2` names a sheet. column is a header or a number from 1. trim takes blanks off both ends
    of each code; nothing else is ever changed.

    Raises:
        SourceUnreadable: it is not there, not UTF-8, not what its ending says; or has several columns, and
            neither column nor a header says which one holds the codes.
    """
    file, sheet = _sheet_of(path)
    ending = Path(file).suffix.lower()
    if _is_workbook(file):
        (opened,) = open_sheets(file, [] if sheet is None else [sheet], column=column, trim=trim)
        return opened
    if ending in PARQUET:
        return open_parquet(path, column=column, trim=trim)
    _refuse_other_kinds(path)
    content = Content(path)
    sample = beginning(content)
    if ending in (".gz", ".zst"):
        ending = Path(path).with_suffix("").suffix.lower()
    if ending in JSON_LINES or (ending not in DELIMITED and sample.lstrip().startswith("{")):
        return open_json_lines(content, column=column, trim=trim)
    if ending in DELIMITED or column is not None or looks_delimited(sample):
        return open_delimited(content, column=column, trim=trim)
    return _open_plain_text(content, sample, trim=trim)


def _open_plain_text(content: Content, sample: str, *, trim: bool) -> PlainText:
    notes = [*notes_on(content), "text, one code a line"]
    first = next((line.strip() for line in sample.split("\n") if line.strip()), "")
    # "code" is a legal code. Uploading a header is the worse mistake, and this one is told.
    header = first.casefold() in CODE_NAMES
    if header:
        notes.append(f"the first line, '{first}', is a header and not a code")
    return PlainText(content, notes, header=header, trim=trim)


def _sheet_of(path: str) -> tuple[str, str | None]:
    """Take `book.xlsx#Sheet` apart. A name may hold the mark itself, on either side."""
    marks = [at for at, letter in enumerate(path) if letter == "#"] if not os.path.lexists(path) else []
    for at in marks:
        if os.path.isfile(path[:at]):
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
