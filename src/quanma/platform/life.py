"""A coupon's life in a user's hands, and what each step needs. Pure.

                send            use
    (the pool) ─────▶ SENDED ─────────▶ USED
                       │  ▲ ╲            │
            deactivate │  ╰──╲──return───╯
                       ▼      ╲ time
                 DEACTIVATED   ▶ EXPIRED

Each arrow is one statement of the back end, whose WHERE names the state it starts from; `use` and `deactivate` name
the time too, so a coupon expires at its second with no sweeper: EXPIRED is a SENDED coupon past its `expires_at`. A
code never goes back to the pool. DELETED, by the user in the wallet, has no call.
"""

from __future__ import annotations

import datetime
from typing import NamedTuple

from ..errors import RequestRefused, ResourceAlreadyExists, RuleLimit, masked
from ..wire.times import BEIJING, DAY_SECONDS, beijing_day, beijing_midnight, rfc3339, unix_seconds
from .rules import StockFacts


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


class Validity(NamedTuple):
    starts_at: int
    expires_at: int


def validity(stock: StockFacts, received_at: int) -> Validity:
    """When a coupon can be used, by its stock's dates. Source: documented. Days are Beijing's; the first is day 1."""
    times = stock.request.coupon_use_rule.coupon_available_time
    starts_at, expires_at = max(stock.begins_at, received_at), stock.ends_at
    if times.available_day_after_receive is not None:
        midnight = beijing_midnight(beijing_day(received_at) + (times.wait_days_after_receive or 0))
        starts_at = max(starts_at, midnight)
        expires_at = min(expires_at, midnight + times.available_day_after_receive * DAY_SECONDS)
    if times.available_second_after_receive is not None:
        expires_at = min(expires_at, received_at + times.available_second_after_receive)
    return Validity(starts_at, expires_at)


def check_usable(stock: StockFacts, coupon: CouponFacts, openid: str | None, now: int) -> None:
    """Raises: this coupon can't be used now, or by this user.

    ResourceAlreadyExists: it was used under another number. RequestRefused: it is another user's, or deactivated.
    RuleLimit: it has expired, has not begun, or this is not its weekday, hour or span.
    """
    if openid not in (None, coupon.openid):
        raise RequestRefused(f"coupon {masked(coupon.coupon_code)} is another user's")
    state = coupon.state(now)
    if state == "USED":
        raise ResourceAlreadyExists(
            f"券已被其他订单核销: coupon {masked(coupon.coupon_code)} was used under another number"
        )
    if state == "DEACTIVATED":
        raise RequestRefused(f"券状态非可用态: coupon {masked(coupon.coupon_code)} was deactivated")
    if not coupon.starts_at <= now < coupon.expires_at:
        raise RuleLimit(
            f"券不在有效期: it can be used from {rfc3339(coupon.starts_at)} until {rfc3339(coupon.expires_at)}"
        )
    if not open_at(stock, now):
        raise RuleLimit("券不在可用时段: its stock is not open on this weekday, at this hour or in this span")


def open_at(stock: StockFacts, now: int) -> bool:
    """Whether the weekdays, hours and irregular spans of a stock, if it has any, hold this moment."""
    times = stock.request.coupon_use_rule.coupon_available_time
    spans = times.irregulary_avaliable_time or []
    week = times.available_week
    if week is None and not spans:
        return True
    if any(unix_seconds(span.begin_time) <= now <= unix_seconds(span.end_time) for span in spans):
        return True
    if week is None:
        return False
    moment = datetime.datetime.fromtimestamp(now, BEIJING)
    # Source: 0 is Sunday (documented); isoweekday has Sunday as 7.
    if week.week_day and moment.isoweekday() % 7 not in week.week_day:
        return False
    second = moment.hour * 3600 + moment.minute * 60 + moment.second
    hours = week.available_day_time or []
    return not hours or any(hour.begin_time <= second <= hour.end_time for hour in hours)


def check_returnable(coupon: CouponFacts, now: int) -> None:
    """Raises RequestRefused: only a used coupon can be returned."""
    if coupon.coupon_state != "USED":
        raise RequestRefused(f"券状态非已核销: coupon {masked(coupon.coupon_code)} is {coupon.state(now)}, not USED")


def check_unused(coupon: CouponFacts, now: int) -> None:
    """Raises RequestRefused: the coupon is used, expired or deactivated."""
    if (state := coupon.state(now)) != "SENDED":
        raise RequestRefused(f"券状态非可用态: coupon {masked(coupon.coupon_code)} is {state}, not SENDED")


def check_associated(coupon: CouponFacts, out_trade_no: str) -> None:
    """Raises RequestRefused: the coupon is not tied to this order."""
    if coupon.associate_out_trade_no != out_trade_no:
        raise RequestRefused(f"查询记录为空: coupon {masked(coupon.coupon_code)} is not associated with this order")
