"""Stocks (批次): create, show, modify, budget. Source: 创建商家券, 查询商家券详情, 修改商家券, 修改批次预算."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, TypedDict, Unpack

from msgspec import Meta

from ..errors import (
    ParamError,
    RateLimited,
    RequestRefused,
    ResourceAlreadyExists,
    ResourceNotExists,
    RuleLimit,
)
from .couponcodes import CouponCodes
from .fields import Appid, MaxCoupons, Mchid, OpenWord, RequestNo, StockId
from .operation import C, F, Filled, Node, Operation, build
from .record import Record
from .stockrules import (
    CouponUseRule,
    CustomEntrance,
    DisplayPatternInfo,
    NotifyConfig,
    StockSendRule,
)

StockType = Literal["NORMAL", "DISCOUNT", "EXCHANGE"]
CouponCodeMode = Literal["WECHATPAY_MODE", "MERCHANT_API", "MERCHANT_UPLOAD"]


class CreateStock(Record, frozen=True, kw_only=True, omit_defaults=True):
    stock_name: Annotated[str, Meta(min_length=1, max_length=21)]
    belong_merchant: Mchid
    """A direct merchant's own mchid; a provider's sub-merchant."""
    goods_name: Annotated[str, Meta(min_length=1, max_length=15)]
    stock_type: StockType
    coupon_use_rule: CouponUseRule
    stock_send_rule: StockSendRule
    out_request_no: RequestNo
    """Used again, it is refused with RESOURCE_ALREADY_EXISTS (documented)."""
    coupon_code_mode: CouponCodeMode
    """Only MERCHANT_UPLOAD takes uploaded codes. It can't be changed later."""
    comment: Annotated[str, Meta(max_length=20)] | None = None
    custom_entrance: CustomEntrance | None = None
    display_pattern_info: DisplayPatternInfo | None = None
    notify_config: NotifyConfig | None = None
    subsidy: bool | None = None


class CreateStockBody(TypedDict):
    stock_name: str
    belong_merchant: str
    goods_name: str
    stock_type: StockType
    coupon_use_rule: CouponUseRule | Mapping[str, Any]
    stock_send_rule: StockSendRule | Mapping[str, Any]
    out_request_no: str
    coupon_code_mode: CouponCodeMode
    comment: NotRequired[str | None]
    custom_entrance: NotRequired[CustomEntrance | Mapping[str, Any] | None]
    display_pattern_info: NotRequired[DisplayPatternInfo | Mapping[str, Any] | None]
    notify_config: NotRequired[NotifyConfig | Mapping[str, Any] | None]
    subsidy: NotRequired[bool | None]


def create_stock(**fields: Unpack[CreateStockBody]) -> CreateStock:
    """The keywords of a call: objects in the body as structs or as mappings."""
    return build(CreateStock, fields)


class CreatedStock(Record, frozen=True, kw_only=True):
    stock_id: str
    create_time: str


class ShowStock(Record, frozen=True, kw_only=True):
    stock_id: StockId


class CouponCodeCount(Record, frozen=True, kw_only=True):
    total_count: int
    """Codes in the stock, given out or not. Ours: a deleted code no longer counts."""
    available_count: int
    """Codes that can still be drawn."""


class SendCountInformation(Record, frozen=True, kw_only=True, omit_defaults=True):
    total_send_num: int | None = None
    total_send_amount: int | None = None
    today_send_num: int | None = None
    today_send_amount: int | None = None


class Stock(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A stock as it stands. `stock_state` may hold values of tomorrow; the known ones include STOPED, spelt so."""

    stock_id: str
    stock_name: str
    belong_merchant: str
    goods_name: str
    stock_type: str
    coupon_use_rule: CouponUseRule
    stock_send_rule: StockSendRule
    coupon_code_mode: str
    stock_state: str
    comment: str | None = None
    custom_entrance: CustomEntrance | None = None
    display_pattern_info: DisplayPatternInfo | None = None
    notify_config: NotifyConfig | None = None
    subsidy: bool | None = None
    coupon_code_count: CouponCodeCount | None = None
    """Only for a MERCHANT_UPLOAD stock."""
    send_count_information: SendCountInformation | None = None


class ModifiedUseRule(Record, frozen=True, kw_only=True, omit_defaults=True):
    use_method: OpenWord | None = None
    mini_programs_appid: Appid | None = None
    mini_programs_path: Annotated[str, Meta(max_length=128)] | None = None


class ModifiedSendRule(Record, frozen=True, kw_only=True, omit_defaults=True):
    prevent_api_abuse: bool | None = None
    natural_person_limit: bool | None = None
    """Accepted, and not modifiable now (documented)."""


class ModifyStock(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What is absent stays. The code mode can't be changed."""

    stock_id: StockId
    out_request_no: RequestNo
    comment: Annotated[str, Meta(max_length=20)] | None = None
    goods_name: Annotated[str, Meta(min_length=1, max_length=15)] | None = None
    stock_name: Annotated[str, Meta(min_length=1, max_length=21)] | None = None
    """Accepted, and not modifiable now (documented)."""
    custom_entrance: CustomEntrance | None = None
    display_pattern_info: DisplayPatternInfo | None = None
    coupon_use_rule: ModifiedUseRule | None = None
    stock_send_rule: ModifiedSendRule | None = None
    notify_config: NotifyConfig | None = None
    subsidy: bool | None = None
    """Only from false to true."""


class ModifyStockBody(TypedDict):
    out_request_no: str
    comment: NotRequired[str | None]
    goods_name: NotRequired[str | None]
    stock_name: NotRequired[str | None]
    custom_entrance: NotRequired[CustomEntrance | Mapping[str, Any] | None]
    display_pattern_info: NotRequired[DisplayPatternInfo | Mapping[str, Any] | None]
    coupon_use_rule: NotRequired[ModifiedUseRule | Mapping[str, Any] | None]
    stock_send_rule: NotRequired[ModifiedSendRule | Mapping[str, Any] | None]
    notify_config: NotRequired[NotifyConfig | Mapping[str, Any] | None]
    subsidy: NotRequired[bool | None]


class ModifyStockKeywords(ModifyStockBody):
    stock_id: str


def modify_stock(**fields: Unpack[ModifyStockKeywords]) -> ModifyStock:
    """The keywords of a call: objects in the body as structs or as mappings."""
    return build(ModifyStock, fields)


class ChangeBudget(Record, frozen=True, kw_only=True, omit_defaults=True):
    """Exactly one of the two targets. Its `current_` value must be what the stock has now: compare and set."""

    stock_id: StockId
    modify_budget_request_no: RequestNo
    target_max_coupons: MaxCoupons | None = None
    target_max_coupons_by_day: MaxCoupons | None = None
    current_max_coupons: MaxCoupons | None = None
    current_max_coupons_by_day: MaxCoupons | None = None


class ChangeBudgetBody(TypedDict):
    modify_budget_request_no: str
    target_max_coupons: NotRequired[int]
    target_max_coupons_by_day: NotRequired[int]
    current_max_coupons: NotRequired[int]
    current_max_coupons_by_day: NotRequired[int]


class ChangedBudget(Record, frozen=True, kw_only=True, omit_defaults=True):
    max_coupons: int
    max_coupons_by_day: int | None = None


class Budget(Node[C, F]):
    path = "/v3/marketing/busifavor/stocks/{stock_id}/budget"

    patch = Operation(
        ChangeBudget,
        ChangedBudget,
        ChangeBudgetBody,
        summary="修改批次预算",
        number="modify_budget_request_no",
        errors=(ParamError, RequestRefused, ResourceNotExists),
    )
    """修改批次预算: Set max_coupons, or max_coupons_by_day."""


class StockNode(Node[C, F]):
    path = "/v3/marketing/busifavor/stocks/{stock_id}"
    couponcodes: CouponCodes[C, F]
    budget: Budget[C, F]

    patch = Operation(
        ModifyStock,
        type(None),
        ModifyStockBody,
        keywords=modify_stock,
        summary="修改商家券基本信息",
        number="out_request_no",
        errors=(ParamError, RequestRefused, ResourceNotExists),
    )
    """修改商家券基本信息: Change how a stock shows and where it is used, before its available_end_time.

    The answer is empty.
    """

    get = Operation(ShowStock, Stock, summary="查询商家券详情", errors=(ResourceNotExists,))
    """查询商家券详情: Show a stock, and how many codes it holds."""


class Stocks(Node[C, F]):
    path = "/v3/marketing/busifavor/stocks"
    _stock_id_: StockNode[C, F]

    def __getitem__(self, stock_id: str) -> StockNode[C, Filled]:
        return StockNode(self.client, {**self.filled, "stock_id": stock_id})

    post = Operation(
        CreateStock,
        CreatedStock,
        CreateStockBody,
        keywords=create_stock,
        summary="创建商家券",
        number="out_request_no",
        errors=(ParamError, ResourceAlreadyExists, RuleLimit, RateLimited),
    )
    """创建商家券: Create a stock. The platform documents 1000 a minute."""
    __call__ = post
