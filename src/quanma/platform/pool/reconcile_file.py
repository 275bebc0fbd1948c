"""A file of codes that were given out after a copy was made: a table with a header, lines without one, or events.

What it holds is compared with the pool in `reconciling.py`. Here it is only read, and read whole or not at all.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ...api.events import CONTENT_TYPE, COUPON_SEND
from ...errors import SourceUnreadable, masked
from ...storage import headers

CODE_CHARACTERS_MAX = 32
"""Of a 商家券; a 商品券 has up to 40, and is given out by nobody here."""
STOCK_ID_CHARACTERS_MAX = 20

_SEPARATORS = ",;\t"
_HEADER_ROWS = 10
"""So many rows are looked at for the header: exports have a title above it."""
_WAY_OUT = "nothing was changed"


class IssuedCode(NamedTuple):
    line: int
    stock_id: str
    coupon_code: str


class ReconcileFile(NamedTuple):
    name: str
    codes: Sequence[IssuedCode]
    stock_column: str
    """What a message calls it: `column 1`, or `column '批次号'`."""
    code_column: str
    left_out: int
    """Events of another kind."""


class _Columns(NamedTuple):
    stock: int
    """From 0."""
    code: int
    header: Sequence[str] | None

    def told(self, place: int) -> str:
        return f"column {place + 1}" if self.header is None else f"column '{self.header[place]}'"


def read_reconcile_file(path: Path) -> ReconcileFile:
    """Read the whole file.

    - A table in CSV, or with `;` or tabs: the columns by their header, in Chinese too, others left aside. Without a
      header, the first column is the stock and the second one the code.
    - JSON lines, or a list: the ledger of `quanma listen`, the events' contents, or rows with the same names.

    UTF-8, UTF-16 with its mark, else GB18030.

    Raises:
        SourceUnreadable: it can't be read, or one line is not what it should be. Nothing is to be done then.
    """
    text = _text(path)
    if text.lstrip()[:1] in ("{", "["):
        return _events(path, text)
    return _table(path, text)


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise SourceUnreadable(f"{path} can't be read: {problem.strerror}: {_WAY_OUT}") from None
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise SourceUnreadable(f"{path} is a workbook: save the sheet as CSV; {_WAY_OUT}")
    encodings = ("utf-16",) if content.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8-sig", "gb18030")
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise SourceUnreadable(f"{path} can't be read: it is neither UTF-8 nor GB18030: save it as UTF-8; {_WAY_OUT}")


# A table


def _table(path: Path, text: str) -> ReconcileFile:
    told = re.match(r"sep=([,;\t])\r?\n", text)  # As Excel writes it.
    rows, columns, first = _best_separated(path, text[told.end() :] if told else text, told[1] if told else _SEPARATORS)
    above = 1 if told else 0
    if columns is None:
        columns = _Columns(0, 1, None)
        if rows:
            _check_is_no_header(path, above + rows[0][0], rows[0][1])
    for line, cells in rows[: max(first, 0)]:
        if sum(map(bool, cells)) > 1:
            raise SourceUnreadable(
                f"{path}, line {above + line}: rows stand above the header in line {above + rows[first][0]}: "
                f"leave them out, or the header; {_WAY_OUT}"
            )
    codes = [
        _code(path, above + line, cells[columns.stock : columns.stock + 1], cells[columns.code : columns.code + 1])
        for line, cells in rows[first + 1 :]
        if cells != columns.header  # As where files were put one behind the other.
    ]
    return ReconcileFile(str(path), codes, columns.told(columns.stock), columns.told(columns.code), 0)


_Rows = list[tuple[int, list[str]]]
"""Of each its line, from 1, and its cells."""


def _best_separated(path: Path, text: str, separators: str) -> tuple[_Rows, _Columns | None, int]:
    """The rows, the columns, and which row is the header: -1 and None where none is."""
    problem: SourceUnreadable | None = None
    rows: _Rows = []
    for separator in separators:
        try:
            rows = list(_rows(path, text, separator))
        except SourceUnreadable as unreadable:
            problem = problem or unreadable
            continue
        for place, (_, cells) in enumerate(rows[:_HEADER_ROWS]):
            if (columns := _named_columns(path, cells, alone=not place)) is not None:
                return rows, columns, place
        if rows and len(rows[0][1]) > 1:
            return rows, None, -1
    if problem is not None:
        raise problem
    return rows, None, -1


def _rows(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that hold anything, with their lines' numbers."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as problem:
        raise SourceUnreadable(f"{path}, line {reader.line_num}, can't be read: {problem}: {_WAY_OUT}") from None


def _named_columns(path: Path, cells: Sequence[str], *, alone: bool) -> _Columns | None:
    """The columns that a header names; None: these cells are no header that we know.

    `alone`: one known name makes a header of it, which is refused then.
    """
    stock, code = _best(path, headers.STOCK_NAMES, cells), _best(path, headers.CODE_NAMES, cells)
    if stock is not None and code is not None:
        return _Columns(stock, code, list(cells))
    if (stock is None and code is None) or not alone:
        return None
    raise SourceUnreadable(
        f"{path}: its header {_quoted(cells)} names no column of {'stocks' if stock is None else 'codes'}: call the "
        f"columns stock_id and coupon_code, or 批次号 and 券码; {_WAY_OUT}"
    )


def _best(path: Path, names: Sequence[str], cells: Sequence[str]) -> int | None:
    found = headers.place(names, cells)
    if found is None:
        return None
    name, places = found
    if len(places) > 1:
        raise SourceUnreadable(f"{path} has {len(places)} columns '{name}': rename one; {_WAY_OUT}")
    return places[0]


def _check_is_no_header(path: Path, line: int, cells: Sequence[str]) -> None:
    """A header that names nothing we know would be a row about an unknown stock: say what it is.

    Stock ids have digits, and neither they nor codes have Chinese characters.
    """
    if not "".join(cells).isascii() or not any(map(str.isdigit, "".join(cells))):
        raise SourceUnreadable(
            f"{path}, line {line}: {_quoted(cells)} is no stock_id,coupon_code. If it is a header, it names no column "
            f"that is known: call them stock_id and coupon_code, or 批次号 and 券码; {_WAY_OUT}"
        )


def _quoted(cells: Iterable[str]) -> str:
    return ", ".join(f"'{cell[:20]}'" for cell in cells)


# Events


def _events(path: Path, text: str) -> ReconcileFile:
    codes: list[IssuedCode] = []
    left_out = 0
    for line, record in _records(path, text):
        where = f"{path}, line {line}"
        if not isinstance(record, dict):
            raise SourceUnreadable(f"{where}: this is no JSON object: correct the file, {_WAY_OUT}")
        if "resource" in record:
            raise SourceUnreadable(
                f"{where}: the event is still encrypted: take what `quanma listen` keeps, or its content; {_WAY_OUT}"
            )
        if record.get("event_type", COUPON_SEND) not in (COUPON_SEND, CONTENT_TYPE):
            left_out += 1
            continue
        content = record.get("content", record)
        if not isinstance(content, dict):
            raise SourceUnreadable(f"{where}: the event has no content: correct the file, {_WAY_OUT}")
        codes.append(_code(path, line, _values(content, headers.STOCK_NAMES), _values(content, headers.CODE_NAMES)))
    return ReconcileFile(str(path), codes, "stock_id", "coupon_code", left_out)


def _records(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """JSON lines; or one list, also in an answer's `data`, whose rows are counted from 1."""
    try:
        whole = msgspec.json.decode(text)
    except msgspec.DecodeError:
        whole = None
    if isinstance(whole, dict):
        whole = whole["data"] if isinstance(whole.get("data"), list) else [whole]
    if isinstance(whole, list):
        yield from enumerate(whole, 1)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, msgspec.json.decode(line)
        except msgspec.DecodeError:
            raise SourceUnreadable(f"{path}, line {number}: this is no JSON: correct the file, {_WAY_OUT}") from None


def _values(content: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    by_letters = {headers.letters(name): value for name, value in content.items()}
    for name in names:
        value = by_letters.get(headers.letters(name))
        if isinstance(value, str | int) and not isinstance(value, bool):
            return [str(value).strip()]
    return []


def _code(path: Path, line: int, stock: Sequence[str], code: Sequence[str]) -> IssuedCode:
    stock_id, coupon_code = "".join(stock), "".join(code)
    fits = 0 < len(stock_id) <= STOCK_ID_CHARACTERS_MAX and 0 < len(coupon_code) <= CODE_CHARACTERS_MAX
    if not fits or not (stock_id + coupon_code).isprintable():
        raise SourceUnreadable(
            f"{path}, line {line}: {masked(coupon_code[:CODE_CHARACTERS_MAX])!r} of stock {stock_id[:32]!r} is no "
            f"stock_id,coupon_code: correct the file, {_WAY_OUT}"
        )
    return IssuedCode(line, stock_id, coupon_code)
