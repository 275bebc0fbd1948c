"""Receiving events: `Receiver` for any framework, `AsgiReceiver` and `WsgiReceiver` ready-made."""

from .api.events import CouponSent
from .api.productcoupon.events import ProductCouponSent
from .client.events import Event, Receiver, Seen
from .client.receiving import AsgiReceiver, WsgiReceiver

__all__ = ["AsgiReceiver", "CouponSent", "Event", "ProductCouponSent", "Receiver", "Seen", "WsgiReceiver"]
