"""Values of typed records, from Parquet or a database, as a block. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from .block import Block


def block_of_records(first_row: int, values: Sequence[object], *, trim: bool) -> Block:
    """Return the values as a block. An empty value is a problem of its row: the record is there."""
    codes: list[str] = []
    problems: dict[int, str] = {}
    for value in values:
        if isinstance(value, str) and (stripped := value.strip()):
            codes.append(stripped if trim else value)
        else:
            problems[len(codes)] = _why_not_text(value)
            codes.append("" if value is None or isinstance(value, bytes) else str(value))
    return Block(range(first_row, first_row + len(codes)), codes, problems)


def _why_not_text(value: object) -> str:
    if value is None:
        return "the value is null"
    if isinstance(value, str):
        return "the text is empty"
    if isinstance(value, int | float | Decimal):
        return "the value is a number, leading zeros may be lost: store codes as text"
    return f"the value is of type {type(value).__name__}, not a text"
