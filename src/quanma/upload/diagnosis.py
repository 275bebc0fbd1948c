"""What is wrong with the text of a single coupon code, in words for whoever has to correct the file. Pure.

No message holds a whole code: the row number, which the caller adds, says where it stands.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from ..api import rules
from .reasons import Reason


def explain(coupon_code: str, rule: rules.CodeRule = rules.BUSIFAVOR) -> Reason | None:
    """Return why a text is not a legal code and what to do, or None if it is one."""
    if rule.pattern.fullmatch(coupon_code):
        return None
    if not coupon_code:
        return Reason("EMPTY", "the text is empty")
    for code, pattern, what in _RUINED_BY_PROGRAMS:
        if pattern.fullmatch(coupon_code):
            return Reason(code, f"{what}: export the column as text from where the codes were made")
    wrong = [place for place, character in enumerate(coupon_code) if character not in rule.characters]
    if not wrong:
        return Reason(
            "TOO_LONG", f"row text is {len(coupon_code)} characters long, at most {rule.length_max} are allowed"
        )
    more = f" ({len(wrong) - 1} more are not allowed)" if len(wrong) > 1 else ""
    return Reason("CHARACTER", f"character {wrong[0] + 1} is {_described(coupon_code[wrong[0]])}{more}")


def warn(coupon_code: str) -> str | None:
    """Return what is suspicious about a legal code, or None.

    Source: the platform allows spaces, and says nothing about outer ones.
    """
    ends = [end for end, blank in (("begins", coupon_code[:1]), ("ends", coupon_code[-1:])) if blank == " "]
    if not ends:
        return None
    return f"the code {' and '.join(ends)} with a blank, which is sent as part of it; --trim takes it off"


_RUINED_BY_PROGRAMS: Final = (
    (
        "SCIENTIFIC",
        re.compile(r"\s*[+-]?[0-9]+(?:[.,][0-9]+)?[eE][+-]?[0-9]+\s*"),
        "a spreadsheet made the code a number in scientific notation (like 1.23E+15), and digits are lost",
    ),
    (
        "DECIMALS",
        re.compile(r"\s*[+-]?[0-9]+\.[0-9]+\s*"),
        "a program made the code a number with decimals (like 123.0), and leading zeros may be lost",
    ),
    ("FORMULA_TEXT", re.compile(r'="[^"]*"'), 'the code stands in a spreadsheet formula, ="…"'),
)

_NAMES: Final = {
    "\0": "NUL",
    "\t": "a tab",
    "\n": "a line feed",
    "\r": "a carriage return",
    "\u00a0": "a no-break space",
    "\ufeff": "a byte order mark",
}


def _described(character: str) -> str:
    point = f"U+{ord(character):04X}"
    category = unicodedata.category(character)
    if category == "Cc":
        return f"{_NAMES.get(character, 'a control character')} ({point}): remove it"
    if category in ("Cs", "Co", "Cn"):
        return f"{point}, no character at all: perhaps the file is in another encoding than UTF-8"
    name = unicodedata.name(character, "without a name")
    if category in ("Cf", "Zs", "Zl", "Zp"):
        return f"{_NAMES.get(character, name)} ({point}), invisible or like a plain blank: remove it"
    half = unicodedata.normalize("NFKC", character)
    if unicodedata.east_asian_width(character) == "F" and half.isascii():
        return f"'{character}' ({point} {name}), full-width: type '{half}' in half width instead"
    if character == "\ufffd":
        return f"'{character}' ({point} {name}): an earlier conversion lost the character, export again"
    return f"'{character}' ({point} {name}), which is not allowed: correct or remove it"
