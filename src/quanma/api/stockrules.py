"""The rules of a stock, as its creation, its detail and a user's coupon all carry them.

Values that the platform may add to tomorrow are plain text here, with the known ones beside them: a client must
accept an unknown one (documented). Times and amounts carry their limits. Amounts are in fen.

Each text and each list has a maximum, for a stock's rules stand in every row of a user's list. Where the documentation
is silent, it is our choice, and the field says so.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from .fields import Appid, Fen, MaxCoupons, OpenWord, PositiveFen, Rfc3339
from .record import Record

USE_METHODS = ("OFF_LINE", "MINI_PROGRAMS", "SELF_CONSUME", "PAYMENT_CODE")
CODE_DISPLAY_MODES = ("NOT_SHOW", "BARCODE", "QRCODE")
BACKGROUND_COLORS = tuple(f"Color{number:03}" for number in range(10, 101, 10))

SPANS_MAX = 100
"""Irregular times of one stock. The platform publishes no maximum; this is our choice."""
SecondOfDay = Annotated[int, Meta(ge=0, le=86399)]
FinderText = Annotated[str, Meta(max_length=256)]
"""The length is our choice, that of the addresses beside it: nothing is published."""


class DayTime(Record, frozen=True, kw_only=True):
    begin_time: SecondOfDay
    end_time: SecondOfDay


class AvailableWeek(Record, frozen=True, kw_only=True, omit_defaults=True):
    week_day: Annotated[list[Annotated[int, Meta(ge=0, le=6)]], Meta(max_length=7)] | None = None
    """0 is Sunday. At most 7 is our choice: a week has no more."""
    available_day_time: Annotated[list[DayTime], Meta(max_length=2)] | None = None


class Span(Record, frozen=True, kw_only=True):
    begin_time: Rfc3339
    end_time: Rfc3339


class CouponAvailableTime(Record, frozen=True, kw_only=True, omit_defaults=True):
    available_begin_time: Rfc3339
    available_end_time: Rfc3339
    available_day_after_receive: Annotated[int, Meta(ge=1, le=365)] | None = None
    """Valid for so many days from receipt; 1 is the same day. The upper limit is reported, not documented."""
    wait_days_after_receive: Annotated[int, Meta(ge=0, le=30)] | None = None
    available_week: AvailableWeek | None = None
    irregulary_avaliable_time: Annotated[list[Span], Meta(max_length=SPANS_MAX)] | None = None
    available_second_after_receive: Annotated[int, Meta(ge=1)] | None = None
    """Reported, not documented."""


class FixedNormalCoupon(Record, frozen=True, kw_only=True):
    discount_amount: PositiveFen
    transaction_minimum: PositiveFen


class DiscountCoupon(Record, frozen=True, kw_only=True):
    discount_percent: Annotated[int, Meta(ge=1, le=100)]
    """88: pay 88 %."""
    transaction_minimum: PositiveFen


class ExchangeCoupon(Record, frozen=True, kw_only=True):
    exchange_price: Fen
    transaction_minimum: PositiveFen


class CouponUseRule(Record, frozen=True, kw_only=True, omit_defaults=True):
    coupon_available_time: CouponAvailableTime
    use_method: OpenWord
    fixed_normal_coupon: FixedNormalCoupon | None = None
    discount_coupon: DiscountCoupon | None = None
    exchange_coupon: ExchangeCoupon | None = None
    mini_programs_appid: Appid | None = None
    mini_programs_path: Annotated[str, Meta(max_length=128)] | None = None


class StockSendRule(Record, frozen=True, kw_only=True, omit_defaults=True):
    max_coupons_per_user: Annotated[int, Meta(ge=1, le=100)]
    max_coupons: MaxCoupons | None = None
    """Required by the 2025 description, optional in the SDKs. Absent, our platform takes 10⁹."""
    max_coupons_by_day: MaxCoupons | None = None
    natural_person_limit: bool | None = None
    prevent_api_abuse: bool | None = None
    max_amount: int | None = None
    max_amount_by_day: int | None = None
    transferable: bool | None = None
    shareable: bool | None = None


class MiniProgramsInfo(Record, frozen=True, kw_only=True, omit_defaults=True):
    mini_programs_appid: Appid
    mini_programs_path: Annotated[str, Meta(max_length=128)]
    entrance_words: Annotated[str, Meta(max_length=5)]
    guiding_words: Annotated[str, Meta(max_length=6)] | None = None


class CustomEntrance(Record, frozen=True, kw_only=True, omit_defaults=True):
    mini_programs_info: MiniProgramsInfo | None = None
    appid: Appid | None = None
    hall_id: Annotated[str, Meta(max_length=64)] | None = None
    store_id: Annotated[str, Meta(max_length=64)] | None = None
    code_display_mode: OpenWord | None = None


class FinderInfo(Record, frozen=True, kw_only=True):
    finder_id: FinderText
    finder_video_id: FinderText
    finder_video_cover_image_url: FinderText


class DisplayPatternInfo(Record, frozen=True, kw_only=True, omit_defaults=True):
    description: Annotated[str, Meta(max_length=1000)] | None = None
    merchant_logo_url: Annotated[str, Meta(max_length=256)] | None = None
    merchant_name: Annotated[str, Meta(max_length=16)] | None = None
    background_color: OpenWord | None = None
    coupon_image_url: Annotated[str, Meta(max_length=256)] | None = None
    finder_info: FinderInfo | None = None


class NotifyConfig(Record, frozen=True, kw_only=True, omit_defaults=True):
    notify_appid: Appid | None = None
    """Needed if callbacks are to carry openid and unionid."""
