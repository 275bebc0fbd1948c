"""A PostgreSQL pool, moved: read in one snapshot, or filled in one transaction that `accept` commits."""

from __future__ import annotations

import contextlib
import datetime
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any

import asyncpg
import msgspec
import numpy as np

from ....api.subsidy import ReturnReceipt
from ....errors import StoreUnavailable
from ....wire.times import beijing_day
from ...coupons.stocks import UPLOAD_MODE, stored_stock
from .. import reconciling
from ..transfer import (
    AnsweredRecord as HouseDone,
)
from ..transfer import (
    AnyRecord,
)
from ..transfer import (
    BarredRecord as HouseBarred,
)
from ..transfer import (
    CallbackRecord as HouseCallback,
)
from ..transfer import (
    CouponRecord as HouseCoupon,
)
from ..transfer import (
    DeletionRecord as HouseDeletion,
)
from ..transfer import (
    EventRecord as HouseEvent,
)
from ..transfer import (
    NonceRecord as HouseNonce,
)
from ..transfer import (
    PayReceiptRecord as HousePayReceipt,
)
from ..transfer import (
    ReturnReceiptRecord as HouseReturnReceipt,
)
from ..transfer import (
    StockRecord as HouseStock,
)
from ..transfer import (
    UploadRecord as HouseUpload,
)
from . import care, schema
from .link import Connection

BATCH = 2000
_ALIKE: dict[type[Any], str] = {
    HouseCallback: "callback",
    HouseNonce: "nonce",
    HouseDeletion: "deletion",
    HouseBarred: "barred",
    HouseDone: "done",
    HousePayReceipt: "pay_receipt",
}
"""Records that have the same fields as the rows of a table."""


class _Taken:
    """What was taken into one stock: positions that are not free, and how much was given out on which day."""

    def __init__(self, record: HouseStock) -> None:
        request = stored_stock(record.request)
        self.owner = request.belong_merchant
        self.takes_uploads = request.coupon_code_mode == UPLOAD_MODE
        self.made_at = record.created_at
        self.uploaded = 0
        self.deleted: set[int] = set()
        self.given = array("Q")
        self.sent_on: Counter[int] = Counter()


class PostgresHouse:
    """`House` of the pool in the database at `url`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened = contextlib.AsyncExitStack()
        self._connection: Connection = None
        self._transaction: Any = None

    async def open(self) -> None:
        """Raises StoreUnavailable: workers are connected to the database."""
        self._connection = connection = await self._opened.enter_async_context(care.connected(self._url))
        await connection.execute("SET idle_in_transaction_session_timeout = 0")
        await schema.check(connection)
        if await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'quanma'"
            " AND datname = current_database() AND pid <> pg_backend_pid()"
        ):
            raise StoreUnavailable("the database is served: stop the platform first, all of its workers")
        self._transaction = connection.transaction(isolation="repeatable_read")
        await self._transaction.start()

    async def close(self) -> None:
        """What was filled in and not accepted is gone."""
        if self._transaction is not None:
            await self._transaction.rollback()
        await self._opened.aclose()

    async def leave(self, why: str) -> None:
        await schema.raise_fence(self._connection)
        await self.accept()

    async def accept(self) -> None:
        transaction, self._transaction = self._transaction, None
        await transaction.commit()

    async def dump(self) -> AsyncIterator[AnyRecord]:
        connection = self._connection
        stocks = await connection.fetch(
            "SELECT stock_id, mchid, out_request_no, request, created_at, product_coupon_id, brand_id FROM stock"
            " ORDER BY stock_id"
        )
        for row in stocks:
            yield HouseStock(**dict(row))
        kind: type[Any]
        for kind in (HouseCallback, HouseNonce):
            async for record in self._alike(kind):
                yield record
        async for row in connection.cursor(
            f"SELECT {', '.join(HouseDeletion.__struct_fields__)} FROM deletion", prefetch=BATCH
        ):
            deletion: dict[str, Any] = dict(row)
            if deletion["delete_request_no"] is None:
                deletion["delete_request_no"] = reconciling.delete_request_no(deletion["coupon_code"])
            yield HouseDeletion(**deletion)
        async for row in connection.cursor(
            "SELECT u.stock_id, u.upload_request_no, CASE WHEN u.code_count > 0 THEN u.first_position ELSE 0 END"
            " AS first_position, coalesce(p.codes, '') AS codes, u.others, u.success_at"
            " FROM upload u LEFT JOIN piece p ON p.stock_id = u.stock_id AND p.first_position = u.first_position"
            " AND u.code_count > 0 ORDER BY u.stock_id, u.first_position",
            prefetch=BATCH,
        ):
            yield HouseUpload(**dict(row))
        names = [f"k.{name}" if name != "position" else "c.position" for name in HouseCoupon.__struct_fields__]
        async for row in connection.cursor(
            f"SELECT {', '.join(names)} FROM coupon k JOIN code c USING (stock_id, coupon_code)"
            " ORDER BY k.written_at, k.stock_id, k.coupon_id",
            prefetch=BATCH,
        ):
            yield HouseCoupon(**dict(row))
        for kind in (HouseBarred, HouseDone, HousePayReceipt):
            async for record in self._alike(kind):
                yield record
        async for row in connection.cursor(
            "SELECT stock_id, subsidy_return_receipt_id, receipt FROM return_receipt", prefetch=BATCH
        ):
            yield HouseReturnReceipt(**dict(row))
        async for row in connection.cursor(
            f"SELECT {', '.join(f'e.{name}' for name in HouseEvent.__struct_fields__)} FROM event e"
            " JOIN coupon k USING (stock_id, coupon_code) ORDER BY k.written_at, k.stock_id, k.coupon_id",
            prefetch=BATCH,
        ):
            yield HouseEvent(**dict(row))

    async def _alike(self, kind: type[Any]) -> AsyncIterator[AnyRecord]:
        names = ", ".join(kind.__struct_fields__)
        async for row in self._connection.cursor(f"SELECT {names} FROM {_ALIKE[kind]}", prefetch=BATCH):
            yield kind(**dict(row))

    async def fill(self, records: Iterable[AnyRecord]) -> None:
        connection = self._connection
        if await connection.fetchval("SELECT EXISTS (SELECT FROM stock) OR EXISTS (SELECT FROM callback)"):
            raise StoreUnavailable("the database is not empty: import into a new one, with --database")
        try:
            await self._fill(records)
        except (asyncpg.PostgresError, asyncpg.DataError, OverflowError) as problem:
            raise StoreUnavailable(f"the database refused ({type(problem).__name__}): nothing was imported") from None

    async def _fill(self, records: Iterable[AnyRecord]) -> None:
        stocks: dict[str, _Taken] = {}
        batch: list[AnyRecord] = []
        coupons = 0
        for record in records:
            if batch and (type(batch[0]) is not type(record) or len(batch) >= BATCH):
                coupons += await self._write(batch, stocks, coupons)
                batch = []
            batch.append(record)
        if batch:
            await self._write(batch, stocks, coupons)
        for stock_id, taken in stocks.items():
            await self._count(stock_id, taken)

    async def _write(self, batch: list[Any], stocks: dict[str, _Taken], coupons: int) -> int:
        """Write records of one kind. Returns how many coupons there were among them."""
        first = batch[0]
        if isinstance(first, HouseStock):
            await self._write_stocks(batch, stocks)
        elif isinstance(first, HouseUpload):
            await self._write_uploads(batch, stocks)
        elif isinstance(first, HouseCoupon):
            await self._write_coupons(batch, stocks, coupons)
            return len(batch)
        elif isinstance(first, HouseReturnReceipt):
            rows = [(it.stock_id, it.subsidy_return_receipt_id, _paid_by(it.receipt), it.receipt) for it in batch]
            await self._copy(
                "return_receipt", ("stock_id", "subsidy_return_receipt_id", "subsidy_receipt_id", "receipt"), rows
            )
        elif isinstance(first, HouseEvent):
            await self._write_events(batch)
        else:
            if isinstance(first, HouseDeletion):
                for record in batch:
                    stocks[record.stock_id].deleted.add(record.position)
                # What `quanma reconcile` took out has no number here.
                batch = [
                    msgspec.structs.replace(record, delete_request_no=None)
                    if reconciling.is_taken_out(record.delete_request_no)
                    else record
                    for record in batch
                ]
            await self._copy(_ALIKE[type(first)], type(first).__struct_fields__, _values(batch))
        return 0

    async def _copy(self, table: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
        await self._connection.copy_records_to_table(table, records=rows, columns=columns)

    async def _write_stocks(self, batch: list[HouseStock], stocks: dict[str, _Taken]) -> None:
        for record in batch:
            stocks[record.stock_id] = _Taken(record)
        rows = [(*values, stocks[values[0]].owner) for values in _values(batch)]
        await self._copy("stock", (*HouseStock.__struct_fields__, "belong_merchant"), rows)
        await self._copy("turn", ("stock_id",), [(record.stock_id,) for record in batch])

    async def _write_uploads(self, batch: list[HouseUpload], stocks: dict[str, _Taken]) -> None:
        codes: list[tuple[Any, ...]] = []
        pieces: list[tuple[Any, ...]] = []
        uploads: list[tuple[Any, ...]] = []
        for record in batch:
            taken = stocks[record.stock_id]
            first, texts = taken.uploaded, record.codes.split("\n") if record.codes else []
            if texts and record.first_position != first:
                raise StoreUnavailable(f"an upload of stock {record.stock_id} is out of order: nothing was imported")
            for position, code in enumerate(texts, first):
                if position not in taken.deleted:
                    codes.append((record.stock_id, code, position, record.success_at))
            if texts:
                pieces.append((record.stock_id, first, record.codes, record.success_at))
            number, others = record.upload_request_no, record.others
            uploads.append((record.stock_id, number, first, len(texts), others, record.success_at))
            taken.uploaded += len(texts)
        columns = ("stock_id", "upload_request_no", "first_position", "code_count", "others", "success_at")
        await self._copy("upload", columns, uploads)
        await self._copy("piece", _PIECE, pieces)
        await self._copy("code", ("stock_id", "coupon_code", "position", "success_at"), codes)

    async def _write_coupons(self, batch: list[HouseCoupon], stocks: dict[str, _Taken], before: int) -> None:
        fields = tuple(name for name in HouseCoupon.__struct_fields__ if name != "position")
        rows: list[tuple[Any, ...]] = []
        codes: list[tuple[Any, ...]] = []
        for number, record in enumerate(batch, before):
            taken = stocks[record.stock_id]
            taken.given.append(record.position)
            taken.sent_on[beijing_day(record.sent_at)] += 1
            if not taken.takes_uploads:
                codes.append((record.stock_id, record.coupon_code, record.position))
                taken.uploaded += 1
            written_at = datetime.datetime.fromtimestamp(record.sent_at, datetime.UTC)
            # So that coupons of one second stay in their order.
            written_at += datetime.timedelta(microseconds=number % 1_000_000)
            rows.append((*(getattr(record, name) for name in fields), len(taken.given), written_at))
        if codes:
            await self._copy("code", ("stock_id", "coupon_code", "position"), codes)
            await self._copy("piece", _PIECE, [(stock_id, position, code, None) for stock_id, code, position in codes])
        await self._copy("coupon", (*fields, "coupon_id", "written_at"), rows)

    async def _write_events(self, batch: list[HouseEvent]) -> None:
        names = HouseEvent.__struct_fields__
        types = {"created_at": "bigint", "attempts": "integer", "due_at": "bigint", "delivered_at": "bigint"}
        arrays = ", ".join(f"${number}::{types.get(name, 'text')}[]" for number, name in enumerate(names, 1))
        written = await self._connection.execute(
            f"INSERT INTO event ({', '.join(names)}, coupon_id)"
            f" SELECT u.*, k.coupon_id FROM unnest({arrays}) u({', '.join(names)})"
            " JOIN coupon k USING (stock_id, coupon_code)",
            *([getattr(record, name) for record in batch] for name in names),
        )
        if written != f"INSERT 0 {len(batch)}":
            raise StoreUnavailable("an event tells of a coupon that is not there: nothing was imported")

    async def _count(self, stock_id: str, taken: _Taken) -> None:
        """Write a stock's counters, and which code stands at which free slot: see slots.py."""
        free = 0
        if taken.takes_uploads and taken.uploaded:
            is_free = np.ones(taken.uploaded, bool)
            is_free[np.frombuffer(taken.given, np.uint64).astype(np.int64)] = False
            is_free[list(taken.deleted)] = False
            free = int(is_free.sum())
            # Slot n holds position n, but for those that are not free: there, the free ones from behind.
            holes, spare = np.flatnonzero(~is_free[:free]), np.flatnonzero(is_free[free:]) + free
            moved = [(stock_id, *pair) for pair in zip(holes.tolist(), spare.tolist(), strict=True)]
            await self._copy("extent", ("stock_id", "first_slot", "shift"), [(stock_id, 0, 0)])
            await self._copy("displaced", ("stock_id", "slot", "position"), moved)
        day = max(taken.sent_on, default=beijing_day(taken.made_at))
        days = [(stock_id, other, sent) for other, sent in taken.sent_on.items() if other != day]
        await self._copy("day_tally", ("stock_id", "day", "sent"), days)
        tally = {
            "stock_id": stock_id,
            "turn_no": 0,
            "uploaded": taken.uploaded,
            "deleted": len(taken.deleted),
            "free": free,
            "stale": 0,
            "shift": 0 if taken.takes_uploads and taken.uploaded else -1,
            "sent": len(taken.given),
            "day": day,
            "sent_on_day": taken.sent_on[day],
        }
        await self._copy("tally", tuple(tally), [tuple(tally.values())])


_PIECE = ("stock_id", "first_position", "codes", "success_at")


def _values(records: list[Any]) -> list[tuple[Any, ...]]:
    return [tuple(getattr(record, name) for name in record.__struct_fields__) for record in records]


def _paid_by(receipt: str) -> str:
    return msgspec.json.decode(receipt, type=ReturnReceipt).subsidy_receipt_id
