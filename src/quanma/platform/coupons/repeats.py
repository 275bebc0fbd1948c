"""Requests that carry a number: the same number is the same request, and has the first answer, word for word. Pure."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from ...api.operation import Operation
from ...errors import RequestRefused

Req = TypeVar("Req")
Resp = TypeVar("Resp")


class Numbered(Generic[Resp]):
    """A request by its number. A store keeps `request` and `kept(answer)` under its stock, `name` and `number`."""

    def __init__(self, operation: Operation[..., Any, Req, Resp], request: Req) -> None:
        field = operation.number
        if field is None:
            raise AssertionError(f"{operation!r} has no number to know a repeat by")
        self._field = field
        self._answer = operation.response
        self.name = type(request).__name__
        """Of the operation: two of them may use one number."""
        self.number: str = getattr(request, field)
        self.request = msgspec.json.encode(request).decode()

    def again(self, request: str, answer: str) -> Resp:
        """Return what is kept under the number as the answer to this request.

        Raises:
            RequestRefused: the number was used with other fields.
        """
        if not same_request(request, self.request):
            raise RequestRefused(reused(self._field))
        return msgspec.json.decode(answer, type=self._answer)

    def kept(self, answer: Resp) -> str:
        return msgspec.json.encode(answer).decode()


def reused(number: str) -> str:
    """What is said of a number, a field of that name, that comes with another request."""
    return f"same {number}, different request: nothing was changed, use a new number"


def same_request(first: str, asked: str) -> bool:
    """Return whether two requests, as JSON, are one and the same. A field that is null is one that is not there:

    a version that knows more fields writes them, and must still know a repeat of what an older one wrote.
    """
    return first == asked or _without_nulls(msgspec.json.decode(first)) == _without_nulls(msgspec.json.decode(asked))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(field) for name, field in value.items() if field is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value
