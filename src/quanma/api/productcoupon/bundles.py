"""Stock bundles (批次组) of 商品券: a stock for each round. Add, modify, budget, stores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, Unpack

from ...errors import AlreadyExists
from ..operation import C, F, Filled, build
from ..record import Record
from . import checks
from .callers import ERRORS, BrandId, CallerNode, ForBrandBody, K, OfBoth
from .entities import StockBundle
from .fields import ProductCouponId, ProductRequestNo, StockBundleId
from .stockrequests import NewStockBundle
from .stocks import (
    BudgetChange,
    BudgetChangeAsProviderBody,
    BudgetChangeBody,
    StockChanges,
    StockChangesAsProviderBody,
    StockChangesBody,
)
from .stores import AssociateBundleStoresNode, DisassociateBundleStoresNode


class AddStockBundle(Record, frozen=True, kw_only=True):
    product_coupon_id: ProductCouponId
    out_request_no: ProductRequestNo
    stock_bundle: NewStockBundle


class AddStockBundleAsProvider(AddStockBundle, frozen=True, kw_only=True):
    brand_id: BrandId


class AddStockBundleBody(TypedDict):
    out_request_no: str
    stock_bundle: NewStockBundle | Mapping[str, Any]


class AddStockBundleAsProviderBody(AddStockBundleBody, ForBrandBody): ...


class AddStockBundleKeywords(AddStockBundleBody):
    product_coupon_id: str


class AddStockBundleAsProviderKeywords(AddStockBundleKeywords, ForBrandBody): ...


def add_stock_bundle(**fields: Unpack[AddStockBundleKeywords]) -> AddStockBundle:
    """The keywords of a call: objects in the body as structs or as mappings."""
    return build(AddStockBundle, fields)


def add_stock_bundle_as_provider(**fields: Unpack[AddStockBundleAsProviderKeywords]) -> AddStockBundleAsProvider:
    return build(AddStockBundleAsProvider, fields)


class ModifyStockBundle(StockChanges, frozen=True, kw_only=True, omit_defaults=True):
    product_coupon_id: ProductCouponId
    stock_bundle_id: StockBundleId


class ModifyStockBundleAsProvider(ModifyStockBundle, frozen=True, kw_only=True, omit_defaults=True):
    brand_id: BrandId


class ModifyStockBundleKeywords(StockChangesBody):
    product_coupon_id: str
    stock_bundle_id: str


class ModifyStockBundleAsProviderKeywords(ModifyStockBundleKeywords, ForBrandBody): ...


def modify_stock_bundle(**fields: Unpack[ModifyStockBundleKeywords]) -> ModifyStockBundle:
    """The keywords of a call: objects in the body as structs or as mappings."""
    return build(ModifyStockBundle, fields)


def modify_stock_bundle_as_provider(
    **fields: Unpack[ModifyStockBundleAsProviderKeywords],
) -> ModifyStockBundleAsProvider:
    return build(ModifyStockBundleAsProvider, fields)


class UpdateBundleBudget(BudgetChange, frozen=True, kw_only=True, omit_defaults=True):
    product_coupon_id: ProductCouponId
    stock_bundle_id: StockBundleId


class UpdateBundleBudgetAsProvider(UpdateBundleBudget, frozen=True, kw_only=True, omit_defaults=True):
    brand_id: BrandId


class UpdateBundleBudgetNode(CallerNode[C, F, K]):
    path = "/product-coupons/{product_coupon_id}/stock-bundles/{stock_bundle_id}/update-budget"

    post = OfBoth(
        UpdateBundleBudget,
        UpdateBundleBudgetAsProvider,
        StockBundle,
        BudgetChangeBody,
        BudgetChangeAsProviderBody,
        summary="修改商品券批次组预算",
        number="out_request_no",
        check=checks.of_budget,
    )
    """修改商品券批次组预算: Change max_count or max_count_per_day of every member of a bundle."""
    __call__ = post


class StockBundleNode(CallerNode[C, F, K]):
    path = "/product-coupons/{product_coupon_id}/stock-bundles/{stock_bundle_id}"
    update_budget: UpdateBundleBudgetNode[C, F, K]
    associate_stores: AssociateBundleStoresNode[C, F, K]
    disassociate_stores: DisassociateBundleStoresNode[C, F, K]

    patch = OfBoth(
        ModifyStockBundle,
        ModifyStockBundleAsProvider,
        StockBundle,
        StockChangesBody,
        StockChangesAsProviderBody,
        keywords=modify_stock_bundle,
        keywords_as_provider=modify_stock_bundle_as_provider,
        summary="修改商品券批次组",
        number="out_request_no",
    )
    """修改商品券批次组: Change how every member of a bundle shows and where it is used."""


class StockBundles(CallerNode[C, F, K]):
    path = "/product-coupons/{product_coupon_id}/stock-bundles"
    _stock_bundle_id_: StockBundleNode[C, F, K]

    def __getitem__(self, stock_bundle_id: str) -> StockBundleNode[C, Filled, K]:
        return self._fill(StockBundleNode[C, Filled, K], stock_bundle_id=stock_bundle_id)

    post = OfBoth(
        AddStockBundle,
        AddStockBundleAsProvider,
        StockBundle,
        AddStockBundleBody,
        AddStockBundleAsProviderBody,
        keywords=add_stock_bundle,
        keywords_as_provider=add_stock_bundle_as_provider,
        summary="添加商品券批次组",
        number="out_request_no",
        errors=(*ERRORS, AlreadyExists),
        check=checks.of_added_bundle,
    )
    """添加商品券批次组: Add a bundle to a coupon of usage_mode PROGRESSIVE_BUNDLE."""
    __call__ = post
