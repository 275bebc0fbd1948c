"""JSON lines: on each line a string, or an object with the code under a key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from ...errors import SourceUnreadable
from ..reasons import Reason
from .block import Block
from .encoding import Text
from .layout import CORRECTED, REASON, choose_by_name
from .reading import Reading
from .table import VALUES_SEEN_MAX, Taken, not_corrected, number, shown_value
from .text import split, whole_lines


class JsonLines:
    """Lines of JSON. A line that is not a string, and holds none under the key, is a problem of its own."""

    def __init__(self, text: Text, key: str, reading: Reading) -> None:
        self.name = text.name
        self.notes = [*text.notes, f"JSON lines, strings or objects with key '{key}'"]
        self._seen: dict[str, list[str]] = {}
        self._text = text
        self._key = key
        self._reading = reading

    def blocks(self) -> Iterator[Block]:
        for first_row, text in whole_lines(self.name, self._text.pieces()):
            rows, lines = split(first_row, text)
            if self._reading.where:
                yield self._chosen(rows, lines)
            elif lines:
                yield self._block(rows, lines)

    @property
    def values_seen(self) -> Mapping[str, Sequence[str]]:
        return {column: list(map(shown_value, values)) for column, values in self._seen.items()}

    def fingerprint(self) -> str:
        return self._text.fingerprint()

    def _chosen(self, rows: Sequence[int], lines: Sequence[str]) -> Block:
        kept = [(row, line) for row, line in zip(rows, lines, strict=True) if self._asked_for(line)]
        block = self._block([row for row, _ in kept], [line for _, line in kept])
        return block._replace(left_out=len(rows) - len(kept))

    def _block(self, rows: Sequence[int], lines: Sequence[str]) -> Block:
        codes: list[str] = []
        problems: dict[int, Reason] = {}
        remarks: list[tuple[str, int]] = []
        for row, line in zip(rows, lines, strict=True):
            taken = self._read(line)
            if taken.problem is not None:
                problems[len(codes)] = taken.problem
            elif taken.remark is not None:
                remarks.append((taken.remark, row))
            codes.append(taken.text.strip() if self._reading.trim else taken.text)
        return Block(rows, codes, problems, remarks=remarks)

    def _read(self, line: str) -> Taken:
        try:
            value = _decode(line)
        # RecursionError: a line of thousands of brackets.
        except (msgspec.DecodeError, RecursionError) as cause:
            why = str(cause).removeprefix("JSON is malformed: ")
            return Taken(line, Reason("NOT_JSON", f"the line is not JSON: {why}"))
        if not isinstance(value, dict):
            return self._code(value)
        fields = cast(dict[str, object], value)
        if self._key not in fields:
            return Taken(line, Reason("NO_KEY", f"the object has no key '{self._key}'"))
        code = self._code(fields[self._key])
        # A row of a file of rejected rows: see `report.py`.
        reason = _first(fields, REASON)
        if not isinstance(reason, str) or "row" not in fields or self._key != "code":
            return code
        corrected = _first(fields, CORRECTED)
        if corrected is not None and corrected != "":
            better = self._code(corrected)
            return better if better.problem else Taken(better.text, None, "CORRECTED")
        return not_corrected(code, str(fields.get("reason_code", "")), reason, self._reading)

    def _code(self, value: object) -> Taken:
        if isinstance(value, str):
            return Taken(value) if value.strip() else Taken(value, Reason("EMPTY", "the text is empty"))
        text = msgspec.json.encode(value).decode()
        if isinstance(value, int | float) and not isinstance(value, bool):
            return number(text, self._reading, "the value is", "write it as a string")
        return Taken(text, _why_not_text(value))

    def _asked_for(self, line: str) -> bool:
        """Whether a line has the values of `--where`. One that is no object has none; one that is no JSON is told."""
        try:
            value = _decode(line)
        except (msgspec.DecodeError, RecursionError):
            return True
        fields: Mapping[str, object] = cast(dict[str, object], value) if isinstance(value, dict) else {}
        wanted: dict[str, set[str]] = {}
        for column, text in self._reading.where:
            wanted.setdefault(column, set()).add(text.strip())
        for column, values in wanted.items():
            found = fields.get(column)
            text = (
                found.strip()
                if isinstance(found, str)
                else ""
                if found is None
                else msgspec.json.encode(found).decode()
            )
            seen = self._seen.setdefault(column, [])
            if len(seen) < VALUES_SEEN_MAX and text and text not in seen:
                seen.append(text)
            if text not in values:
                return False
        return True


def open_json_lines(text: Text, sample: str, reading: Reading) -> JsonLines:
    """Open a text of JSON lines; the column is the key, by default the one that its first object has for codes.

    Raises:
        SourceUnreadable: the first object has no such key, or several; or none as --where says.
    """
    first = _first_object(sample)
    if first is None:
        return JsonLines(text, reading.column or "code", reading)
    keys = list(first)
    if not keys:
        raise SourceUnreadable(f"{text.name}: the first object is empty")
    for column, _ in reading.where:
        if column not in keys:
            there = ", ".join(f"'{key[:24]}'" for key in keys)
            raise SourceUnreadable(f"{text.name} has no key '{column}', which --where names; its keys: {there}")
    return JsonLines(text, keys[choose_by_name(text.name, keys, reading.column)], reading)


# It refuses half a surrogate pair, which is no text that could be stored or sent.
_decode: Final[Callable[[str], object]] = msgspec.json.Decoder(Any).decode


def _first(fields: Mapping[str, object], names: Sequence[str]) -> object:
    return next((fields[name] for name in names if name in fields), None)


def _why_not_text(value: object) -> Reason:
    if value is None:
        return Reason("EMPTY", "the value is null")
    if isinstance(value, bool):
        return Reason("TRUTH", "the value is true or false, not a text")
    return Reason("NOT_TEXT", "the value is a list or an object, not a text")


def _first_object(sample: str) -> dict[str, object] | None:
    for line in sample.split("\n"):
        try:
            value = _decode(line)
        except (msgspec.DecodeError, RecursionError):
            continue
        if isinstance(value, dict):
            return cast(dict[str, object], value)
    return None
