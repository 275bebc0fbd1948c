"""Receipts of subsidies in the SQLite pool: written with their step, read, and listed."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from ....api.subsidy import PayReceipt, ReturnReceipt
from ....errors import ResourceNotExists
from ...coupons.step import Payment, Receipts
from ...coupons.subsidies import no_receipt, stock_of_receipt
from .rows import PAY_RECEIPT, RETURN_RECEIPT, PayReceiptRow, ReturnReceiptRow, Rows, Table
from .store import Store

Receipt = TypeVar("Receipt", PayReceipt, ReturnReceipt)


def payments(store: Store, mchid: str, stock_id: str, coupon_code: str) -> list[Payment]:
    store.shared(mchid, stock_id)
    return payments_for(store.rows, stock_id, coupon_code)


def payments_for(rows: Rows, stock_id: str, coupon_code: str) -> list[Payment]:
    """Return the payments for a coupon, by their ids."""
    where = "stock_id = ? AND coupon_code = ? ORDER BY subsidy_receipt_id"
    found = rows.read(PAY_RECEIPT, where, stock_id, coupon_code)
    return [Payment(msgspec.json.decode(row.receipt, type=PayReceipt), row.returned_amount) for row in found]


def write(rows: Rows, receipts: Receipts) -> None:
    """Write what a step recorded."""
    if receipts.payment is not None:
        receipt, returned_amount = receipts.payment
        text = msgspec.json.encode(receipt).decode()
        known = rows.read(PAY_RECEIPT, "subsidy_receipt_id = ?", receipt.subsidy_receipt_id)
        if known:
            rows.change(PAY_RECEIPT, known[0], returned_amount=returned_amount, receipt=text)
        else:
            rows.add(
                PAY_RECEIPT,
                PayReceiptRow(
                    receipt.subsidy_receipt_id,
                    receipt.stock_id,
                    receipt.coupon_code,
                    receipt.transaction_id,
                    receipt.amount,
                    returned_amount,
                    text,
                ),
            )
    if receipts.returned is not None:
        returned = receipts.returned
        text = msgspec.json.encode(returned).decode()
        rows.add(RETURN_RECEIPT, ReturnReceiptRow(returned.subsidy_return_receipt_id, returned.stock_id, text))


def receipt(store: Store, mchid: str, kind: type[Receipt], receipt_id: str) -> Receipt:
    table, key = _TABLES[kind]
    try:
        # Of another's stock, it is not even looked up.
        store.shared(mchid, stock_of_receipt(receipt_id))
    except ResourceNotExists:
        raise no_receipt(receipt_id) from None
    for row in store.rows.read(table, f"{key} = ?", receipt_id):
        return msgspec.json.decode(row.receipt, type=kind)
    raise no_receipt(receipt_id)


_TABLES: dict[type[Any], tuple[Table[Any], str]] = {
    PayReceipt: (PAY_RECEIPT, "subsidy_receipt_id"),
    ReturnReceipt: (RETURN_RECEIPT, "subsidy_return_receipt_id"),
}
