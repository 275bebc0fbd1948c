"""A signed round trip: what was sent comes back. Source: the path is the platform's; the field is our choice."""

from __future__ import annotations

from typing import Annotated, TypedDict

from msgspec import Meta, Struct

from ..errors import ParamError
from .operation import C, F, Node, Operation


class SendEcho(Struct, frozen=True, kw_only=True):
    message: Annotated[str, Meta(max_length=1024)]


class SendEchoBody(TypedDict):
    message: str


class Echoed(Struct, frozen=True, kw_only=True):
    message: str


class Echo(Node[C, F]):
    path = "/v3/security/echo"

    post = Operation(SendEcho, Echoed, SendEchoBody, summary="签名回显", errors=(ParamError,))
    """Send a message and get it back: keys, serials, clocks and the way between are right."""
    __call__ = post


class Security(Node[C, F]):
    path = "/v3/security"
    echo: Echo[C, F]
