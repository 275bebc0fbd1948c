"""A SQLite pool that moves: read row by row, or made anew beside its place and put there when it is whole."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import apsw

from ....api.coupons import SendCard
from ....errors import StoreUnavailable
from ....storage import descriptors, private
from ..contract import RETRIES
from ..transfer import (
    AnsweredRecord,
    AnyRecord,
    BarredRecord,
    CallbackRecord,
    CardKey,
    CouponRecord,
    DeletionRecord,
    DocumentRecord,
    EventRecord,
    NonceRecord,
    PayReceiptRecord,
    ReturnReceiptRecord,
    StockRecord,
    UploadRecord,
)
from . import fence, issue_batches, pool_file, preflight
from .generation import Generation, MarkFile
from .rows import (
    ANSWERED,
    BARRED,
    CALLBACK,
    CARD,
    COUPON,
    DELETION,
    DOCUMENT,
    EVENT,
    NONCE,
    PAY_RECEIPT,
    RETURN_RECEIPT,
    STOCK,
    UPLOAD,
    CardRow,
    Rows,
    Table,
    damaged,
)
from .store import Store

BATCH = 5000
_CARD = SendCard.__name__

_ALIKE: dict[type[AnyRecord], Table[Any]] = {
    StockRecord: STOCK,
    CallbackRecord: CALLBACK,
    NonceRecord: NONCE,
    DocumentRecord: DOCUMENT,
    BarredRecord: BARRED,
    AnsweredRecord: ANSWERED,
    PayReceiptRecord: PAY_RECEIPT,
    ReturnReceiptRecord: RETURN_RECEIPT,
}
"""Records that have the same fields as the rows of a table."""


class SqliteTransfer:
    """`Transfer` of the pool in the file at `path`. It is locked until `close`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".import")
        self._opened = contextlib.ExitStack()
        self._db: apsw.Connection | None = None

    async def open(self) -> None:
        self._opened.enter_context(preflight.lock(self._path))

    async def close(self) -> None:
        if self._db is not None:
            self._db.close()
        private.remove_database(self._part)
        self._opened.close()

    async def dump(self) -> AsyncIterator[AnyRecord]:
        db = self._connection()
        for record in _records(db):
            yield record

    def _connection(self) -> apsw.Connection:
        if self._db is None:
            self._db = pool_file.connect(self._path)
            store = Store(self._db, 0, RETRIES)
            if why := fence.fenced(store, fence.generation_of(store, self._path), fence.read(MarkFile(self._path))):
                raise StoreUnavailable(f"{self._path} is fenced: {why}: run `quanma reconcile` first")
        return self._db

    async def leave(self, why: str) -> None:
        pool_file.note(self._connection(), "fenced", why)

    async def fill(self, records: Iterable[AnyRecord]) -> None:
        self._check_empty()
        private.remove_database(self._part)
        self._db = db = pool_file.connect(self._part)
        # Until it is put in its place, nobody misses it.
        db.execute("PRAGMA journal_mode = delete; PRAGMA synchronous = off").fetchall()
        try:
            with db:
                _fill(db, records)
        except apsw.Error as problem:
            raise StoreUnavailable(f"{self._part} can't be written: {problem}: nothing was imported") from None

    def _check_empty(self) -> None:
        if not self._path.exists() or not self._path.stat().st_size:
            return
        db = pool_file.connect(self._path)
        try:
            if db.execute("SELECT EXISTS (SELECT * FROM stock) OR EXISTS (SELECT * FROM callback)").get:
                raise StoreUnavailable(f"{self._path} is not empty: import into a new one, with --database")
        finally:
            db.close()

    async def accept(self) -> None:
        db = self._db
        assert db is not None
        coupons = int(db.execute("SELECT max(coupon_id) FROM coupon").get or 0)
        pool_id = secrets.token_bytes(16)
        pool_file.note(db, "pool_id", pool_id.hex())
        db.close()
        self._db = None
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        for path in (self._part, self._part.parent):
            descriptors.sync(path)
        file = MarkFile(self._path)
        file.make(Generation(pool_id, 1, coupons, descriptors.inode(self._part)))
        file.close()
        os.replace(self._part, self._path)
        descriptors.sync(self._path.parent)


def _records(db: apsw.Connection) -> Iterator[AnyRecord]:
    rows = Rows(db)
    yield from _alike(rows, StockRecord)
    yield from _alike(rows, CallbackRecord)
    yield from _alike(rows, NonceRecord)
    yield from _alike(rows, DocumentRecord)
    for row in rows.scan(DELETION):
        yield DeletionRecord(**dict(zip(DELETION.columns[1:], row[1:-2], strict=True)))
    for row in rows.scan(UPLOAD):
        _, stock_id, no, first_position, count, codes, others, success_at = row[:-2]
        yield UploadRecord(
            stock_id=stock_id,
            upload_request_no=no,
            first_position=first_position if count else 0,
            codes=codes,
            others=others,
            success_at=success_at,
        )
    for coupon in issue_batches.scan(rows):
        yield CouponRecord.of_coupon(coupon)
    yield from _alike(rows, BarredRecord)
    yield from _alike(rows, AnsweredRecord)
    for row in rows.scan(CARD):
        mchid, card_id, send_time, number, request, answer = row[:-2]
        key = CardKey(mchid, card_id, send_time).written()
        yield AnsweredRecord(stock_id=key, operation=_CARD, number=number, request=request, answer=answer)
    yield from _alike(rows, PayReceiptRecord)
    yield from _alike(rows, ReturnReceiptRecord)
    for row in rows.scan(EVENT):
        values: dict[str, Any] = dict(zip(EVENT.columns, row, strict=False))
        told_of = issue_batches.coupon(rows, values.pop("coupon_id"))
        del values["event_no"]
        yield EventRecord(stock_id=told_of.stock_id, coupon_code=told_of.coupon_code, **values)


def _alike(rows: Rows, kind: type[Any]) -> Iterator[AnyRecord]:
    table = _ALIKE[kind]
    for row in rows.scan(table):
        yield kind(**dict(zip(table.columns, row[:-2], strict=True)))


def _fill(db: apsw.Connection, records: Iterable[AnyRecord]) -> None:
    rows = Rows(db)
    db.execute("CREATE TEMP TABLE carried (stock_id, coupon_code, coupon_id, PRIMARY KEY (stock_id, coupon_code))")
    batch: list[tuple[Any, ...]] = []
    batched: Table[Any] = STOCK
    for record in records:
        table, row = _row(rows, db, record)
        if table is not batched or len(batch) >= BATCH:
            rows.add_many(batched, batch)
            batch, batched = [], table
        if isinstance(record, CouponRecord):
            db.execute("INSERT INTO temp.carried VALUES (?, ?, ?)", (record.stock_id, record.coupon_code, row[0]))
        batch.append(row)
    rows.add_many(batched, batch)


def _row(rows: Rows, db: apsw.Connection, record: AnyRecord) -> tuple[Table[Any], tuple[Any, ...]]:
    if isinstance(record, AnsweredRecord) and (key := CardKey.of(record.stock_id)) is not None:
        return CARD, CardRow(*key, record.number, record.request, record.answer)
    if (table := _ALIKE.get(type(record))) is not None:
        return table, tuple(getattr(record, column) for column in table.columns)
    if isinstance(record, UploadRecord):
        count = record.codes.count("\n") + 1 if record.codes else 0
        return UPLOAD, (
            rows.number(UPLOAD),
            record.stock_id,
            record.upload_request_no,
            record.first_position,
            count,
            record.codes,
            record.others,
            record.success_at,
        )
    if isinstance(record, EventRecord):
        found = "SELECT coupon_id FROM temp.carried WHERE stock_id = ? AND coupon_code = ?"
        coupon_id = db.execute(found, (record.stock_id, record.coupon_code)).get
        if coupon_id is None:
            raise damaged("an event of a coupon that is not there")
        values = {"event_no": rows.number(EVENT), "coupon_id": coupon_id}
        return EVENT, tuple(values.get(column, getattr(record, column, None)) for column in EVENT.columns)
    table = COUPON if isinstance(record, CouponRecord) else DELETION
    return table, (rows.number(table), *(getattr(record, column) for column in table.columns[1:]))
