"""Codes of a stock of 商品券: upload. There is no list, query or deletion of them."""

from __future__ import annotations

from typing import Annotated, TypedDict

from msgspec import Meta

from ..couponcodes import FailedCode
from ..operation import C, F
from ..record import Record
from ..rules import CODES_PER_UPLOAD_MAX, UploadedText
from .callers import BrandId, CallerNode, ForBrandBody, K, OfBoth
from .fields import ProductCouponId, ProductRequestNo, ProductStockId


class UploadCouponCodes(Record, frozen=True, kw_only=True):
    product_coupon_id: ProductCouponId
    stock_id: ProductStockId
    out_request_no: ProductRequestNo
    """The same number with other codes is refused."""
    code_list: Annotated[list[UploadedText], Meta(min_length=1, max_length=CODES_PER_UPLOAD_MAX)]
    """1 to 200 codes, of at most 40 of `0-9A-Za-z_-`. One that is not so comes back in `failed_code_list`."""


class UploadCouponCodesAsProvider(UploadCouponCodes, frozen=True, kw_only=True):
    brand_id: BrandId


class UploadCouponCodesBody(TypedDict):
    out_request_no: str
    code_list: list[str]


class UploadCouponCodesAsProviderBody(UploadCouponCodesBody, ForBrandBody): ...


class UploadedCouponCodes(Record, frozen=True, kw_only=True):
    """What became of each distinct code."""

    total_count: int
    """Distinct codes of this request."""
    success_code_list: list[str] = []
    failed_code_list: list[FailedCode] = []
    already_exist_code_list: list[str] = []
    duplicate_code_list: list[str] = []
    """Repeated within this request; each is also in one of the other lists (seen in the printed sample)."""


class UploadCouponCodesNode(CallerNode[C, F, K]):
    path = "/product-coupons/{product_coupon_id}/stocks/{stock_id}/upload-coupon-codes"

    post = OfBoth(
        UploadCouponCodes,
        UploadCouponCodesAsProvider,
        UploadedCouponCodes,
        UploadCouponCodesBody,
        UploadCouponCodesAsProviderBody,
        summary="上传商品券批次券code",
        number="out_request_no",
    )
    """上传商品券批次券code: Upload up to 200 codes to a stock of code mode UPLOAD, a bundle's member too.

    The platform documents 20 requests a second, shared by a provider's brands.
    """
    __call__ = post
