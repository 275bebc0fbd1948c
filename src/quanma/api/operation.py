"""How an API operation is declared once, and bound to a sync or an async client.

A path is a class, a verb is an attribute, and the class is also the user's chain:

    class CouponCodes(Node[C, F]):
        path = "/v3/marketing/busifavor/stocks/{stock_id}/couponcodes"
        post = Operation(UploadCodes, UploadedCodes, UploadCodesBody, ...)
        __call__ = post

    CouponCodes.post            the declaration: platform, command line and tests read it
    CouponCodes(client).post    a call, with the constructor of UploadCodes as its signature
    CouponCodes(client)(...)    the same call, by the shorthand

A node has two parameters: C, how the client sends, and F, whether a path variable was filled on the way
(`stocks["98065001"]`). A checker can't take a keyword out of a signature, so a call below a filled
variable takes any keywords and is checked when it is made.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Never,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    get_origin,
    get_type_hints,
    overload,
)
from uuid import UUID

import msgspec

from ..errors import PlatformError, RequestInvalid
from .described import lines_of

A_TIME = {"time": True}
"""Marks a text that is a time with its offset: a datetime with its offset may stand for it in a call."""

P = ParamSpec("P")
B = TypeVar("B")
Req = TypeVar("Req")
Resp = TypeVar("Resp")


class Answer(Generic[Resp]):
    """A whole answer: the typed object, and what came with it.

    `request_id` is the platform's Request-ID, which its support asks for. `headers` has lower-case names.
    """

    __slots__ = ("data", "headers", "request_id", "status_code")

    def __init__(self, data: Resp, status_code: int, headers: Mapping[str, str]) -> None:
        self.data = data
        self.status_code = status_code
        self.headers = headers
        self.request_id = headers.get("request-id")

    def __repr__(self) -> str:
        kind = "nothing" if self.data is None else type(self.data).__name__
        return f"<Answer {self.status_code}, {kind}, Request-ID {self.request_id}>"


class Sync(Protocol):
    """A client whose calls return their answer."""

    def send(self, operation: Operation[..., Any, Any, Resp], request: Any) -> Answer[Resp]: ...


class Async(Protocol):
    """A client whose calls are awaited."""

    def send(self, operation: Operation[..., Any, Any, Resp], request: Any) -> Awaitable[Answer[Resp]]: ...


class Whole:
    """No path variable was filled: a call takes them all, and a checker sees them all."""


class Filled:
    """A path variable was filled by item access: a call takes the rest."""


C = TypeVar("C")
F = TypeVar("F")


class Operation(Generic[P, B, Req, Resp]):
    """One verb on one path. `request` and `response` are the structs, `body` the mapping form of the JSON body.

    `number` is the field that makes a repeat harmless: the same number is the same request.
    `keywords` says which keywords a checker takes, where they are wider than the struct's fields: a mapping for an
    object in the body, a datetime for a time.
    `check` says what is wrong with a request whose fields keep their limits each by itself, or None.
    `read` turns another spelling of the answer into the declared one. `multipart`: the body is a file and its
    name; the signature covers the name and the file's hash.
    """

    verb: str
    path: str
    hosts: tuple[str, ...] = ()
    """Where it lives, if not where the client's other calls go."""
    declared: bool = True
    """Whether its path is the API's, and not one that was written by hand."""

    @overload
    def __init__(
        self: Operation[P, Never, Req, Resp],  # pyright: ignore[reportInvalidTypeVarUse]
        request: Callable[P, Req],
        response: type[Resp],
        *,
        summary: str,
        number: str | None = None,
        read: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        multipart: bool = False,
        errors: tuple[type[PlatformError], ...] = (),
        check: Callable[[Req], str | None] | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: Operation[P, B, Req, Resp],  # pyright: ignore[reportInvalidTypeVarUse]
        request: type[Req],
        response: type[Resp],
        body: type[B],
        *,
        keywords: Callable[P, Req],
        summary: str,
        number: str | None = None,
        read: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        multipart: bool = False,
        errors: tuple[type[PlatformError], ...] = (),
        check: Callable[[Req], str | None] | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: Operation[P, B, Req, Resp],  # pyright: ignore[reportInvalidTypeVarUse]
        request: Callable[P, Req],
        response: type[Resp],
        body: type[B],
        *,
        summary: str,
        number: str | None = None,
        read: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        multipart: bool = False,
        errors: tuple[type[PlatformError], ...] = (),
        check: Callable[[Req], str | None] | None = None,
    ) -> None: ...
    def __init__(
        self,
        request: Callable[..., Any],
        response: type[Any],
        body: type[Any] | None = None,
        *,
        keywords: Callable[..., Any] | None = None,
        summary: str,
        number: str | None = None,
        read: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        multipart: bool = False,
        errors: tuple[type[PlatformError], ...] = (),
        check: Callable[[Any], str | None] | None = None,
    ) -> None:
        self.request: type[Any] = request  # type: ignore[assignment]  # The constructor's signature is all a checker needs.
        self.response: type[Resp] = response
        self.body = body
        self.keywords = keywords or request
        self.summary = summary
        self.number = number
        self.read = read
        self.multipart = multipart
        self.errors = errors
        self.check = check

    def __set_name__(self, owner: type[Node[Any, Any]], name: str) -> None:
        if name != "__call__":
            self.verb, self.path = name.upper(), owner.path

    def __repr__(self) -> str:
        return f"<Operation {self.verb} {self.path}>"

    @property
    def repeatable(self) -> bool:
        """Whether sending the same request again can do no harm: it reads, or it carries its own number."""
        return self.verb == "GET" or self.number is not None

    @overload
    def __get__(self, node: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, node: Node[C, F], owner: type[Any]) -> Call[C, F, P, B, Resp]: ...
    def __get__(self, node: Node[Any, Any] | None, owner: type[Any]) -> Any:
        return self if node is None else Call(self, node.client, node.filled)


class _SignatureOfCall:
    """What help(), IPython and jedi show of a call: the operation's own fields, without those that were filled."""

    def __get__(self, call: Call[Any, Any, Any, Any, Any] | None, owner: type[Any]) -> inspect.Signature:
        if call is None:
            raise AttributeError("__signature__")  # The class has its own.
        return call._own_signature()


class _DocOfCall:
    """Likewise: its official name, its fields with their limits, its errors."""

    def __get__(self, call: Call[Any, Any, Any, Any, Any] | None, owner: type[Any]) -> str:
        if call is None:
            return "An operation on a client: call it to send."
        operation = call._operation
        return "\n".join([operation.summary, *lines_of(operation, "Fields:")])


class Call(Generic[C, F, P, B, Resp]):
    __doc__ = _DocOfCall()  # pyright: ignore[reportAssignmentType]
    __signature__ = _SignatureOfCall()

    def __init__(
        self,
        operation: Operation[Any, Any, Any, Any],
        client: C,
        filled: Mapping[str, str],
        *,
        whole: bool = False,
    ) -> None:
        self._operation = operation
        self._client: Any = client
        self._filled = filled
        self._whole = whole

    def __repr__(self) -> str:
        return f"<Call {self._operation.verb} {self._operation.path}>"

    def _own_signature(self) -> inspect.Signature:
        operation = self._operation
        hints = get_type_hints(operation.request)
        parameters = inspect.signature(operation.request).parameters
        return inspect.Signature(
            [
                parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[name])
                for name, parameter in parameters.items()
                if name not in self._filled
            ],
            return_annotation=Answer if self._whole else operation.response,
        )

    @property
    def raw(self) -> Call[C, F, P, B, Answer[Resp]]:
        """The same call, returning the whole `Answer`."""
        return Call(self._operation, self._client, self._filled, whole=True)

    # By keywords, each checked; by one mapping for the JSON body, path and query by keyword; below a filled variable.
    @overload
    def __call__(self: Call[Sync, Whole, P, B, Resp], *args: P.args, **kwargs: P.kwargs) -> Resp: ...
    @overload
    def __call__(self: Call[Async, Whole, P, B, Resp], *args: P.args, **kwargs: P.kwargs) -> Awaitable[Resp]: ...
    @overload
    def __call__(self: Call[Sync, Whole, P, B, Resp], body: B, /, **parameters: str | int) -> Resp: ...
    @overload
    def __call__(self: Call[Async, Whole, P, B, Resp], body: B, /, **parameters: str | int) -> Awaitable[Resp]: ...
    @overload
    def __call__(self: Call[Sync, Filled, P, B, Resp], body: B = ..., /, **fields: Any) -> Resp: ...
    @overload
    def __call__(self: Call[Async, Filled, P, B, Resp], body: B = ..., /, **fields: Any) -> Awaitable[Resp]: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[misc]  # mypy: it does take all of these.
        answer = self._client.send(self._operation, self._request(args, kwargs))
        if self._whole:
            return answer
        return answer.data if isinstance(answer, Answer) else _data(answer)

    def _request(self, body: tuple[Any, ...], fields: dict[str, Any]) -> Any:
        operation = self._operation
        if len(body) > 1 or (body and not isinstance(body[0], Mapping)):
            raise RequestInvalid(
                f"{operation!r} takes keywords, or one mapping for the JSON body and keywords for the rest"
            )
        given = dict(body[0]) if body else {}
        for source in (fields, self._filled):
            if twice := given.keys() & source.keys():
                raise RequestInvalid(f"{operation!r} was given {', '.join(sorted(twice))} twice")
            given |= source
        _refuse_unknown(operation, given, operation.request)
        try:
            return operation.request(**given)  # Its limits are checked where it is sent.
        except TypeError:
            return build(operation.request, given)  # It says which field is missing.


# Left as they are: a code read as bytes must not be sent as its Base64, nor a time without its offset. A datetime with
# its offset becomes text where a time is wanted; all else is refused.
_NOT_TEXT = (bytes, bytearray, memoryview, datetime, date, time, timedelta, Decimal, UUID)


def build(struct: type[Resp], fields: Mapping[str, Any]) -> Resp:
    """Return the struct made of fields, its limits checked. Nested mappings become structs.

    Raises:
        RequestInvalid: a field is missing or breaks its limits, or a datetime has no offset; the message names it.
    """
    try:
        plain = msgspec.to_builtins(fields, builtin_types=_NOT_TEXT)
        return msgspec.convert(_with_times(plain, struct), struct)
    except (msgspec.ValidationError, TypeError) as problem:
        raise RequestInvalid(f"{struct.__name__}: {problem}") from problem


def _with_times(value: Any, struct: Any) -> Any:
    """The value with each datetime that stands in a time's field as RFC 3339, to the second."""
    if isinstance(value, list):
        return [_with_times(one, struct) for one in value]
    if not isinstance(value, dict) or not _holds_times(struct):
        return value
    below, times = _structs_below(struct), _times_of(struct)
    written = dict(value)
    for name, inner in value.items():
        if name in times and isinstance(inner, datetime):
            if inner.utcoffset() is None:
                raise RequestInvalid(f"{name} is a datetime without its offset: give it a tzinfo, or write +08:00")
            written[name] = inner.isoformat(timespec="seconds")
        for nested in below.get(name, ()):
            written[name] = _with_times(inner, nested)
    return written


@cache
def _times_of(struct: type[msgspec.Struct]) -> frozenset[str]:
    hints = get_type_hints(struct, include_extras=True)
    return frozenset(name for name, hint in hints.items() if _is_time(hint))


def _is_time(hint: Any) -> bool:
    marked = any(isinstance(one, msgspec.Meta) and one.extra == A_TIME for one in getattr(hint, "__metadata__", ()))
    return marked or any(_is_time(part) for part in getattr(hint, "__args__", ()))


@cache
def _holds_times(struct: type[msgspec.Struct]) -> bool:
    return bool(_times_of(struct)) or any(_holds_times(one) for held in _structs_below(struct).values() for one in held)


def _refuse_unknown(
    operation: Operation[Any, Any, Any, Any], given: Mapping[str, Any], struct: type[msgspec.Struct]
) -> None:
    """A misspelt key must not be dropped in silence: structs ignore what they don't know, for answers of tomorrow."""
    below = _structs_below(struct)
    if unknown := given.keys() - below.keys():
        raise RequestInvalid(
            f"{operation!r} has no field {', '.join(sorted(map(str, unknown)))}; it has {', '.join(below)}"
        )
    for name, value in given.items():
        for nested in below[name]:
            for mapping in value if isinstance(value, list) else [value]:
                if isinstance(mapping, Mapping):
                    _refuse_unknown(operation, mapping, nested)


@cache
def _structs_below(struct: type[msgspec.Struct]) -> dict[str, tuple[type[msgspec.Struct], ...]]:
    return {name: tuple(_structs_in(hint)) for name, hint in get_type_hints(struct).items()}


def _structs_in(hint: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
    for part in getattr(hint, "__args__", ()):
        yield from _structs_in(part)


async def _data(answer: Awaitable[Answer[Resp]]) -> Resp:
    return (await answer).data


class Node(Generic[C, F]):
    """One segment of a path. Its annotations are the segments below it; it answers no other name."""

    path: str = ""

    def __init__(self, client: C, filled: Mapping[str, str] | None = None) -> None:
        self.client: C = client
        self.filled: Mapping[str, str] = filled or {}

    if not TYPE_CHECKING:  # A checker must see the declared segments only, or a typo in the path passes.

        def __getattr__(self, segment: str) -> Any:
            below = children(type(self))
            if segment not in below:
                calls = "".join(f", and {verb}" for verb in _verbs(type(self)))
                raise AttributeError(
                    f"{self.path} has no segment {segment!r}; it has {', '.join(below) or 'none'}{calls}"
                    f"{_below_a_variable(type(self), segment)}"
                )
            node = self.__dict__[segment] = below[segment](self.client, self.filled)
            return node

    @classmethod
    def standing_below(cls, above: type[Node[Any, Any]]) -> type[Node[Any, Any]]:
        """The class as it is below that node: itself, unless what stands above makes a difference."""
        return cls

    # Without these, Python would ask a node that has __getitem__ for [0], [1], … without end.
    __iter__ = None
    __contains__ = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}>"

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *children(type(self))]

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Mapping[int, Any]) -> Self:
        return self

    def __reduce__(self) -> Never:
        raise TypeError(
            f"{self!r} holds a client's keys and connections and can't be pickled: make a client where it is used"
        )


def _verbs(node: type[Node[Any, Any]]) -> list[str]:
    return [name for name, value in vars(node).items() if isinstance(value, Operation) and name != "__call__"]


def _below_a_variable(node: type[Node[Any, Any]], name: str) -> str:
    """Where a name is wanted that stands one variable further down: how to fill it."""
    for segment, below in children(node).items():
        if segment.startswith("_") and (name in children(below) or name in _verbs(below)):
            last = node.path.rpartition("/")[2].replace("-", "_")
            filled = f'{last}["…"]' if hasattr(node, "__getitem__") else f"{last}.{segment}"
            return f": fill in {segment.strip('_')} first, {filled}.{name}"
    return ""


def children(node: type[Node[Any, Any]]) -> dict[str, type[Node[Any, Any]]]:
    """Return the segments below a node class, by attribute name."""
    hints = {name: get_origin(hint) for name, hint in get_type_hints(node).items()}
    below = {name: hint for name, hint in hints.items() if isinstance(hint, type) and issubclass(hint, Node)}
    return {name: child.standing_below(node) for name, child in below.items()}


def walk(node: type[Node[Any, Any]]) -> Iterator[Operation[..., Any, Any, Any]]:
    """Yield every operation declared on a node class and below it."""
    yield from (value for name, value in vars(node).items() if isinstance(value, Operation) and name != "__call__")
    for child in children(node).values():
        yield from walk(child)
