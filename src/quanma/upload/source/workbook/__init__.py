"""Excel workbooks (.xlsx, .xlsm), read in a stream, with little memory and every cell accounted for.

Only values are read, in the usual form and in the strict one (ISO/IEC 29500). A part is read once, from its beginning
to its end: what was cut off or damaged is an error, and not a shorter sheet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, NamedTuple

from . import elements
from .cells import Cell, Dates, NoText
from .markup import Attributes, Damaged, Markup
from .package import Package, Relation
from .rowpattern import RowPattern
from .rows import Rows, in_columns
from .sheetmarkup import Place, Shapes, SheetMarkup
from .strings import Strings
from .styles import date_styles

__all__ = ["Cell", "Damaged", "NoText", "Rows", "SheetPart", "Strings", "Workbook", "in_columns"]

SHEETS_MAX = 1000
"""Our choice; Excel's own limit is the memory."""


class SheetPart(NamedTuple):
    """A sheet with cells; charts on a sheet of their own are none."""

    name: str
    hidden: bool
    part: str


class Workbook:
    """An open workbook."""

    def __init__(self, file: IO[bytes], strings: Strings | None = None) -> None:
        """strings are the texts of the same file, if they were read before.

        Raises Damaged: it is no workbook, or its parts do not name each other as they should.
        """
        self._package = Package(file)
        part = _main_part(self._package)
        self._relations = self._package.relations(part)
        self._from_1904 = False
        self.sheets = list(self._listed(part))
        self._strings = strings
        self._dates: Dates | None = None

    def rows(self, sheet: SheetPart, pieces_max: int | None = None) -> Iterator[Rows]:
        """Read the rows of a sheet in which something stands; of pieces_max pieces only, if given.

        Raises Damaged: the sheet can't be read to its end.
        """
        reader = _SheetReader(self.texts(), self._styles())
        # A first look takes a few rows; these are quickly there.
        pieces = _Pieces(self._package.pieces(sheet.part, first_bytes=_FIRST_BYTES), pieces_max)
        try:
            for rows in elements.batches(pieces, reader):
                if len(rows):
                    yield rows
        except Damaged:
            if not pieces.cut:
                raise

    def size(self, sheet: SheetPart) -> int:
        """How many bytes of XML a sheet has. Raises Damaged: it is missing."""
        return self._package.size(sheet.part)

    def _listed(self, part: str) -> Iterator[SheetPart]:
        found: list[tuple[str, bool, str]] = []

        def start(name: str, attributes: Attributes) -> None:
            if name == "workbookPr":
                self._from_1904 = attributes.get("date1904") in ("1", "true")
            elif name == "sheet":
                relation = next((value for key, value in attributes.items() if key.endswith(" id")), "")
                found.append((attributes.get("name", ""), attributes.get("state", "visible") != "visible", relation))
                if len(found) > SHEETS_MAX:
                    raise Damaged(f"it has more than {SHEETS_MAX:,} sheets")

        Markup(start).read(self._package.pieces(part))
        for name, hidden, relation_id in found:
            relation = self._relations.get(relation_id)
            if relation is None:
                raise Damaged(f"the sheet {name!r} is listed and not there")
            if relation.kind == "worksheet":
                yield SheetPart(name, hidden, relation.part)

    def texts(self) -> Strings:
        """The texts that cells name by number. Raises Damaged."""
        if self._strings is None:
            self._strings = Strings()
            part = self._related("sharedStrings")
            if part is not None:
                self._strings.read(self._package.pieces(part))
        return self._strings

    def _styles(self) -> Dates:
        if self._dates is None:
            self._dates = Dates(date_styles(self._package, self._related("styles")), self._from_1904)
        return self._dates

    def _related(self, kind: str) -> str | None:
        return next((relation.part for relation in self._relations.values() if relation.kind == kind), None)


_FIRST_BYTES = 16 * 1024


class _Pieces(Iterator[bytes]):
    """The first pieces of a part. `cut`: there were more."""

    def __init__(self, pieces: Iterator[bytes], pieces_max: int | None) -> None:
        self._pieces = pieces
        self._left = pieces_max
        self.cut = False

    def __next__(self) -> bytes:
        if self._left == 0:
            self.cut = True
            raise StopIteration
        if self._left is not None:
            self._left -= 1
        return next(self._pieces)


def _main_part(package: Package) -> str:
    mains = [relation for relation in package.relations("").values() if relation.kind == "officeDocument"]
    (main,) = mains or [Relation("officeDocument", "xl/workbook.xml")] if len(mains) < 2 else mains[:1]
    return main.part


class _SheetReader:
    root, container, element = "worksheet", "sheetData", "row"

    def __init__(self, strings: Strings, dates: Dates) -> None:
        self._strings = strings
        self._dates = dates
        self._place = Place()
        self._shapes = Shapes()
        self._pattern = RowPattern(strings, dates, self._shapes)

    def quick(self, block: bytes) -> Rows | None:
        rows = self._pattern.rows(block)
        if rows is not None:
            self._place.row = self._pattern.last_row
        return rows

    def by_expat(self) -> SheetMarkup:
        return SheetMarkup(self._strings, self._dates, self._place, self._shapes)
