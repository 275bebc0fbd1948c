"""Subsidies: receipts of what was paid for a used coupon, and of what was taken back. Pure.

The money itself moves elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ...api.subsidy import (
    ListPayReceipts,
    PayReceipt,
    PayReceiptList,
    PayReceipts,
    PaySubsidy,
    ReturnReceipt,
    ReturnReceipts,
    ReturnSubsidy,
)
from ...errors import RequestRefused, ResourceNotExists
from ...wire.times import rfc3339
from ..chance import Chance
from .step import Payment, Receipts, Seen, Step

_CHANCE = Chance("receipts")
PAYMENTS_PER_COUPON = 100
RECEIPT_OWN_DIGITS = 16
"""A receipt's id ends with its stock's: it can be looked for where that is.

Source: 28 to 32 characters (documented); a stock_id of this platform's making has 16.
"""


def check_payable(seen: Seen[PaySubsidy]) -> None:
    """Raises RequestRefused: this coupon's discount can't be subsidised like this, or it has payments enough.

    Source of the maximum: none. The list of payments has no pages, so this bounds its answer: our choice.
    """
    stock, coupon, payments, request, now, _ = seen
    fixed = stock.busifavor.coupon_use_rule.fixed_normal_coupon
    if stock.busifavor.stock_type == "EXCHANGE":
        raise RequestRefused("补差不支持换购券: an EXCHANGE stock takes no subsidy")
    if (state := coupon.state(now)) != "USED":
        raise RequestRefused(f"券未核销: the coupon is {state}, and only a used one is subsidised")
    if request.payee_merchant != stock.busifavor.belong_merchant:
        raise RequestRefused(f"payee_merchant is not the stock's belong_merchant {stock.busifavor.belong_merchant}")
    if request.payer_merchant not in stock.merchants:
        raise RequestRefused("payer_merchant is neither the stock's creator nor its belong_merchant")
    if fixed is not None and request.amount > fixed.discount_amount:
        raise RequestRefused(
            f"补差金额超限: {request.amount} fen are more than the discount of {fixed.discount_amount}"
        )
    if len(payments) >= PAYMENTS_PER_COUPON:
        raise RequestRefused(
            f"补差付款单数已达上限: this coupon has {len(payments)} payments, and {PAYMENTS_PER_COUPON} are taken"
        )


def pay_receipt(seen: Seen[PaySubsidy]) -> PayReceipt:
    return PayReceipt(
        **msgspec.structs.asdict(seen.request),
        subsidy_receipt_id=_new_receipt_id(seen.request.stock_id),
        status="SUCCESS",
        success_time=rfc3339(seen.now),
        create_time=rfc3339(seen.now),
    )


PAY = Step(
    PayReceipts.post,
    starts=("USED",),
    of_payments=True,
    check=check_payable,
    answer=pay_receipt,
    receipts=lambda seen, receipt: Receipts(Payment(receipt, 0)),
)


def check_left(seen: Seen[ReturnSubsidy]) -> None:
    """Raises RequestRefused: more than is left of what was paid. ResourceNotExists: nothing was."""
    paid, amount = _paid(seen), seen.request.amount
    left = paid.receipt.amount - paid.returned_amount
    if amount > left:
        raise RequestRefused(f"回退金额超限: {amount} fen are more than the {left} that are left to take back")


def return_receipt(seen: Seen[ReturnSubsidy]) -> ReturnReceipt:
    return ReturnReceipt(
        **msgspec.structs.asdict(seen.request),
        subsidy_return_receipt_id=_new_receipt_id(seen.request.stock_id),
        subsidy_receipt_id=_paid(seen).receipt.subsidy_receipt_id,
        status="SUCCESS",
        return_done_time=rfc3339(seen.now),
        return_create_time=rfc3339(seen.now),
    )


def taken_back(seen: Seen[ReturnSubsidy], receipt: ReturnReceipt) -> Receipts:
    """The payment after some of it was taken back, or the rest; and the receipt of that."""
    paid = _paid(seen)
    returned = paid.returned_amount + receipt.amount
    status = "FULL_RETURN" if returned == paid.receipt.amount else "PARTIAL_RETURN"
    return Receipts(Payment(msgspec.structs.replace(paid.receipt, status=status), returned), receipt)


TAKE_BACK = Step(
    ReturnReceipts.post,
    of_payments=True,
    check=check_left,
    answer=return_receipt,
    receipts=taken_back,
)


def _paid(seen: Seen[ReturnSubsidy]) -> Payment:
    for payment in seen.payments:
        if payment.receipt.transaction_id == seen.request.transaction_id:
            return payment
    raise ResourceNotExists("补差付款单不存在: nothing was paid for this coupon in this transaction")


def _new_receipt_id(stock_id: str) -> str:
    return f"{_CHANCE.randbelow(10**RECEIPT_OWN_DIGITS):0{RECEIPT_OWN_DIGITS}}{stock_id}"


def stock_of_receipt(receipt_id: str) -> str:
    return receipt_id[RECEIPT_OWN_DIGITS:]


def listed(payments: Iterable[Payment], request: ListPayReceipts) -> PayReceiptList:
    """`payments` are those for a coupon."""
    receipts = [payment.receipt for payment in payments]
    wanted = request.out_subsidy_no
    return PayReceiptList(pay_receipt_list=[one for one in receipts if wanted in (None, one.out_subsidy_no)])


def no_receipt(receipt_id: str) -> ResourceNotExists:
    return ResourceNotExists(f"补差单不存在: there is no receipt {receipt_id}")
