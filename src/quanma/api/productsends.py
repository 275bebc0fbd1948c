"""商家券 that carry product information: send and pre-send, 商品券 calls under the busifavor path.

Source: send is documented (2025-07); pre-send is reported (2025-12), its fields beside the required ones too.
"""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from msgspec import Meta

from ..errors import NotEnough, ParamError, RequestRefused, ResourceNotExists
from .coupons import OutRequestNo
from .fields import Appid, CouponCode, Openid
from .operation import C, F, Node, Operation
from .record import Record

LongStockId = Annotated[str, Meta(min_length=1, max_length=128)]
CouponType = Literal["NORMAL", "MEMBER"]


class SendProductCoupon(Record, frozen=True, kw_only=True):
    openid: Openid
    appid: Appid
    stock_id: LongStockId
    out_request_no: OutRequestNo
    coupon_type: CouponType
    coupon_code: CouponCode | None = None
    """Required for a MERCHANT_API stock."""
    member_card_id: Annotated[str, Meta(min_length=1, max_length=32)] | None = None
    """Required for MEMBER."""


class SendProductCouponBody(TypedDict):
    openid: str
    appid: str
    stock_id: str
    out_request_no: str
    coupon_type: CouponType
    coupon_code: NotRequired[str]
    member_card_id: NotRequired[str]


class SentProductCoupon(Record, frozen=True, kw_only=True):
    stock_id: str
    coupon_code: str
    out_request_no: str


class PreSendProductCoupon(Record, frozen=True, kw_only=True):
    stock_id: LongStockId
    appid: Appid
    send_request_no: OutRequestNo
    coupon_code: CouponCode | None = None
    openid: Openid | None = None
    brand_id: Annotated[str, Meta(max_length=32)] | None = None
    product_coupon_id: Annotated[str, Meta(max_length=40)] | None = None


class PreSendProductCouponBody(TypedDict):
    stock_id: str
    appid: str
    send_request_no: str
    coupon_code: NotRequired[str]
    openid: NotRequired[str]
    brand_id: NotRequired[str]
    product_coupon_id: NotRequired[str]


class PreSentProductCoupon(Record, frozen=True, kw_only=True):
    token: str
    """For the mini-program's claim component."""


class ProductSend(Node[C, F]):
    path = "/v3/marketing/busifavor/product-coupons/send"

    post = Operation(
        SendProductCoupon,
        SentProductCoupon,
        SendProductCouponBody,
        summary="发放商品券关联的商家券",
        number="out_request_no",
        errors=(ParamError, RequestRefused, ResourceNotExists, NotEnough),
    )
    """发放商品券关联的商家券: Give a user one coupon of a stock that carries product information."""
    __call__ = post


class ProductPreSend(Node[C, F]):
    path = "/v3/marketing/busifavor/product-coupons/pre-send"

    post = Operation(
        PreSendProductCoupon,
        PreSentProductCoupon,
        PreSendProductCouponBody,
        summary="预发放商品券",
        number="send_request_no",
        errors=(ParamError, RequestRefused, ResourceNotExists),
    )
    """预发放商品券: Get a token with which the user claims the coupon. Nothing is given out yet."""
    __call__ = post


class ProductSends(Node[C, F]):
    path = "/v3/marketing/busifavor/product-coupons"
    send: ProductSend[C, F]
    pre_send: ProductPreSend[C, F]
