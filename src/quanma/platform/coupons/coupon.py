"""A coupon in a user's hands, as decisions need it. Pure."""

from __future__ import annotations

import msgspec


class CouponFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A coupon. Times are Unix seconds; `use_time` is the merchant's own text.

    The one place that lists its fields: both back ends read a row into it, and a transfer's record has the same.
    """

    coupon_id: int = 0
    """Its number in its pool, or its stock. 0: it has none, for it is on its way from one pool to another."""
    stock_id: str
    position: int
    """The place of its code in its stock, in upload order."""
    coupon_code: str
    openid: str
    appid: str
    out_request_no: str
    request: str | None = None
    """Other fields of the request that got it, to know a repeat by."""
    send_merchant: str
    send_channel: str
    sent_at: int
    starts_at: int
    expires_at: int
    coupon_state: str
    use_request_no: str | None = None
    use_time: str | None = None
    used_at: int | None = None
    return_request_no: str | None = None
    returned_at: int | None = None
    deactivate_request_no: str | None = None
    deactivate_reason: str | None = None
    deactivated_at: int | None = None
    associate_out_trade_no: str | None = None
    confirm_request_no: str | None = None
    confirmed_at: int | None = None
    used_for: str | None = None
    """Of 商品券: the order that it was used for, and where, as JSON."""

    def state(self, now: int) -> str:
        """Its state at a moment: what time alone does to a coupon is written nowhere."""
        if self.coupon_state not in _PASSING:
            return self.coupon_state
        if now >= self.expires_at:
            return "EXPIRED"
        return "PENDING" if self.coupon_state == "EFFECTIVE" and now < self.starts_at else self.coupon_state


_PASSING = ("SENDED", "CONFIRMING", "EFFECTIVE")
STORED_STATES = (*_PASSING, "USED", "DEACTIVATED", "DELETED")
"""Those that `coupon_state` has."""
PRODUCT_CHANNELS = ("API", "RECEIVE_COMPONENT", "BRAND_MANAGE")
"""How coupons of 商品券 are given out, and no others."""


def first_state(send_channel: str) -> str:
    """The state of a coupon that was just given out."""
    return "CONFIRMING" if send_channel in PRODUCT_CHANNELS else "SENDED"


LATER = CouponFacts.__struct_fields__[CouponFacts.__struct_fields__.index("coupon_state") :]
"""The fields that the steps after the sending change."""
