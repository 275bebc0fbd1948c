"""What 商品券 answers: coupons, stocks, bundles, users' coupons. `brand_id` is there for providers only.

What the platform may add to is plain text, and an unknown value is let through. Amounts are in fen.
Source: documented; what a field of a stock beside its ids, its mode and its state should always be, may be absent here.
"""

from __future__ import annotations

from msgspec import field

from ..record import Record, empty
from .benefits import (
    CouponAvailablePeriod,
    ProductDiscountCoupon,
    ProductExchangeCoupon,
    ProductNormalCoupon,
    ProgressiveBundleUsageInfo,
    SingleUsageInfo,
    SingleUsageRule,
)
from .display import CouponDisplay, ProductDisplay, UsageDisplay

PRODUCT_COUPON_STATES = ("AUDITING", "EFFECTIVE", "DEACTIVATED")
PRODUCT_STOCK_STATES = ("AUDITING", "SENDING", "PAUSED", "STOPPED", "DEACTIVATED")
"""STOPPED has two P, unlike 商家券's."""
USER_COUPON_STATES = ("CONFIRMING", "PENDING", "EFFECTIVE", "USED", "EXPIRED", "DELETED", "DEACTIVATED")
SEND_CHANNELS = ("BRAND_MANAGE", "API", "RECEIVE_COMPONENT", "MERCHANT_CARD", "MEMBER", "SMALL_ACTIVITY")
"""The first three are the SDK's, the others are reported. Expect more."""


class ProductCoupon(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A product coupon. States: AUDITING, EFFECTIVE, DEACTIVATED, or one of tomorrow."""

    product_coupon_id: str
    scope: str
    type: str
    usage_mode: str
    display_info: ProductDisplay
    state: str
    single_usage_info: SingleUsageInfo | None = None
    progressive_bundle_usage_info: ProgressiveBundleUsageInfo | None = None
    out_product_no: str | None = None
    deactivate_request_no: str | None = None
    deactivate_time: str | None = None
    deactivate_reason: str | None = None
    brand_id: str | None = None


class CouponCodeCountInfo(Record, frozen=True, kw_only=True):
    total_count: int
    available_count: int
    """Codes that can still be drawn."""


class ShownSendRule(Record, frozen=True, kw_only=True, omit_defaults=True):
    max_count: int | None = None
    max_count_per_day: int | None = None
    """Absent: no limit a day."""
    max_count_per_user: int | None = None


class RoundUsageRule(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The rule of one round of a bundle: of its member stock. Source: the SDK's samples."""

    coupon_available_period: CouponAvailablePeriod | None = None
    normal_coupon: ProductNormalCoupon | None = None
    discount_coupon: ProductDiscountCoupon | None = None
    exchange_coupon: ProductExchangeCoupon | None = None


class StockBundleInfo(Record, frozen=True, kw_only=True):
    stock_bundle_id: str
    stock_bundle_index: int
    """The round, from 0."""


class ShownNotifyConfig(Record, frozen=True, kw_only=True, omit_defaults=True):
    notify_appid: str | None = None


class SentCountInfo(Record, frozen=True, kw_only=True):
    total_count: int
    today_count: int


class ProductStock(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A stock as it stands. States: AUDITING, SENDING, PAUSED, STOPPED, DEACTIVATED, or one of tomorrow."""

    product_coupon_id: str
    stock_id: str
    coupon_code_mode: str
    """WECHATPAY, UPLOAD or API_ASSIGN; only UPLOAD takes codes."""
    state: str
    remark: str | None = None
    coupon_code_count_info: CouponCodeCountInfo | None = None
    """Only for UPLOAD."""
    stock_send_rule: ShownSendRule | None = None
    single_usage_rule: SingleUsageRule | None = None
    progressive_bundle_usage_rule: RoundUsageRule | None = None
    """Of a member of a bundle: its round's."""
    stock_bundle_info: StockBundleInfo | None = None
    """Of a member of a bundle."""
    usage_rule_display_info: UsageDisplay | None = None
    coupon_display_info: CouponDisplay | None = None
    notify_config: ShownNotifyConfig | None = None
    store_scope: str | None = None
    """NONE (no limit), ALL or SPECIFIC."""
    sent_count_info: SentCountInfo | None = None
    deactivate_request_no: str | None = None
    deactivate_time: str | None = None
    deactivate_reason: str | None = None
    brand_id: str | None = None


class StockBundle(Record, frozen=True, kw_only=True, omit_defaults=True):
    """As many stocks as rounds, in their order."""

    stock_bundle_id: str
    stock_list: list[ProductStock]
    brand_id: str | None = None


class OrderInfo(Record, frozen=True, kw_only=True, omit_defaults=True):
    transaction_id: str | None = None
    out_trade_no: str | None = None
    mchid: str | None = None
    sub_mchid: str | None = None


class PayScoreOrderInfo(Record, frozen=True, kw_only=True, omit_defaults=True):
    order_id: str | None = None
    out_order_no: str | None = None
    mchid: str | None = None
    sub_mchid: str | None = None


class UsageDetail(Record, frozen=True, kw_only=True, omit_defaults=True):
    """How a coupon was used. After a return, the fields of the use stay beside those of the return (reported)."""

    use_request_no: str | None = None
    use_time: str | None = None
    return_request_no: str | None = None
    return_time: str | None = None
    associated_order_info: OrderInfo | None = None
    associated_pay_score_order_info: PayScoreOrderInfo | None = None


class UserCouponBundleInfo(Record, frozen=True, kw_only=True):
    user_coupon_bundle_id: str
    user_coupon_bundle_index: int
    """The round, from 0."""
    total_count: int
    used_count: int


class MemberTagInfo(Record, frozen=True, kw_only=True):
    member_card_id: str


class ShownCouponTagInfo(Record, frozen=True, kw_only=True, omit_defaults=True):
    coupon_tag_list: list[str] = field(default_factory=empty)
    member_tag_info: MemberTagInfo | None = None


class UserCoupon(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A user's coupon; the openid is not in it.

    States: CONFIRMING (unusable until it is confirmed), PENDING, EFFECTIVE, USED, EXPIRED, DELETED, DEACTIVATED, or
    one of tomorrow.
    """

    coupon_code: str
    coupon_state: str
    valid_begin_time: str
    valid_end_time: str
    receive_time: str
    send_request_no: str
    send_channel: str
    """BRAND_MANAGE, API, RECEIVE_COMPONENT, or one of tomorrow."""
    product_coupon: ProductCoupon
    stock: ProductStock
    confirm_request_no: str | None = None
    confirm_time: str | None = None
    deactivate_request_no: str | None = None
    deactivate_time: str | None = None
    deactivate_reason: str | None = None
    single_usage_detail: UsageDetail | None = None
    progressive_bundle_usage_detail: UsageDetail | None = None
    user_product_coupon_bundle_info: UserCouponBundleInfo | None = None
    """Of a coupon that is one round of a bundle."""
    attach: str | None = None
    channel_custom_info: str | None = None
    coupon_tag_info: ShownCouponTagInfo | None = None
    brand_id: str | None = None


class UserCouponBundle(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A user's bundle: a coupon for each round."""

    user_coupon_bundle_id: str
    user_product_coupon_list: list[UserCoupon]
    brand_id: str | None = None
