"""商户签名验签/加解密测试: a signed round trip, and one of a sensitive field.

Source: documented (2026-04-08), but for the lengths, which are our choice.
"""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

from msgspec import Meta

from ..errors import ParamError
from .operation import C, F, Node, Operation
from .record import Record


class SendEcho(Record, frozen=True, kw_only=True):
    echo_message: Annotated[str, Meta(min_length=1, max_length=1024)]
    encrypted_echo_message: Annotated[str, Meta(max_length=1024)] | None = None
    """Encrypted with the key that the header Wechatpay-Serial names: `wxpay.encrypt` does so."""
    notify_url: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    """Where a notification is to be posted. What it holds is not documented."""


class SendEchoBody(TypedDict):
    echo_message: str
    encrypted_echo_message: NotRequired[str]
    notify_url: NotRequired[str]


class Echoed(Record, frozen=True, kw_only=True, omit_defaults=True):
    echo_message: str
    encrypted_echo_message: str | None = None
    """The same text, encrypted for the merchant's certificate: `wxpay.decrypt` opens it."""


class Echo(Node[C, F]):
    path = "/v3/security/echo"

    post = Operation(SendEcho, Echoed, SendEchoBody, summary="商户签名验签/加解密测试", errors=(ParamError,))
    """商户签名验签/加解密测试: Send a message and get it back: keys, serials, clocks and the way between are right."""
    __call__ = post


class Security(Node[C, F]):
    path = "/v3/security"
    echo: Echo[C, F]
