"""Where events of 商品券 are posted: one address for a provider and all its brands, one for a brand. No brand_id."""

from __future__ import annotations

from typing import Annotated, TypedDict

from msgspec import Meta

from ..operation import C, F
from ..record import Record
from .callers import CallerNode, K, OfBoth


class SetNotifyConfig(Record, frozen=True, kw_only=True):
    notify_url: Annotated[str, Meta(min_length=1, max_length=256)]
    """https, public, with a path and without a query."""


class SetNotifyConfigAsProvider(SetNotifyConfig, frozen=True, kw_only=True): ...


class SetNotifyConfigBody(TypedDict):
    notify_url: str


class ShowNotifyConfig(Record, frozen=True, kw_only=True): ...


class ShowNotifyConfigAsProvider(ShowNotifyConfig, frozen=True, kw_only=True): ...


class NotifyConfigSet(Record, frozen=True, kw_only=True):
    notify_url: str
    update_time: str


class NotifyConfigs(CallerNode[C, F, K]):
    path = "/notify-configs"

    post = OfBoth(
        SetNotifyConfig,
        SetNotifyConfigAsProvider,
        NotifyConfigSet,
        SetNotifyConfigBody,
        SetNotifyConfigBody,
        summary="设置商品券事件通知地址",
    )
    """设置商品券事件通知地址: Set where events are posted. Must be done before a coupon is created."""
    __call__ = post

    get = OfBoth(ShowNotifyConfig, ShowNotifyConfigAsProvider, NotifyConfigSet, summary="查询商品券事件通知地址")
    """查询商品券事件通知地址: Show where events are posted, if it was set."""
