"""What every body of the API can do: be shown as a dict and as JSON, as it would be on the wire."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, json, to_builtins


def empty() -> list[Any]:
    """The default of a list that is written even when it is empty, in a struct that leaves out other defaults."""
    return []


class Record(Struct, frozen=True, kw_only=True):
    """A request, an answer, or an object in one. A web framework that wants a dict or JSON takes `to_dict()`."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as dicts, lists, texts, numbers, True and None, as the wire has it: for JSON, a template, a log."""
        plain: dict[str, Any] = to_builtins(self)
        return plain

    def to_json(self) -> str:
        """Return it as JSON text, in one line."""
        return json.encode(self).decode()
