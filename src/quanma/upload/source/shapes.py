"""Texts that hold codes, but not one a row: lines that end with CR, JSON documents, lists on one line. Pure.

Read row by row, such a file would be one row, or thousands of wrong ones. It is refused by what it is.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from ...errors import SourceUnreadable
from .layout import looks_like_a_code

LIST_MIN, LONG_LIST_MIN = 3, 10
"""So many codes on a line are a list: few of one length, or many of any. Ours."""


def refuse_other_shapes(name: str, sample: str, *, column: str | None) -> None:
    """Look at the beginning of a text.

    Raises:
        SourceUnreadable: its rows are not lines.
    """
    # What stands in quotes is inside a row.
    bare = re.sub('"[^"]*"', "", sample) if "\r" in sample else ""
    lone, ended = bare.count("\r") - bare.count("\r\n"), bare.count("\n")
    if (lone > 1 and lone >= 2 * ended) or (not ended and "\r" in bare.rstrip("\r")):
        raise SourceUnreadable(
            f"{name}: lines end with CR alone, as on old Macs; save the file with the line ending LF or CRLF"
        )
    begun = sample.lstrip("\ufeff \t\r\n")
    if _LIST.match(begun):
        raise SourceUnreadable(f"{name} is one JSON list; write each value on a line of its own: jq -c '.[]'")
    if begun.startswith("{"):
        _refuse_one_object(name, begun)
        return
    lines = [line for line in sample.split("\n") if line.strip()]
    if len(lines) == 1:
        _refuse_one_line(name, lines[0], column)


_LIST: Final = re.compile(r'\[\s*(?:["{\[\]\d-]|null|true|false)')
_FIRST_LINE_OF_MANY: Final = re.compile(r'\{\s*(?:"[^"]*"\s*:\s*(?:[\[{]\s*|[^{}\[\]]*,\s*))?')


def _refuse_one_object(name: str, begun: str) -> None:
    first, newline, rest = begun.partition("\n")
    try:
        value = msgspec.json.decode(first)
    except (msgspec.DecodeError, RecursionError):
        if not newline or (_FIRST_LINE_OF_MANY.fullmatch(first) and re.match(r'\s*["{}\[\]]', rest)):
            raise SourceUnreadable(
                f"{name} is one JSON document, over several lines or one long one; write each code on a line of its "
                "own: jq -c '.codes[]', with the name of its list for codes"
            ) from None
        return
    if rest.strip() or not isinstance(value, dict):
        return
    for key, one in value.items():
        if isinstance(one, list):
            raise SourceUnreadable(
                f"{name} is one JSON object with a list under '{str(key)[:40]}'; write each value on a line of its "
                f"own: jq -c '.\"{str(key)[:40]}\"[]'"
            )


def _refuse_one_line(name: str, line: str, column: str | None) -> None:
    for separator in (",", ";", "\t", "|", "，", "、", " "):
        parts = [part.strip(" \t\r'\"()") for part in line.split(separator)]
        codes = [part for part in parts if looks_like_a_code(part)]
        many = len(codes) >= LONG_LIST_MIN
        # A table of one row has fields of many lengths; and who names a column knows that it is one.
        few = LIST_MIN <= len(codes) == len(parts) and len(set(map(len, codes))) == 1 and column is None
        if many or few:
            shown = {"\t": "a tab", " ": "a blank"}.get(separator, f"'{separator}'")
            told = r"\t" if separator == "\t" else separator
            raise SourceUnreadable(
                f"{name} holds {len(parts):,} codes on one line, with {shown} between them, as far as was looked; "
                f"write each on a line of its own: tr '{told}' '\\n'"
            )
