"""CSV, TSV and their relatives with ; or |."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from io import StringIO
from itertools import chain, islice
from operator import itemgetter
from typing import Final, NamedTuple

from ...errors import SourceUnreadable
from .block import ROWS_PER_BLOCK, Block
from .columns import Column, choose, filled_columns
from .content import Content
from .text import beginning, notes_on, whole_lines


class Delimited:
    """The rows of a CSV file. A row number is the line that the row starts in."""

    def __init__(self, content: Content, dialect: Dialect, column: Column, *, trim: bool = False) -> None:
        self.name = content.name
        self.notes = [*notes_on(content), f"{dialect.told()}, {column.told()}"]
        self._content = content
        self._dialect = dialect
        self._column = column
        self._trim = trim

    def blocks(self) -> Iterator[Block]:
        feed = _Feed(self.name, self._content)
        # strict: a quote out of place is an error, not a guess.
        reader = csv.reader(feed.lines(), delimiter=self._dialect.delimiter, strict=True)
        header = self._column.header is not None
        if self._dialect.declared:
            next(reader)
        more = True
        while more:
            start = reader.line_num + 1
            table: list[list[str]] = []
            fault: csv.Error | None = None
            try:
                table.extend(islice(reader, ROWS_PER_BLOCK))
                more = len(table) == ROWS_PER_BLOCK
            except csv.Error as cause:  # The rows before it are in the table.
                fault = cause
            rows, next_row = _row_numbers(start, table, reader.line_num)
            if header and (skip := next((at for at, fields in enumerate(table, 1) if _is_filled(fields)), 0)):
                rows, table, header = rows[skip:], table[skip:], False
            block = self._block(rows, table)
            if fault is not None:
                if reader.line_num != next_row or "unexpected end" in str(fault):
                    raise SourceUnreadable(
                        f"{self.name}: the quote that opens in row {next_row} is not closed properly by row "
                        f"{reader.line_num} ({fault}); correct that row"
                    ) from fault
                if header:
                    what = f"{self.name}: the header in row {next_row} is not CSV: {fault}"
                    raise SourceUnreadable(what) from fault
                block = _with_problem(block, next_row, feed.last_line(), f"the row is not CSV: {fault}")
            if block.codes:
                yield block

    def fingerprint(self) -> str:
        return self._content.fingerprint()

    def _block(self, rows: Sequence[int], table: list[list[str]]) -> Block:
        place, width, _ = self._column
        if set(map(len, table)) == {width}:
            codes = list(map(itemgetter(place), table))
            stripped = list(map(str.strip, codes))
            if all(stripped):
                return Block(rows, stripped if self._trim else codes)
        return self._uneven_block(rows, table)

    def _uneven_block(self, rows: Sequence[int], table: list[list[str]]) -> Block:
        place, width, _ = self._column
        kept: list[int] = []
        codes: list[str] = []
        problems: dict[int, str] = {}
        for row, fields in zip(rows, table, strict=True):
            if not _is_filled(fields):
                continue
            code = fields[place] if place < len(fields) else self._dialect.delimiter.join(fields)
            # Blank fields too many are what spreadsheets leave behind. Anything else may have moved the code.
            if len(fields) < width or _is_filled(fields[width:]):
                problems[len(codes)] = f"the row has {len(fields)} fields, {width} are expected"
            elif not code.strip():
                problems[len(codes)] = f"column {place + 1} is empty in this row"
            kept.append(row)
            codes.append(code.strip() if self._trim else code)
        return Block(kept, codes, problems)


class Dialect(NamedTuple):
    """How fields are told apart."""

    delimiter: str
    declared: bool = False
    """The first line is `sep=;`, as Excel writes it."""

    def told(self) -> str:
        kind, shown = ("TSV", "tab") if self.delimiter == "\t" else ("CSV", f"'{self.delimiter}'")
        return f"{kind}, delimiter {shown}" + (" (as its first line says)" if self.declared else "")


def open_delimited(content: Content, *, column: str | None, trim: bool) -> Delimited:
    """Open a text that is known to be a table.

    Raises:
        SourceUnreadable: several columns and none chosen, or the chosen one is not there.
    """
    sample = beginning(content)
    dialect = declared(sample) or sniffed(sample, column) or Dialect(",")
    return Delimited(content, dialect, choose(content.name, _rows(sample, dialect), column), trim=trim)


def looks_delimited(sample: str) -> bool:
    """Say whether a text that could be plain lines is a table: most rows have the same several columns."""
    dialect = declared(sample) or sniffed(sample, None)
    if dialect is None:
        return False
    rows = _rows(sample, dialect)
    # A tab behind each code makes no second column.
    return dialect.declared or (len(filled_columns(rows)) > 1 and _evenness(rows) >= 0.9)


def declared(sample: str) -> Dialect | None:
    """Return the dialect that a first line `sep=;` declares."""
    found = re.match(r"sep=([,;\t|])\r?\n", sample, re.IGNORECASE)
    return Dialect(found[1], declared=True) if found else None


def sniffed(sample: str, column: str | None) -> Dialect | None:
    """Return the dialect under which the rows have several columns, and the most even number of them."""
    best: tuple[float, int] = (0.0, 0)
    found = None
    for delimiter in ",;\t|":
        rows = _rows(sample, Dialect(delimiter))
        if not rows or len(rows[0]) < 2:
            continue
        # A code may hold a bar. It divides fields only where a header or the user's choice says so.
        if delimiter == "|" and not _speaks_for_columns(rows, column):
            continue
        if (score := (_evenness(rows), len(rows[0]))) > best:
            best, found = score, Dialect(delimiter)
    return found


_SAMPLE_ROWS: Final = 200


def _speaks_for_columns(rows: list[list[str]], column: str | None) -> bool:
    if column is not None and column.isdecimal() and int(column) > 1:
        return True
    try:
        return choose("", rows, column).header is not None
    except SourceUnreadable:
        return False


def _evenness(rows: list[list[str]]) -> float:
    return sum(len(row) == len(rows[0]) for row in rows) / len(rows)


def _rows(sample: str, dialect: Dialect) -> list[list[str]]:
    lines = StringIO(sample, newline="\n")
    if dialect.declared:
        next(lines)
    rows: list[list[str]] = []
    reader = csv.reader(lines, delimiter=dialect.delimiter)
    while len(rows) < _SAMPLE_ROWS:
        try:
            fields = next(reader, None)
        except csv.Error:  # Reported when the rows are read.
            continue
        if fields is None:
            break
        if _is_filled(fields):
            rows.append(fields)
    return rows


def _is_filled(fields: Sequence[str]) -> bool:
    return any(map(str.strip, fields))


def _row_numbers(start: int, table: list[list[str]], last_line: int) -> tuple[Sequence[int], int]:
    # Also the number of the row behind them, for one that could not be read.
    if last_line - start + 1 == len(table):
        return range(start, last_line + 1), last_line + 1
    rows: list[int] = []
    for fields in table:
        rows.append(start)
        start += 1 + sum(field.count("\n") for field in fields)
    return rows, start


def _with_problem(block: Block, row: int, text: str, problem: str) -> Block:
    problems = {**block.problems, len(block.codes): problem}
    return Block([*block.rows, row], [*block.codes, text], problems)


class _Feed:
    """The physical lines of a text, with their endings; remembers where it is, for a line that fails."""

    def __init__(self, name: str, content: Content) -> None:
        self._name = name
        self._content = content
        self._text = ""
        self._lines = StringIO()

    def lines(self) -> Iterator[str]:
        return chain.from_iterable(self._texts())

    def _texts(self) -> Iterator[StringIO]:
        for _, text in whole_lines(self._name, self._content.pieces()):
            # newline: LF alone ends a line, and endings stay as they are, also inside quotes.
            self._text, self._lines = text, StringIO(text, newline="\n")
            yield self._lines

    def last_line(self) -> str:
        end = self._lines.tell()
        return self._text[self._text.rfind("\n", 0, end - 1) + 1 : end].rstrip("\r\n")
