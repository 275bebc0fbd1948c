"""Which styles show a number as a date or time. Only for the words of a refusal: styles that can't be read are none."""

from __future__ import annotations

import re
from typing import Final

from .markup import Attributes, Damaged, Markup
from .package import Package

STYLES_MAX: Final = 65_490
"""Of a workbook. Source: documented, as a limit of Excel."""


def date_styles(package: Package, part: str | None) -> frozenset[int]:
    """Return the numbers of the styles that show dates."""
    found: set[int] = set()
    formats = dict.fromkeys(_BUILT_IN, True)
    styles, inside = 0, ""

    def start(name: str, attributes: Attributes) -> None:
        nonlocal styles, inside
        if name in ("cellXfs", "cellStyleXfs"):
            inside = name
        elif name == "numFmt" and len(formats) < STYLES_MAX:
            formats[_whole(attributes.get("numFmtId"))] = _shows_date(attributes.get("formatCode", ""))
        elif name == "xf" and inside == "cellXfs":
            if formats.get(_whole(attributes.get("numFmtId"))) and styles < STYLES_MAX:
                found.add(styles)
            styles += 1

    if part is not None:
        try:
            Markup(start).read(package.pieces(part))
        except Damaged:
            return frozenset()
    return frozenset(found)


_BUILT_IN: Final = (*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59))
"""Numbers of formats that no part declares. Source: documented, ECMA-376 part 1, 18.8.30."""
_NO_LETTERS: Final = re.compile(r'"[^"]*"|\\.|\[[^\]]*[^\]hmsHMS][^\]]*\]|General', re.DOTALL)


def _shows_date(code: str) -> bool:
    return re.search("[dmyhs]", _NO_LETTERS.sub("", code[:1000]), re.IGNORECASE) is not None


def _whole(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 9 else -1
