"""Product coupons (商品券): create with the first stock or bundle, show, modify, deactivate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict, Unpack

from ...errors import AlreadyExists
from ..operation import C, F, Filled, build
from ..record import Record
from . import checks
from .benefits import ProgressiveBundleUsageInfo, SingleUsageInfo
from .bundles import StockBundles
from .callers import ERRORS, BrandId, CallerNode, ForBrandBody, K, OfBoth
from .display import ProductDisplay
from .entities import ProductCoupon, ProductStock, StockBundle
from .fields import DeactivateReason, OutProductNo, ProductCouponId, ProductRequestNo
from .stockrequests import NewStock, NewStockBundle
from .stocks import DeactivateAsProviderBody, DeactivateBody, ProductStocks

ProductScope = Literal["ALL", "SINGLE", "CATEGORY"]
"""CATEGORY since 2026, with NORMAL and DISCOUNT."""
ProductType = Literal["NORMAL", "DISCOUNT", "EXCHANGE"]
UsageMode = Literal["SINGLE", "PROGRESSIVE_BUNDLE"]
"""SEQUENTIAL, of the first generation, is no longer documented."""


class CreateProductCoupon(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A coupon with its first stock (SINGLE) or bundle (PROGRESSIVE_BUNDLE)."""

    out_request_no: ProductRequestNo
    scope: ProductScope
    type: ProductType
    """EXCHANGE only with scope SINGLE."""
    usage_mode: UsageMode
    display_info: ProductDisplay
    single_usage_info: SingleUsageInfo | None = None
    """Just with usage_mode SINGLE and scope ALL. With scope SINGLE, the benefit is in stock.single_usage_rule."""
    progressive_bundle_usage_info: ProgressiveBundleUsageInfo | None = None
    """Just with usage_mode PROGRESSIVE_BUNDLE."""
    out_product_no: OutProductNo | None = None
    """Your own number of the product; not checked to be unique."""
    stock: NewStock | None = None
    """With usage_mode SINGLE."""
    stock_bundle: NewStockBundle | None = None
    """With usage_mode PROGRESSIVE_BUNDLE."""


class CreateProductCouponAsProvider(CreateProductCoupon, frozen=True, kw_only=True, omit_defaults=True):
    brand_id: BrandId


class CreateProductCouponBody(TypedDict):
    out_request_no: str
    scope: ProductScope
    type: ProductType
    usage_mode: UsageMode
    display_info: ProductDisplay | Mapping[str, Any]
    single_usage_info: NotRequired[SingleUsageInfo | Mapping[str, Any] | None]
    progressive_bundle_usage_info: NotRequired[ProgressiveBundleUsageInfo | Mapping[str, Any] | None]
    out_product_no: NotRequired[str | None]
    stock: NotRequired[NewStock | Mapping[str, Any] | None]
    stock_bundle: NotRequired[NewStockBundle | Mapping[str, Any] | None]


class CreateProductCouponAsProviderBody(CreateProductCouponBody, ForBrandBody): ...


def create_product_coupon(**fields: Unpack[CreateProductCouponBody]) -> CreateProductCoupon:
    """The keywords of a call: objects in the body as structs or as mappings."""
    return build(CreateProductCoupon, fields)


def create_product_coupon_as_provider(
    **fields: Unpack[CreateProductCouponAsProviderBody],
) -> CreateProductCouponAsProvider:
    return build(CreateProductCouponAsProvider, fields)


class CreatedProductCoupon(ProductCoupon, frozen=True, kw_only=True, omit_defaults=True):
    """Keep this answer: there is no look-up by out_request_no or out_product_no."""

    stock: ProductStock | None = None
    stock_bundle: StockBundle | None = None


class ShowProductCoupon(Record, frozen=True, kw_only=True):
    product_coupon_id: ProductCouponId


class ShowProductCouponAsProvider(ShowProductCoupon, frozen=True, kw_only=True):
    brand_id: BrandId


class ModifyProductCoupon(Record, frozen=True, kw_only=True):
    product_coupon_id: ProductCouponId
    out_request_no: ProductRequestNo
    display_info: ProductDisplay
    """The whole of it: it replaces the one there is, for coupons sent later."""


class ModifyProductCouponAsProvider(ModifyProductCoupon, frozen=True, kw_only=True):
    brand_id: BrandId


class ModifyProductCouponBody(TypedDict):
    out_request_no: str
    display_info: ProductDisplay | Mapping[str, Any]


class ModifyProductCouponAsProviderBody(ModifyProductCouponBody, ForBrandBody): ...


class ModifyProductCouponKeywords(ModifyProductCouponBody):
    product_coupon_id: str


class ModifyProductCouponAsProviderKeywords(ModifyProductCouponKeywords, ForBrandBody): ...


def modify_product_coupon(**fields: Unpack[ModifyProductCouponKeywords]) -> ModifyProductCoupon:
    """The keywords of a call: objects in the body as structs or as mappings."""
    return build(ModifyProductCoupon, fields)


def modify_product_coupon_as_provider(
    **fields: Unpack[ModifyProductCouponAsProviderKeywords],
) -> ModifyProductCouponAsProvider:
    return build(ModifyProductCouponAsProvider, fields)


class DeactivateProductCoupon(Record, frozen=True, kw_only=True):
    product_coupon_id: ProductCouponId
    out_request_no: ProductRequestNo
    deactivate_reason: DeactivateReason


class DeactivateProductCouponAsProvider(DeactivateProductCoupon, frozen=True, kw_only=True):
    brand_id: BrandId


class DeactivateProductCouponNode(CallerNode[C, F, K]):
    path = "/product-coupons/{product_coupon_id}/deactivate"

    post = OfBoth(
        DeactivateProductCoupon,
        DeactivateProductCouponAsProvider,
        ProductCoupon,
        DeactivateBody,
        DeactivateAsProviderBody,
        summary="失效商品券",
        number="out_request_no",
    )
    """失效商品券: End a coupon and all its stocks. Coupons that users have stay valid."""
    __call__ = post


class ProductCouponNode(CallerNode[C, F, K]):
    path = "/product-coupons/{product_coupon_id}"
    stocks: ProductStocks[C, F, K]
    stock_bundles: StockBundles[C, F, K]
    deactivate: DeactivateProductCouponNode[C, F, K]

    get = OfBoth(ShowProductCoupon, ShowProductCouponAsProvider, ProductCoupon, summary="查询商品券")
    """查询商品券: Show a coupon, without its stocks."""

    patch = OfBoth(
        ModifyProductCoupon,
        ModifyProductCouponAsProvider,
        ProductCoupon,
        ModifyProductCouponBody,
        ModifyProductCouponAsProviderBody,
        keywords=modify_product_coupon,
        keywords_as_provider=modify_product_coupon_as_provider,
        summary="修改商品券",
        number="out_request_no",
    )
    """修改商品券: Change how an EFFECTIVE coupon looks, for coupons sent later."""


class ProductCoupons(CallerNode[C, F, K]):
    path = "/product-coupons"
    _product_coupon_id_: ProductCouponNode[C, F, K]

    def __getitem__(self, product_coupon_id: str) -> ProductCouponNode[C, Filled, K]:
        return self._fill(ProductCouponNode[C, Filled, K], product_coupon_id=product_coupon_id)

    post = OfBoth(
        CreateProductCoupon,
        CreateProductCouponAsProvider,
        CreatedProductCoupon,
        CreateProductCouponBody,
        CreateProductCouponAsProviderBody,
        keywords=create_product_coupon,
        keywords_as_provider=create_product_coupon_as_provider,
        summary="创建商品券",
        number="out_request_no",
        errors=(*ERRORS, AlreadyExists),
        check=checks.of_creation,
    )
    """创建商品券: Create a coupon and its first stock or bundle, after the callback address was set. Keep the answer.

    The platform documents 20 requests a second.
    """
    __call__ = post
