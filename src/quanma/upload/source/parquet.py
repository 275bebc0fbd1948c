"""Parquet files, one text column, in record batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, Final

from ...errors import SourceUnreadable
from ...extras import needed
from .block import ROWS_PER_BLOCK, Block
from .columns import choose_by_name
from .content import Content
from .pages import PAGE_BYTES_MAX, Page, pages
from .records import block_of_records
from .text import LINE_BYTES_MAX


class Parquet:
    """The values of one column; row numbers count records from 1."""

    def __init__(
        self, content: Content, path: str, column: str, notes: list[str], rows_at_once: int, *, trim: bool = False
    ) -> None:
        self.name = content.name
        self.notes = notes
        self._content = content
        self._path = path
        self._column = column
        self._rows_at_once = rows_at_once
        self._trim = trim

    def blocks(self) -> Iterator[Block]:
        row = 1
        file = _opened(self.name, self._path)
        values: list[object] = []
        characters = 0
        try:
            for batch in file.iter_batches(self._rows_at_once, columns=[self._column], use_threads=False):
                for value in batch.column(0).to_pylist():
                    length = len(value) if isinstance(value, str) else 0
                    if length > LINE_BYTES_MAX:
                        raise SourceUnreadable(
                            f"{self.name}: row {row + len(values):,} is longer than {LINE_BYTES_MAX:,} characters; is "
                            f"'{self._column}' the column with the codes?"
                        )
                    values.append(value)
                    characters += length
                    if len(values) == ROWS_PER_BLOCK or characters > BLOCK_CHARACTERS_MAX:
                        yield block_of_records(row, values, trim=self._trim)
                        row, values, characters = row + len(values), [], 0
        except _errors() as cause:
            raise SourceUnreadable(f"{self.name} is damaged behind row {row - 1:,}: {cause}") from cause
        finally:
            file.close()
        if values:
            yield block_of_records(row, values, trim=self._trim)

    def fingerprint(self) -> str:
        return self._content.fingerprint()


def open_parquet(path: str, *, column: str | None, trim: bool) -> Parquet:
    """Open the column of a Parquet file that holds the codes.

    Raises:
        SourceUnreadable: not Parquet; no such column, or one that holds no text; or several and none chosen.
    """
    content = Content(path)
    if not content.repeatable:
        raise SourceUnreadable(f"{content.name} is a pipe, and Parquet can be read only from a file")
    file = _opened(content.name, path)
    try:
        names, types = file.schema_arrow.names, [str(kind) for kind in file.schema_arrow.types]
        metadata = file.metadata
    finally:
        file.close()
    if not names:
        raise SourceUnreadable(f"{content.name} has no columns")
    index = choose_by_name(content.name, names, column)
    if "string" not in types[index] or "<" in types[index].removeprefix("dictionary<"):
        raise SourceUnreadable(
            f"{content.name}: column '{names[index]}' is {types[index]}, not text; "
            "a number has lost its leading zeros: write the column as strings"
        )
    rows_at_once = _rows_at_once(content.name, path, metadata, names[index])
    notes = [f"Parquet, column '{names[index]}' ({index + 1} of {len(names)})"]
    return Parquet(content, path, names[index], notes, rows_at_once, trim=trim)


BATCH_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of the values that are made at a time. One long value of a page may stand for each of its rows."""
BLOCK_CHARACTERS_MAX: Final = 16 * 1024 * 1024


def _rows_at_once(name: str, path: str, metadata: Any, column: str) -> int:
    """Raises SourceUnreadable: a page of the column would unpack to too much, or can't be read."""
    largest = 1
    try:
        with open(path, "rb") as file:
            for number in range(metadata.num_row_groups):
                for page in _pages(file, metadata.row_group(number), column):
                    largest = max(largest, page.unpacked_bytes)
                    if largest > PAGE_BYTES_MAX:
                        raise SourceUnreadable(
                            f"{name}: a page of column '{column}' would unpack to {largest:,} bytes, and at most "
                            f"{PAGE_BYTES_MAX:,} are read: write the codes alone, in smaller row groups"
                        )
    except (ValueError, OSError) as cause:
        raise SourceUnreadable(f"{name} is damaged: {cause}") from cause
    return min(max(1, BATCH_BYTES_MAX // largest), ROWS_PER_BLOCK)


def _pages(file: IO[bytes], row_group: Any, column: str) -> Iterator[Page]:
    for number in range(row_group.num_columns):
        chunk = row_group.column(number)
        if chunk.path_in_schema != column:
            continue
        start, dictionary = chunk.data_page_offset, chunk.dictionary_page_offset
        if dictionary is not None and 0 < dictionary < start:
            start = dictionary
        yield from pages(file, start, chunk.total_compressed_size)


def _opened(name: str, path: str) -> Any:
    pyarrow_parquet = needed("pyarrow.parquet", what="Parquet", extra="parquet")
    try:
        return pyarrow_parquet.ParquetFile(path)
    except _errors() as cause:
        raise SourceUnreadable(f"{name} is no readable Parquet file: {cause}") from cause


def _errors() -> tuple[type[Exception], ...]:
    arrow_error: type[Exception] = needed("pyarrow", what="Parquet", extra="parquet").ArrowException
    return arrow_error, OSError, UnicodeDecodeError
