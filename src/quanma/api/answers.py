"""Answers: a struct's limits are for what we send, and do not hold for what we are told.

One declaration serves both. `CouponUseRule` says what a merchant may ask for; the platform may tell of a stock whose
rule is otherwise, made elsewhere or under rules of tomorrow, and its word counts. So an answer outside the limits is
read all the same, as the same struct. What it is must hold: a wrong type or a missing field is still refused.
"""

from __future__ import annotations

from functools import cache, reduce
from operator import or_
from types import GenericAlias, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

T = TypeVar("T")


def read(content: Any, kind: type[T]) -> T:
    """Return decoded JSON as the declared type. Null for a field that may be absent is what its absence is.

    Most answers keep the limits, and are read in one step. Only if that fails are they read by the unlimited type.

    Raises:
        msgspec.ValidationError: a wrong type, or a required field is missing.
    """
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError:
        declared: T = _declared(msgspec.convert(content, unlimited(kind)))
        return declared


def unlimited(kind: Any) -> Any:
    """Return a type that takes whatever has the right JSON type: no lengths, bounds, patterns or fixed choices."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return unlimited(arguments[0])
    if origin is Literal:
        return reduce(or_, dict.fromkeys(map(type, arguments)))
    if origin in (Union, UnionType):
        return reduce(or_, map(unlimited, arguments))
    if origin in (list, dict):
        return GenericAlias(origin, tuple(map(unlimited, arguments)))
    return _twin(kind) if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else kind


class _Twin(msgspec.Struct, frozen=True, kw_only=True):
    """A struct's fields without their limits."""


class _Original(NamedTuple):
    struct: type[msgspec.Struct]
    required: frozenset[str]


_ORIGINALS: dict[type[msgspec.Struct], _Original] = {}


@cache
def _twin(struct: type[msgspec.Struct]) -> type[msgspec.Struct]:
    hints = get_type_hints(struct, include_extras=True)
    declared = msgspec.structs.fields(struct)
    fields = [
        (field.name, unlimited(hints[field.name]))
        if field.required
        else (field.name, unlimited(hints[field.name]) | None, None)
        for field in declared
    ]
    twin = msgspec.defstruct(struct.__name__, fields, bases=(_Twin,), frozen=True, kw_only=True)
    _ORIGINALS[twin] = _Original(struct, frozenset(field.name for field in declared if field.required))
    return twin


def _declared(value: Any) -> Any:
    """Return the value with the declared struct in place of each twin. None in a twin: absent, or null."""
    if isinstance(value, _Twin):
        struct, required = _ORIGINALS[type(value)]
        fields = ((name, getattr(value, name)) for name in value.__struct_fields__)
        return struct(**{name: _declared(inner) for name, inner in fields if inner is not None or name in required})
    if isinstance(value, list):
        return [_declared(one) for one in value]
    if isinstance(value, dict):
        return {name: _declared(inner) for name, inner in value.items()}
    return value
