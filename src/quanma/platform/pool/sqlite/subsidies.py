"""Subsidies in the SQLite pool: receipts of what was paid and taken back. The money itself moves elsewhere."""

from __future__ import annotations

import secrets

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


def pay(store: Store, mchid: str, request: PaySubsidy, now: int) -> PayReceipt:
    held = store.shared(mchid, request.stock_id)

    def work() -> PayReceipt:
        coupon = store.coupon_of(held, request.coupon_code)
        rules.check_subsidy(held.facts, coupon.coupon_state, request)
        fields = msgspec.structs.asdict(request)
        receipt = PayReceipt(
            **fields,
            subsidy_receipt_id=_new_id(),
            status="SUCCESS",
            success_time=rfc3339(now),
            create_time=rfc3339(now),
        )
        store.rows(
            "INSERT INTO pay_receipt VALUES (?, ?, ?, ?, ?, 0, ?)",
            receipt.subsidy_receipt_id,
            request.stock_id,
            request.coupon_code,
            request.transaction_id,
            request.amount,
            msgspec.json.encode(receipt).decode(),
        )
        return receipt

    return store.once(request.stock_id, "out_subsidy_no", request, PayReceipt, work)


def take_back(store: Store, mchid: str, request: ReturnSubsidy, now: int) -> ReturnReceipt:
    store.shared(mchid, request.stock_id)

    def work() -> ReturnReceipt:
        paid = store.rows(
            "SELECT subsidy_receipt_id, amount - returned_amount FROM pay_receipt"
            " WHERE stock_id = ? AND coupon_code = ? AND transaction_id = ?",
            request.stock_id,
            request.coupon_code,
            request.transaction_id,
        )
        if not paid:
            raise ResourceNotExists("补差付款单不存在: nothing was paid for this coupon in this transaction")
        receipt_id, left = paid[0]
        if request.amount > left:
            raise RequestRefused(
                f"回退金额超限: {request.amount} fen are more than the {left} that are left to take back"
            )
        fields = msgspec.structs.asdict(request)
        receipt = ReturnReceipt(
            **fields,
            subsidy_return_receipt_id=_new_id(),
            subsidy_receipt_id=receipt_id,
            status="SUCCESS",
            return_done_time=rfc3339(now),
            return_create_time=rfc3339(now),
        )
        store.rows(
            "UPDATE pay_receipt SET returned_amount = returned_amount + ?, receipt = json_set(receipt, '$.status', ?)"
            " WHERE subsidy_receipt_id = ?",
            request.amount,
            "FULL_RETURN" if request.amount == left else "PARTIAL_RETURN",
            receipt_id,
        )
        text = msgspec.json.encode(receipt).decode()
        store.rows(
            "INSERT INTO return_receipt VALUES (?, ?, ?)", receipt.subsidy_return_receipt_id, request.stock_id, text
        )
        return receipt

    return store.once(request.stock_id, "out_subsidy_return_no", request, ReturnReceipt, work)


def list_paid(store: Store, mchid: str, request: ListPayReceipts) -> PayReceiptList:
    store.shared(mchid, request.stock_id)
    rows = store.rows(
        "SELECT receipt FROM pay_receipt WHERE stock_id = ? AND coupon_code = ?", request.stock_id, request.coupon_code
    )
    receipts = [msgspec.json.decode(receipt, type=PayReceipt) for (receipt,) in rows]
    wanted = request.out_subsidy_no
    return PayReceiptList(pay_receipt_list=[one for one in receipts if wanted in (None, one.out_subsidy_no)])


def show_paid(store: Store, mchid: str, request: ShowPayReceipt) -> PayReceipt:
    statement = "SELECT stock_id, receipt FROM pay_receipt WHERE subsidy_receipt_id = ?"
    return msgspec.json.decode(_receipt(store, mchid, statement, request.subsidy_receipt_id), type=PayReceipt)


def show_returned(store: Store, mchid: str, request: ShowReturnReceipt) -> ReturnReceipt:
    statement = "SELECT stock_id, receipt FROM return_receipt WHERE subsidy_return_receipt_id = ?"
    return msgspec.json.decode(_receipt(store, mchid, statement, request.subsidy_return_receipt_id), type=ReturnReceipt)


def _receipt(store: Store, mchid: str, statement: str, receipt_id: str) -> str:
    for stock_id, receipt in store.rows(statement, receipt_id):
        if mchid in store.stocks[stock_id].facts.merchants:
            return str(receipt)
    raise ResourceNotExists(f"补差单不存在: there is no receipt {receipt_id}")


def _new_id() -> str:
    """Source: 28 to 32 characters (documented)."""
    return f"{secrets.randbelow(10**30):030}"
