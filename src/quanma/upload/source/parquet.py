"""Parquet files, one text column, in record batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...errors import SourceUnreadable
from .block import ROWS_PER_BLOCK, Block
from .columns import choose_by_name
from .content import Content
from .extras import needed
from .records import block_of_records


class Parquet:
    """The values of one column; row numbers count records from 1."""

    def __init__(self, content: Content, path: str, column: str, notes: list[str], *, trim: bool = False) -> None:
        self.name = content.name
        self.notes = notes
        self._content = content
        self._path = path
        self._column = column
        self._trim = trim

    def blocks(self) -> Iterator[Block]:
        row = 1
        file = _opened(self.name, self._path)
        try:
            for batch in file.iter_batches(ROWS_PER_BLOCK, columns=[self._column], use_threads=False):
                values = batch.column(0).to_pylist()
                yield block_of_records(row, values, trim=self._trim)
                row += len(values)
        except _errors() as cause:
            raise SourceUnreadable(f"{self.name} is damaged behind row {row - 1:,}: {cause}") from cause
        finally:
            file.close()

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
    notes = [f"Parquet, column '{names[index]}' ({index + 1} of {len(names)})"]
    return Parquet(content, path, names[index], notes, trim=trim)


def _opened(name: str, path: str) -> Any:
    pyarrow_parquet = needed("pyarrow.parquet", what="Parquet", extra="parquet")
    try:
        return pyarrow_parquet.ParquetFile(path)
    except _errors() as cause:
        raise SourceUnreadable(f"{name} is no readable Parquet file: {cause}") from cause


def _errors() -> tuple[type[Exception], ...]:
    arrow_error: type[Exception] = needed("pyarrow", what="Parquet", extra="parquet").ArrowException
    return arrow_error, OSError, UnicodeDecodeError
