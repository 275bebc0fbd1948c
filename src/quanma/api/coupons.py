"""Coupons in users' hands: send, use, return, deactivate, associate, list, show one.

Source: 核销用户的券, 查询用户单张券详情; `send` is in the official SDKs and not in the public function list.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, NotRequired, TypedDict, Unpack

from msgspec import Meta

from ..errors import (
    NotEnough,
    ParamError,
    RequestRefused,
    ResourceAlreadyExists,
    ResourceNotExists,
    RuleLimit,
)
from .fields import (
    Appid,
    CouponCode,
    Mchid,
    Openid,
    PageLimit,
    PageOffset,
    RequestNo,
    Rfc3339,
    StockId,
    UseRequestNo,
)
from .operation import C, F, Filled, Node, Operation, build
from .record import Record
from .stockrules import CouponUseRule, CustomEntrance, DisplayPatternInfo

OutRequestNo = Annotated[RequestNo, Meta(pattern=r"\A[0-9A-Za-z|_*-]+\Z")]


class SendCoupon(Record, frozen=True, kw_only=True):
    openid: Openid
    appid: Appid
    stock_id: StockId
    out_request_no: OutRequestNo
    """Unique per stock and user: the same number gives the same coupon."""
    coupon_code: CouponCode | None = None
    """Only for a MERCHANT_API stock. A MERCHANT_UPLOAD stock draws one at random."""


class SendCouponBody(TypedDict):
    openid: str
    appid: str
    stock_id: str
    out_request_no: str
    coupon_code: NotRequired[str]


class SendCouponResult(Record, frozen=True, kw_only=True):
    stock_id: str
    out_request_no: str
    coupon_code: str


class SentCoupon(Record, frozen=True, kw_only=True):
    send_coupon_result: SendCouponResult


def wrapped(fields: dict[str, Any]) -> dict[str, Any]:
    """Source: the official SDKs wrap the result; an unofficial description shows it bare. Both are read."""
    return fields if "send_coupon_result" in fields else {"send_coupon_result": fields}


class UseCoupon(Record, frozen=True, kw_only=True):
    coupon_code: CouponCode
    stock_id: StockId | None = None
    """Required for codes of the merchant's own: a code is unique within its stock only."""
    appid: Appid
    use_time: Rfc3339
    use_request_no: UseRequestNo
    openid: Openid | None = None
    """A safety check: another user's coupon is refused."""
    out_trade_no: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    mch_id: Mchid | None = None
    transaction_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    """The order that it was used for, by its number here and at whom, or by WeChat Pay's. Source: since 2025-07 (seen);
    the lengths are our choice."""


class UseCouponBody(TypedDict):
    coupon_code: str
    stock_id: NotRequired[str | None]
    appid: str
    use_time: str | datetime
    use_request_no: str
    openid: NotRequired[str | None]
    out_trade_no: NotRequired[str | None]
    mch_id: NotRequired[str | None]
    transaction_id: NotRequired[str | None]


def use_coupon(**fields: Unpack[UseCouponBody]) -> UseCoupon:
    """The keywords of a call: a time as text, or a datetime with its offset."""
    return build(UseCoupon, fields)


class UsedCoupon(Record, frozen=True, kw_only=True):
    stock_id: str
    openid: str
    wechatpay_use_time: str


class ShowCoupon(Record, frozen=True, kw_only=True):
    openid: Openid
    coupon_code: CouponCode
    appid: Appid


class Coupon(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A user's coupon. `coupon_state` may hold values of tomorrow."""

    belong_merchant: Mchid
    stock_name: str
    goods_name: str
    stock_type: str
    coupon_use_rule: CouponUseRule
    comment: str | None = None
    transferable: bool | None = None
    shareable: bool | None = None
    coupon_state: str | None = None
    display_pattern_info: DisplayPatternInfo | None = None
    custom_entrance: CustomEntrance | None = None
    coupon_code: str | None = None
    stock_id: str | None = None
    available_start_time: str | None = None
    expire_time: str | None = None
    receive_time: str | None = None
    send_request_no: str | None = None
    use_request_no: str | None = None
    use_time: str | None = None
    associate_out_trade_no: str | None = None
    return_request_no: str | None = None
    return_time: str | None = None
    deactivate_request_no: str | None = None
    deactivate_time: str | None = None
    deactivate_reason: str | None = None


class Send(Node[C, F]):
    path = "/v3/marketing/busifavor/coupons/send"

    post = Operation(
        SendCoupon,
        SentCoupon,
        SendCouponBody,
        summary="发放商家券",
        read=wrapped,
        number="out_request_no",
        errors=(ParamError, RequestRefused, ResourceNotExists, NotEnough, RuleLimit),
    )
    """发放商家券: Give a user one coupon of a stock."""
    __call__ = post


class Use(Node[C, F]):
    path = "/v3/marketing/busifavor/coupons/use"

    post = Operation(
        UseCoupon,
        UsedCoupon,
        UseCouponBody,
        keywords=use_coupon,
        summary="核销用户的券",
        number="use_request_no",
        errors=(ParamError, RequestRefused, ResourceAlreadyExists, ResourceNotExists, RuleLimit),
    )
    """核销用户的券: Redeem a user's coupon. The platform documents 500 requests a second."""
    __call__ = post


class ReturnCoupon(Record, frozen=True, kw_only=True):
    coupon_code: CouponCode
    stock_id: StockId
    return_request_no: RequestNo


class ReturnCouponBody(TypedDict):
    coupon_code: str
    stock_id: str
    return_request_no: str


class ReturnedCoupon(Record, frozen=True, kw_only=True):
    wechatpay_return_time: str


class Return(Node[C, F]):
    path = "/v3/marketing/busifavor/coupons/return"

    post = Operation(
        ReturnCoupon,
        ReturnedCoupon,
        ReturnCouponBody,
        summary="申请退券",
        number="return_request_no",
        errors=(ParamError, RequestRefused, ResourceNotExists),
    )
    """申请退券: Give a used coupon back to its user, until it expires. Its code does not go back to the pool."""
    __call__ = post


class DeactivateCoupon(Record, frozen=True, kw_only=True):
    coupon_code: CouponCode
    stock_id: StockId
    deactivate_request_no: RequestNo
    deactivate_reason: Annotated[str, Meta(max_length=64)] | None = None


class DeactivateCouponBody(TypedDict):
    coupon_code: str
    stock_id: str
    deactivate_request_no: str
    deactivate_reason: NotRequired[str]


class DeactivatedCoupon(Record, frozen=True, kw_only=True):
    wechatpay_deactivate_time: str


class Deactivate(Node[C, F]):
    path = "/v3/marketing/busifavor/coupons/deactivate"

    post = Operation(
        DeactivateCoupon,
        DeactivatedCoupon,
        DeactivateCouponBody,
        summary="使券失效",
        number="deactivate_request_no",
        errors=(ParamError, RequestRefused, ResourceNotExists),
    )
    """使券失效: End a coupon that its user has not used. A code that nobody has is deleted instead."""
    __call__ = post


class AssociateOrder(Record, frozen=True, kw_only=True):
    stock_id: StockId
    coupon_code: CouponCode
    out_trade_no: Annotated[str, Meta(min_length=1, max_length=128)]
    out_request_no: OutRequestNo


class AssociateOrderBody(TypedDict):
    stock_id: str
    coupon_code: str
    out_trade_no: str
    out_request_no: str


class AssociatedOrder(Record, frozen=True, kw_only=True):
    wechatpay_associate_time: str


class DisassociatedOrder(Record, frozen=True, kw_only=True):
    wechatpay_disassociate_time: str


class Associate(Node[C, F]):
    path = "/v3/marketing/busifavor/coupons/associate"

    post = Operation(
        AssociateOrder,
        AssociatedOrder,
        AssociateOrderBody,
        summary="关联订单信息",
        number="out_request_no",
        errors=(ParamError, RequestRefused, ResourceNotExists),
    )
    """关联订单信息: Tie an unused coupon to an order. The platform documents 500 requests a second."""
    __call__ = post


class DisassociateOrder(Record, frozen=True, kw_only=True):
    stock_id: StockId
    coupon_code: CouponCode
    out_trade_no: Annotated[str, Meta(min_length=1, max_length=128)]
    out_request_no: OutRequestNo


class Disassociate(Node[C, F]):
    path = "/v3/marketing/busifavor/coupons/disassociate"

    post = Operation(
        DisassociateOrder,
        DisassociatedOrder,
        AssociateOrderBody,
        summary="取消关联订单信息",
        number="out_request_no",
        errors=(ParamError, RequestRefused, ResourceNotExists),
    )
    """取消关联订单信息: Untie a coupon from its order."""
    __call__ = post


class SendCard(Record, frozen=True, kw_only=True):
    card_id: Annotated[str, Meta(min_length=1, max_length=32)]
    appid: Appid
    openid: Openid
    out_request_no: OutRequestNo
    """Unique together with `send_time`."""
    send_time: Rfc3339
    """Not older than 24 hours."""


class SendCardBody(TypedDict):
    appid: str
    openid: str
    out_request_no: str
    send_time: str | datetime


class SendCardKeywords(SendCardBody):
    card_id: str


def send_card(**fields: Unpack[SendCardKeywords]) -> SendCard:
    """The keywords of a call: a time as text, or a datetime with its offset."""
    return build(SendCard, fields)


class SentCard(Record, frozen=True, kw_only=True):
    card_code: str


class CardSend(Node[C, F]):
    path = "/v3/marketing/busifavor/coupons/{card_id}/send"

    post = Operation(
        SendCard,
        SentCard,
        SendCardBody,
        keywords=send_card,
        summary="发放消费卡",
        number="out_request_no",
        errors=(ParamError, RequestRefused, ResourceNotExists),
    )
    """发放消费卡: Give a user a consumption card. Its pool is the platform's own, not one of uploaded codes."""
    __call__ = post


class Card(Node[C, F]):
    path = "/v3/marketing/busifavor/coupons/{card_id}"
    send: CardSend[C, F]


class Coupons(Node[C, F]):
    path = "/v3/marketing/busifavor/coupons"
    send: Send[C, F]
    use: Use[C, F]
    return_: Return[C, F]
    deactivate: Deactivate[C, F]
    associate: Associate[C, F]
    disassociate: Disassociate[C, F]
    _card_id_: Card[C, F]

    def __getitem__(self, card_id: str) -> Card[C, Filled]:
        return Card(self.client, {**self.filled, "card_id": card_id})


class ListCoupons(Record, frozen=True, kw_only=True):
    """Whoever asks names itself: as creator, as owner (belong) or as sender."""

    openid: Openid
    appid: Appid
    stock_id: StockId | None = None
    coupon_state: Annotated[str, Meta(max_length=20)] | None = None
    creator_merchant: Mchid | None = None
    belong_merchant: Mchid | None = None
    sender_merchant: Mchid | None = None
    offset: PageOffset = 0
    limit: PageLimit = 20


class UserCouponAppid(Node[C, F]):
    path = "/v3/marketing/busifavor/users/{openid}/coupons/{coupon_code}/appids/{appid}"

    get = Operation(ShowCoupon, Coupon, summary="查询用户单张券详情", errors=(ResourceNotExists,))
    """查询用户单张券详情: Show one coupon of a user."""


class UserCouponAppids(Node[C, F]):
    path = "/v3/marketing/busifavor/users/{openid}/coupons/{coupon_code}/appids"
    _appid_: UserCouponAppid[C, F]

    def __getitem__(self, appid: str) -> UserCouponAppid[C, Filled]:
        return UserCouponAppid(self.client, {**self.filled, "appid": appid})


class UserCoupon(Node[C, F]):
    path = "/v3/marketing/busifavor/users/{openid}/coupons/{coupon_code}"
    appids: UserCouponAppids[C, F]


class CouponPage(Record, frozen=True, kw_only=True):
    total_count: int
    offset: int
    limit: int
    data: list[Coupon] = []


class UserCoupons(Node[C, F]):
    path = "/v3/marketing/busifavor/users/{openid}/coupons"
    _coupon_code_: UserCoupon[C, F]

    get = Operation(ListCoupons, CouponPage, summary="根据过滤条件查询用户的券", errors=(ParamError,))
    """根据过滤条件查询用户的券: List a user's coupons, the latest first (the order is our choice)."""

    def __getitem__(self, coupon_code: str) -> UserCoupon[C, Filled]:
        return UserCoupon(self.client, {**self.filled, "coupon_code": coupon_code})


class User(Node[C, F]):
    path = "/v3/marketing/busifavor/users/{openid}"
    coupons: UserCoupons[C, F]


class Users(Node[C, F]):
    path = "/v3/marketing/busifavor/users"
    _openid_: User[C, F]

    def __getitem__(self, openid: str) -> User[C, Filled]:
        return User(self.client, {**self.filled, "openid": openid})
