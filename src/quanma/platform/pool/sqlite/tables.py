"""What stands in the tables of the SQLite pool, row by row. What it means: migrations/sqlite."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...coupons.coupon import CouponFacts
from .checked import Table


class AboutRow(NamedTuple):
    name: str
    value: str


class StockRow(NamedTuple):
    stock_id: str
    mchid: str
    out_request_no: str
    request: str
    created_at: int
    product_coupon_id: str | None
    brand_id: str | None


class UploadRow(NamedTuple):
    upload_id: int
    stock_id: str
    upload_request_no: str
    first_position: int
    code_count: int
    codes: str
    others: str | None
    success_at: int


class CouponRow(NamedTuple):
    coupon_id: int
    stock_id: str
    position: int
    coupon_code: str
    openid: str
    appid: str
    out_request_no: str
    request: str | None
    send_merchant: str
    send_channel: str
    sent_at: int
    starts_at: int
    expires_at: int
    coupon_state: str
    use_request_no: str | None
    use_time: str | None
    used_at: int | None
    return_request_no: str | None
    returned_at: int | None
    deactivate_request_no: str | None
    deactivate_reason: str | None
    deactivated_at: int | None
    associate_out_trade_no: str | None

    @property
    def facts(self) -> CouponFacts:
        return CouponFacts._make((*self[:2], *self[3:]))


class SendingRow(NamedTuple):
    first_coupon_id: int
    stock_id: str
    coupon_count: int
    sent_at: int
    starts_at: int
    expires_at: int
    coupons: str


class DeletionRow(NamedTuple):
    deletion_id: int
    stock_id: str
    position: int
    coupon_code: str
    delete_request_no: str
    deleted_at: int


class DoneRow(NamedTuple):
    stock_id: str
    operation: str
    number: str
    request: str
    answer: str


class PayReceiptRow(NamedTuple):
    subsidy_receipt_id: str
    stock_id: str
    coupon_code: str
    transaction_id: str
    amount: int
    returned_amount: int
    receipt: str


class ReturnReceiptRow(NamedTuple):
    subsidy_return_receipt_id: str
    stock_id: str
    receipt: str


class CallbackRow(NamedTuple):
    caller: str
    mchid: str
    notify_url: str
    updated_at: int


class EventRow(NamedTuple):
    event_no: int
    id: str
    mchid: str
    coupon_id: int
    created_at: int
    attempts: int
    due_at: int | None
    delivered_at: int | None
    last_error: str | None


class BarredRow(NamedTuple):
    stock_id: str
    coupon_code: str
    barred_at: int


class NonceRow(NamedTuple):
    mchid: str
    next: int


ABOUT = Table("about", AboutRow, AboutRow._fields)
STOCK = Table("stock", StockRow, StockRow._fields)
UPLOAD = Table("upload", UploadRow, UploadRow._fields)
COUPON = Table("coupon", CouponRow, CouponRow._fields, stands=("coupon_state",))
SENDING = Table("sending", SendingRow, SendingRow._fields)
DELETION = Table("deletion", DeletionRow, DeletionRow._fields)
DONE = Table("done", DoneRow, DoneRow._fields, key=3)
PAY_RECEIPT = Table("pay_receipt", PayReceiptRow, PayReceiptRow._fields)
RETURN_RECEIPT = Table("return_receipt", ReturnReceiptRow, ReturnReceiptRow._fields)
CALLBACK = Table("callback", CallbackRow, CallbackRow._fields, key=2)
EVENT = Table("event", EventRow, EventRow._fields)
BARRED = Table("barred", BarredRow, BarredRow._fields, key=2)
NONCE = Table("nonce", NonceRow, NonceRow._fields)

TABLES: tuple[Table[Any], ...] = (
    ABOUT,
    STOCK,
    UPLOAD,
    COUPON,
    SENDING,
    DELETION,
    DONE,
    PAY_RECEIPT,
    RETURN_RECEIPT,
    CALLBACK,
    EVENT,
    BARRED,
    NONCE,
)
