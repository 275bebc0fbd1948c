"""Where events are posted: set and get the callback address. Source: 设置商家券事件通知地址, 查询商家券事件通知地址."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

from msgspec import Meta

from ..errors import ParamError, ResourceNotExists
from .fields import Mchid
from .operation import C, F, Node, Operation
from .record import Record


class SetCallback(Record, frozen=True, kw_only=True):
    notify_url: Annotated[str, Meta(min_length=10, max_length=256, pattern=r"\Ahttps?://[^\s?#]+\Z")]
    """Public, https, without a query."""
    mchid: Mchid | None = None
    """Absent: the caller."""


class SetCallbackBody(TypedDict):
    notify_url: str
    mchid: NotRequired[str]


class CallbackSet(Record, frozen=True, kw_only=True, omit_defaults=True):
    notify_url: str
    mchid: str
    update_time: str | None = None


class ShowCallback(Record, frozen=True, kw_only=True):
    mchid: Mchid | None = None
    """Absent: the caller. Source: optional in the SDK, required in an unofficial description."""


class Callback(Record, frozen=True, kw_only=True):
    notify_url: str
    mchid: str


class Callbacks(Node[C, F]):
    path = "/v3/marketing/busifavor/callbacks"

    post = Operation(SetCallback, CallbackSet, SetCallbackBody, summary="设置商家券事件通知地址", errors=(ParamError,))
    """设置商家券事件通知地址: Set the address that COUPON.SEND events of one's own stocks are posted to."""
    __call__ = post

    get = Operation(ShowCallback, Callback, summary="查询商家券事件通知地址", errors=(ResourceNotExists,))
    """查询商家券事件通知地址: Show the address that the caller has set."""
