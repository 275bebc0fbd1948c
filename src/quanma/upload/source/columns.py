"""Which column of a table holds the codes, and whether its first row is a header. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Final, NamedTuple

from ...errors import SourceUnreadable, masked

CODE_NAMES: Final = frozenset(
    {"code", "codes", "coupon", "coupons", "coupon_code", "coupon_codes", "couponcode", "couponcodes"}
    | {"voucher", "voucher_code", "vouchercode"}
    | {
        "券码",
        "券code",
        "券号",
        "券编码",
        "优惠券码",
        "优惠券code",
        "优惠码",
        "兑换码",
        "卡券码",
        "商家券码",
        "商家券code",
    }
)
"""Headers that say "here are the codes" by themselves. Our choice, from exports seen."""


class Column(NamedTuple):
    """The column that holds the codes."""

    place: int
    """From 0."""
    width: int
    """How many columns a row has."""
    header: str | None
    """Its name, if the first row is a header."""

    def told(self) -> str:
        if self.header is None:
            return f"no header row, column {self.place + 1} of {self.width}"
        return f"header row, column '{self.header}' ({self.place + 1} of {self.width})"


def choose(name: str, first_rows: Sequence[Sequence[str]], column: str | None) -> Column:
    """Find the column in the first rows of a table; column is a header or a number from 1.

    Raises:
        SourceUnreadable: no such column; or several columns, and nothing says which.
    """
    if not first_rows:
        return Column(0, 1, None)
    first, *others = first_rows
    width = len(first)
    header = (
        any(_is_code_name(cell) for cell in first)
        or (column is not None and not column.isdecimal() and bool(_named(first, column)))
        or _differs_from(others, first)
    )
    if header:
        index = choose_by_name(name, first, column)
        return Column(index, width, first[index].strip())
    filled = filled_columns(first_rows)
    if column is None and len(filled) == 1:
        return Column(filled[0], width, None)
    return Column(_numbered(name, [masked(cell) for cell in first], column), width, None)


def filled_columns(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the places of the columns that hold anything in these rows."""
    return [place for place, cells in enumerate(zip_longest(*rows, fillvalue="")) if any(map(str.strip, cells))]


def choose_by_name(name: str, headers: Sequence[str], column: str | None) -> int:
    """Find the column among headers; column is one of them, or a number from 1. Return its index.

    Raises:
        SourceUnreadable: no such column; or several columns, and nothing says which.
    """
    if column is None:
        known = [index for index, header in enumerate(headers) if _is_code_name(header)]
        return known[0] if len(known) == 1 else _numbered(name, headers, None)
    same = _named(headers, column)
    if len(same) > 1:
        raise SourceUnreadable(
            f"{name} has {len(same)} columns '{column}'; choose one by its number, "
            + " or ".join(f"--column {index + 1}" for index in same)
        )
    return same[0] if same else _numbered(name, headers, column)


def _numbered(name: str, shown: Sequence[str], column: str | None) -> int:
    if column is None and len(shown) == 1:
        return 0
    if column is not None and column.isdecimal() and 1 <= int(column) <= len(shown):
        return int(column) - 1
    columns = ", ".join(f"{number} '{cell}'" for number, cell in enumerate(shown, 1))
    if column is None:
        raise SourceUnreadable(
            f"{name} has several columns: {columns}; "
            "say which one holds the codes, with --column and its name or number"
        )
    raise SourceUnreadable(f"{name} has no column '{column}', only {columns}; choose with --column")


def _named(headers: Sequence[str], column: str) -> list[int]:
    exact = [index for index, header in enumerate(headers) if header.strip() == column.strip()]
    return exact or [
        index for index, header in enumerate(headers) if header.strip().casefold() == column.strip().casefold()
    ]


def _is_code_name(cell: str) -> bool:
    return cell.strip().casefold().replace(" ", "_").replace("-", "_") in CODE_NAMES


def _differs_from(others: Sequence[Sequence[str]], first: Sequence[str]) -> bool:
    # A header that we don't know: several words without a digit, above a column with digits in every row.
    # One column alone is not enough: a first code without a digit would be lost.
    if len(first) < 2 or not others or not all(first) or any(map(_has_digit, first)):
        return False
    return any(all(_has_digit(cell) for cell in cells) for cells in zip_longest(*others, fillvalue=""))


def _has_digit(cell: str) -> bool:
    return any(map(str.isdigit, cell))
