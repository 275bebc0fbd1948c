"""Subsidies in the SQLite pool: receipts of what was paid and taken back. The money itself moves elsewhere."""

from __future__ import annotations

import msgspec

from ....api.subsidy import (
    ListPayReceipts,
    PayReceipt,
    PayReceiptList,
    PaySubsidy,
    ReturnReceipt,
    ReturnSubsidy,
    ShowPayReceipt,
    ShowReturnReceipt,
)
from ....errors import ResourceNotExists
from ... import rules
from .. import answers
from .store import Store
from .tables import PAY_RECEIPT, RETURN_RECEIPT, PayReceiptRow, ReturnReceiptRow


def pay(store: Store, mchid: str, request: PaySubsidy, now: int) -> PayReceipt:
    held = store.shared(mchid, request.stock_id)

    def work() -> PayReceipt:
        coupon = store.coupon_of(held, request.coupon_code)
        rules.check_subsidy(held.facts, coupon.coupon_state, request)
        where = "stock_id = ? AND coupon_code = ?"
        rules.check_payments(len(store.rows.read(PAY_RECEIPT, where, request.stock_id, request.coupon_code)))
        receipt = answers.pay_receipt(request, now)
        row = PayReceiptRow(
            receipt.subsidy_receipt_id,
            request.stock_id,
            request.coupon_code,
            request.transaction_id,
            request.amount,
            0,
            msgspec.json.encode(receipt).decode(),
        )
        store.rows.add(PAY_RECEIPT, row)
        return receipt

    return store.once(request.stock_id, "out_subsidy_no", request, PayReceipt, work)


def take_back(store: Store, mchid: str, request: ReturnSubsidy, now: int) -> ReturnReceipt:
    store.shared(mchid, request.stock_id)

    def work() -> ReturnReceipt:
        where = "stock_id = ? AND coupon_code = ? AND transaction_id = ?"
        found = store.rows.read(PAY_RECEIPT, where, request.stock_id, request.coupon_code, request.transaction_id)
        if not found:
            raise answers.nothing_paid()
        paid = found[0]
        left = paid.amount - paid.returned_amount
        if request.amount > left:
            raise answers.more_than_paid(request.amount, left)
        receipt = answers.return_receipt(request, paid.subsidy_receipt_id, now)
        store.rows.change(
            PAY_RECEIPT,
            paid,
            returned_amount=paid.returned_amount + request.amount,
            receipt=answers.taken_back(paid.receipt, all_of_it=request.amount == left),
        )
        text = msgspec.json.encode(receipt).decode()
        row = ReturnReceiptRow(receipt.subsidy_return_receipt_id, request.stock_id, text)
        store.rows.add(RETURN_RECEIPT, row)
        return receipt

    return store.once(request.stock_id, "out_subsidy_return_no", request, ReturnReceipt, work)


def list_paid(store: Store, mchid: str, request: ListPayReceipts) -> PayReceiptList:
    store.shared(mchid, request.stock_id)
    rows = store.rows.read(PAY_RECEIPT, "stock_id = ? AND coupon_code = ?", request.stock_id, request.coupon_code)
    return answers.pay_receipts([row.receipt for row in rows], request)


def show_paid(store: Store, mchid: str, request: ShowPayReceipt) -> PayReceipt:
    receipt_id = request.subsidy_receipt_id
    _check_seen(store, mchid, receipt_id)
    for row in store.rows.read(PAY_RECEIPT, "subsidy_receipt_id = ?", receipt_id):
        return msgspec.json.decode(row.receipt, type=PayReceipt)
    raise answers.no_receipt(receipt_id)


def show_returned(store: Store, mchid: str, request: ShowReturnReceipt) -> ReturnReceipt:
    receipt_id = request.subsidy_return_receipt_id
    _check_seen(store, mchid, receipt_id)
    for row in store.rows.read(RETURN_RECEIPT, "subsidy_return_receipt_id = ?", receipt_id):
        return msgspec.json.decode(row.receipt, type=ReturnReceipt)
    raise answers.no_receipt(receipt_id)


def _check_seen(store: Store, mchid: str, receipt_id: str) -> None:
    """Raises ResourceNotExists: the receipt would be of another's stock. Whether it is there, is not looked up."""
    try:
        store.shared(mchid, answers.stock_of_receipt(receipt_id))
    except ResourceNotExists:
        raise answers.no_receipt(receipt_id) from None
