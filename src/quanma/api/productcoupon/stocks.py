"""Stocks (批次) of 商品券: add, list, show, modify, budget, deactivate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict, Unpack

from msgspec import field

from ...errors import AlreadyExists
from ..fields import OpenWord
from ..operation import C, F, Filled, build
from ..record import Record, empty
from . import checks
from .callers import ERRORS, BrandId, CallerNode, ForBrandBody, K, OfBoth
from .codes import UploadCouponCodesNode
from .display import CouponDisplay, UsageDisplay
from .entities import ProductStock
from .fields import (
    Count,
    DeactivateReason,
    PageSize,
    PageToken,
    ProductCouponId,
    ProductRequestNo,
    ProductStockId,
    Remark,
    StockBundleId,
)
from .stockrequests import NewStock, ProductNotifyConfig, StoreScope
from .stores import AssociatedStores, AssociateStoresNode, DisassociateStoresNode

UpdateMode = Literal["MAX_COUNT", "MAX_COUNT_PER_DAY"]


class AddStock(Record, frozen=True, kw_only=True):
    product_coupon_id: ProductCouponId
    out_request_no: ProductRequestNo
    stock: NewStock


class AddStockAsProvider(AddStock, frozen=True, kw_only=True):
    brand_id: BrandId


class AddStockBody(TypedDict):
    out_request_no: str
    stock: NewStock | Mapping[str, Any]


class AddStockAsProviderBody(AddStockBody, ForBrandBody): ...


class AddStockKeywords(AddStockBody):
    product_coupon_id: str


class AddStockAsProviderKeywords(AddStockKeywords, ForBrandBody): ...


def add_stock(**fields: Unpack[AddStockKeywords]) -> AddStock:
    """The keywords of a call: objects in the body as structs or as mappings."""
    return build(AddStock, fields)


def add_stock_as_provider(**fields: Unpack[AddStockAsProviderKeywords]) -> AddStockAsProvider:
    return build(AddStockAsProvider, fields)


class ListProductStocks(Record, frozen=True, kw_only=True, omit_defaults=True):
    product_coupon_id: ProductCouponId
    state: OpenWord | None = None
    """AUDITING, SENDING, PAUSED, STOPPED or DEACTIVATED. Absent: all."""
    page_size: PageSize = 20
    page_token: PageToken | None = None
    """The `next_page_token` of the page before; none for the first page."""
    stock_bundle_id: StockBundleId | None = None
    """The members of this bundle: there is no other way to read one."""


class ListProductStocksAsProvider(ListProductStocks, frozen=True, kw_only=True):
    brand_id: BrandId


class ProductStockPage(Record, frozen=True, kw_only=True, omit_defaults=True):
    total_count: int
    stock_list: list[ProductStock] = field(default_factory=empty)
    next_page_token: str | None = None
    """Absent on the last page (our reading)."""


class ShowProductStock(Record, frozen=True, kw_only=True):
    product_coupon_id: ProductCouponId
    stock_id: ProductStockId


class ShowProductStockAsProvider(ShowProductStock, frozen=True, kw_only=True):
    brand_id: BrandId


class StockChanges(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What of a stock, or of a bundle's members, can be changed. What is absent stays; an object replaces the one there
    is (our reading). Validity can't be changed."""

    out_request_no: ProductRequestNo
    remark: Remark | None = None
    usage_rule_display_info: UsageDisplay | None = None
    coupon_display_info: CouponDisplay | None = None
    notify_config: ProductNotifyConfig | None = None
    store_scope: StoreScope | None = None


class ModifyProductStock(StockChanges, frozen=True, kw_only=True, omit_defaults=True):
    product_coupon_id: ProductCouponId
    stock_id: ProductStockId


class ModifyProductStockAsProvider(ModifyProductStock, frozen=True, kw_only=True, omit_defaults=True):
    brand_id: BrandId


class StockChangesBody(TypedDict):
    out_request_no: str
    remark: NotRequired[str | None]
    usage_rule_display_info: NotRequired[UsageDisplay | Mapping[str, Any] | None]
    coupon_display_info: NotRequired[CouponDisplay | Mapping[str, Any] | None]
    notify_config: NotRequired[ProductNotifyConfig | Mapping[str, Any] | None]
    store_scope: NotRequired[StoreScope | None]


class StockChangesAsProviderBody(StockChangesBody, ForBrandBody): ...


class ModifyProductStockKeywords(StockChangesBody):
    product_coupon_id: str
    stock_id: str


class ModifyProductStockAsProviderKeywords(ModifyProductStockKeywords, ForBrandBody): ...


def modify_product_stock(**fields: Unpack[ModifyProductStockKeywords]) -> ModifyProductStock:
    """The keywords of a call: objects in the body as structs or as mappings."""
    return build(ModifyProductStock, fields)


def modify_product_stock_as_provider(
    **fields: Unpack[ModifyProductStockAsProviderKeywords],
) -> ModifyProductStockAsProvider:
    return build(ModifyProductStockAsProvider, fields)


class BudgetChange(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The pair that update_mode names, and not the other. `current_` must be what it is now: compare and set.

    The target may be lower, but not below what was sent. What was made without a limit a day can never have one.
    """

    out_request_no: ProductRequestNo
    update_mode: UpdateMode
    current_max_count: Count | None = None
    target_max_count: Count | None = None
    current_max_count_per_day: Count | None = None
    target_max_count_per_day: Count | None = None


class UpdateStockBudget(BudgetChange, frozen=True, kw_only=True, omit_defaults=True):
    product_coupon_id: ProductCouponId
    stock_id: ProductStockId


class UpdateStockBudgetAsProvider(UpdateStockBudget, frozen=True, kw_only=True, omit_defaults=True):
    brand_id: BrandId


class BudgetChangeBody(TypedDict):
    out_request_no: str
    update_mode: UpdateMode
    current_max_count: NotRequired[int | None]
    target_max_count: NotRequired[int | None]
    current_max_count_per_day: NotRequired[int | None]
    target_max_count_per_day: NotRequired[int | None]


class BudgetChangeAsProviderBody(BudgetChangeBody, ForBrandBody): ...


class DeactivateStock(Record, frozen=True, kw_only=True):
    product_coupon_id: ProductCouponId
    stock_id: ProductStockId
    out_request_no: ProductRequestNo
    deactivate_reason: DeactivateReason


class DeactivateStockAsProvider(DeactivateStock, frozen=True, kw_only=True):
    brand_id: BrandId


class DeactivateBody(TypedDict):
    out_request_no: str
    deactivate_reason: str


class DeactivateAsProviderBody(DeactivateBody, ForBrandBody): ...


class UpdateStockBudgetNode(CallerNode[C, F, K]):
    path = "/product-coupons/{product_coupon_id}/stocks/{stock_id}/update-budget"

    post = OfBoth(
        UpdateStockBudget,
        UpdateStockBudgetAsProvider,
        ProductStock,
        BudgetChangeBody,
        BudgetChangeAsProviderBody,
        summary="修改商品券批次预算",
        number="out_request_no",
        check=checks.of_budget,
    )
    """修改商品券批次预算: Change max_count or max_count_per_day of a stock, not of a bundle's member."""
    __call__ = post


class DeactivateStockNode(CallerNode[C, F, K]):
    path = "/product-coupons/{product_coupon_id}/stocks/{stock_id}/deactivate"

    post = OfBoth(
        DeactivateStock,
        DeactivateStockAsProvider,
        ProductStock,
        DeactivateBody,
        DeactivateAsProviderBody,
        summary="失效商品券批次",
        number="out_request_no",
    )
    """失效商品券批次: End a stock that is SENDING or PAUSED. Coupons that users have stay."""
    __call__ = post


class ProductStockNode(CallerNode[C, F, K]):
    path = "/product-coupons/{product_coupon_id}/stocks/{stock_id}"
    upload_coupon_codes: UploadCouponCodesNode[C, F, K]
    update_budget: UpdateStockBudgetNode[C, F, K]
    deactivate: DeactivateStockNode[C, F, K]
    associate_stores: AssociateStoresNode[C, F, K]
    disassociate_stores: DisassociateStoresNode[C, F, K]
    associated_stores: AssociatedStores[C, F, K]

    get = OfBoth(ShowProductStock, ShowProductStockAsProvider, ProductStock, summary="查询商品券批次详情")
    """查询商品券批次详情: Show a stock, and how many codes it holds."""

    patch = OfBoth(
        ModifyProductStock,
        ModifyProductStockAsProvider,
        ProductStock,
        StockChangesBody,
        StockChangesAsProviderBody,
        keywords=modify_product_stock,
        keywords_as_provider=modify_product_stock_as_provider,
        summary="修改商品券批次",
        number="out_request_no",
    )
    """修改商品券批次: Change how a stock shows and where it is used. Not a bundle's member; SENDING or PAUSED."""


class ProductStocks(CallerNode[C, F, K]):
    path = "/product-coupons/{product_coupon_id}/stocks"
    _stock_id_: ProductStockNode[C, F, K]

    def __getitem__(self, stock_id: str) -> ProductStockNode[C, Filled, K]:
        return self._fill(ProductStockNode[C, Filled, K], stock_id=stock_id)

    post = OfBoth(
        AddStock,
        AddStockAsProvider,
        ProductStock,
        AddStockBody,
        AddStockAsProviderBody,
        keywords=add_stock,
        keywords_as_provider=add_stock_as_provider,
        summary="添加商品券批次",
        number="out_request_no",
        errors=(*ERRORS, AlreadyExists),
        check=checks.of_added_stock,
    )
    """添加商品券批次: Add a stock to a coupon of usage_mode SINGLE that is EFFECTIVE. At most 200 live ones."""
    __call__ = post

    get = OfBoth(ListProductStocks, ListProductStocksAsProvider, ProductStockPage, summary="查询商品券批次列表")
    """查询商品券批次列表: List the stocks of a coupon, or the members of one bundle, at most 50 a page."""
