"""What a request's own fields must be, whatever it asks for. Pure."""

from __future__ import annotations

import msgspec

from ...errors import ParamError
from ...wire.times import unix_seconds


def check_texts(request: msgspec.Struct) -> None:
    """Raises ParamError: a field holds the character NUL, which not every store can keep. Our choice.

    Lists are let through: of codes, each has its own outcome.
    """
    for field, value in msgspec.structs.asdict(request).items():
        if isinstance(value, msgspec.Struct):
            check_texts(value)
        elif isinstance(value, str) and "\0" in value:
            raise ParamError(f"{field} holds the character NUL")


def check_time(field: str, text: str) -> None:
    """Raises ParamError: not a time."""
    try:
        unix_seconds(text)
    except ValueError:
        raise ParamError(f"{field} is not a time like 2015-05-20T13:29:35+08:00") from None
