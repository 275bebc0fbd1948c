"""What stands in a cell: a text exactly as its writer meant it, or something that is no text. Pure."""

from __future__ import annotations

import datetime
import re
from typing import Final, NamedTuple

TEXT_CHARACTERS_MAX: Final = 1024 * 1024
"""Of one cell. Excel's own limit is 32,767 (documented); a longer one is no code, and could fill the memory."""


class NoText(NamedTuple):
    """A cell that holds something else than a text, and so no code as it stands."""

    kind: str
    """`number`, `date`, `boolean`, `error`, `formula` (without a stored result), or `unclear`. Words: see `table`."""
    text: str
    """As far as it is known, for reports: digits of a number, the letters of an error."""


Cell = str | NoText | None
"""None: nothing stands there."""


def meant(text: str) -> str:
    """Undo `_xHHHH_`, once: so a workbook stores characters that XML can't hold, and `_x` before such letters.

    Half of a character that needs two becomes U+FFFD, which no code holds.
    Source: documented, ECMA-376 part 1, 22.9.2.19 (ST_Xstring).
    """
    if "_x" not in text:
        return text
    undone = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    return undone.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


_ESCAPED: Final = re.compile("_x([0-9A-Fa-f]{4})_")


class Dates(NamedTuple):
    """Which styles (a cell's attribute `s`) show a number as a date or time, and from when its days count."""

    styles: frozenset[int] = frozenset()
    from_1904: bool = False


def number(text: str, style: str, dates: Dates, *, of_formula: bool = False) -> NoText:
    """A cell of a number, told as a spreadsheet shows it: a date, or without an exponent where it is whole."""
    if dates.styles and style.isascii() and style.isdigit() and int(style[:6]) in dates.styles:
        return NoText("date", _date(text, dates))
    if not _DIGITS.fullmatch(text):
        try:
            value = float(text)
        except ValueError:
            return NoText("unclear", text[:40])
        if value.is_integer() and abs(value) < 1e21:
            text = f"{value:.0f}"
    # Where a library knows no result, it writes 0. Source: documented, by XlsxWriter.
    return NoText("formula" if of_formula and text == "0" else "number", text[:40])


_DIGITS: Final = re.compile("-?[0-9]{1,21}", re.ASCII)


def _date(days: str, dates: Dates) -> str:
    first = datetime.datetime(1904, 1, 1) if dates.from_1904 else datetime.datetime(1899, 12, 30)  # noqa: DTZ001  # A cell knows no zone.
    try:
        return str(first + datetime.timedelta(seconds=round(float(days) * 86_400)))
    except (ValueError, OverflowError):
        return days[:40]


def column_number(letters: str) -> int:
    """From 0: `A` is 0. Letters may be small. Raises ValueError: no letters, or a column behind XFD."""
    place = 0
    for letter in letters.upper():
        place = place * 26 + _LETTERS.index(letter) + 1
        if place > COLUMNS_MAX:
            raise ValueError(f"column {letters} is behind XFD")
    if not place:
        raise ValueError("a cell's name has no column")
    return place - 1


def column_letters(place: int) -> str:
    letters = ""
    place += 1
    while place:
        place, letter = divmod(place - 1, 26)
        letters = _LETTERS[letter] + letters
    return letters


_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
COLUMNS_MAX: Final = 16_384
ROWS_MAX: Final = 1_048_576
"""Of a sheet. Source: documented, as limits of Excel."""
