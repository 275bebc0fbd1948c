"""What a stock of 商品券 is by its own rules: its state, its limits, when its coupons can be used. Pure."""

from __future__ import annotations

import datetime

import msgspec

from ....api.productcoupon.benefits import CouponAvailablePeriod
from ....api.productcoupon.entities import ProductStock
from ....wire.times import BEIJING, DAY_SECONDS, beijing_day, beijing_midnight, unix_seconds

PER_USER_DEFAULT = 100
"""Where a stock names no limit for one user. Our choice: the highest that one may name."""


class ProductTerms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stock as the pool keeps it, in the place of a 商家券 stock's request. Times are Unix seconds."""

    stock: ProductStock
    """As it is answered, but for counts. Its `state` is DEACTIVATED, PAUSED, or SENDING as far as time allows."""
    sends_from: int = 0
    """Until then it is AUDITING."""
    interval_days: int = 0
    """Of a bundle: days between two uses."""

    @property
    def period(self) -> CouponAvailablePeriod:
        rule = self.stock.single_usage_rule or self.stock.progressive_bundle_usage_rule
        assert rule is not None
        assert rule.coupon_available_period is not None
        return rule.coupon_available_period

    @property
    def limits(self) -> tuple[int, int | None, int]:
        """How many coupons in all, on a day, and to one user."""
        rule = self.stock.stock_send_rule
        assert rule is not None
        assert rule.max_count is not None
        return rule.max_count, rule.max_count_per_day, rule.max_count_per_user or PER_USER_DEFAULT

    def state(self, now: int, ends_at: int) -> str:
        if self.stock.state == "DEACTIVATED":
            return self.stock.state
        if now >= ends_at:
            return "STOPPED"
        return "AUDITING" if now < self.sends_from else self.stock.state

    def validity(self, begins_at: int, ends_at: int, received_at: int) -> tuple[int, int]:
        """From when until when a coupon is valid that a user gets now.

        Source: days count from the first day of the stock where it was received earlier, else from that of receipt
        (documented). Days are Beijing's, and the first is day 1.
        """
        period = self.period
        starts_at, expires_at = max(begins_at, received_at), ends_at
        if period.available_days is not None:
            first = beijing_midnight(beijing_day(starts_at) + (period.wait_days_after_receive or 0))
            starts_at = max(starts_at, first)
            expires_at = min(expires_at, first + period.available_days * DAY_SECONDS)
        if period.available_seconds is not None:
            expires_at = min(expires_at, received_at + period.available_seconds)
        return starts_at, expires_at

    def is_open_at(self, now: int) -> bool:
        """Whether the weekdays, hours and irregular spans, if there are any, hold this moment: all of what is given."""
        period = self.period
        spans = period.irregular_available_period_list or []
        if spans and not any(lenient_seconds(it.begin_time) <= now <= lenient_seconds(it.end_time) for it in spans):
            return False
        week = period.weekly_available_period
        if week is None:
            return True
        moment = datetime.datetime.fromtimestamp(now, BEIJING)
        if week.day_list and _DAYS[moment.weekday()] not in week.day_list:
            return False
        second = moment.hour * 3600 + moment.minute * 60 + moment.second
        hours = week.day_period_list or []
        return not hours or any(hour.begin_time <= second <= hour.end_time for hour in hours)


_DAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")


def lenient_seconds(text: str) -> int:
    """Read a time, also one without seconds. Source: official samples have such (documented)."""
    return unix_seconds(f"{text[:16]}:00{text[16:]}" if text[13:14] == ":" and text[16:17] in ("+", "-", "Z") else text)
