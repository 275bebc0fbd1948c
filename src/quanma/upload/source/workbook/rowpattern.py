"""Rows of a sheet by one regular expression over each whole row: ten times quicker than expat, on plain rows.

The expression is made of what expat saw: which kinds of cells stand in which columns. Its matches count only if they
account for every tag of a block: then expat would have read the same. `sheetmarkup` reads the other blocks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain, zip_longest
from typing import Final, NamedTuple
from xml.parsers import expat

from . import cells
from .cells import ROWS_MAX, Cell, Dates, NoText, column_letters
from .rows import Rows
from .sheetmarkup import Shapes, is_hidden
from .strings import TEXT, Strings, plain

COLUMNS_MAX: Final = 64
"""Of a pattern. A wider sheet is read by expat."""


_Values = tuple[str, Sequence[bytes], Sequence[bytes]]
"""Of one column: a kind, the values, and of numbers the styles."""


class _Kind(NamedTuple):
    """A cell of one kind: what stands behind its name and style, and how many tags that makes with its own."""

    behind: bytes
    tags: int
    value: bytes = b""


class _Example(NamedTuple):
    """A row as a pattern: its letters, and groups in place of its number and of the values."""

    pattern: re.Pattern[bytes]
    columns: Sequence[tuple[int, str, bytes]]
    """Column, kind and style of each value."""
    tags: int


_DIGITS: Final = rb"[0-9]{1,9}"
_NUMBER: Final = rb"[-+.0-9eE]+"
_TEXT: Final = TEXT + rb"+"
_STYLE: Final = rb'(?: s="[0-9]{1,5}")?'
_STYLE_KEPT: Final = rb'(?: s="([0-9]{1,5})")?'
_KINDS: Final[Mapping[str, _Kind]] = {
    "s": _Kind(rb' t="s"' + _STYLE + rb"><v>(" + _DIGITS + rb")</v></c>", 4, _DIGITS),
    "n": _Kind(rb'(?: t="n")?><v>(' + _NUMBER + rb")</v></c>", 4, _NUMBER),
    "str": _Kind(rb' t="str"' + _STYLE + rb"><v>(" + _TEXT + rb")</v></c>", 4, _TEXT),
    "inlineStr": _Kind(
        rb' t="inlineStr"' + _STYLE + rb'><is><t(?: xml:space="preserve")?>(' + _TEXT + rb")</t></is></c>", 6, _TEXT
    ),
    "empty": _Kind(rb"(/)>", 1),
}
_ATTRIBUTES: Final = rb'((?: [\w:.]+="[^"<>&]*")*)'


class RowPattern:
    """The expression for the columns and kinds that were seen so far; it grows with them."""

    def __init__(self, strings: Strings, dates: Dates, shapes: Shapes) -> None:
        self._strings = strings
        self._dates = dates
        self._shapes = shapes
        self._known = 0
        self._pattern: re.Pattern[bytes] | None = None
        self._groups: list[tuple[int, str, int]] = []
        self._example: _Example | None = None
        self._examples_left = 20
        self._attributes: dict[bytes, bool | None] = {}
        self.last_row = 0
        """The number of the last row that was read, empty or not."""

    def rows(self, block: bytes) -> Rows | None:
        """Read a block of whole rows, or None: something in it is not plain."""
        if not plain(block):
            return None
        rows = self._by_example(block)
        return rows if rows is not None else self._by_kinds(block)

    def _by_example(self, block: bytes) -> Rows | None:
        """Rows that are written letter by letter as one before, but for their numbers and values."""
        example = self._example
        if example is None:
            return None
        matches = example.pattern.findall(block)
        if not matches or block.count(b"<") != example.tags * len(matches):
            self._example = None
            return None
        numbers, *values = zip(*matches, strict=True)
        found: dict[int, list[_Values]] = {
            column: [(kind, value, [style] * len(value) if kind == "n" else ())]
            for (column, kind, style), value in zip(example.columns, values, strict=True)
        }
        return self._rows(block, numbers, found, [])

    def _by_kinds(self, block: bytes) -> Rows | None:
        """Rows of cells of the known kinds, each of which may be missing."""
        pattern = self._learned()
        matches = pattern.findall(block) if pattern is not None else []
        if pattern is None or not matches:
            return None
        groups = list(zip(*matches, strict=True))
        length = len(matches)
        tags = 2 * length
        found: dict[int, list[_Values]] = {}
        for column, kind, at in self._groups:
            if present := length - groups[at].count(b""):
                tags += present * _KINDS[kind].tags
                if kind != "empty":
                    # Before a number's group stands its style's.
                    found.setdefault(column, []).append((kind, groups[at], groups[at - 1]))
        if block.count(b"<") != tags or (hidden := self._hidden(groups[1])) is None:
            return None
        if not hidden and self._examples_left and (match := pattern.search(block)) is not None:
            self._examples_left -= 1
            self._example = _example(match, self._groups)
        return self._rows(block, groups[0], found, hidden)

    def _rows(
        self, block: bytes, rows: Sequence[bytes], found: Mapping[int, list[_Values]], hidden: Sequence[int]
    ) -> Rows | None:
        numbers: Sequence[int] = list(map(int, rows))
        consecutive = range(numbers[0], numbers[0] + len(numbers))
        if numbers == list(consecutive):
            numbers = consecutive
        if not 1 <= min(numbers) <= max(numbers) <= ROWS_MAX:
            return None
        self.last_row = numbers[-1]
        columns: dict[int, Callable[[], Sequence[Cell]]] = {
            column: partial(self._column, kinds) for column, kinds in found.items()
        }
        own_texts = any(kind in ("str", "inlineStr") for kinds in found.values() for kind, _, _ in kinds)
        return _filled(numbers, columns, hidden, partial(self._may_hold, block if own_texts else b""))

    def _may_hold(self, block: bytes, words: Sequence[str]) -> bool:
        if self._strings.may_hold(words):
            return True
        # A plain block's own texts stand in it as they are.
        ascii_only = block.isascii()
        return any(word.encode() in block for word in words if not ascii_only or word.isascii())

    def _learned(self) -> re.Pattern[bytes] | None:
        known = sum(map(len, self._shapes.kinds.values()))
        if known != self._known:
            self._known = known
            self._pattern, self._groups = _compiled(self._shapes)
        return self._pattern

    def _hidden(self, attributes: Sequence[bytes]) -> list[int] | None:
        """Indexes of hidden rows; None if the attributes of a row need a look by expat."""
        hidden: set[bytes] = set()
        for one in set(attributes):
            if one not in self._attributes:
                if len(self._attributes) > 1000:
                    self._attributes.clear()
                self._attributes[one] = _says_hidden(one)
            if (says := self._attributes[one]) is None:
                return None
            if says:
                hidden.add(one)
        return [index for index, one in enumerate(attributes) if one in hidden] if hidden else []

    def _column(self, kinds: Sequence[_Values]) -> Sequence[Cell]:
        (kind, values, styles), *others = kinds
        if not others and b"" not in values:
            return self._cells(kind, values, styles)
        column: list[Cell] = [None] * len(values)
        for kind, values, styles in kinds:
            places = [index for index, value in enumerate(values) if value]
            made = self._cells(kind, [values[index] for index in places], [styles[index] for index in places])
            for index, cell in zip(places, made, strict=True):
                column[index] = cell
        return column

    def _cells(self, kind: str, values: Sequence[bytes], styles: Sequence[bytes]) -> Sequence[Cell]:
        if kind == "s":
            texts = self._strings.many(list(map(int, values)))
            return texts if None not in texts else [NoText("unclear", "") if text is None else text for text in texts]
        if kind == "n":
            return [
                cells.number(value.decode(), style.decode(), self._dates)
                for value, style in zip(values, styles, strict=True)
            ]
        return b"\0".join(values).decode().split("\0")


def _compiled(shapes: Shapes) -> tuple[re.Pattern[bytes] | None, list[tuple[int, str, int]]]:
    if not 0 < len(shapes.kinds) <= COLUMNS_MAX:
        return None, []
    parts, groups, at = [rb'<row r="([0-9]{1,7})"' + _ATTRIBUTES + rb">"], [], 2
    for column in sorted(shapes.kinds):
        ways: list[bytes] = []
        for kind in sorted(shapes.kinds[column] & _KINDS.keys()):
            ways.append((_STYLE_KEPT if kind == "n" else _STYLE) + _KINDS[kind].behind)
            at += 2 if kind == "n" else 1
            groups.append((column, kind, at - 1))
        if ways:
            parts.append(rb'(?:<c r="%s\1"(?:%s))?' % (column_letters(column).encode(), b"|".join(ways)))
    return re.compile(b"".join([*parts, b"</row>"])), groups


def _example(match: re.Match[bytes], groups: Sequence[tuple[int, str, int]]) -> _Example:
    """Make a pattern of one row."""
    row, start = match[0], match.start()
    columns: list[tuple[int, str, bytes]] = []
    parts: list[bytes] = []
    begun = 0
    wanted = [(1, rb"[0-9]{1,7}")]
    for column, kind, at in groups:
        if kind != "empty" and match[at + 1] is not None:
            columns.append((column, kind, match[at] or b"" if kind == "n" else b""))
            wanted.append((at + 1, _KINDS[kind].value))
    for group, value in wanted:
        begin, end = match.span(group)
        parts += [_letters(row[begun : begin - start], match[1]), b"(", value, b")"]
        begun = end - start
    parts.append(_letters(row[begun:], match[1]))
    return _Example(re.compile(b"".join(parts)), columns, row.count(b"<"))


def _letters(written: bytes, number: bytes) -> bytes:
    """Letters as a pattern; a cell's name holds the row's number, which is the first group."""
    pieces = re.split(rb'(?<=<c r=")([A-Z]+)' + number + rb'(?=")', written)
    names = [re.escape(name) + rb"\1" for name in pieces[1::2]]
    return b"".join(chain.from_iterable(zip_longest(map(re.escape, pieces[::2]), names, fillvalue=b"")))


def _filled(
    numbers: Sequence[int],
    columns: Mapping[int, Callable[[], Sequence[Cell]]],
    hidden: Sequence[int],
    may_hold: Callable[[Sequence[str]], bool],
) -> Rows:
    """Leave out rows without a cell that holds anything: expat gives none of them."""
    rows = Rows(numbers, columns, hidden, may_hold)
    if any(None not in rows.column(place) for place in rows.places):
        return rows
    kept = [index for index, row in enumerate(rows.by_row()) if row]
    if len(kept) == len(rows):
        return rows
    unseen = set(hidden)
    return Rows(
        [numbers[index] for index in kept],
        {place: partial(_picked, rows, place, kept) for place in rows.places},
        [at for at, index in enumerate(kept) if index in unseen],
        may_hold,
    )


def _picked(rows: Rows, place: int, kept: Sequence[int]) -> Sequence[Cell]:
    column = rows.column(place)
    return [column[index] for index in kept]


def _says_hidden(attributes: bytes) -> bool | None:
    """Read a row's attributes as expat does; None if it would refuse them, or they mean more."""
    if _OF_A_NAMESPACE.search(attributes):
        return None
    found: list[dict[str, str]] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, attributes: found.append(attributes)
    try:
        parser.Parse(b'<row r="1"' + attributes + b"/>", True)
    except expat.ExpatError:
        return None
    return is_hidden(found[0])


_OF_A_NAMESPACE: Final = re.compile(rb" (?!x14ac:dyDescent=)(?:xmlns|[\w.]+:)[^=]*=")
