"""Subsidies (营销补差): a merchant pays for a coupon's discount, and takes it back when the order is refunded.

Source: documented. Two spellings of a receipt's state are in the field; both are read.
"""

from __future__ import annotations

from typing import Annotated, TypedDict

from msgspec import Meta

from ..errors import ParamError, RequestRefused, ResourceNotExists
from .coupons import OutRequestNo
from .fields import Mchid, StockId
from .operation import C, F, Filled, Node, Operation
from .record import Record

SubsidyFen = Annotated[int, Meta(ge=1, le=500_000)]
"""At most 5000 yuan, and at most the coupon's discount."""
TransactionId = Annotated[str, Meta(min_length=28, max_length=32)]
SubsidyCouponCode = Annotated[str, Meta(min_length=1, max_length=128)]
Description = Annotated[str, Meta(min_length=1, max_length=1024)]
ReceiptId = Annotated[str, Meta(min_length=1, max_length=32)]


class PaySubsidy(Record, frozen=True, kw_only=True):
    stock_id: StockId
    coupon_code: SubsidyCouponCode
    transaction_id: TransactionId
    payer_merchant: Mchid
    payee_merchant: Mchid
    amount: SubsidyFen
    description: Description
    out_subsidy_no: OutRequestNo


class PaySubsidyBody(TypedDict):
    stock_id: str
    coupon_code: str
    transaction_id: str
    payer_merchant: str
    payee_merchant: str
    amount: int
    description: str
    out_subsidy_no: str


class PayReceipt(Record, frozen=True, kw_only=True, omit_defaults=True):
    subsidy_receipt_id: str
    stock_id: str
    coupon_code: str
    transaction_id: str
    payer_merchant: str
    payee_merchant: str
    amount: int
    description: str
    status: str
    out_subsidy_no: str
    fail_reason: str | None = None
    success_time: str | None = None
    create_time: str | None = None


class ListPayReceipts(Record, frozen=True, kw_only=True):
    stock_id: StockId
    coupon_code: SubsidyCouponCode
    out_subsidy_no: OutRequestNo | None = None


class PayReceiptList(Record, frozen=True, kw_only=True):
    pay_receipt_list: list[PayReceipt] = []


class ShowPayReceipt(Record, frozen=True, kw_only=True):
    subsidy_receipt_id: ReceiptId


class ReturnSubsidy(Record, frozen=True, kw_only=True):
    stock_id: StockId
    coupon_code: SubsidyCouponCode
    transaction_id: TransactionId
    refund_id: Annotated[str, Meta(min_length=1, max_length=32)]
    payer_merchant: Mchid
    payee_merchant: Mchid
    amount: SubsidyFen
    description: Description
    out_subsidy_return_no: OutRequestNo


class ReturnSubsidyBody(TypedDict):
    stock_id: str
    coupon_code: str
    transaction_id: str
    refund_id: str
    payer_merchant: str
    payee_merchant: str
    amount: int
    description: str
    out_subsidy_return_no: str


class ReturnReceipt(Record, frozen=True, kw_only=True, omit_defaults=True):
    subsidy_return_receipt_id: str
    subsidy_receipt_id: str
    stock_id: str
    coupon_code: str
    transaction_id: str
    refund_id: str
    payer_merchant: str
    payee_merchant: str
    amount: int
    description: str
    status: str
    out_subsidy_return_no: str
    fail_reason: str | None = None
    return_done_time: str | None = None
    return_create_time: str | None = None


class ShowReturnReceipt(Record, frozen=True, kw_only=True):
    subsidy_return_receipt_id: ReceiptId


class PayReceiptNode(Node[C, F]):
    path = "/v3/marketing/busifavor/subsidy/pay-receipts/{subsidy_receipt_id}"

    get = Operation(ShowPayReceipt, PayReceipt, summary="查询营销补差付款单详情", errors=(ResourceNotExists,))
    """查询营销补差付款单详情: Show one payment."""


class PayReceipts(Node[C, F]):
    path = "/v3/marketing/busifavor/subsidy/pay-receipts"
    _subsidy_receipt_id_: PayReceiptNode[C, F]

    def __getitem__(self, subsidy_receipt_id: str) -> PayReceiptNode[C, Filled]:
        return PayReceiptNode(self.client, {**self.filled, "subsidy_receipt_id": subsidy_receipt_id})

    post = Operation(
        PaySubsidy,
        PayReceipt,
        PaySubsidyBody,
        summary="营销补差付款",
        number="out_subsidy_no",
        errors=(ParamError, RequestRefused, ResourceNotExists),
    )
    """营销补差付款: Pay for the discount of a coupon that was used in a paid order. NORMAL and DISCOUNT stocks only."""
    __call__ = post

    get = Operation(ListPayReceipts, PayReceiptList, summary="查询营销补差付款单列表", errors=(ResourceNotExists,))
    """查询营销补差付款单列表: List the payments for a coupon."""


class ReturnReceiptNode(Node[C, F]):
    path = "/v3/marketing/busifavor/subsidy/return-receipts/{subsidy_return_receipt_id}"

    get = Operation(ShowReturnReceipt, ReturnReceipt, summary="查询营销补差回退单详情", errors=(ResourceNotExists,))
    """查询营销补差回退单详情: Show one return."""


class ReturnReceipts(Node[C, F]):
    path = "/v3/marketing/busifavor/subsidy/return-receipts"
    _subsidy_return_receipt_id_: ReturnReceiptNode[C, F]

    def __getitem__(self, subsidy_return_receipt_id: str) -> ReturnReceiptNode[C, Filled]:
        return ReturnReceiptNode(self.client, {**self.filled, "subsidy_return_receipt_id": subsidy_return_receipt_id})

    post = Operation(
        ReturnSubsidy,
        ReturnReceipt,
        ReturnSubsidyBody,
        summary="营销补差回退",
        number="out_subsidy_return_no",
        errors=(ParamError, RequestRefused, ResourceNotExists),
    )
    """营销补差回退: Take a payment back, after the order was refunded; in all at most what was paid."""
    __call__ = post


class Subsidy(Node[C, F]):
    path = "/v3/marketing/busifavor/subsidy"
    pay_receipts: PayReceipts[C, F]
    return_receipts: ReturnReceipts[C, F]
