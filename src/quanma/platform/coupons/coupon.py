"""A coupon in a user's hands, as decisions need it. Pure."""

from __future__ import annotations

from typing import NamedTuple


class CouponFacts(NamedTuple):
    """A coupon. Times are Unix seconds; `use_time` is the merchant's own text."""

    coupon_id: int
    stock_id: str
    coupon_code: str
    openid: str
    appid: str
    out_request_no: str
    request: str | None
    """Other fields of the request that got it, to know a repeat by."""
    send_merchant: str
    send_channel: str
    sent_at: int
    starts_at: int
    expires_at: int
    coupon_state: str = "SENDED"
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
LATER = CouponFacts._fields[CouponFacts._fields.index("coupon_state") :]
"""The fields that the steps after the sending change."""
