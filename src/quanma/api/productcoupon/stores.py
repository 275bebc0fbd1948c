"""Where a stock of 商品券, or a bundle, can be used: stores by their ids. Only with store_scope SPECIFIC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypedDict, Unpack

from msgspec import Meta, field

from ..operation import C, F, build
from ..record import Record, empty
from .callers import BrandId, CallerNode, ForBrandBody, K, OfBoth
from .fields import PageToken, ProductCouponId, ProductStockId, StockBundleId, StoreId, StorePageSize

STORES_PER_REQUEST_MAX = 200


class Store(Record, frozen=True, kw_only=True):
    store_id: StoreId


Stores = Annotated[list[Store], Meta(min_length=1, max_length=STORES_PER_REQUEST_MAX)]


class FailedStore(Record, frozen=True, kw_only=True):
    store_id: str
    code: str
    message: str


class StoresOutcome(Record, frozen=True, kw_only=True):
    """What became of each distinct store."""

    total_count: int
    """Distinct stores of this request."""
    success_store_list: list[Store] = []
    failed_store_list: list[FailedStore] = []


class StockStores(Record, frozen=True, kw_only=True):
    """Stores to be associated with a stock, or disassociated from it: 1 to 200."""

    product_coupon_id: ProductCouponId
    stock_id: ProductStockId
    store_list: Stores


class AssociateStores(StockStores, frozen=True, kw_only=True): ...


class AssociateStoresAsProvider(AssociateStores, frozen=True, kw_only=True):
    brand_id: BrandId


class DisassociateStores(StockStores, frozen=True, kw_only=True): ...


class DisassociateStoresAsProvider(DisassociateStores, frozen=True, kw_only=True):
    brand_id: BrandId


class BundleStores(Record, frozen=True, kw_only=True):
    """Stores to be associated with every member of a bundle, or disassociated: 1 to 200."""

    product_coupon_id: ProductCouponId
    stock_bundle_id: StockBundleId
    store_list: Stores


class AssociateBundleStores(BundleStores, frozen=True, kw_only=True): ...


class AssociateBundleStoresAsProvider(AssociateBundleStores, frozen=True, kw_only=True):
    brand_id: BrandId


class DisassociateBundleStores(BundleStores, frozen=True, kw_only=True): ...


class DisassociateBundleStoresAsProvider(DisassociateBundleStores, frozen=True, kw_only=True):
    brand_id: BrandId


class StoresBody(TypedDict):
    store_list: Sequence[Store | Mapping[str, Any]]


class StoresAsProviderBody(StoresBody, ForBrandBody): ...


class StockStoresKeywords(StoresBody):
    product_coupon_id: str
    stock_id: str


class StockStoresAsProviderKeywords(StockStoresKeywords, ForBrandBody): ...


class BundleStoresKeywords(StoresBody):
    product_coupon_id: str
    stock_bundle_id: str


class BundleStoresAsProviderKeywords(BundleStoresKeywords, ForBrandBody): ...


# The keywords of the calls: stores as structs or as mappings.
def associate_stores(**fields: Unpack[StockStoresKeywords]) -> AssociateStores:
    return build(AssociateStores, fields)


def associate_stores_as_provider(**fields: Unpack[StockStoresAsProviderKeywords]) -> AssociateStoresAsProvider:
    return build(AssociateStoresAsProvider, fields)


def disassociate_stores(**fields: Unpack[StockStoresKeywords]) -> DisassociateStores:
    return build(DisassociateStores, fields)


def disassociate_stores_as_provider(**fields: Unpack[StockStoresAsProviderKeywords]) -> DisassociateStoresAsProvider:
    return build(DisassociateStoresAsProvider, fields)


def associate_bundle_stores(**fields: Unpack[BundleStoresKeywords]) -> AssociateBundleStores:
    return build(AssociateBundleStores, fields)


def associate_bundle_stores_as_provider(
    **fields: Unpack[BundleStoresAsProviderKeywords],
) -> AssociateBundleStoresAsProvider:
    return build(AssociateBundleStoresAsProvider, fields)


def disassociate_bundle_stores(**fields: Unpack[BundleStoresKeywords]) -> DisassociateBundleStores:
    return build(DisassociateBundleStores, fields)


def disassociate_bundle_stores_as_provider(
    **fields: Unpack[BundleStoresAsProviderKeywords],
) -> DisassociateBundleStoresAsProvider:
    return build(DisassociateBundleStoresAsProvider, fields)


class ListStores(Record, frozen=True, kw_only=True, omit_defaults=True):
    product_coupon_id: ProductCouponId
    stock_id: ProductStockId
    page_size: StorePageSize = 20
    page_token: PageToken | None = None
    """The `next_page_token` of the page before; none for the first page."""


class ListStoresAsProvider(ListStores, frozen=True, kw_only=True):
    brand_id: BrandId


class StorePage(Record, frozen=True, kw_only=True, omit_defaults=True):
    total_count: int
    store_list: list[Store] = field(default_factory=empty)
    next_page_token: str | None = None
    """Absent on the last page (our reading)."""


class AssociateStoresNode(CallerNode[C, F, K]):
    path = "/product-coupons/{product_coupon_id}/stocks/{stock_id}/associate-stores"

    post = OfBoth(
        AssociateStores,
        AssociateStoresAsProvider,
        StoresOutcome,
        StoresBody,
        StoresAsProviderBody,
        keywords=associate_stores,
        keywords_as_provider=associate_stores_as_provider,
        summary="关联商品券批次门店",
    )
    """关联商品券批次门店: Associate stores with a stock of store_scope SPECIFIC, not a bundle's member."""
    __call__ = post


class DisassociateStoresNode(CallerNode[C, F, K]):
    path = "/product-coupons/{product_coupon_id}/stocks/{stock_id}/disassociate-stores"

    post = OfBoth(
        DisassociateStores,
        DisassociateStoresAsProvider,
        StoresOutcome,
        StoresBody,
        StoresAsProviderBody,
        keywords=disassociate_stores,
        keywords_as_provider=disassociate_stores_as_provider,
        summary="取消关联商品券批次门店",
    )
    """取消关联商品券批次门店: Take stores from a stock, not a bundle's member."""
    __call__ = post


class AssociatedStores(CallerNode[C, F, K]):
    path = "/product-coupons/{product_coupon_id}/stocks/{stock_id}/associated-stores"

    get = OfBoth(ListStores, ListStoresAsProvider, StorePage, summary="查询商品券批次关联门店列表")
    """查询商品券批次关联门店列表: List the stores of a stock, at most 200 a page."""


class AssociateBundleStoresNode(CallerNode[C, F, K]):
    path = "/product-coupons/{product_coupon_id}/stock-bundles/{stock_bundle_id}/associate-stores"

    post = OfBoth(
        AssociateBundleStores,
        AssociateBundleStoresAsProvider,
        StoresOutcome,
        StoresBody,
        StoresAsProviderBody,
        keywords=associate_bundle_stores,
        keywords_as_provider=associate_bundle_stores_as_provider,
        summary="关联商品券批次组门店",
    )
    """关联商品券批次组门店: Associate stores with every member of a bundle."""
    __call__ = post


class DisassociateBundleStoresNode(CallerNode[C, F, K]):
    path = "/product-coupons/{product_coupon_id}/stock-bundles/{stock_bundle_id}/disassociate-stores"

    post = OfBoth(
        DisassociateBundleStores,
        DisassociateBundleStoresAsProvider,
        StoresOutcome,
        StoresBody,
        StoresAsProviderBody,
        keywords=disassociate_bundle_stores,
        keywords_as_provider=disassociate_bundle_stores_as_provider,
        summary="取消关联商品券批次组门店",
    )
    """取消关联商品券批次组门店: Take stores from every member of a bundle."""
    __call__ = post
