"""Coupons of 商品券 in users' hands: send, confirm, use, return, deactivate, show, list; bundles of them.

A coupon that was sent is CONFIRMING: the user sees it and can't use it until it is confirmed, on whatever channel it
was sent. Its validity runs meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, NotRequired, TypedDict, Unpack

from msgspec import Meta, field

from ..fields import Mchid, Openid, OpenWord, Rfc3339
from ..operation import C, F, Filled, build
from ..record import Record, empty
from . import checks
from .callers import BrandId, CallerNode, ForBrandBody, K, OfBoth
from .entities import UserCoupon, UserCouponBundle
from .fields import (
    Amount,
    Attach,
    DeactivateReason,
    PageSize,
    PageToken,
    ProductAppid,
    ProductCouponCode,
    ProductCouponId,
    ProductRequestNo,
    ProductSendNo,
    ProductStockId,
    StockBundleId,
    StoreId,
    UserCouponBundleId,
)

OrderNo = Annotated[str, Meta(min_length=1, max_length=64)]
"""The length is our choice: none is published."""


class MemberCard(Record, frozen=True, kw_only=True):
    member_card_id: Annotated[str, Meta(min_length=1, max_length=64)]
    """The length is our choice: none is published."""


class CouponTagInfo(Record, frozen=True, kw_only=True, omit_defaults=True):
    coupon_tag_list: Annotated[list[OpenWord], Meta(min_length=1, max_length=10)]
    """MEMBER, or one of tomorrow. At most 10 is our choice."""
    member_tag_info: MemberCard | None = None
    """With MEMBER."""


class Order(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A payment: transaction_id, or out_trade_no with mchid, and sub_mchid if it is a sub-merchant's."""

    transaction_id: OrderNo | None = None
    out_trade_no: OrderNo | None = None
    mchid: Mchid | None = None
    sub_mchid: Mchid | None = None


class PayScoreOrder(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A pay-score order: order_id, or out_order_no with mchid, and sub_mchid if it is a sub-merchant's."""

    order_id: OrderNo | None = None
    out_order_no: OrderNo | None = None
    mchid: Mchid | None = None
    sub_mchid: Mchid | None = None


class OfUserCoupon(Record, frozen=True, kw_only=True):
    """What names a user's coupon in the body or the query, beside openid and code in the path."""

    openid: Openid
    coupon_code: ProductCouponCode
    product_coupon_id: ProductCouponId
    stock_id: ProductStockId
    appid: ProductAppid
    """The openid is of this appid."""


class SendUserCoupon(Record, frozen=True, kw_only=True, omit_defaults=True):
    openid: Openid
    product_coupon_id: ProductCouponId
    stock_id: ProductStockId
    appid: ProductAppid
    """The openid is of this appid."""
    send_request_no: ProductSendNo
    """6 to 128 characters; that of a pre-send has at most 40."""
    coupon_code: ProductCouponCode | None = None
    """Only and always for code mode API_ASSIGN. For UPLOAD the platform picks one: read it from the answer."""
    attach: Attach | None = None
    coupon_tag_info: CouponTagInfo | None = None


class PreSendUserCoupon(Record, frozen=True, kw_only=True, omit_defaults=True):
    openid: Openid
    product_coupon_id: ProductCouponId
    stock_id: ProductStockId
    appid: ProductAppid
    send_request_no: ProductRequestNo
    """6 to 40 characters, unlike that of a send."""
    coupon_code: ProductCouponCode | None = None
    """Only and always for code mode API_ASSIGN."""
    attach: Attach | None = None


class PreSentUserCoupon(Record, frozen=True, kw_only=True):
    token: str
    """Lives for 5 minutes. The coupon exists once the user confirms in the component."""


class SendUserCouponBundle(Record, frozen=True, kw_only=True, omit_defaults=True):
    """No code can be given: each round's is drawn."""

    openid: Openid
    product_coupon_id: ProductCouponId
    stock_bundle_id: StockBundleId
    appid: ProductAppid
    send_request_no: ProductSendNo
    attach: Attach | None = None
    coupon_tag_info: CouponTagInfo | None = None


class PreSendUserCouponBundle(Record, frozen=True, kw_only=True, omit_defaults=True):
    openid: Openid
    product_coupon_id: ProductCouponId
    stock_bundle_id: StockBundleId
    appid: ProductAppid
    send_request_no: ProductRequestNo
    attach: Attach | None = None


class ConfirmUserCoupon(OfUserCoupon, frozen=True, kw_only=True):
    out_request_no: ProductRequestNo


class UseUserCoupon(OfUserCoupon, frozen=True, kw_only=True, omit_defaults=True):
    """Exactly one of the two orders."""

    use_time: Rfc3339
    out_request_no: ProductRequestNo
    """Repeat a use under the same number: under another one it is refused as used by another order."""
    store_id: StoreId | None = None
    """An open store of the brand."""
    associated_order_info: Order | None = None
    associated_pay_score_order_info: PayScoreOrder | None = None
    saved_amount: Amount | None = None
    """In fen. Reported, not documented."""


class ReturnUserCoupon(OfUserCoupon, frozen=True, kw_only=True):
    out_request_no: ProductRequestNo


class DeactivateUserCoupon(OfUserCoupon, frozen=True, kw_only=True):
    out_request_no: ProductRequestNo
    deactivate_reason: DeactivateReason


class DeactivateUserCouponBundle(Record, frozen=True, kw_only=True):
    openid: Openid
    user_coupon_bundle_id: UserCouponBundleId
    product_coupon_id: ProductCouponId
    stock_bundle_id: StockBundleId
    appid: ProductAppid
    out_request_no: ProductRequestNo
    deactivate_reason: DeactivateReason


class ShowUserCoupon(OfUserCoupon, frozen=True, kw_only=True): ...


class ListUserCoupons(Record, frozen=True, kw_only=True, omit_defaults=True):
    openid: Openid
    appid: ProductAppid
    product_coupon_id: ProductCouponId | None = None
    """Absent: all coupons of the brand."""
    stock_id: ProductStockId | None = None
    coupon_state: OpenWord | None = None
    """CONFIRMING, PENDING, EFFECTIVE, USED, EXPIRED, DELETED or DEACTIVATED. Absent: all."""
    user_coupon_bundle_id: UserCouponBundleId | None = None
    page_size: PageSize = 20
    page_token: PageToken | None = None
    """The `next_page_token` of the page before; none for the first page."""


class UserCouponPage(Record, frozen=True, kw_only=True, omit_defaults=True):
    total_count: int
    user_coupon_list: list[UserCoupon] = field(default_factory=empty)
    next_page_token: str | None = None
    """Absent on the last page (our reading)."""


class SendUserCouponAsProvider(SendUserCoupon, frozen=True, kw_only=True, omit_defaults=True):
    brand_id: BrandId


class PreSendUserCouponAsProvider(PreSendUserCoupon, frozen=True, kw_only=True, omit_defaults=True):
    brand_id: BrandId


class SendUserCouponBundleAsProvider(SendUserCouponBundle, frozen=True, kw_only=True, omit_defaults=True):
    brand_id: BrandId


class PreSendUserCouponBundleAsProvider(PreSendUserCouponBundle, frozen=True, kw_only=True, omit_defaults=True):
    brand_id: BrandId


class ConfirmUserCouponAsProvider(ConfirmUserCoupon, frozen=True, kw_only=True):
    brand_id: BrandId


class UseUserCouponAsProvider(UseUserCoupon, frozen=True, kw_only=True, omit_defaults=True):
    brand_id: BrandId


class ReturnUserCouponAsProvider(ReturnUserCoupon, frozen=True, kw_only=True):
    brand_id: BrandId


class DeactivateUserCouponAsProvider(DeactivateUserCoupon, frozen=True, kw_only=True):
    brand_id: BrandId


class DeactivateUserCouponBundleAsProvider(DeactivateUserCouponBundle, frozen=True, kw_only=True):
    brand_id: BrandId


class ShowUserCouponAsProvider(ShowUserCoupon, frozen=True, kw_only=True):
    brand_id: BrandId


class ListUserCouponsAsProvider(ListUserCoupons, frozen=True, kw_only=True, omit_defaults=True):
    brand_id: BrandId


class SendUserCouponBody(TypedDict):
    product_coupon_id: str
    stock_id: str
    appid: str
    send_request_no: str
    coupon_code: NotRequired[str | None]
    attach: NotRequired[str | None]
    coupon_tag_info: NotRequired[CouponTagInfo | Mapping[str, Any] | None]


class SendUserCouponAsProviderBody(SendUserCouponBody, ForBrandBody): ...


class PreSendUserCouponBody(TypedDict):
    product_coupon_id: str
    stock_id: str
    appid: str
    send_request_no: str
    coupon_code: NotRequired[str | None]
    attach: NotRequired[str | None]


class PreSendUserCouponAsProviderBody(PreSendUserCouponBody, ForBrandBody): ...


class SendUserCouponBundleBody(TypedDict):
    product_coupon_id: str
    stock_bundle_id: str
    appid: str
    send_request_no: str
    attach: NotRequired[str | None]
    coupon_tag_info: NotRequired[CouponTagInfo | Mapping[str, Any] | None]


class SendUserCouponBundleAsProviderBody(SendUserCouponBundleBody, ForBrandBody): ...


class PreSendUserCouponBundleBody(TypedDict):
    product_coupon_id: str
    stock_bundle_id: str
    appid: str
    send_request_no: str
    attach: NotRequired[str | None]


class PreSendUserCouponBundleAsProviderBody(PreSendUserCouponBundleBody, ForBrandBody): ...


class OfUserCouponBody(TypedDict):
    product_coupon_id: str
    stock_id: str
    appid: str
    out_request_no: str


class OfUserCouponAsProviderBody(OfUserCouponBody, ForBrandBody): ...


class UseUserCouponBody(OfUserCouponBody):
    use_time: str | datetime
    store_id: NotRequired[str | None]
    associated_order_info: NotRequired[Order | Mapping[str, Any] | None]
    associated_pay_score_order_info: NotRequired[PayScoreOrder | Mapping[str, Any] | None]
    saved_amount: NotRequired[int | None]


class UseUserCouponAsProviderBody(UseUserCouponBody, ForBrandBody): ...


class DeactivateUserCouponBody(OfUserCouponBody):
    deactivate_reason: str


class DeactivateUserCouponAsProviderBody(DeactivateUserCouponBody, ForBrandBody): ...


class DeactivateUserCouponBundleBody(TypedDict):
    product_coupon_id: str
    stock_bundle_id: str
    appid: str
    out_request_no: str
    deactivate_reason: str


class DeactivateUserCouponBundleAsProviderBody(DeactivateUserCouponBundleBody, ForBrandBody): ...


class SendUserCouponKeywords(SendUserCouponBody):
    openid: str


class SendUserCouponAsProviderKeywords(SendUserCouponKeywords, ForBrandBody): ...


def send_user_coupon(**fields: Unpack[SendUserCouponKeywords]) -> SendUserCoupon:
    """The keywords of a call: objects in the body as structs or as mappings, datetimes for times."""
    return build(SendUserCoupon, fields)


def send_user_coupon_as_provider(**fields: Unpack[SendUserCouponAsProviderKeywords]) -> SendUserCouponAsProvider:
    return build(SendUserCouponAsProvider, fields)


class SendUserCouponBundleKeywords(SendUserCouponBundleBody):
    openid: str


class SendUserCouponBundleAsProviderKeywords(SendUserCouponBundleKeywords, ForBrandBody): ...


def send_user_coupon_bundle(**fields: Unpack[SendUserCouponBundleKeywords]) -> SendUserCouponBundle:
    """The keywords of a call: objects in the body as structs or as mappings, datetimes for times."""
    return build(SendUserCouponBundle, fields)


def send_user_coupon_bundle_as_provider(
    **fields: Unpack[SendUserCouponBundleAsProviderKeywords],
) -> SendUserCouponBundleAsProvider:
    return build(SendUserCouponBundleAsProvider, fields)


class UseUserCouponKeywords(UseUserCouponBody):
    openid: str
    coupon_code: str


class UseUserCouponAsProviderKeywords(UseUserCouponKeywords, ForBrandBody): ...


def use_user_coupon(**fields: Unpack[UseUserCouponKeywords]) -> UseUserCoupon:
    """The keywords of a call: objects in the body as structs or as mappings, datetimes for times."""
    return build(UseUserCoupon, fields)


def use_user_coupon_as_provider(**fields: Unpack[UseUserCouponAsProviderKeywords]) -> UseUserCouponAsProvider:
    return build(UseUserCouponAsProvider, fields)


class ConfirmUserCouponNode(CallerNode[C, F, K]):
    path = "/users/{openid}/coupons/{coupon_code}/confirm"

    post = OfBoth(
        ConfirmUserCoupon,
        ConfirmUserCouponAsProvider,
        UserCoupon,
        OfUserCouponBody,
        OfUserCouponAsProviderBody,
        summary="确认发放用户商品券",
        number="out_request_no",
    )
    """确认发放用户商品券: Confirm a coupon that was sent, on whatever channel: until then it can't be used.

    Its validity runs from the send, not from here.
    """
    __call__ = post


class UseUserCouponNode(CallerNode[C, F, K]):
    path = "/users/{openid}/coupons/{coupon_code}/use"

    post = OfBoth(
        UseUserCoupon,
        UseUserCouponAsProvider,
        UserCoupon,
        UseUserCouponBody,
        UseUserCouponAsProviderBody,
        keywords=use_user_coupon,
        keywords_as_provider=use_user_coupon_as_provider,
        summary="核销用户商品券",
        number="out_request_no",
        check=checks.of_use,
    )
    """核销用户商品券: Use a coupon that is EFFECTIVE now, for one order."""
    __call__ = post


class ReturnUserCouponNode(CallerNode[C, F, K]):
    path = "/users/{openid}/coupons/{coupon_code}/return"

    post = OfBoth(
        ReturnUserCoupon,
        ReturnUserCouponAsProvider,
        UserCoupon,
        OfUserCouponBody,
        OfUserCouponAsProviderBody,
        summary="退用户商品券",
        number="out_request_no",
    )
    """退用户商品券: Give a USED coupon back to its user; of a bundle, only the one used last."""
    __call__ = post


class DeactivateUserCouponNode(CallerNode[C, F, K]):
    path = "/users/{openid}/coupons/{coupon_code}/deactivate"

    post = OfBoth(
        DeactivateUserCoupon,
        DeactivateUserCouponAsProvider,
        UserCoupon,
        DeactivateUserCouponBody,
        DeactivateUserCouponAsProviderBody,
        summary="失效用户商品券",
        number="out_request_no",
    )
    """失效用户商品券: End one coupon of a user."""
    __call__ = post


class DeactivateUserCouponBundleNode(CallerNode[C, F, K]):
    path = "/users/{openid}/coupon-bundles/{user_coupon_bundle_id}/deactivate"

    post = OfBoth(
        DeactivateUserCouponBundle,
        DeactivateUserCouponBundleAsProvider,
        UserCouponBundle,
        DeactivateUserCouponBundleBody,
        DeactivateUserCouponBundleAsProviderBody,
        summary="失效用户商品券组",
        number="out_request_no",
    )
    """失效用户商品券组: End all coupons of a user's bundle."""
    __call__ = post


class UserCouponNode(CallerNode[C, F, K]):
    path = "/users/{openid}/coupons/{coupon_code}"
    confirm: ConfirmUserCouponNode[C, F, K]
    use: UseUserCouponNode[C, F, K]
    return_: ReturnUserCouponNode[C, F, K]
    deactivate: DeactivateUserCouponNode[C, F, K]

    get = OfBoth(ShowUserCoupon, ShowUserCouponAsProvider, UserCoupon, summary="查询用户商品券详情")
    """查询用户商品券详情: Show one coupon of a user."""


class ProductUserCoupons(CallerNode[C, F, K]):
    path = "/users/{openid}/coupons"
    _coupon_code_: UserCouponNode[C, F, K]

    def __getitem__(self, coupon_code: str) -> UserCouponNode[C, Filled, K]:
        return self._fill(UserCouponNode[C, Filled, K], coupon_code=coupon_code)

    post = OfBoth(
        SendUserCoupon,
        SendUserCouponAsProvider,
        UserCoupon,
        SendUserCouponBody,
        SendUserCouponAsProviderBody,
        keywords=send_user_coupon,
        keywords_as_provider=send_user_coupon_as_provider,
        summary="发放商品券",
        number="send_request_no",
    )
    """发放商品券: Send a user one coupon of a stock that is SENDING; not of a bundle's member. Then confirm it.

    The platform documents 500 requests a second.
    """
    __call__ = post

    get = OfBoth(ListUserCoupons, ListUserCouponsAsProvider, UserCouponPage, summary="查询用户商品券列表")
    """查询用户商品券列表: List a user's coupons, at most 50 a page."""


class PreSendUserCouponNode(CallerNode[C, F, K]):
    path = "/users/{openid}/pre-send-coupon"

    post = OfBoth(
        PreSendUserCoupon,
        PreSendUserCouponAsProvider,
        PreSentUserCoupon,
        PreSendUserCouponBody,
        PreSendUserCouponAsProviderBody,
        summary="预发放用户商品券",
        number="send_request_no",
    )
    """预发放用户商品券: Get a token with which the user takes the coupon in the component. Nothing is sent yet."""
    __call__ = post


class UserCouponBundleNode(CallerNode[C, F, K]):
    path = "/users/{openid}/coupon-bundles/{user_coupon_bundle_id}"
    deactivate: DeactivateUserCouponBundleNode[C, F, K]


class UserCouponBundles(CallerNode[C, F, K]):
    path = "/users/{openid}/coupon-bundles"
    _user_coupon_bundle_id_: UserCouponBundleNode[C, F, K]

    def __getitem__(self, user_coupon_bundle_id: str) -> UserCouponBundleNode[C, Filled, K]:
        return self._fill(UserCouponBundleNode[C, Filled, K], user_coupon_bundle_id=user_coupon_bundle_id)

    post = OfBoth(
        SendUserCouponBundle,
        SendUserCouponBundleAsProvider,
        UserCouponBundle,
        SendUserCouponBundleBody,
        SendUserCouponBundleAsProviderBody,
        keywords=send_user_coupon_bundle,
        keywords_as_provider=send_user_coupon_bundle_as_provider,
        summary="发放商品券组",
        number="send_request_no",
    )
    """发放商品券组: Send a user one bundle: a coupon for each round, each with its own code. Then confirm them.

    Whether the platform makes all rounds at once is not clear. For brands, only the guide names it.
    """
    __call__ = post


class PreSendUserCouponBundleNode(CallerNode[C, F, K]):
    path = "/users/{openid}/pre-send-coupon-bundle"

    post = OfBoth(
        PreSendUserCouponBundle,
        PreSendUserCouponBundleAsProvider,
        PreSentUserCoupon,
        PreSendUserCouponBundleBody,
        PreSendUserCouponBundleAsProviderBody,
        summary="预发放商品券组",
        number="send_request_no",
    )
    """预发放商品券组: Get a token with which the user takes the bundle in the component. Nothing is sent yet.

    For brands it is not proven: we found it for providers only.
    """
    __call__ = post


class UserNode(CallerNode[C, F, K]):
    path = "/users/{openid}"
    coupons: ProductUserCoupons[C, F, K]
    pre_send_coupon: PreSendUserCouponNode[C, F, K]
    coupon_bundles: UserCouponBundles[C, F, K]
    pre_send_coupon_bundle: PreSendUserCouponBundleNode[C, F, K]


class ProductUsers(CallerNode[C, F, K]):
    path = "/users"
    _openid_: UserNode[C, F, K]

    def __getitem__(self, openid: str) -> UserNode[C, Filled, K]:
        return self._fill(UserNode[C, Filled, K], openid=openid)
