"""Parquet files, one text column, in record batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ...errors import SourceUnreadable
from ...extras import needed
from .block import ROWS_PER_BLOCK, Block
from .content import Content
from .layout import choose_by_name
from .pages import PAGE_BYTES_MAX, chunks, pages
from .reading import Reading
from .records import block_of_records
from .table import VALUES_SEEN_MAX, shown_value
from .text import LINE_BYTES_MAX


class Parquet:
    """The values of one column; row numbers count records from 1."""

    def __init__(
        self, content: Content, path: str, column: str, notes: list[str], rows_at_once: int, reading: Reading
    ) -> None:
        self.name = content.name
        self.notes = notes
        self._content = content
        self._path = path
        self._column = column
        self._rows_at_once = rows_at_once
        self._reading = reading
        self._seen: dict[str, list[str]] = {}

    def blocks(self) -> Iterator[Block]:
        row = 1
        file = _opened(self.name, self._path)
        values: list[object] = []
        others: list[list[object]] = []
        characters = 0
        wanted = self._wanted()
        try:
            for batch in file.iter_batches(self._rows_at_once, columns=[self._column, *wanted], use_threads=False):
                if wanted:
                    others += map(list, zip(*(batch.column(name).to_pylist() for name in wanted), strict=True))
                for value in batch.column(self._column).to_pylist():
                    length = len(value) if isinstance(value, str) else 0
                    if length > LINE_BYTES_MAX:
                        raise SourceUnreadable(
                            f"{self.name}: row {row + len(values):,} is longer than {LINE_BYTES_MAX:,} characters; is "
                            f"'{self._column}' the column with the codes?"
                        )
                    values.append(value)
                    characters += length
                    if len(values) == ROWS_PER_BLOCK or characters > BLOCK_CHARACTERS_MAX:
                        yield self._block(row, values, others[: len(values)], wanted)
                        del others[: len(values)]
                        row, values, characters = row + len(values), [], 0
        except _errors() as cause:
            raise SourceUnreadable(f"{self.name} is damaged behind row {row - 1:,}: {cause}") from cause
        finally:
            file.close()
        if values:
            yield self._block(row, values, others, wanted)

    @property
    def values_seen(self) -> Mapping[str, Sequence[str]]:
        return {column: list(map(shown_value, values)) for column, values in self._seen.items()}

    def fingerprint(self) -> str:
        return self._content.fingerprint()

    def _wanted(self) -> dict[str, set[str]]:
        wanted: dict[str, set[str]] = {}
        for column, value in self._reading.where:
            wanted.setdefault(column, set()).add(value.strip())
        return wanted

    def _block(
        self, row: int, values: list[object], others: Sequence[Sequence[object]], wanted: dict[str, set[str]]
    ) -> Block:
        rows = range(row, row + len(values))
        if not wanted:
            return block_of_records(rows, values, self._reading)
        kept = [
            at
            for at, found in enumerate(others)
            if all(_said(value) in texts for value, texts in zip(found, wanted.values(), strict=True))
        ]
        for name, column in zip(wanted, zip(*others, strict=True), strict=True):
            seen = self._seen.setdefault(name, [])
            seen += [text for text in dict.fromkeys(map(_said, column[:1000])) if text and text not in seen]
            del seen[VALUES_SEEN_MAX:]
        block = block_of_records([rows[at] for at in kept], [values[at] for at in kept], self._reading)
        return block._replace(left_out=len(values) - len(kept))


def _said(value: object) -> str:
    return "" if value is None else str(value).strip()


def open_parquet(path: str, reading: Reading) -> Parquet:
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
    finally:
        file.close()
    if not names:
        raise SourceUnreadable(f"{content.name} has no columns")
    index = choose_by_name(content.name, names, reading.column)
    for column, _ in reading.where:
        if column not in names:
            there = ", ".join(f"'{name[:24]}'" for name in names)
            raise SourceUnreadable(
                f"{content.name} has no column '{column}', which --where names; its columns: {there}"
            )
    numbers = reading.numbers_as_text or reading.digits is not None
    if numbers and types[index].removeprefix("u").startswith("int"):
        pass
    elif "string" not in types[index] or "<" in types[index].removeprefix("dictionary<"):
        raise SourceUnreadable(
            f"{content.name}: column '{names[index]}' is {types[index]}, not text; "
            "a number has lost its leading zeros: write the column as strings"
            + ("; or say --numbers-as-text, or --digits" if "int" in types[index] else "")
        )
    rows_at_once = _rows_at_once(content.name, path, names[index])
    notes = [f"Parquet, column '{names[index]}' ({index + 1} of {len(names)})"]
    return Parquet(content, path, names[index], notes, rows_at_once, reading)


BATCH_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of the values that are made at a time. One long value of a page may stand for each of its rows."""
BLOCK_CHARACTERS_MAX: Final = 16 * 1024 * 1024


def _rows_at_once(name: str, path: str, column: str) -> int:
    """Raises SourceUnreadable: a page of the column would unpack to too much, or can't be read."""
    largest = 1
    try:
        with open(path, "rb") as file:
            for chunk in list(chunks(file)):
                for page in pages(file, chunk.start, chunk.length) if chunk.column == column else ():
                    largest = max(largest, page.unpacked_bytes)
                    if largest > PAGE_BYTES_MAX:
                        raise SourceUnreadable(
                            f"{name}: a page of column '{column}' would unpack to {largest:,} bytes, and at most "
                            f"{PAGE_BYTES_MAX:,} are read: write the codes alone, in smaller row groups"
                        )
    except (ValueError, OSError) as cause:
        raise SourceUnreadable(f"{name} is damaged: {cause}") from cause
    return min(max(1, BATCH_BYTES_MAX // largest), ROWS_PER_BLOCK)


def _opened(name: str, path: str) -> Any:
    pyarrow_parquet = needed("pyarrow.parquet", what="Parquet", extra="parquet")
    try:
        return pyarrow_parquet.ParquetFile(path)
    except _errors() as cause:
        raise SourceUnreadable(f"{name} is no readable Parquet file: {cause}") from cause


def _errors() -> tuple[type[Exception], ...]:
    arrow_error: type[Exception] = needed("pyarrow", what="Parquet", extra="parquet").ArrowException
    return arrow_error, OSError, UnicodeDecodeError
