"""Requests and answers as bytes, for the client and the platform alike. No I/O.

Where a field travels follows from the declaration: named in the path, it is in the path;
else GET and DELETE carry it in the query, the other verbs in a JSON body.

A struct's limits are for what we send, and do not hold for what we are told. One declaration serves both:
`CouponUseRule` says what a merchant may ask for; the platform may tell of a stock whose rule is otherwise, made
elsewhere or under rules of tomorrow, and its word counts. So an answer outside the limits is read all the same, as the
same struct. What it is must hold: a wrong type or a missing field is still refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache, lru_cache, reduce
from operator import or_
from types import GenericAlias, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl, quote, unquote_plus, urlencode

import msgspec

from ..api.operation import Operation, build
from ..errors import ParamError, PlatformError, RequestInvalid, RequestRefused, named
from ..reasons import Reason
from . import multipart, values
from .retryafter import retry_after_seconds

Resp = TypeVar("Resp")
T = TypeVar("T")

IN_QUERY = ("GET", "DELETE")
_VARIABLE = re.compile(r"\{(\w+)\}")


class Parts(NamedTuple):
    verb: str
    target: str
    """Path and query as they go on the wire, and as they are signed."""
    body: bytes
    content_type: str = "application/json"
    meta: bytes | None = None
    """What the signature covers in place of the body, if not the body."""

    @property
    def signed(self) -> bytes:
        return self.body if self.meta is None else self.meta


def encode_request(operation: Operation[..., Any, Any, Any], request: Any) -> Parts:
    """Raises RequestInvalid: a field breaks its declared limits. A struct does not check itself when made."""
    checked = build(operation.request, msgspec.structs.asdict(request))
    if operation.check is not None and (wrong := operation.check(checked)):
        raise RequestInvalid(f"{operation.verb} {operation.path}: {wrong}")
    if operation.multipart:
        pieces = multipart.encode(checked.filename, checked.file)
        return Parts(operation.verb, operation.path, pieces.body, pieces.content_type, pieces.meta)
    fields = {name: value for name, value in msgspec.to_builtins(checked).items() if value is not None}
    if operation.verb in IN_QUERY:
        return _parts(operation.verb, operation.path, fields)
    in_path = {name: fields.pop(name) for name in _pieces(operation.path)[1::2]}
    return _parts(operation.verb, operation.path, in_path, fields)


def encode_undeclared(verb: str, path: str, fields: Mapping[str, Any], body: Any = None) -> Parts:
    """Put the fields that a path names into it, the others into the query, and `body` into JSON. None is left out.

    Raises:
        RequestInvalid: a variable of the path is missing, or a value has no certain text where it stands.
    """
    return _parts(verb, path, fields, None if body is None else values.plain(body, "the body"))


def _parts(verb: str, path: str, fields: Mapping[str, Any], body: Any = None) -> Parts:
    rest = {
        name: value if type(value) is str else values.text(value, name)
        for name, value in fields.items()
        if value is not None
    }
    try:
        pieces = list(_pieces(path))
        for place in range(1, len(pieces), 2):
            pieces[place] = _segment(path, pieces[place], rest)
        target = "".join(pieces)
        if rest:
            target += "?" + urlencode(rest, quote_via=quote)
        return Parts(verb, target, b"" if body is None else msgspec.json.encode(body))
    except (UnicodeEncodeError, TypeError) as problem:
        raise RequestInvalid(f"{verb} {path}: a value is neither text nor JSON: {problem}") from problem


@lru_cache(1024)  # Paths that are written by hand are as many as somebody writes.
def _pieces(path: str) -> tuple[str, ...]:
    """What stands between variables, and their names, by turns."""
    return tuple(_VARIABLE.split(path))


def _segment(path: str, name: str, fields: dict[str, str]) -> str:
    value = fields.pop(name, "")
    # URLs drop "." and "..": what is signed would not be what is sent.
    if value in ("", ".", ".."):
        raise RequestInvalid(f"{path} needs a {name} that can stand between slashes, not {value!r}")
    # safe="": a code may hold a slash, and must stay one segment.
    return quote(value, safe="")


def signed_body(operation: Operation[..., Any, Any, Any] | None, content_type: str, body: bytes) -> bytes:
    """What a request's signature covers: the body, or of a picture its description."""
    return multipart.signed_part(content_type, body) if operation and operation.multipart else body


def decode_request(
    operation: Operation[..., Any, Any, Any],
    in_path: Mapping[str, str],
    query: bytes,
    body: bytes,
    content_type: str = "application/json",
) -> Any:
    """Return the operation's request struct.

    Raises:
        ParamError: a wrong type, a limit, a repeated key, an unreadable escape; `detail` names the field.
        RequestRefused: fields that do not go together.
    """
    try:
        # unquote_plus: Java's SDK writes a space in the path as "+", and no field of a path may hold a plus.
        path_fields = {name: unquote_plus(value, errors="strict") for name, value in in_path.items()}
        if operation.verb in IN_QUERY:
            if body:
                raise ParamError(f"{operation.verb} takes no body")
            pairs = parse_qsl(
                query.decode("ascii"), keep_blank_values=True, strict_parsing=bool(query), errors="strict"
            )
            fields = _once(pairs)
        else:
            if query:
                raise ParamError(f"{operation.verb} takes no query")
            fields = _picture(content_type, body) if operation.multipart else _json_object(body)
    except UnicodeError as problem:
        raise ParamError(
            f"not UTF-8: {problem.reason if isinstance(problem, UnicodeDecodeError) else problem}"
        ) from None
    except ValueError as problem:
        raise ParamError(f"the query can't be read: {problem}") from None
    for name, value in path_fields.items():
        if fields.setdefault(name, value) != value:
            raise ParamError(f"{name} is one thing in the path and another in the rest")
    # Lax for the query, where a number is text; a JSON body must have the declared types.
    request = _convert(operation, fields, strict=operation.verb not in IN_QUERY)
    if operation.check is not None and (wrong := operation.check(request)):
        # Source: 商品券's pages name INVALID_REQUEST for a benefit in the wrong place.
        raise RequestRefused(wrong, reason=Reason.BAD_PARAMETER)
    return request


def encode_answer(value: Any) -> bytes:
    """None, the answer 204, has no body."""
    return b"" if value is None else msgspec.json.encode(value)


def decode_answer(operation: Operation[..., Any, Any, Resp], body: bytes) -> Resp:
    """Raises ValueError: the body is not what the operation answers, or a name stands twice in it."""
    try:
        content: Any = json_value(body) if body and operation.response is not type(None) else None
    except RecursionError as problem:
        raise ValueError("it is nested too deeply") from problem
    if operation.read is not None and isinstance(content, dict):
        content = operation.read(content)
    return read_answer(content, operation.response)


def read_answer(content: Any, kind: type[T]) -> T:
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


def json_value(body: bytes) -> Any:
    """Return what JSON says, if it says it once: of two repeated names, readers differ in which one counts.

    Raises:
        ValueError: it is not JSON, or a name stands twice.
        RecursionError: it is nested too deeply.
    """
    value = msgspec.json.decode(body)
    # What comes out again as it went in has none; all else is read by json too, which shows them, and which is laxer
    # than msgspec about numbers, depth and surrogates.
    if msgspec.json.encode(value) != body:
        json.loads(body, object_pairs_hook=_once)
    return value


_ERROR_CODE = re.compile(r"[A-Z][A-Z0-9_]*")
"""Source: all that are documented or seen are written so."""


def is_platforms(status_code: int, body: bytes) -> bool:
    """Return whether a body is of the platform's form: of a failure an object with an error code, else any object.

    An empty one is of that form where the status says that there is none. Gateways have JSON too, without a code in
    words: `{"message": …}`, `{"code": 404}`, `{"status": 404, "path": …}`.
    """
    succeeded = 200 <= status_code < 300
    if not body:
        return succeeded
    try:
        content = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return False
    if not isinstance(content, dict):
        return False
    code = content.get("code")
    return succeeded or (isinstance(code, str) and _ERROR_CODE.fullmatch(code) is not None)


def decode_error(
    status_code: int, headers: Mapping[str, str], body: bytes, *, verified: bool, now: float
) -> PlatformError:
    """Return the error of a failure's body. A missing or unreadable one still has its status, and its text."""
    try:
        error = json_value(body)
    except (ValueError, RecursionError):
        error = None
    # Each part by itself: a message that is null takes no code away.
    said = error if isinstance(error, dict) else {}
    code, message, detail = said.get("code"), said.get("message"), said.get("detail")
    code = code if isinstance(code, str) else ""
    if not isinstance(message, str) or not message:
        text = "" if code or error == {} else body[:200].decode("utf-8", "replace")
        message = text or f"HTTP {status_code} without a message"
    return named(status_code, code)(
        message,
        code=code or None,
        status_code=status_code,
        detail=detail if isinstance(detail, dict) else None,
        request_id=headers.get("request-id"),
        retry_after_seconds=retry_after_seconds(headers, now),
        verified=verified,
    )


def _picture(content_type: str, body: bytes) -> dict[str, Any]:
    filename, file = multipart.decode(content_type, body)
    return {"filename": filename, "file": file}


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        fields = json_value(body)
    except (ValueError, RecursionError) as problem:
        if isinstance(problem, UnicodeError):
            raise
        raise ParamError(f"the body is not JSON that we take: {str(problem)[:200]}") from None
    if not isinstance(fields, dict):
        raise ParamError("the body is not a JSON object")
    return fields


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name stands twice")
    return fields


def _convert(operation: Operation[..., Any, Any, Any], fields: Mapping[str, Any], *, strict: bool) -> Any:
    try:
        request = msgspec.convert(fields, operation.request, strict=strict)
        for name in () if strict else fields:
            if getattr(request, name, name) is None:
                # The lax reading takes the text "null" for nothing; a query says nothing by leaving a name out.
                raise msgspec.ValidationError(f"Expected a value - at `$.{name}`")
        return request
    except msgspec.ValidationError as problem:
        issue, _, place = str(problem).partition(" - at `$")
        field = place.rstrip("`").replace("[", "/").replace("]", "").replace(".", "/")
        location = "body" if strict else "query"
        raise ParamError(
            f"参数错误: {problem}", detail={"field": field or "/", "issue": issue, "location": location}
        ) from None


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
