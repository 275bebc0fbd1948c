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

    def state(self, now: int) -> str:
        return "EXPIRED" if self.coupon_state == "SENDED" and now >= self.expires_at else self.coupon_state


STORED_STATES = ("SENDED", "USED", "DEACTIVATED")
"""Those that `coupon_state` has."""
LATER = CouponFacts.__struct_fields__[CouponFacts.__struct_fields__.index("coupon_state") :]
"""The fields that the steps after the sending change."""
