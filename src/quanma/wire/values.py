"""Values of a call that nothing is declared about: each goes out as it was meant, or is refused. Pure.

Text, whole and finite numbers, true and false, null, lists and mappings are what JSON has. Beside them, a time with its
offset and a date have one text in this API. For all else there are several, so the caller chooses: bytes, sets,
Decimal, a time without its offset.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec

from ..errors import RequestInvalid

BUILT_IN = (bytes, bytearray, memoryview, datetime, date, time, timedelta, Decimal)
"""What msgspec leaves as it is, so that it is looked at here."""
INSTEAD = {
    bytes: "decode it to text",
    bytearray: "decode it to text",
    memoryview: "decode it to text",
    set: "a set has no order: make it a list",
    frozenset: "a set has no order: make it a list",
    Decimal: "make it an int, of fen, or a text",
    time: "write it as text",
    timedelta: "write it as text, or as a number of seconds",
}


def text(value: Any, place: str) -> str:
    """Return how a path or query spells a value. True is `true`, as in JSON.

    Raises:
        RequestInvalid: it is a list, a mapping, or has no certain text. The message holds its type and not the value.
    """
    value = plain(value, place)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    kind = "nothing" if value is None else "a list" if isinstance(value, list) else "a mapping"
    raise RequestInvalid(f"{place} is {kind}, and one text or number goes there: join several into one text yourself")


def plain(value: Any, place: str) -> Any:
    """Return a value as JSON has it. `place` is where it stands, for the message.

    Raises:
        RequestInvalid: JSON has nothing that says the same. The message holds its type and not the value.
    """
    try:
        return _plain(value, place)
    except RecursionError:
        raise RequestInvalid(f"{place} is nested too deeply, or holds itself") from None


def _plain(value: Any, place: str) -> Any:
    if isinstance(value, Enum):
        return _plain(value.value, place)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RequestInvalid(f"{place} is {float(value)}, and JSON has no number for that")
        return float(value)
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise RequestInvalid(f"{place} is a time without its offset: give one with it, like value.astimezone()")
        return value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {_name(name, place): _plain(inner, f"{place}.{name}") for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, f"{place}[{number}]") for number, one in enumerate(value)]
    if isinstance(value, msgspec.Struct):
        return _plain(msgspec.to_builtins(value, builtin_types=BUILT_IN), place)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name), place) for field in dataclasses.fields(value)}
    kind = type(value).__name__
    advice = next((words for known, words in INSTEAD.items() if isinstance(value, known)), "write it as text or number")
    raise RequestInvalid(f"{place} is of type {kind}, and JSON has nothing that says the same: {advice}")


def _name(name: Any, place: str) -> str:
    if not isinstance(name, str):
        raise RequestInvalid(f"{place} has a name of type {type(name).__name__}, and names in JSON are text")
    return str.__str__(name)
