"""Subsidies in the PostgreSQL pool: receipts of what was paid and taken back. The money itself moves elsewhere."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from ....api.subsidy import (
    ListPayReceipts,
    PayReceipt,
    PayReceiptList,
    PaySubsidy,
    ReturnReceipt,
    ReturnSubsidy,
)
from ... import rules
from .. import answers
from .lanes import Asked, singly
from .link import Connection
from .turn import Turn, check_shared, stock_of

Receipt = TypeVar("Receipt", PayReceipt, ReturnReceipt)


async def pay(turn: Turn, asked: Asked[PaySubsidy]) -> PayReceipt:
    mchid, request, now = asked
    check_shared(turn.facts, mchid)

    async def work() -> PayReceipt:
        coupon = await turn.coupon_of(request.coupon_code)
        rules.check_subsidy(turn.facts, coupon.coupon_state, request)
        paid = await turn.connection.fetchval(
            "SELECT count(*) FROM pay_receipt WHERE stock_id = $1 AND coupon_code = $2",
            turn.stock_id,
            request.coupon_code,
        )
        rules.check_payments(paid)
        receipt = answers.pay_receipt(request, now)
        await turn.connection.execute(
            "INSERT INTO pay_receipt (stock_id, subsidy_receipt_id, coupon_code, transaction_id, amount, receipt)"
            " VALUES ($1, $2, $3, $4, $5, $6)",
            turn.stock_id,
            receipt.subsidy_receipt_id,
            request.coupon_code,
            request.transaction_id,
            request.amount,
            msgspec.json.encode(receipt).decode(),
        )
        return receipt

    return await turn.once("out_subsidy_no", request, PayReceipt, work)


async def take_back(turn: Turn, asked: Asked[ReturnSubsidy]) -> ReturnReceipt:
    mchid, request, now = asked
    check_shared(turn.facts, mchid)

    async def work() -> ReturnReceipt:
        paid = await turn.connection.fetchrow(
            "SELECT subsidy_receipt_id, amount - returned_amount, receipt FROM pay_receipt"
            " WHERE stock_id = $1 AND coupon_code = $2 AND transaction_id = $3 ORDER BY subsidy_receipt_id LIMIT 1",
            turn.stock_id,
            request.coupon_code,
            request.transaction_id,
        )
        if paid is None:
            raise answers.nothing_paid()
        receipt_id, left, told = paid
        if request.amount > left:
            raise answers.more_than_paid(request.amount, left)
        receipt = answers.return_receipt(request, receipt_id, now)
        await turn.connection.execute(
            "UPDATE pay_receipt SET returned_amount = returned_amount + $3, receipt = $4"
            " WHERE stock_id = $1 AND subsidy_receipt_id = $2",
            turn.stock_id,
            receipt_id,
            request.amount,
            answers.taken_back(told, all_of_it=request.amount == left),
        )
        await turn.connection.execute(
            "INSERT INTO return_receipt (stock_id, subsidy_return_receipt_id, subsidy_receipt_id, receipt)"
            " VALUES ($1, $2, $3, $4)",
            turn.stock_id,
            receipt.subsidy_return_receipt_id,
            receipt_id,
            msgspec.json.encode(receipt).decode(),
        )
        return receipt

    return await turn.once("out_subsidy_return_no", request, ReturnReceipt, work)


async def list_paid(connection: Connection, mchid: str, request: ListPayReceipts) -> PayReceiptList:
    check_shared(await stock_of(connection, request.stock_id), mchid)
    rows = await connection.fetch(
        "SELECT receipt FROM pay_receipt WHERE stock_id = $1 AND coupon_code = $2",
        request.stock_id,
        request.coupon_code,
    )
    return answers.pay_receipts([receipt for (receipt,) in rows], request)


async def show_paid(connection: Connection, receipt_id: str) -> PayReceipt:
    """Of a stock that is open to who asks."""
    statement = "SELECT receipt FROM pay_receipt WHERE stock_id = $1 AND subsidy_receipt_id = $2"
    return await _receipt(connection, statement, receipt_id, PayReceipt)


async def show_returned(connection: Connection, receipt_id: str) -> ReturnReceipt:
    """Of a stock that is open to who asks."""
    statement = "SELECT receipt FROM return_receipt WHERE stock_id = $1 AND subsidy_return_receipt_id = $2"
    return await _receipt(connection, statement, receipt_id, ReturnReceipt)


async def _receipt(connection: Connection, statement: str, receipt_id: str, receipt: type[Receipt]) -> Receipt:
    told = await connection.fetchval(statement, answers.stock_of_receipt(receipt_id), receipt_id)
    if told is None:
        raise answers.no_receipt(receipt_id)
    return msgspec.json.decode(told, type=receipt)


PAY = singly(pay)
TAKE_BACK = singly(take_back)
