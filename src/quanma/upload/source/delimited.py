"""CSV, TSV and their relatives with ; or |."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from itertools import chain, islice, repeat
from operator import itemgetter
from typing import Final, NamedTuple

from ...errors import SourceUnreadable
from .. import odd
from ..reasons import Reason
from .block import ROWS_PER_BLOCK, Block
from .encoding import Text
from .layout import HEADER_ROWS, NumberedRows, filled_columns, find, looks_like_a_code
from .reading import PLAIN, Reading
from .table import Fields, Table
from .text import whole_lines


class Delimited:
    """The rows of a CSV file. A row number is the line that the row starts in."""

    def __init__(self, text: Text, dialect: Dialect, table: Table, reading: Reading) -> None:
        self.name = text.name
        self.notes = [*text.notes, f"{dialect.told()}, {table.layout.told()}"]
        self._text = text
        self._dialect = dialect
        self._table = table
        self._reading = reading

    def blocks(self) -> Iterator[Block]:
        lines = whole_lines(self.name, self._text.pieces())
        for first_row, text in lines:
            block = self._unquoted(first_row, text)
            if block is None:
                yield from self._any(first_row, chain(((first_row, text),), lines))
                return
            if block.codes or block.left_out:
                yield block

    def _unquoted(self, first_row: int, text: str) -> Block | None:
        """Rows of a text in which nothing is quoted, so that each line is a row; None: something may be."""
        if '"' in text or text.count("\r") != text.count("\r\n"):
            return None
        totals = odd.has_total(text)
        if first_row > max(self._table.layout.header_row, self._table.layout.words_row) and not totals:
            quick = self._even(first_row, text)
            if quick is not None:
                return quick
        try:
            table = list(csv.reader(StringIO(text, newline="\n"), delimiter=self._dialect.delimiter, strict=True))
        except csv.Error:
            return None
        declared = self._dialect.declared and first_row == 1
        rows = range(first_row + declared, first_row + len(table))
        return self._block(rows, table[declared:], totals=totals)

    def _even(self, first_row: int, text: str) -> Block | None:
        """Rows that all have as many fields as the header; None: not all have, or their codes need a look."""
        layout, delimiter = self._table.layout, self._dialect.delimiter
        text = (text.replace("\r\n", "\n") if "\r" in text else text).removesuffix("\n")
        lines = text.split("\n")
        if not self._table.plain or set(map(str.count, lines, repeat(delimiter))) != {layout.width - 1}:
            return None
        codes = text.replace("\n", delimiter).split(delimiter)[layout.place :: layout.width]
        return self._as_they_stand(range(first_row, first_row + len(lines)), codes)

    def _any(self, first_row: int, texts: Iterator[tuple[int, str]]) -> Iterator[Block]:
        """Rows of texts in which a quote may join lines."""
        feed = _Feed(texts)
        # strict: a quote out of place is an error, not a guess.
        reader = csv.reader(feed.lines(), delimiter=self._dialect.delimiter, strict=True)
        if self._dialect.declared and first_row == 1:
            next(reader)
        before = first_row - 1
        more = True
        while more:
            start = before + reader.line_num + 1
            table: list[list[str]] = []
            fault: csv.Error | None = None
            try:
                table.extend(islice(reader, ROWS_PER_BLOCK))
                more = len(table) == ROWS_PER_BLOCK
            except csv.Error as cause:  # The rows before it are in the table.
                fault = cause
            last_row = before + reader.line_num
            rows, next_row = _row_numbers(start, table, last_row)
            block = self._block(rows, table, totals=feed.totals_since())
            if fault is not None:
                if last_row != next_row or "unexpected end" in str(fault):
                    raise SourceUnreadable(
                        f"{self.name}: the quote that opens in row {next_row} is not closed properly by row "
                        f"{last_row} ({fault}); correct that row"
                    ) from fault
                if next_row <= self._table.layout.header_row:
                    what = f"{self.name}: the header in row {next_row} is not CSV: {fault}"
                    raise SourceUnreadable(what) from fault
                problem = Reason(
                    "NOT_CSV", f"the row is not CSV: {fault}: put a quote in a text twice, or leave it out"
                )
                block = _with_problem(block, next_row, feed.last_line(), problem)
            if block.codes or block.left_out:
                yield block

    @property
    def values_seen(self) -> Mapping[str, Sequence[str]]:
        return self._table.values_seen

    def fingerprint(self) -> str:
        return self._text.fingerprint()

    def _block(self, rows: Sequence[int], table: list[list[str]], *, totals: bool) -> Block:
        layout = self._table.layout
        behind_header = bool(table) and rows[0] > max(layout.header_row, layout.words_row)
        if (
            behind_header
            and self._table.plain
            and not (totals and not self._reading.take_odd)
            and isinstance(rows, range)
            # Fields that are missing behind the code are no harm.
            and layout.place < min(widths := set(map(len, table))) <= max(widths) <= layout.width
        ):
            block = self._as_they_stand(rows, list(map(itemgetter(layout.place), table)))
            if block is not None:
                return block
        return self._uneven_block(rows, table, totals=totals)

    def _as_they_stand(self, rows: range, codes: list[str]) -> Block | None:
        """A block of codes that are all there; None: one is blank, or the header comes again."""
        layout = self._table.layout
        stripped = list(map(str.strip, codes))
        if not all(stripped) or (layout.header is not None and layout.header[layout.place].strip() in stripped):
            return None
        return Block(rows, stripped if self._reading.trim else codes)

    def _uneven_block(self, rows: Sequence[int], table: list[list[str]], *, totals: bool) -> Block:
        place, width = self._table.layout.place, self._table.layout.width
        numbers: list[int] = []
        kept: list[list[str]] = []
        problems: dict[int, Reason] = {}
        for row, fields in zip(rows, table, strict=True):
            if not _is_filled(fields):
                continue
            if row > self._table.layout.header_row and (lines := self._joined(fields)):
                last = row + sum(field.count("\n") for field in fields)
                for number, line in enumerate(lines, row):
                    if line.strip():
                        problems[len(kept)] = Reason(
                            "JOINED_ROWS",
                            f"a quote joins rows {row} to {last}, and one of them looks like a row of its own: correct "
                            f"the quotes in row {row}",
                        )
                        numbers.append(number)
                        kept.append(["" if at != place else line for at in range(place + 1)])
                continue
            if len(fields) <= place:
                problems[len(kept)] = Reason(
                    "FIELDS",
                    f"the row has {len(fields)} field{'s' if len(fields) > 1 else ''}, and the code is in field "
                    f"{place + 1}: write the whole row",
                )
                fields = ["" if at != place else self._dialect.delimiter.join(fields) for at in range(place + 1)]
            # Blank fields too many are what spreadsheets leave behind. Anything else may have moved the code.
            elif _is_filled(fields[width:]):
                problems[len(kept)] = Reason(
                    "FIELDS",
                    f"the row has {len(fields)} fields, {width} are expected: a delimiter inside a text may have moved "
                    "the code; put quotes around that text",
                )
            numbers.append(row)
            kept.append(fields)
        return self._table.block(Fields(numbers, kept), problems, totals=totals)

    def _joined(self, fields: Sequence[str]) -> list[str]:
        """The lines of a row that a quote may have made of several, else none.

        A line break in a text is allowed. A line behind it that has as many delimiters as a row, and what looks like
        a code where the codes are, is no text.
        """
        if not any("\n" in field for field in fields):
            return []
        delimiter, width, place = self._dialect.delimiter, self._table.layout.width, self._table.layout.place
        continued = [line.split(delimiter) for field in fields for line in field.split("\n")[1:]]
        if not any(len(line) >= width and looks_like_a_code(line[place]) for line in continued):
            return []
        return delimiter.join(fields).replace("\r\n", "\n").split("\n")


class Dialect(NamedTuple):
    """How fields are told apart."""

    delimiter: str
    declared: bool = False
    """The first line is `sep=;`, as Excel writes it."""

    def told(self) -> str:
        kind, shown = ("TSV", "tab") if self.delimiter == "\t" else ("CSV", f"'{self.delimiter}'")
        return f"{kind}, delimiter {shown}" + (" (as its first line says)" if self.declared else "")


def open_delimited(text: Text, sample: str, reading: Reading) -> Delimited:
    """Open a text that is known to be a table; sample is its beginning.

    Raises:
        SourceUnreadable: several columns and none chosen, or the chosen one is not there.
    """
    dialect = declared(sample) or sniffed(sample, reading) or Dialect(",")
    layout = find(text.name, _rows(sample, dialect), reading)
    return Delimited(text, dialect, Table(layout, reading, typed=False), reading)


def looks_delimited(sample: str) -> bool:
    """Say whether a text that could be plain lines is a table: most rows have the same several columns."""
    dialect = declared(sample) or sniffed(sample, PLAIN)
    if dialect is None:
        return False
    rows = [fields for _, fields in _rows(sample, dialect)]
    # A tab behind each code makes no second column.
    return dialect.declared or (len(filled_columns(rows)) > 1 and _evenness(rows).share >= 0.9)


def declared(sample: str) -> Dialect | None:
    """Return the dialect that a first line `sep=;` declares."""
    found = re.match(r"sep=([,;\t|])\r?\n", sample, re.IGNORECASE)
    return Dialect(found[1], declared=True) if found else None


def sniffed(sample: str, reading: Reading) -> Dialect | None:
    """Return the dialect under which the rows have several columns, and the most even number of them."""
    best = _Evenness(0.0, False, 1)
    found = None
    for delimiter in ",;\t|":
        rows = _rows(sample, Dialect(delimiter))
        score = _evenness([fields for _, fields in rows])
        if score.width < 2:
            continue
        # A code may hold a bar. It divides fields only where a header or the user's choice says so.
        if delimiter == "|" and not _speaks_for_columns(rows, reading):
            continue
        if score > best:
            best, found = score, Dialect(delimiter)
    return found


_SAMPLE_ROWS: Final = 200


def _speaks_for_columns(rows: NumberedRows, reading: Reading) -> bool:
    if reading.column is not None and reading.column.isdecimal() and int(reading.column) > 1:
        return True
    try:
        return find("", rows, reading).header is not None
    except SourceUnreadable:
        return False


class _Evenness(NamedTuple):
    """How well rows look like a table, the best last."""

    share: float
    """Of the rows that have the most common number of columns. Titles do not count."""
    untitled: bool
    width: int
    """That number."""


def _evenness(rows: Sequence[Sequence[str]]) -> _Evenness:
    titles = 0
    while titles < min(HEADER_ROWS, (len(rows) - 1) // 2) and len(rows[titles]) == 1:
        titles += 1
    counts = Counter(len(row) for row in rows[titles:])
    if not counts:
        return _Evenness(0.0, True, 0)
    width, count = max(counts.items(), key=lambda one: (one[1], one[0]))
    return _Evenness(count / counts.total(), not titles, width)


def _rows(sample: str, dialect: Dialect) -> list[tuple[int, list[str]]]:
    lines = StringIO(sample, newline="\n")
    rows: list[tuple[int, list[str]]] = []
    reader = csv.reader(lines, delimiter=dialect.delimiter)
    if dialect.declared:
        next(reader)
    while len(rows) < _SAMPLE_ROWS:
        row = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error:  # Reported when the rows are read.
            continue
        if fields is None:
            break
        if _is_filled(fields):
            rows.append((row, fields))
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


def _with_problem(block: Block, row: int, text: str, problem: Reason) -> Block:
    problems = {**block.problems, len(block.codes): problem}
    return block._replace(rows=[*block.rows, row], codes=[*block.codes, text], problems=problems)


class _Feed:
    """The physical lines of a text, with their endings; remembers where it is, for a line that fails."""

    def __init__(self, texts: Iterator[tuple[int, str]]) -> None:
        self._source = texts
        self._text = ""
        self._lines = StringIO()
        self._totals = self._totals_here = False

    def lines(self) -> Iterator[str]:
        return chain.from_iterable(self._texts())

    def totals_since(self) -> bool:
        """Whether what was given since the last call may hold the word for a total."""
        found, self._totals = self._totals, self._totals_here
        return found

    def _texts(self) -> Iterator[StringIO]:
        for _, text in self._source:
            # newline: LF alone ends a line, and endings stay as they are, also inside quotes.
            self._text, self._lines = text, StringIO(text, newline="\n")
            self._totals_here = odd.has_total(text)
            self._totals = self._totals or self._totals_here
            yield self._lines

    def last_line(self) -> str:
        end = self._lines.tell()
        return self._text[self._text.rfind("\n", 0, end - 1) + 1 : end].rstrip("\r\n")
