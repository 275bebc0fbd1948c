"""JSON lines: on each line a string, or an object with the code under a key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import msgspec

from ...errors import SourceUnreadable
from .block import Block
from .columns import choose_by_name
from .content import Content
from .text import beginning, notes_on, split, whole_lines


class JsonLines:
    """Lines of JSON. A line that is not a string, and holds none under the key, is a problem of its own."""

    def __init__(self, content: Content, key: str, *, trim: bool = False) -> None:
        self.name = content.name
        self.notes = [*notes_on(content), f"JSON lines, strings or objects with key '{key}'"]
        self._content = content
        self._key = key
        self._trim = trim

    def blocks(self) -> Iterator[Block]:
        for first_row, text in whole_lines(self.name, self._content.pieces()):
            rows, lines = split(first_row, text)
            codes: list[str] = []
            problems: dict[int, str] = {}
            for line in lines:
                code, problem = self._read(line)
                if problem:
                    problems[len(codes)] = problem
                codes.append(code.strip() if self._trim else code)
            if codes:
                yield Block(rows, codes, problems)

    def fingerprint(self) -> str:
        return self._content.fingerprint()

    def _read(self, line: str) -> tuple[str, str | None]:
        try:
            value = _decode(line)
        # RecursionError: a line of thousands of brackets.
        except (msgspec.DecodeError, RecursionError) as cause:
            return line, f"the line is not JSON: {str(cause).removeprefix('JSON is malformed: ')}"
        if isinstance(value, dict):
            if self._key not in value:
                return line, f"the object has no key '{self._key}'"
            value = cast(dict[str, object], value)[self._key]
        if not isinstance(value, str):
            return msgspec.json.encode(value).decode(), _why_not_text(value)
        if not value.strip():
            return value, "the text is empty"
        return value, None


def open_json_lines(content: Content, *, column: str | None, trim: bool) -> JsonLines:
    """Open a text of JSON lines; column is the key, by default the one that its first object has for codes.

    Raises:
        SourceUnreadable: the first object has no such key, or several.
    """
    sample = beginning(content)
    if sample.lstrip().startswith("["):
        raise SourceUnreadable(f"{content.name} is one JSON list; write each value on a line of its own: jq -c '.[]'")
    first = _first_object(sample)
    if first is None:
        return JsonLines(content, column or "code", trim=trim)
    keys = list(first)
    if not keys:
        raise SourceUnreadable(f"{content.name}: the first object is empty")
    return JsonLines(content, keys[choose_by_name(content.name, keys, column)], trim=trim)


# It refuses half a surrogate pair, which is no text that could be stored or sent.
_decode: Final[Callable[[str], object]] = msgspec.json.Decoder(Any).decode


def _why_not_text(value: object) -> str:
    if value is None:
        return "the value is null"
    if isinstance(value, bool):
        return "the value is true or false, not a text"
    if isinstance(value, int | float):
        return "the value is a number, leading zeros may be lost: write it as a string"
    return "the value is a list or an object, not a text"


def _first_object(sample: str) -> dict[str, object] | None:
    for line in sample.split("\n"):
        try:
            value = _decode(line)
        except (msgspec.DecodeError, RecursionError):
            continue
        if isinstance(value, dict):
            return cast(dict[str, object], value)
    return None
