"""The COUPON.SEND event (领券事件回调通知): the envelope, and what is sealed in it. Source: documented."""

from __future__ import annotations

from typing import Any

from .record import Record

COUPON_SEND = "COUPON.SEND"
RESOURCE_TYPE = "encrypt-resource"
SUMMARY = "商家券领券通知"
ORIGINAL_TYPE = ASSOCIATED_DATA = "coupon"
CONTENT_TYPE = "EVENT_TYPE_BUSICOUPON_SEND"
CHANNEL_API = "BUSICOUPON_SEND_CHANNEL_API"
CHANNEL_H5 = "BUSICOUPON_SEND_CHANNEL_H5"


class Resource(Record, frozen=True, kw_only=True):
    original_type: str
    algorithm: str
    ciphertext: str
    nonce: str
    associated_data: str = ""


class Envelope(Record, frozen=True, kw_only=True):
    id: str
    """The event's id: the same at each delivery of it."""
    create_time: str
    event_type: str
    resource_type: str
    resource: Resource
    summary: str = ""


class CouponSent(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A user got a coupon. For a MERCHANT_UPLOAD stock `coupon_code` is the code that was drawn.

    Stock and code are always there. Another text that the platform left out, or that can't be read, is empty.
    """

    event_type: str = ""
    coupon_code: str
    stock_id: str
    send_time: str = ""
    send_channel: str = ""
    send_merchant: str = ""
    openid: str | None = None
    """Only if the stock has a notify_appid; so with unionid."""
    unionid: str | None = None
    act_id: str | None = None
    attach_info: dict[str, Any] | None = None
