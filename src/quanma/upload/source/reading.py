"""How a file is to be read: what the user says about it. Nothing here is found out."""

from __future__ import annotations

from typing import Final

import msgspec

DIGITS_MAX: Final = 15
"""Of a number that a spreadsheet keeps exactly. Source: documented, for Excel."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the command line, and is kept in the ledger: a resume must read in the same way."""

    column: str | None = None
    """The column with the codes: a header, or a number from 1."""
    sheet: tuple[str, ...] = ()
    """The sheets of a workbook that are read, `*` for all with rows. None: the first with rows that is not hidden."""
    trim: bool = False
    """Take blanks off both ends of each code."""
    header_row: int | None = None
    """The row of the header; 0: there is none. None: it is looked for."""
    where: tuple[tuple[str, str], ...] = ()
    """Column and value: only such rows are read. Of one column several times: any of these values."""
    encoding: str | None = None
    """Of a text. None: UTF-8, UTF-16 with its mark, or GB18030 where it is no UTF-8."""
    numbers_as_text: bool = False
    """Take whole numbers of up to DIGITS_MAX digits as codes."""
    digits: int | None = None
    """Fill them up with zeros in front, to so many digits."""
    take_odd: bool = False
    """Take rows that look like a total, a header or a missing value."""


PLAIN: Final = Reading()
