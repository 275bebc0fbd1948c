"""Receipts of subsidies in the PostgreSQL pool: written with their step, read, and listed."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from ....api.subsidy import PayReceipt, ReturnReceipt
from ...coupons.step import Payment, Receipts
from ...coupons.subsidies import no_receipt, stock_of_receipt
from .connections import Connection
from .queries import query
from .stock_transaction import StockTransaction, check_shared, stock_of

Receipt = TypeVar("Receipt", PayReceipt, ReturnReceipt)

_PAYMENTS, _WRITE_PAYMENT, _ADD_RETURN = query("payments"), query("write_payment"), query("add_return")
_RECEIPT: dict[type[Any], str] = {
    PayReceipt: query("pay_receipt"),
    ReturnReceipt: query("return_receipt"),
}


async def payments(connection: Connection, mchid: str, stock_id: str, coupon_code: str) -> list[Payment]:
    stock_no, facts = await stock_of(connection, stock_id)
    check_shared(facts, mchid)
    return _payments(await connection.fetch(_PAYMENTS, stock_no, coupon_code))


async def payments_for(transaction: StockTransaction, coupon_code: str) -> list[Payment]:
    """Return the payments for a coupon, by their ids."""
    return _payments(await transaction.connection.fetch(_PAYMENTS, transaction.stock_no, coupon_code))


def _payments(rows: list[Any]) -> list[Payment]:
    return [Payment(msgspec.json.decode(receipt, type=PayReceipt), returned) for receipt, returned in rows]


async def write(transaction: StockTransaction, receipts: Receipts) -> None:
    """Write what a step recorded."""
    if receipts.payment is not None:
        receipt, returned_amount = receipts.payment
        await transaction.connection.execute(
            _WRITE_PAYMENT,
            transaction.stock_no,
            receipt.subsidy_receipt_id,
            receipt.coupon_code,
            receipt.transaction_id,
            receipt.amount,
            returned_amount,
            msgspec.json.encode(receipt).decode(),
        )
    if receipts.returned is not None:
        returned = receipts.returned
        await transaction.connection.execute(
            _ADD_RETURN,
            transaction.stock_no,
            returned.subsidy_return_receipt_id,
            returned.subsidy_receipt_id,
            msgspec.json.encode(returned).decode(),
        )


async def receipt(connection: Connection, kind: type[Receipt], receipt_id: str) -> Receipt:
    """Of a stock that is open to who asks."""
    stock_no, _ = await stock_of(connection, stock_of_receipt(receipt_id))
    told = await connection.fetchval(_RECEIPT[kind], stock_no, receipt_id)
    if told is None:
        raise no_receipt(receipt_id)
    return msgspec.json.decode(told, type=kind)
