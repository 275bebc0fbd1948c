"""Subsidies in the SQLite pool: receipts of what was paid and taken back. The money itself moves elsewhere."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

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
from ....errors import RequestRefused, ResourceNotExists
from ....wire.times import rfc3339
from ... import rules
from .store import Store
from .tables import PAY_RECEIPT, RETURN_RECEIPT, PayReceiptRow, ReturnReceiptRow


def pay(store: Store, mchid: str, request: PaySubsidy, now: int) -> PayReceipt:
    held = store.shared(mchid, request.stock_id)

    def work() -> PayReceipt:
        coupon = store.coupon_of(held, request.coupon_code)
        rules.check_subsidy(held.facts, coupon.coupon_state, request)
        fields = msgspec.structs.asdict(request)
        receipt = PayReceipt(
            **fields,
            subsidy_receipt_id=_new_id(request.stock_id),
            status="SUCCESS",
            success_time=rfc3339(now),
            create_time=rfc3339(now),
        )
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
            raise ResourceNotExists("补差付款单不存在: nothing was paid for this coupon in this transaction")
        paid = found[0]
        left = paid.amount - paid.returned_amount
        if request.amount > left:
            raise RequestRefused(
                f"回退金额超限: {request.amount} fen are more than the {left} that are left to take back"
            )
        fields = msgspec.structs.asdict(request)
        receipt = ReturnReceipt(
            **fields,
            subsidy_return_receipt_id=_new_id(request.stock_id),
            subsidy_receipt_id=paid.subsidy_receipt_id,
            status="SUCCESS",
            return_done_time=rfc3339(now),
            return_create_time=rfc3339(now),
        )
        was = msgspec.json.decode(paid.receipt, type=PayReceipt)
        status = "FULL_RETURN" if request.amount == left else "PARTIAL_RETURN"
        store.rows.change(
            PAY_RECEIPT,
            paid,
            returned_amount=paid.returned_amount + request.amount,
            receipt=msgspec.json.encode(msgspec.structs.replace(was, status=status)).decode(),
        )
        text = msgspec.json.encode(receipt).decode()
        row = ReturnReceiptRow(receipt.subsidy_return_receipt_id, request.stock_id, text)
        store.rows.add(RETURN_RECEIPT, row)
        return receipt

    return store.once(request.stock_id, "out_subsidy_return_no", request, ReturnReceipt, work)


def list_paid(store: Store, mchid: str, request: ListPayReceipts) -> PayReceiptList:
    store.shared(mchid, request.stock_id)
    rows = store.rows.read(PAY_RECEIPT, "stock_id = ? AND coupon_code = ?", request.stock_id, request.coupon_code)
    receipts = [msgspec.json.decode(row.receipt, type=PayReceipt) for row in rows]
    wanted = request.out_subsidy_no
    return PayReceiptList(pay_receipt_list=[one for one in receipts if wanted in (None, one.out_subsidy_no)])


def show_paid(store: Store, mchid: str, request: ShowPayReceipt) -> PayReceipt:
    found = store.rows.read(PAY_RECEIPT, "subsidy_receipt_id = ?", request.subsidy_receipt_id)
    return msgspec.json.decode(_receipt(store, mchid, found, request.subsidy_receipt_id), type=PayReceipt)


def show_returned(store: Store, mchid: str, request: ShowReturnReceipt) -> ReturnReceipt:
    found = store.rows.read(RETURN_RECEIPT, "subsidy_return_receipt_id = ?", request.subsidy_return_receipt_id)
    return msgspec.json.decode(_receipt(store, mchid, found, request.subsidy_return_receipt_id), type=ReturnReceipt)


def _receipt(
    store: Store, mchid: str, found: Sequence[PayReceiptRow] | Sequence[ReturnReceiptRow], receipt_id: str
) -> str:
    for row in found:
        if mchid in store.stocks[row.stock_id].facts.merchants:
            return row.receipt
    raise ResourceNotExists(f"补差单不存在: there is no receipt {receipt_id}")


def _new_id(stock_id: str) -> str:
    """A receipt's id ends with its stock's: in another back end, it is looked for there.

    Source: 28 to 32 characters (documented); a stock_id of this platform's making has 16.
    """
    return f"{secrets.randbelow(10**_OWN_DIGITS):0{_OWN_DIGITS}}{stock_id}"


_OWN_DIGITS = 16
