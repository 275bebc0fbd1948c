"""An operation as a person needs it: its official name, its fields with type and limits, its errors.

Everything comes from the declaration. The meaning of a field is the text below it there, read out of its source.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import inspect as shapes

if TYPE_CHECKING:
    from .operation import Operation


class Field(NamedTuple):
    """One field of a request. `below`: the struct that its value is, or that its list holds."""

    name: str
    required: bool
    kind: str
    """Its type and limits: `text of 1 to 20 characters`."""
    words: tuple[str, ...]
    """What it may be, if only that."""
    about: str
    below: type[msgspec.Struct] | None


def fields_of(struct: type[msgspec.Struct]) -> list[Field]:
    """The fields of a request's struct, in their order, required ones first."""
    shape = shapes.type_info(struct)
    assert isinstance(shape, shapes.StructType)
    about = meanings(struct)
    found = [_field(one, about.get(one.name, "")) for one in shape.fields]
    return [*(one for one in found if one.required), *(one for one in found if not one.required)]


def lines_of(
    operation: Operation[..., Any, Any, Any],
    heading: str,
    option: str = "",
    said: Callable[[str], str] = str,
    wrap: Callable[[str, int], Iterable[str]] = textwrap.wrap,
) -> Iterator[str]:
    """Its help, line by line. `heading` stands above its fields, `option` before each of them.

    `said`: puts a text into the reader's language. `wrap`: breaks it into lines of so many columns.
    """
    yield f"  {operation.verb} {operation.path}"
    yield ""
    yield said(heading)
    yield from _lines(operation.request, f"  {option}", said, wrap)
    if operation.number:
        yield ""
        yield said(
            f"{operation.number} is your number of this request: after an error, send the same under the same number."
        )
    if operation.errors:
        yield ""
        yield said("Errors: ") + ", ".join(sorted(f"{one.__name__} ({one.error_code})" for one in operation.errors))


def _lines(
    struct: type[msgspec.Struct],
    indent: str,
    said: Callable[[str], str],
    wrap: Callable[[str, int], Iterable[str]],
) -> Iterator[str]:
    for one in fields_of(struct):
        need = said(f"required, {kind_of(one)}" if one.required else f"optional, {kind_of(one)}")
        yield f"{indent}{one.name}  {need}"
        pad = " " * (len(indent) + 2)
        if one.about:
            yield from (pad + line for line in wrap(said(one.about), 100 - len(pad)))
        if one.below is not None:
            yield from _lines(one.below, pad, said, wrap)


def kind_of(field: Field) -> str:
    """Its type and limits, or the words of its list."""
    return f"one of {', '.join(field.words)}" if field.words else field.kind


def _field(one: shapes.Field, about: str) -> Field:
    kind, words, below = _said(one.type)
    if not about and isinstance(one.type, shapes.Metadata):
        about = (one.type.extra_json_schema or {}).get("description", "")
    return Field(one.name, one.required, kind, words, about, below)


def _said(shape: shapes.Type) -> tuple[str, tuple[str, ...], type[msgspec.Struct] | None]:
    """A type in words, the words of a list, the struct in it."""
    if isinstance(shape, shapes.Metadata):
        return _said(shape.type)
    if isinstance(shape, shapes.UnionType):
        return _said(next(one for one in shape.types if not isinstance(one, shapes.NoneType)))
    if isinstance(shape, shapes.LiteralType):
        words = tuple(str(word) for word in shape.values)
        return f"one of {', '.join(words)}", words, None
    if isinstance(shape, shapes.StructType):
        return "an object", (), shape.cls
    if isinstance(shape, shapes.ListType):
        kind, _, below = _said(shape.item_type)
        return f"a list{_between(shape.min_length, shape.max_length)}, each {kind}", (), below
    if isinstance(shape, shapes.StrType):
        return f"text{_between(shape.min_length, shape.max_length, ' characters')}", (), None
    if isinstance(shape, shapes.IntType):
        return f"a number{_between(shape.ge, shape.le)}", (), None
    if isinstance(shape, shapes.BoolType):
        return "true or false", (), None
    return ("a file" if isinstance(shape, shapes.BytesType) else "JSON"), (), None


def _between(least: int | None, most: int | None, unit: str = "") -> str:
    if least and most:
        return f" of {least:,} to {most:,}{unit}"
    return f" of at most {most:,}{unit}" if most else f" of at least {least:,}{unit}" if least else ""


@cache
def meanings(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The text below each field in its declaration, and in those that it adds to."""
    return {
        name: text
        for declared in reversed(struct.__mro__)
        if issubclass(declared, msgspec.Struct)
        for name, text in _meanings_in(declared).items()
    }


@cache
def _meanings_in(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Python keeps none of it, so the source is read."""
    try:
        (declared,) = ast.parse(textwrap.dedent(inspect.getsource(struct))).body
    except (OSError, ValueError, SyntaxError):
        return {}  # Installed without its source: the limits are there all the same.
    found: dict[str, str] = {}
    before = None
    for line in getattr(declared, "body", []):
        if before is not None and isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant):
            found[before] = " ".join(str(line.value.value).split())
        before = line.target.id if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) else None
    return found
