"""Coupons in users' hands: send, use, show one.

Source: 核销用户的券, 查询用户单张券详情; `send` is in the official SDKs and not in the public function list.
"""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta, Struct

from ..errors import (
    NotEnough,
    ParamError,
    RequestRefused,
    ResourceAlreadyExists,
    ResourceNotExists,
    RuleLimit,
)
from .fields import Appid, CouponCode, Mchid, Openid, RequestNo, Rfc3339, StockId, UseRequestNo
from .operation import C, F, Filled, Node, Operation
from .stockrules import CouponUseRule, CustomEntrance, DisplayPatternInfo

OutRequestNo = Annotated[RequestNo, Meta(pattern=r"\A[0-9A-Za-z|_*-]+\Z")]


class SendCoupon(Struct, frozen=True, kw_only=True):
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


class SendCouponResult(Struct, frozen=True, kw_only=True):
    stock_id: str
    out_request_no: str
    coupon_code: str


class SentCoupon(Struct, frozen=True, kw_only=True):
    send_coupon_result: SendCouponResult


def wrapped(fields: dict[str, Any]) -> dict[str, Any]:
    """Source: the official SDKs wrap the result; an unofficial description shows it bare. Both are read."""
    return fields if "send_coupon_result" in fields else {"send_coupon_result": fields}


class UseCoupon(Struct, frozen=True, kw_only=True):
    coupon_code: CouponCode
    stock_id: StockId | None = None
    """Required for codes of the merchant's own: a code is unique within its stock only."""
    appid: Appid
    use_time: Rfc3339
    use_request_no: UseRequestNo
    openid: Openid | None = None
    """A safety check: another user's coupon is refused."""


class UseCouponBody(TypedDict):
    coupon_code: str
    stock_id: NotRequired[str]
    appid: str
    use_time: str
    use_request_no: str
    openid: NotRequired[str]


class UsedCoupon(Struct, frozen=True, kw_only=True):
    stock_id: str
    openid: str
    wechatpay_use_time: str


class ShowCoupon(Struct, frozen=True, kw_only=True):
    openid: Openid
    coupon_code: CouponCode
    appid: Appid


class Coupon(Struct, frozen=True, kw_only=True, omit_defaults=True):
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
    """Give a user one coupon of a stock."""
    __call__ = post


class Use(Node[C, F]):
    path = "/v3/marketing/busifavor/coupons/use"

    post = Operation(
        UseCoupon,
        UsedCoupon,
        UseCouponBody,
        summary="核销用户的券",
        number="use_request_no",
        errors=(ParamError, RequestRefused, ResourceAlreadyExists, ResourceNotExists, RuleLimit),
    )
    """Redeem a user's coupon. The platform documents 500 requests a second."""
    __call__ = post


class Coupons(Node[C, F]):
    path = "/v3/marketing/busifavor/coupons"
    send: Send[C, F]
    use: Use[C, F]


class UserCouponAppid(Node[C, F]):
    path = "/v3/marketing/busifavor/users/{openid}/coupons/{coupon_code}/appids/{appid}"

    get = Operation(ShowCoupon, Coupon, summary="查询用户单张券详情", errors=(ResourceNotExists,))
    """Show one coupon of a user."""


class UserCouponAppids(Node[C, F]):
    path = "/v3/marketing/busifavor/users/{openid}/coupons/{coupon_code}/appids"
    _appid_: UserCouponAppid[C, F]

    def __getitem__(self, appid: str) -> UserCouponAppid[C, Filled]:
        return UserCouponAppid(self.client, {**self.filled, "appid": appid})


class UserCoupon(Node[C, F]):
    path = "/v3/marketing/busifavor/users/{openid}/coupons/{coupon_code}"
    appids: UserCouponAppids[C, F]


class UserCoupons(Node[C, F]):
    path = "/v3/marketing/busifavor/users/{openid}/coupons"
    _coupon_code_: UserCoupon[C, F]

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
