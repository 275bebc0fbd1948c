"""Sensitive fields of a body, encrypted where they stand, by their names: `payee.user_name`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import RequestInvalid


def encrypted(body: Any, names: Iterable[str], encrypt: Callable[[str], str]) -> Any:
    """Return a copy of a body whose named fields are encrypted; a name leads through objects, and into each of a list.

    Raises:
        RequestInvalid: a name leads nowhere, so nothing would be encrypted, or to what is no text.
    """
    for name in names:
        body, found = _at(body, name.split("."), encrypt, name)
        if not found:
            raise RequestInvalid(f"{name} is named as sensitive, and the body has no such field: nothing was sent")
    return body


def _at(value: Any, names: list[str], encrypt: Callable[[str], str], whole: str) -> tuple[Any, bool]:
    if isinstance(value, list | tuple):
        rows = [_at(one, names, encrypt, whole) for one in value]
        return [one for one, _ in rows], bool(rows) and all(found for _, found in rows)
    if not names:
        if not isinstance(value, str):
            raise RequestInvalid(f"{whole} is named as sensitive, and is no text: its type is {type(value).__name__}")
        return encrypt(value), True
    if not isinstance(value, Mapping) or names[0] not in value:
        return value, False
    below, found = _at(value[names[0]], names[1:], encrypt, whole)
    return {**value, names[0]: below}, found
