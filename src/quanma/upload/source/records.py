"""Values of typed records, from Parquet or a database, as a block. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from ..reasons import Reason
from .block import Block
from .reading import Reading
from .table import Taken, number


def block_of_records(rows: Sequence[int], values: Sequence[object], reading: Reading) -> Block:
    """Return the values as a block. An empty value is a problem of its row: the record is there."""
    codes: list[str] = []
    problems: dict[int, Reason] = {}
    remarks: list[tuple[str, int]] = []
    for value in values:
        if isinstance(value, str) and (stripped := value.strip()):
            codes.append(stripped if reading.trim else value)
            continue
        taken = _taken(value, reading)
        if taken.problem is not None:
            problems[len(codes)] = taken.problem
        elif taken.remark is not None:
            remarks.append((taken.remark, rows[len(codes)]))
        codes.append(taken.text)
    return Block(rows, codes, problems, remarks=remarks)


def _taken(value: object, reading: Reading) -> Taken:
    if value is None:
        return Taken("", Reason("EMPTY", "the value is null"))
    if isinstance(value, str):
        return Taken(value, Reason("EMPTY", "the text is empty"))
    if isinstance(value, bool):
        return Taken(str(value), Reason("TRUTH", "the value is true or false, not a text"))
    if isinstance(value, int | float | Decimal):
        return number(str(value), reading, "the value is", "store codes as text")
    text = "" if isinstance(value, bytes) else str(value)
    return Taken(text, Reason("NOT_TEXT", f"the value is of type {type(value).__name__}, not a text"))
