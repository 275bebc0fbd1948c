"""What the pages of a Parquet column would unpack to, looked at before any is unpacked.

A page says in its header how large it is, and a reader takes that much memory at once. The headers stand between the
pages, in Thrift's compact form. Source: documented, parquet.thrift and the Thrift compact protocol.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO, Final, NamedTuple

PAGE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Our choice. Writers make pages of one megabyte, some of a whole row group."""
_HEADER_BYTES_USUAL: Final = 4096
_HEADER_BYTES_MAX: Final = 1024 * 1024
"""A header may hold the smallest and the largest value."""
_DEPTH_MAX: Final = 8
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(13)

# Numbers of fields: of FileMetaData, RowGroup, ColumnChunk, and of ColumnMetaData.
_ROW_GROUPS: Final = 4
_COLUMNS: Final = 1
_META_DATA: Final = 3
_PATH, _PACKED_BYTES, _DATA_PAGE, _DICTIONARY_PAGE = 3, 7, 9, 11


class Page(NamedTuple):
    place: int
    """Of its header, in the file."""
    unpacked_bytes: int


class Chunk(NamedTuple):
    """One column's part of a row group: its pages."""

    column: str
    """Its path in the schema, names with dots between them."""
    start: int
    length: int


def chunks(file: IO[bytes]) -> Iterator[Chunk]:
    """Yield the column chunks of a file, from its footer. Raises ValueError: the footer can't be read.

    pyarrow tells them too, but for some damaged footers it ends the whole process instead of raising an error.
    """
    length = file.seek(0, os.SEEK_END)
    file.seek(max(0, length - 8))
    end = file.read(8)
    size = int.from_bytes(end[:4], "little")
    if end[4:] != b"PAR1" or size > length - 8:
        raise ValueError("the file has no footer")
    file.seek(length - 8 - size)
    yield from _Header(file.read(size)).chunks()


def pages(file: IO[bytes], start: int, length: int) -> Iterator[Page]:
    """Yield the pages of one column chunk. Raises ValueError: a header can't be read."""
    place, end = start, start + length
    while place < end:
        file.seek(place)
        header = _Header(file.read(min(_HEADER_BYTES_USUAL, end - place)))
        try:
            fields = header.numbers()
        except ValueError:
            file.seek(place)
            header = _Header(file.read(min(_HEADER_BYTES_MAX, end - place)))
            fields = header.numbers()
        unpacked, packed = fields.get(2, -1), fields.get(3, -1)
        if unpacked < 0 or packed < 0:
            raise ValueError(f"the page at byte {place:,} has no size")
        yield Page(place, unpacked)
        place += header.read_bytes + packed


class _Header:
    """One struct of Thrift's compact form, of which the whole numbers at its top are wanted."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.read_bytes = 0

    def numbers(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for field, kind in self._fields():
            if kind in (_I16, _I32, _I64):
                found[field] = self._zigzag()
            else:
                self._skip(kind, 0)
        return found

    def chunks(self) -> Iterator[Chunk]:
        """Of a file's footer, FileMetaData."""
        for _ in self._structs(_ROW_GROUPS):
            for _ in self._structs(_COLUMNS):
                for field, kind in self._fields():
                    if (field, kind) == (_META_DATA, _STRUCT):
                        yield self._chunk()
                    else:
                        self._skip(kind, 0)

    def _structs(self, wanted: int) -> Iterator[None]:
        """Stop at each struct of the list that is this field of a struct. Whoever asks reads the struct."""
        for field, kind in self._fields():
            if (field, kind) == (wanted, _LIST):
                for _ in range(self._items()):
                    yield
            else:
                self._skip(kind, 0)

    def _chunk(self) -> Chunk:
        path: list[str] = []
        numbers: dict[int, int] = {}
        for field, kind in self._fields():
            if (field, kind) == (_PATH, _LIST):
                path = [self._text() for _ in range(self._items())]
            elif kind == _I64:
                numbers[field] = self._zigzag()
            else:
                self._skip(kind, 0)
        start, dictionary = numbers.get(_DATA_PAGE, -1), numbers.get(_DICTIONARY_PAGE)
        if dictionary is not None and 0 < dictionary < start:
            start = dictionary
        if start < 0 or numbers.get(_PACKED_BYTES, -1) < 0:
            raise ValueError("a column in the footer has no place or no size")
        return Chunk(".".join(path), start, numbers[_PACKED_BYTES])

    def _items(self) -> int:
        head = self._byte()
        return head >> 4 if head >> 4 != 15 else self._varint()

    def _text(self) -> str:
        length = self._varint()
        begin = self.read_bytes
        self._move(length)
        return self._content[begin : self.read_bytes].decode("utf-8", "replace")

    def _fields(self) -> Iterator[tuple[int, int]]:
        field = 0
        while (head := self._byte()) != _STOP:
            field = field + (head >> 4) if head >> 4 else self._zigzag()
            yield field, head & 0x0F

    def _skip(self, kind: int, depth: int) -> None:
        if depth > _DEPTH_MAX:
            raise ValueError("a page's header is nested too deep")
        if kind in (_I16, _I32, _I64):
            self._varint()
        elif kind == _BYTE:
            self._move(1)
        elif kind == _DOUBLE:
            self._move(8)
        elif kind == _BINARY:
            self._move(self._varint())
        elif kind == _STRUCT:
            for _, inner in self._fields():
                self._skip(inner, depth + 1)
        elif kind in (_LIST, _SET):
            head = self._byte()
            count = head >> 4 if head >> 4 != 15 else self._varint()
            for _ in range(min(count, len(self._content))):
                if head & 0x0F in (_TRUE, _FALSE):
                    self._move(1)
                else:
                    self._skip(head & 0x0F, depth + 1)
        elif kind not in (_TRUE, _FALSE):
            raise ValueError(f"a page's header holds a field of kind {kind}")

    def _zigzag(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)

    def _varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return number
            shift += 7
            if shift > 63:
                raise ValueError("a page's header holds a number that is too long")

    def _byte(self) -> int:
        self._move(1)
        return self._content[self.read_bytes - 1]

    def _move(self, count: int) -> None:
        self.read_bytes += count
        if self.read_bytes > len(self._content):
            raise ValueError("a page's header is cut off")
