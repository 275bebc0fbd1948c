"""Codes of a 商品券 (product coupon), uploaded by a service provider: the successor of 商家券.

Since 2025-12-15 new merchants can only join this one. Source: documented, unless a line says otherwise; the fields
of a stock's detail beside its code counts, its mode and its state are our reading.
"""

from __future__ import annotations

from typing import Annotated, TypedDict

from msgspec import Meta

from ..errors import ParamError, RateLimited, RequestRefused, ResourceNotExists
from .couponcodes import FailedCode
from .operation import C, F, Filled, Node, Operation
from .record import Record
from .rules import CODES_PER_UPLOAD_MAX, UploadedText

ProductCouponId = Annotated[str, Meta(min_length=1, max_length=40, examples=["1000000013"])]
ProductStockId = Annotated[str, Meta(min_length=1, max_length=40, examples=["1000000013001"])]
BrandId = Annotated[str, Meta(min_length=1, max_length=20, examples=["120344"])]
ProductRequestNo = Annotated[
    str, Meta(max_length=40, pattern=r"\A[0-9A-Za-z_-]{6,40}\Z", examples=["UPLOAD_100002322019"])
]


class UploadCouponCodes(Record, frozen=True, kw_only=True):
    product_coupon_id: ProductCouponId
    stock_id: ProductStockId
    out_request_no: ProductRequestNo
    """The same number with other codes is refused."""
    code_list: Annotated[list[UploadedText], Meta(min_length=1, max_length=CODES_PER_UPLOAD_MAX)]
    brand_id: BrandId
    """The brand that authorised the provider."""


class UploadCouponCodesBody(TypedDict):
    out_request_no: str
    code_list: list[str]
    brand_id: str


class UploadedCouponCodes(Record, frozen=True, kw_only=True):
    """What became of each distinct code."""

    total_count: int
    success_code_list: list[str] = []
    failed_code_list: list[FailedCode] = []
    already_exist_code_list: list[str] = []
    duplicate_code_list: list[str] = []


class ShowProductStock(Record, frozen=True, kw_only=True):
    product_coupon_id: ProductCouponId
    stock_id: ProductStockId
    brand_id: BrandId


class CouponCodeCountInfo(Record, frozen=True, kw_only=True):
    total_count: int
    available_count: int


class ProductStockSendRule(Record, frozen=True, kw_only=True, omit_defaults=True):
    max_count: int | None = None


class ProductStock(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A stock as it stands. States: AUDITING, SENDING, PAUSED, STOPPED, DEACTIVATED, or one of tomorrow."""

    product_coupon_id: str
    stock_id: str
    coupon_code_mode: str
    """WECHATPAY, UPLOAD or API_ASSIGN; only UPLOAD takes codes."""
    state: str
    brand_id: str | None = None
    stock_send_rule: ProductStockSendRule | None = None
    coupon_code_count_info: CouponCodeCountInfo | None = None


class UploadCouponCodesNode(Node[C, F]):
    path = (
        "/v3/marketing/partner/product-coupon/product-coupons/{product_coupon_id}/stocks/{stock_id}/upload-coupon-codes"
    )

    post = Operation(
        UploadCouponCodes,
        UploadedCouponCodes,
        UploadCouponCodesBody,
        summary="上传商品券批次券code",
        number="out_request_no",
        errors=(ParamError, RequestRefused, ResourceNotExists, RateLimited),
    )
    """上传商品券批次券code: Upload up to 200 codes.

    The platform documents 20 requests a second, shared by a provider's brands.
    """
    __call__ = post


class ProductStockNode(Node[C, F]):
    path = "/v3/marketing/partner/product-coupon/product-coupons/{product_coupon_id}/stocks/{stock_id}"
    upload_coupon_codes: UploadCouponCodesNode[C, F]

    get = Operation(ShowProductStock, ProductStock, summary="查询商品券批次详情", errors=(ResourceNotExists,))
    """查询商品券批次详情: Show a stock, and how many codes it holds."""


class ProductStocks(Node[C, F]):
    path = "/v3/marketing/partner/product-coupon/product-coupons/{product_coupon_id}/stocks"
    _stock_id_: ProductStockNode[C, F]

    def __getitem__(self, stock_id: str) -> ProductStockNode[C, Filled]:
        return ProductStockNode(self.client, {**self.filled, "stock_id": stock_id})


class ProductCouponNode(Node[C, F]):
    path = "/v3/marketing/partner/product-coupon/product-coupons/{product_coupon_id}"
    stocks: ProductStocks[C, F]


class ProductCoupons(Node[C, F]):
    path = "/v3/marketing/partner/product-coupon/product-coupons"
    _product_coupon_id_: ProductCouponNode[C, F]

    def __getitem__(self, product_coupon_id: str) -> ProductCouponNode[C, Filled]:
        return ProductCouponNode(self.client, {**self.filled, "product_coupon_id": product_coupon_id})


class ProductCoupon(Node[C, F]):
    path = "/v3/marketing/partner/product-coupon"
    product_coupons: ProductCoupons[C, F]


class Partner(Node[C, F]):
    path = "/v3/marketing/partner"
    product_coupon: ProductCoupon[C, F]
