"""What the XML of a sheet means, cell by cell, by expat. The truth; `rowpattern` is quicker, and has to agree."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Final

from . import cells
from .cells import COLUMNS_MAX, ROWS_MAX, TEXT_CHARACTERS_MAX, Cell, Dates, NoText, column_number, meant
from .markup import Attributes, Damaged
from .rows import Rows, in_columns
from .strings import Strings

ROW_CHARACTERS_MAX: Final = 8 * 1024 * 1024
"""Of all cells of one row. Our choice."""


class Place:
    """How far a sheet is read."""

    def __init__(self) -> None:
        self.row = 0


class Shapes:
    """Which kinds of cells were seen in which column: what a pattern has to know."""

    def __init__(self) -> None:
        self.kinds: dict[int, set[str]] = {}


class SheetMarkup:
    """Handlers that read the rows of a sheet's XML."""

    def __init__(self, strings: Strings, dates: Dates, place: Place, shapes: Shapes) -> None:
        self._strings = strings
        self._dates = dates
        self._place = place
        self._shapes = shapes
        self._rooted = False
        self._in_data = False
        self._row = place.row
        self._numbers: list[int] = []
        self._hidden: list[int] = []
        self._columns: dict[int, dict[int, Cell]] = defaultdict(dict)
        self._shared: list[tuple[int, int, int]] = []
        self._row_open = self._row_kept = self._row_hidden = self._row_named = False
        self._row_characters = 0
        self._cell_open = False
        self._column = -1
        self._digits = ""
        self._letters: dict[str, int] = {}
        self._spoken = 0
        self._gathers = ""
        self._kind = ""
        self._style = ""
        self._gathered: list[str] = []
        self._value: list[str] | None = None
        self._inline: list[str] | None = None
        self._formula = False
        self._characters = 0

    def start(self, name: str, attributes: Attributes) -> None:
        if name == "c" and self._row_open:
            self._begin_cell(attributes)
        elif self._cell_open:
            self._begin_in_cell(name)
        elif name == "row" and self._in_data:
            self._begin_row(attributes)
        elif name == "sheetData":
            self._in_data = True
        elif not self._rooted and name != "worksheet":
            raise Damaged(f"it begins with <{name}> and not with <worksheet>")
        self._rooted = True

    def end(self, name: str) -> None:
        if name == "c" and self._cell_open:
            self._cell_open = False
            self._end_cell()
        elif self._cell_open:
            if name in ("v", "t", "f"):
                self._gathers = ""
            elif name == "rPh":
                self._spoken -= 1
        elif name == "row":
            self._row_open = False
        elif name == "sheetData":
            self._in_data = False

    def text(self, text: str) -> None:
        if not self._gathers:
            return
        self._characters += len(text)
        self._row_characters += len(text)
        if self._characters > TEXT_CHARACTERS_MAX or self._row_characters > ROW_CHARACTERS_MAX:
            raise Damaged(f"row {self._row:,} holds more than {TEXT_CHARACTERS_MAX:,} characters in a cell")
        self._gathered.append(text)

    def take(self) -> Rows:
        numbers, columns, hidden = self._numbers, self._columns, self._hidden
        texts = self._strings.many([number for _, _, number in self._shared])
        for (column, at, _), text in zip(self._shared, texts, strict=True):
            if columns[column][at] is None:  # Else a second cell has its name.
                columns[column][at] = NoText("unclear", "") if text is None else text
        self._shared = []
        self._numbers, self._columns, self._hidden = [], defaultdict(dict), []
        # A row may go on behind what was taken.
        if self._row_open and self._row_kept:
            last = len(numbers) - 1
            self._numbers.append(numbers.pop())
            if hidden and hidden[-1] == last:
                hidden.pop()
                self._hidden.append(0)
            for column, by_row in list(columns.items()):
                if last in by_row:
                    self._columns[column][0] = by_row.pop(last)
                    if not by_row:
                        del columns[column]
        return in_columns(numbers, columns, hidden)

    def settle(self) -> None:
        self._place.row = self._row

    def _begin_row(self, attributes: Attributes) -> None:
        self._row_open, self._row_kept = True, False
        self._row_named = "r" in attributes
        self._digits = attributes.get("r", "")
        self._row = _row_number(self._digits) if self._row_named else self._row + 1
        if self._row > ROWS_MAX:
            raise Damaged(f"a row has a number above {ROWS_MAX:,}")
        self._row_hidden = is_hidden(attributes)
        self._row_characters = 0
        self._column = -1

    def _begin_cell(self, attributes: Attributes) -> None:
        self._cell_open, self._gathers, self._spoken = True, "", 0
        self._kind, self._style = attributes.get("t", "n"), attributes.get("s", "")
        self._value = self._inline = None
        self._formula = False
        name = attributes.get("r")
        if name is None:
            self._column += 1
            if self._column >= COLUMNS_MAX:
                raise Damaged(f"row {self._row:,} has more than {COLUMNS_MAX:,} cells")
            return
        # As almost all are: letters that were read before, and the row's own digits.
        digits = self._digits
        if digits and name.endswith(digits) and (known := self._letters.get(name[: -len(digits)])) is not None:
            self._column = known
            return
        found = _CELL_NAME.fullmatch(name)
        try:
            if found is None:
                raise ValueError("it is no letters and digits")
            self._column = self._letters[found[1]] = column_number(found[1])
            row = _row_number(found[2])
        except (ValueError, Damaged) as cause:
            raise Damaged(f"a cell in row {self._row:,} is named {name[:20]!r}: {cause}") from cause
        # A row without a number has that of its first cell.
        if not self._row_named and not self._row_kept and row != self._row:
            self._row = row
        self._row_named = True

    def _begin_in_cell(self, name: str) -> None:
        if name == "v":
            self._gathers, self._characters = "v", 0
            self._gathered = self._value = []
        elif name == "t" and not self._spoken:
            self._gathers = "t"
            if self._inline is None:
                self._inline = []
            self._gathered = self._inline
        elif name == "is":
            self._inline, self._characters = [], 0
        elif name == "rPh":
            self._spoken += 1
            self._gathers = ""
        elif name == "f":
            self._formula, self._gathers = True, ""

    def _end_cell(self) -> None:
        value = "".join(self._value) if self._value is not None else ""
        kind = self._kind
        self._shapes.kinds.setdefault(self._column, set()).add(_shape(kind, value, self._formula, self._inline))
        if kind == "s" and value.strip() and not self._formula and not self._inline:
            digits = value.strip()
            # Unsigned digits only: Python's int takes more.
            number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 12 else -1
            self._keep(None)
            self._shared.append((self._column, len(self._numbers) - 1, number))
            return
        cell = self._cell(kind, value)
        if cell is not None:
            self._keep(cell)

    def _cell(self, kind: str, value: str) -> Cell:
        inline = "".join(self._inline) if self._inline is not None else ""
        if (value.strip() and kind == "inlineStr") or (inline.strip() and kind != "inlineStr"):
            return NoText("unclear", (value or inline)[:40])
        if kind == "inlineStr":
            return meant(inline) if self._inline is not None else self._without_value()
        if kind == "str":
            # A formula whose result is an empty text stores it as an empty value.
            return self._without_value() if self._value is None else meant(value)
        stripped = value.strip()
        if not stripped:
            return self._without_value()
        if kind == "n":
            return cells.number(stripped, self._style, self._dates, of_formula=self._formula)
        if kind == "b":
            return NoText("boolean", {"1": "TRUE", "0": "FALSE"}.get(stripped, stripped[:40]))
        if kind == "e":
            return NoText("error", stripped[:40])
        if kind == "d":
            return NoText("date", stripped[:40])
        if kind == "s":
            found = self._strings.many([int(stripped)])[0] if _DIGITS.fullmatch(stripped) else None
            return NoText("unclear", "") if found is None else found
        return NoText("unclear", stripped[:40])

    def _without_value(self) -> Cell:
        return NoText("formula", "") if self._formula else None

    def _keep(self, cell: Cell) -> None:
        """Set a cell; None is a shared text, to be looked up. Of two cells of one name neither can be believed."""
        if not self._row_kept:
            self._row_kept = True
            if self._row_hidden:
                self._hidden.append(len(self._numbers))
            self._numbers.append(self._row)
        at, column = len(self._numbers) - 1, self._columns[self._column]
        if at in column:
            column[at] = NoText("unclear", "")
        else:
            column[at] = cell


def is_hidden(attributes: Attributes) -> bool:
    return attributes.get("hidden") in ("1", "true") or _NO_HEIGHT.fullmatch(attributes.get("ht", "")) is not None


def _shape(kind: str, value: str, formula: bool, inline: list[str] | None) -> str:
    if formula:
        return "formula"
    if kind == "n" and not value and inline is None:
        return "empty"
    return kind


def _row_number(text: str) -> int:
    if not _DIGITS.fullmatch(text):
        raise Damaged(f"a row has the number {text[:20]!r}")
    if (number := int(text)) > ROWS_MAX:
        raise Damaged(f"a row has a number above {ROWS_MAX:,}")
    if not number:
        raise Damaged("a row has the number 0")
    return number


_DIGITS: Final = re.compile("[0-9]{1,20}")
_CELL_NAME: Final = re.compile(r"\$?([A-Za-z]{1,8})\$?([0-9]{1,10})")
_NO_HEIGHT: Final = re.compile(r"0+(?:\.0*)?")
