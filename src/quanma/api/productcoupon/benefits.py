"""What a 商品券 is worth, and when it can be used. Amounts are in fen.

Source: documented, unless a line says otherwise.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from ..fields import Rfc3339
from ..record import Record
from ..stockrules import SecondOfDay
from .fields import Amount

ROUNDS_MIN, ROUNDS_MAX = 3, 15
"""How many coupons a bundle has, one a round."""
WeekDay = Literal["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]


class ProductNormalCoupon(Record, frozen=True, kw_only=True):
    """满减."""

    threshold: Amount
    """0: no least amount."""
    discount_amount: Amount


class ProductDiscountCoupon(Record, frozen=True, kw_only=True):
    """折扣."""

    threshold: Amount
    percent_off: Annotated[int, Meta(ge=1, le=99)]
    """30: 30 % off. Not as for 商家券, where 70 is to pay 70 %. The limits are the SDK's."""


class ProductExchangeCoupon(Record, frozen=True, kw_only=True):
    """兑换: only with scope SINGLE."""

    threshold: Amount
    exchange_price: Amount


class SingleUsageInfo(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The benefit of all stocks: usage_mode SINGLE with scope ALL."""

    normal_coupon: ProductNormalCoupon | None = None
    discount_coupon: ProductDiscountCoupon | None = None


class ProgressiveBundleUsageInfo(Record, frozen=True, kw_only=True, omit_defaults=True):
    count: Annotated[int, Meta(ge=ROUNDS_MIN, le=ROUNDS_MAX)]
    """How many rounds."""
    interval_days: Annotated[int, Meta(ge=0, le=7)] | None = None
    """Days between two uses. 0: the same day."""


class DayPeriod(Record, frozen=True, kw_only=True):
    """In seconds of the day."""

    begin_time: SecondOfDay
    end_time: SecondOfDay


class WeeklyAvailablePeriod(Record, frozen=True, kw_only=True, omit_defaults=True):
    day_list: Annotated[list[WeekDay], Meta(max_length=7)] | None = None
    """Words, not numbers as for 商家券."""
    day_period_list: Annotated[list[DayPeriod], Meta(max_length=10)] | None = None
    """They don't overlap, and need day_list. At most 10 is our choice: none is published."""


class IrregularPeriod(Record, frozen=True, kw_only=True):
    begin_time: Rfc3339
    end_time: Rfc3339


class CouponAvailablePeriod(Record, frozen=True, kw_only=True, omit_defaults=True):
    """When a coupon can be used: in all of what is given. Nothing of it can be changed later."""

    available_begin_time: Rfc3339
    available_end_time: Rfc3339
    """At most a year after the begin."""
    available_days: Annotated[int, Meta(ge=1, le=365)] | None = None
    """Valid for so many days from taking effect; in a bundle at least 3. Cut at available_end_time."""
    wait_days_after_receive: Annotated[int, Meta(ge=1, le=30)] | None = None
    """Takes effect so many days after receipt; only with available_days. Leave it out for none."""
    weekly_available_period: WeeklyAvailablePeriod | None = None
    irregular_available_period_list: Annotated[list[IrregularPeriod], Meta(max_length=2)] | None = None
    """Not beside available_days, wait_days_after_receive or weekly_available_period."""
    available_seconds: Annotated[int, Meta(ge=1, le=366 * 86400)] | None = None
    """Valid for so many seconds from receipt. Reported, not documented; the maximum is ours."""


class SingleUsageRule(Record, frozen=True, kw_only=True, omit_defaults=True):
    """When a stock's coupons can be used; and with scope SINGLE their benefit, which may differ between stocks."""

    coupon_available_period: CouponAvailablePeriod
    normal_coupon: ProductNormalCoupon | None = None
    discount_coupon: ProductDiscountCoupon | None = None
    exchange_coupon: ProductExchangeCoupon | None = None


class ProgressiveBundleUsageRule(Record, frozen=True, kw_only=True, omit_defaults=True):
    """When a bundle's coupons can be used, and the benefit of each round, none less generous than the one before."""

    coupon_available_period: CouponAvailablePeriod
    normal_coupon_list: Annotated[list[ProductNormalCoupon], Meta(max_length=ROUNDS_MAX)] | None = None
    discount_coupon_list: Annotated[list[ProductDiscountCoupon], Meta(max_length=ROUNDS_MAX)] | None = None
    exchange_coupon_list: Annotated[list[ProductExchangeCoupon], Meta(max_length=ROUNDS_MAX)] | None = None
