"""What a stock of 商品券, or a bundle of them, is made of: the object in the requests that create and modify one."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from ..record import Record
from .benefits import ProgressiveBundleUsageRule, SingleUsageRule
from .display import CouponDisplay, UsageDisplay
from .fields import Count, ProductAppid, Remark

StoreScope = Literal["NONE", "ALL", "SPECIFIC"]
BundleCodeMode = Literal["WECHATPAY", "UPLOAD"]
ProductCodeMode = Literal["WECHATPAY", "UPLOAD", "API_ASSIGN"]


class ProductSendRule(Record, frozen=True, kw_only=True, omit_defaults=True):
    max_count: Count
    max_count_per_day: Count | None = None
    """Absent: no limit a day; then none can be set later, and the reverse."""
    max_count_per_user: Annotated[int, Meta(ge=1, le=100)] | None = None
    """Required by the page, optional in older texts: the platform says."""


class ProductNotifyConfig(Record, frozen=True, kw_only=True):
    notify_appid: ProductAppid
    """The openid and unionid of events are of this appid, which must be tied to the brand, or to the provider."""


class NewStock(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A stock to be made: usage_mode SINGLE."""

    coupon_code_mode: ProductCodeMode
    """WECHATPAY: the platform makes the codes. UPLOAD: they are uploaded. API_ASSIGN: each send gives one."""
    stock_send_rule: ProductSendRule
    single_usage_rule: SingleUsageRule
    usage_rule_display_info: UsageDisplay
    coupon_display_info: CouponDisplay
    notify_config: ProductNotifyConfig
    store_scope: StoreScope
    """SPECIFIC: associate stores afterwards."""
    remark: Remark | None = None


class NewStockBundle(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A bundle to be made, a stock for each round: usage_mode PROGRESSIVE_BUNDLE."""

    coupon_code_mode: BundleCodeMode
    """Not API_ASSIGN. With UPLOAD, each member stock has its own codes."""
    stock_send_rule: ProductSendRule
    progressive_bundle_usage_rule: ProgressiveBundleUsageRule
    usage_rule_display_info: UsageDisplay
    coupon_display_info: CouponDisplay
    notify_config: ProductNotifyConfig
    store_scope: StoreScope
    remark: Remark | None = None
