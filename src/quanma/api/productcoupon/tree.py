"""商品券 below both prefixes: a provider's, wxpay.v3.marketing.partner, and a brand's own, wxpay.brand.marketing."""

from __future__ import annotations

from ..operation import C, F, Node
from .callbacks import NotifyConfigs
from .callers import AsBrand, AsProvider, CallerNode
from .coupons import ProductCoupons
from .images import ImageTasks, ProductMedia
from .usercoupons import ProductUsers


class ProviderProductCoupon(CallerNode[C, F, AsProvider]):
    path = AsProvider.prefix
    caller = AsProvider
    product_coupons: ProductCoupons[C, F, AsProvider]
    users: ProductUsers[C, F, AsProvider]
    notify_configs: NotifyConfigs[C, F, AsProvider]
    media: ProductMedia[C, F, AsProvider]
    image_generation_tasks: ImageTasks[C, F]


class Partner(Node[C, F]):
    path = "/v3/marketing/partner"
    product_coupon: ProviderProductCoupon[C, F]


class BrandProductCoupon(CallerNode[C, F, AsBrand]):
    path = AsBrand.prefix
    caller = AsBrand
    product_coupons: ProductCoupons[C, F, AsBrand]
    users: ProductUsers[C, F, AsBrand]
    notify_configs: NotifyConfigs[C, F, AsBrand]
    media: ProductMedia[C, F, AsBrand]


class BrandMarketing(Node[C, F]):
    path = "/brand/marketing"
    product_coupon: BrandProductCoupon[C, F]


class Brand(Node[C, F]):
    path = "/brand"
    marketing: BrandMarketing[C, F]
