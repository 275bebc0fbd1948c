"""XML of a workbook's parts, by expat: namespaces known, no document type, no token that fills the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final
from xml.parsers import expat

TRANSITIONAL: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
STRICT: Final = "http://purl.oclc.org/ooxml/spreadsheetml/main"
"""Of ISO/IEC 29500, as Excel's "Strict Open XML" writes it. Source: documented."""
TOKEN_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of one tag, or one comment. Our choice: expat holds it whole."""

Attributes = dict[str, str]


class Damaged(Exception):
    """A part can't be read as what it should be. Its text is for the user: what, and where."""


class Markup:
    """A parser that is fed in pieces.

    Names that a workbook's readers ask for come without their namespace, others as `ns name`.

    Raises Damaged: it is not well-formed, has a document type, or a tag longer than TOKEN_BYTES_MAX.
    """

    def __init__(
        self,
        start: Callable[[str, Attributes], None],
        end: Callable[[str], None] | None = None,
        text: Callable[[str], None] | None = None,
    ) -> None:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        # A workbook's parts have none (documented, ECMA-376 part 2); entities are how a small file grows large.
        parser.StartDoctypeDeclHandler = _refuse_document_type
        parser.StartElementHandler = partial(_start, start)
        if end is not None:
            parser.EndElementHandler = partial(_end, end)
        if text is not None:
            parser.CharacterDataHandler = text
        self._parser = parser
        self._fed = 0

    @property
    def place(self) -> int:
        """Where the tag that is being told begins, in bytes."""
        return self._parser.CurrentByteIndex

    def feed(self, data: bytes, *, last: bool = False) -> None:
        self._fed += len(data)
        try:
            self._parser.Parse(data, last)
        except expat.ExpatError as cause:
            raise Damaged(f"{str(cause).partition(':')[0]}, in line {cause.lineno:,}") from cause
        if not last and self._fed - max(self._parser.CurrentByteIndex, 0) > TOKEN_BYTES_MAX:
            raise Damaged(f"a tag in it is longer than {TOKEN_BYTES_MAX:,} bytes")

    def read(self, pieces: Iterator[bytes]) -> None:
        for piece in pieces:
            self.feed(piece)
        self.feed(b"", last=True)


_PLAIN: Final = {
    f"{namespace} {name}": name
    for namespace in (TRANSITIONAL, STRICT)
    for name in (
        *("worksheet", "sheetData", "row", "c", "v", "is", "f", "t", "r", "rPh", "sst", "si"),
        *("workbook", "workbookPr", "sheets", "sheet", "styleSheet", "numFmt", "cellXfs", "cellStyleXfs", "xf"),
    )
}


def _start(start: Callable[[str, Attributes], None], name: str, attributes: Attributes) -> None:
    start(_PLAIN.get(name, name), attributes)


def _end(end: Callable[[str], None], name: str) -> None:
    end(_PLAIN.get(name, name))


def _refuse_document_type(*_: object) -> None:
    raise Damaged("it has a document type, which no workbook has")
