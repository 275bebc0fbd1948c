"""Legal texts that are hardly codes: totals, column names, words for nothing. They are sent only if asked for. Pure.

Which ones they are is our choice, from exports seen. They are looked for in a whole block at a time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from typing import Final

from ..storage import headers
from .reasons import Reason

WAY_OUT: Final = "leave the row out; --take-odd sends it as a code"


def odd_ones(codes: Sequence[str]) -> dict[int, Reason]:
    """Return why codes of a block are odd, by their index."""
    text = "\n".join(codes)
    if _WORDS.keys().isdisjoint(codes) and not has_total(text) and not _has_row_count(text):
        return {}
    return {at: reason for at, code in enumerate(codes) if (reason := why_odd(code)) is not None}


def why_odd(code: str) -> Reason | None:
    """Return why a text is hardly a code, or None."""
    if (kind := _WORDS.get(code)) is not None:
        return Reason(kind, f"{_SAID[kind]}: {WAY_OUT}")
    if is_total(code):
        return total_row()
    if _ROW_COUNT.fullmatch(code.strip()):
        return Reason("ROW_COUNT", f"the line tells how many rows there are: {WAY_OUT}")
    return None


def is_total(cell: str) -> bool:
    """Whether a cell says that its row is a total: 合计, 总计：, Total 60000."""
    return _TOTAL.fullmatch(cell.strip()) is not None


def has_total(text: str) -> bool:
    """Whether a text may hold such a cell: a quick look."""
    # One letter is found much quicker than a word, and most texts hold none of these.
    letters = _ASCII_LETTERS if text.isascii() else _TOTAL_LETTERS
    return any(letter in text for letter in letters) and any(word in text for word in TOTAL_MARKS)


def _has_row_count(text: str) -> bool:
    return " " in text and any(mark in text for mark in (" row", " ROW", " Row"))


def total_row() -> Reason:
    return Reason("TOTAL", f"the row is a total (合计, 总计, 小计, Total): {WAY_OUT}")


def header_again() -> Reason:
    return Reason("HEADER", f"{_SAID['HEADER']}: {WAY_OUT}")


_ASCII_LETTERS: Final = ("ota", "OTA")
_TOTAL_LETTERS: Final = (*_ASCII_LETTERS, "计", "总")
_CHINESE_TOTALS: Final = ("合计", "总计", "小计", "共计", "总和", "汇总", "累计")
TOTAL_MARKS: Final = (
    *(blank.join(word) for word in _CHINESE_TOTALS for blank in ("", " ", "  ", "\u3000")),
    *("otal", "OTAL"),
)
"""One of these stands in every cell that says it. Layouts spread such a word with blanks."""
_SPREAD: Final = "|".join("[ \u3000]*".join(word) for word in _CHINESE_TOTALS)
_TOTAL: Final = re.compile(
    rf"(?:本页|本店|全部|全店|总)?(?:{_SPREAD})"
    r"(?:[数行]?[（(].*|[数行]?[\s:：].*|[数行]|[\d.,]+[张个条行枚元]?)?"
    r"|(?:(?:grand|sub|page)[ _-]?)?totals?(?:\s*[:：(（].*|\s+[\d.,]+)?",
    re.IGNORECASE | re.DOTALL,
)
_ROW_COUNT: Final = re.compile(
    r"[-(]*\s*[\d,]+ rows?(?: (?:affected|selected|in set|returned|exported))?.*", re.IGNORECASE
)

_SAID: Final = {
    "HEADER": "the text is the name of a column, and no code",
    "NULL_WORD": "the text is a program's word for a missing value",
    "TRUTH_WORD": "the text is a program's word for true or false",
    "DATE_WORD": "the text is a date, as a spreadsheet makes one of a code like 9-2",
    "NO_LETTER": "the text has neither a letter nor a digit",
}
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _spellings(*words: str) -> set[str]:
    return {spelt for word in words for spelt in (word, word.lower(), word.upper(), word.title(), word.capitalize())}


def _words() -> dict[str, str]:
    names = [name for name in (*headers.CODE_NAMES, *headers.STOCK_NAMES) if name.isascii()]
    spelt = [*names, *(name.title() for name in names)]
    joined = {separator.join(name.split("_")) for name in spelt for separator in ("_", " ", "-", "")}
    dates = {f"{day}-{month}" for day, month in product((*range(1, 32), *(f"0{day}" for day in range(1, 10))), _MONTHS)}
    dates |= {f"{month}-{number:02}" for number, month in product(range(100), _MONTHS)}
    # \N is what MySQL and PostgreSQL export for NULL.
    null = _spellings(
        "null", "nil", "nan", "none", "undefined", "n/a", "na", "NaN", "(null)", "void", "missing", "<NA>"
    )
    signs = {"".join(few) for count in (1, 2, 3) for few in product("-_\\/=| ", repeat=count)}
    signs |= {sign * count for sign in "-_\\/=|" for count in range(4, 33)}
    return {
        **dict.fromkeys((sign for sign in signs if sign.strip()), "NO_LETTER"),
        **dict.fromkeys(_spellings(*dates), "DATE_WORD"),
        **dict.fromkeys(_spellings("true", "false"), "TRUTH_WORD"),
        **dict.fromkeys(_spellings(*joined), "HEADER"),
        **dict.fromkeys((*null, "\\N", "-nan", "-NaN", "NaT", "#N/A", "#NULL!"), "NULL_WORD"),
    }


_WORDS: Final = _words()
