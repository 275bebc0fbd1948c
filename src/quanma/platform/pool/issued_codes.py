"""A file of codes that were given out after a copy was made: lines of `stock_id,coupon_code`, and more if one likes."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...errors import SourceUnreadable, masked

CODE_CHARACTERS_MAX = 32
STOCK_ID_CHARACTERS_MAX = 20


class IssuedCode(NamedTuple):
    line: int
    stock_id: str
    coupon_code: str


def read_issued(path: Path) -> list[IssuedCode]:
    """Read the whole file: CSV, with or without a heading; what stands behind the first two columns is left aside.

    Raises:
        SourceUnreadable: it can't be read, or one line is not what it should be. Nothing is to be done then.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(_codes(csv.reader(file, strict=True), path))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise SourceUnreadable(f"{path} can't be read: {problem}: nothing was changed") from None


def _codes(lines: Iterator[list[str]], path: Path) -> Iterator[IssuedCode]:
    for number, fields in enumerate(lines, 1):
        if not fields or (number == 1 and [field.strip() for field in fields[:2]] == ["stock_id", "coupon_code"]):
            continue
        stock_id, coupon_code = (field.strip() for field in (*fields, "", "")[:2])
        if not 0 < len(stock_id) <= STOCK_ID_CHARACTERS_MAX or not 0 < len(coupon_code) <= CODE_CHARACTERS_MAX:
            raise SourceUnreadable(
                f"{path}, line {number}: {masked(coupon_code)!r} of stock {stock_id[:32]!r} is no "
                "stock_id,coupon_code: correct the file, nothing was changed"
            )
        yield IssuedCode(number, stock_id, coupon_code)
