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

from ....api.coupons import SendCard
from ....api.subsidy import ReturnReceipt
from ....errors import StoreUnavailable
from ....wire.times import beijing_day
from ...coupons.coupon import LATER
from ...coupons.stocks import UPLOAD_MODES, mode_of, owner_of, stored_stock
from .. import reconciling
from ..transfer import (
    AnsweredRecord,
    AnyRecord,
    BarredRecord,
    CallbackRecord,
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
from . import reconcile, schema
from .blocks import BLOCK, CARRIERS, HOLDERS, SLOTS
from .codes import cut
from .connections import Connection
from .holders import bucket_count, bucket_of, entry, hash_of
from .queries import code_at, written_out
from .rows import KnownTerms, coupon_of, lasts_seconds, terms_of

BATCH = 2000
_CARD = "card\n"
"""What a card's key begins with: it stands where other numbers have their stock."""
_ALIKE: dict[type[Any], str] = {
    CallbackRecord: "callback",
    NonceRecord: "nonce",
    DocumentRecord: "document",
    DeletionRecord: "deletion",
    BarredRecord: "barred",
    AnsweredRecord: "answered",
    PayReceiptRecord: "pay_receipt",
}
"""Records that have the same fields as the rows of a table, but for a stock's number in the place of its id."""


class _Taken:
    """What was taken into one stock: positions that are not free, and how much was given out on which day."""

    def __init__(self, record: StockRecord, stock_no: int) -> None:
        request = stored_stock(record.request)
        self.stock_no = stock_no
        self.lasts_seconds = lasts_seconds(request)
        self.terms = KnownTerms([])
        self.owner = owner_of(request, record.mchid)
        self.takes_uploads = mode_of(request) in UPLOAD_MODES
        self.made_at = record.created_at
        self.uploaded = 0
        self.deleted: set[int] = set()
        self.given = array("Q")
        self.hashes = array("I")
        """Of the openids, in the coupons' order."""
        self.sent_on: Counter[int] = Counter()


class PostgresTransfer:
    """`Transfer` of the pool in the database at `url`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened = contextlib.AsyncExitStack()
        self._connection: Connection = None
        self._transaction: Any = None

    async def open(self) -> None:
        """Raises StoreUnavailable: workers are connected to the database."""
        self._connection = connection = await self._opened.enter_async_context(reconcile.connected(self._url))
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
            yield StockRecord(**dict(row))
        kind: type[Any]
        for kind in (CallbackRecord, NonceRecord, DocumentRecord):
            async for record in self._alike(kind):
                yield record
        async for row in self._rows(DeletionRecord):
            deletion: dict[str, Any] = dict(row)
            if deletion["delete_request_no"] is None:
                deletion["delete_request_no"] = reconciling.delete_request_no(deletion["coupon_code"])
            yield DeletionRecord(**deletion)
        async for row in connection.cursor(
            "SELECT s.stock_id, u.upload_request_no, CASE WHEN u.code_count > 0 THEN u.first_position ELSE 0 END"
            " AS first_position, coalesce((SELECT string_agg(p.codes, E'\\n' ORDER BY p.first_position) FROM piece p"
            " WHERE p.stock_no = u.stock_no AND p.first_position >= u.first_position"
            " AND p.first_position < u.first_position + u.code_count), '') AS codes, u.others, u.success_at"
            " FROM upload u JOIN stock s USING (stock_no) ORDER BY s.stock_id, u.first_position",
            prefetch=BATCH,
        ):
            yield UploadRecord(**dict(row))
        async for row in connection.cursor(_COUPONS, prefetch=BATCH):
            yield CouponRecord.of_coupon(coupon_of(row["stock_id"], row))
        for kind in (BarredRecord, AnsweredRecord):
            async for record in self._alike(kind):
                yield record
        async for row in connection.cursor("SELECT key, number, request, answer FROM card", prefetch=BATCH):
            yield AnsweredRecord(
                stock_id=row[0], operation=SendCard.__name__, number=row[1], request=row[2], answer=row[3]
            )
        async for record in self._alike(PayReceiptRecord):
            yield record
        async for row in connection.cursor(
            "SELECT s.stock_id, r.subsidy_return_receipt_id, r.receipt FROM return_receipt r"
            " JOIN stock s USING (stock_no)",
            prefetch=BATCH,
        ):
            yield ReturnReceiptRecord(**dict(row))
        async for row in connection.cursor(_EVENTS, prefetch=BATCH):
            yield EventRecord(**dict(row))

    async def _alike(self, kind: type[Any]) -> AsyncIterator[AnyRecord]:
        async for row in self._rows(kind):
            yield kind(**dict(row))

    def _rows(self, kind: type[Any]) -> Any:
        fields = kind.__struct_fields__
        names = ", ".join("s.stock_id" if name == "stock_id" else f"r.{name}" for name in fields)
        of_stock = " JOIN stock s USING (stock_no)" if "stock_id" in fields else ""
        return self._connection.cursor(f"SELECT {names} FROM {_ALIKE[kind]} r{of_stock}", prefetch=BATCH)

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
        carried = False
        batch: list[AnyRecord] = []
        coupons = 0
        for record in records:
            if batch and (type(batch[0]) is not type(record) or len(batch) >= BATCH):
                coupons += await self._write(batch, stocks, coupons)
                batch = []
            if isinstance(record, EventRecord) and not carried:
                await self._carry(stocks)  # Events look for their coupons by it.
                carried = True
            batch.append(record)
        if batch:
            await self._write(batch, stocks, coupons)
        if not carried:
            await self._carry(stocks)
        for taken in stocks.values():
            await self._count(taken)

    async def _write(self, batch: list[Any], stocks: dict[str, _Taken], coupons: int) -> int:
        """Write records of one kind. Returns how many coupons there were among them."""
        first = batch[0]
        rows: list[tuple[Any, ...]]
        if isinstance(first, StockRecord):
            await self._write_stocks(batch, stocks)
        elif isinstance(first, UploadRecord):
            await self._write_uploads(batch, stocks)
        elif isinstance(first, CouponRecord):
            await self._write_coupons(batch, stocks, coupons)
            return len(batch)
        elif isinstance(first, ReturnReceiptRecord):
            rows = [
                (stocks[it.stock_id].stock_no, it.subsidy_return_receipt_id, _paid_by(it.receipt), it.receipt)
                for it in batch
            ]
            await self._copy(
                "return_receipt", ("stock_no", "subsidy_return_receipt_id", "subsidy_receipt_id", "receipt"), rows
            )
        elif isinstance(first, EventRecord):
            await self._write_events(batch, stocks)
        else:
            if isinstance(first, DeletionRecord):
                for record in batch:
                    stocks[record.stock_id].deleted.add(record.position)
                # What `quanma reconcile` took out has no number here.
                batch = [
                    msgspec.structs.replace(record, delete_request_no=None)
                    if reconciling.is_taken_out(record.delete_request_no)
                    else record
                    for record in batch
                ]
            if isinstance(first, AnsweredRecord):
                cards = [it for it in batch if it.stock_id.startswith(_CARD)]
                rows = [(it.stock_id, it.number, it.request, it.answer) for it in cards]
                await self._copy("card", ("key", "number", "request", "answer"), rows)
                batch = [it for it in batch if not it.stock_id.startswith(_CARD)]
            fields = type(first).__struct_fields__
            rows = _values(batch)
            if "stock_id" in fields:
                at = fields.index("stock_id")
                rows = [(*row[:at], stocks[str(row[at])].stock_no, *row[at + 1 :]) for row in rows]
            columns = tuple("stock_no" if name == "stock_id" else name for name in fields)
            await self._copy(_ALIKE[type(first)], columns, rows)
        return 0

    async def _copy(self, table: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
        await self._connection.copy_records_to_table(table, records=rows, columns=columns)

    async def _write_stocks(self, batch: list[StockRecord], stocks: dict[str, _Taken]) -> None:
        for record in batch:
            stocks[record.stock_id] = _Taken(record, len(stocks) + 1)
        taken = [stocks[record.stock_id] for record in batch]
        rows = [(*values, one.owner, one.stock_no) for values, one in zip(_values(batch), taken, strict=True)]
        await self._copy("stock", (*StockRecord.__struct_fields__, "belong_merchant", "stock_no"), rows)
        await self._copy("stock_lock", ("stock_no",), [(one.stock_no,) for one in taken])

    async def _write_uploads(self, batch: list[UploadRecord], stocks: dict[str, _Taken]) -> None:
        codes: list[tuple[int, str, int]] = []
        pieces: list[tuple[Any, ...]] = []
        uploads: list[tuple[Any, ...]] = []
        for record in batch:
            taken = stocks[record.stock_id]
            first, texts = taken.uploaded, record.codes.split("\n") if record.codes else []
            if texts and record.first_position != first:
                raise StoreUnavailable(f"an upload of stock {record.stock_id} is out of order: nothing was imported")
            codes += [(taken.stock_no, code, position) for position, code in enumerate(texts, first)]
            pieces += [(taken.stock_no, *piece) for piece in cut(first, texts, record.success_at)]
            number, others = record.upload_request_no, record.others
            uploads.append((taken.stock_no, number, first, len(texts), others, record.success_at))
            taken.uploaded += len(texts)
        columns = ("stock_no", "upload_request_no", "first_position", "code_count", "others", "success_at")
        await self._copy("upload", columns, uploads)
        await self._copy("piece", _PIECE, pieces)
        await self._write_codes(codes)

    async def _write_codes(self, codes: list[tuple[int, str, int]]) -> None:
        """Where codes stand: each with its stock's number and its position."""
        await self._connection.execute(
            "INSERT INTO code (stock_no, code_hash, position) SELECT u.stock_no, hashtext(u.coupon_code), u.position"
            " FROM unnest($1::integer[], $2::text[], $3::integer[]) AS u(stock_no, coupon_code, position)",
            *([row[column] for row in codes] for column in range(3)),
        )

    async def _write_coupons(self, batch: list[CouponRecord], stocks: dict[str, _Taken], before: int) -> None:
        rows: list[tuple[Any, ...]] = []
        codes: list[tuple[int, str, int]] = []
        steps: list[tuple[Any, ...]] = []
        for number, record in enumerate(batch, before):
            taken = stocks[record.stock_id]
            taken.given.append(record.position)
            taken.hashes.append(hash_of(record.openid))
            taken.sent_on[beijing_day(record.sent_at)] += 1
            if not taken.takes_uploads:
                codes.append((taken.stock_no, record.coupon_code, record.position))
                taken.uploaded += 1
            written_at = datetime.datetime.fromtimestamp(record.sent_at, datetime.UTC)
            # So that coupons of one second stay in their order.
            written_at += datetime.timedelta(microseconds=number % 1_000_000)
            coupon_id = len(taken.given)
            coupon = record.numbered(coupon_id)
            terms_no = taken.terms.number_of(terms_of(coupon, taken.lasts_seconds))
            texts = coupon.openid, coupon.out_request_no, coupon.request or ""
            rows.append((taken.stock_no, coupon_id, record.position, terms_no, *texts, coupon.sent_at, written_at))
            later = tuple(getattr(coupon, name) for name in LATER)
            if later != _AT_FIRST:
                steps.append((taken.stock_no, coupon_id, *later))
        if codes:
            await self._write_codes(codes)
            await self._copy("piece", _PIECE, [(stock_no, position, code, None) for stock_no, code, position in codes])
        for taken in {id(taken): taken for taken in (stocks[record.stock_id] for record in batch)}.values():
            added = zip(*taken.terms.take_added(), strict=True)
            await self._copy("terms", ("stock_no", "terms_no", "terms"), [(taken.stock_no, *one) for one in added])
        await self._copy("coupon", _COUPON, rows)
        await self._copy("coupon_step", ("stock_no", "coupon_id", *LATER), steps)

    async def _write_events(self, batch: list[EventRecord], stocks: dict[str, _Taken]) -> None:
        of_stock: dict[str, list[EventRecord]] = {}
        for record in batch:
            of_stock.setdefault(record.stock_id, []).append(record)
        for stock_id, records in of_stock.items():
            written = await self._connection.execute(
                _ADD_EVENTS,
                stocks[stock_id].stock_no,
                *([getattr(record, name) for record in records] for name in _EVENT),
            )
            if written != f"INSERT 0 {len(records)}":
                raise StoreUnavailable("an event tells of a coupon that is not there: nothing was imported")

    async def _carry(self, stocks: dict[str, _Taken]) -> None:
        """Write which coupon carries the code at which position."""
        for taken in stocks.values():
            given = np.frombuffer(taken.given, np.uint64).astype(np.int64)
            if given.size and int(given.max()) >= taken.uploaded:
                raise StoreUnavailable("a coupon carries a code that is not there: nothing was imported")
            numbers = np.zeros(taken.uploaded, np.int32)
            numbers[given] = np.arange(1, given.size + 1)
            await self._copy("block", _BLOCK, _blocks(taken.stock_no, CARRIERS, numbers))
            await self._copy("block", _BLOCK, _buckets(taken.stock_no, taken.hashes))

    async def _count(self, taken: _Taken) -> None:
        """Write a stock's counters, and which code stands at which free slot: see slots.py."""
        free = 0
        if taken.takes_uploads and taken.uploaded:
            is_free = np.ones(taken.uploaded, bool)
            is_free[np.frombuffer(taken.given, np.uint64).astype(np.int64)] = False
            is_free[list(taken.deleted)] = False
            free = int(is_free.sum())
            # Slot n holds position n, but for those that are not free: there, the free ones from behind.
            holes, spare = np.flatnonzero(~is_free[:free]), np.flatnonzero(is_free[free:]) + free
            positions = np.zeros(free, np.int32)
            positions[holes] = spare + 1
            await self._copy("extent", ("stock_no", "first_slot", "shift"), [(taken.stock_no, 0, 0)])
            await self._copy("block", _BLOCK, _blocks(taken.stock_no, SLOTS, positions))
        day = max(taken.sent_on, default=beijing_day(taken.made_at))
        days = [(taken.stock_no, other, sent) for other, sent in taken.sent_on.items() if other != day]
        await self._copy("day_counter", ("stock_no", "day", "sent"), days)
        counters = {
            "stock_no": taken.stock_no,
            "transaction_no": 0,
            "uploaded": taken.uploaded,
            "deleted": len(taken.deleted),
            "free": free,
            "stale": 0,
            "shift": 0 if taken.takes_uploads and taken.uploaded else -1,
            "sent": len(taken.given),
            "day": day,
            "sent_on_day": taken.sent_on[day],
        }
        await self._copy("stock_counters", tuple(counters), [tuple(counters.values())])


_PIECE = ("stock_no", "first_position", "codes", "success_at")
_BLOCK = ("stock_no", "kind", "place", "numbers")
_COUPON = (
    "stock_no",
    "coupon_id",
    "position",
    "terms_no",
    "openid",
    "out_request_no",
    "request",
    "sent_at",
    "written_at",
)
_AT_FIRST = ("SENDED", *[None] * (len(LATER) - 1))
_COUPONS = written_out(
    "SELECT o.stock_id, {coupon of o.stock_no} FROM coupon k JOIN stock o USING (stock_no)"
    " {step of o.stock_no} ORDER BY k.written_at, o.stock_id, k.coupon_id"
)
_EVENTS = (
    f"SELECT s.stock_id, {code_at('k.position', 'k.stock_no')} AS coupon_code, e.id::text, e.mchid,"
    " e.created_at, e.attempts, e.due_at, e.delivered_at,"
    " e.last_error FROM event e JOIN coupon k USING (stock_no, coupon_id) JOIN stock s USING (stock_no)"
    " ORDER BY k.written_at, s.stock_id, k.coupon_id"
)
_EVENT = ("coupon_code", "id", "mchid", "created_at", "attempts", "due_at", "delivered_at", "last_error")
_ADD_EVENTS = written_out(
    "INSERT INTO event (stock_no, coupon_id, id, mchid, created_at, attempts, due_at, delivered_at, last_error)"
    " SELECT $1, {carrier at u.position}, id, mchid, created_at, attempts, due_at, delivered_at, last_error"
    " FROM (SELECT u.*, {position of u.coupon_code} AS position FROM unnest($2::text[], $3::uuid[], $4::text[],"
    " $5::bigint[], $6::integer[], $7::bigint[], $8::bigint[], $9::text[]) AS u(coupon_code, id, mchid, created_at,"
    " attempts, due_at, delivered_at, last_error) OFFSET 0) u WHERE {carrier at u.position} IS NOT NULL"
)


def _blocks(
    stock_no: int, kind: int, numbers: np.ndarray[Any, np.dtype[np.int32]]
) -> list[tuple[int, int, int, bytes]]:
    """Rows of blocks that hold these numbers: see blocks.py. None holds zeros only."""
    whole = np.zeros((-(-numbers.size // BLOCK), BLOCK), ">i4")
    whole.reshape(-1)[: numbers.size] = numbers
    return [(stock_no, kind, int(row) * BLOCK, whole[row].tobytes()) for row in np.flatnonzero(whole.any(axis=1))]


def _buckets(stock_no: int, hashes: array[int]) -> list[tuple[int, int, int, bytes]]:
    """Rows of buckets that hold these hashes, each with its place from 1 on as the coupon's number: see holders.py."""
    count = bucket_count(len(hashes))
    buckets: dict[int, bytearray] = {}
    for coupon_id, its_hash in enumerate(hashes, 1):
        buckets.setdefault(bucket_of(its_hash, count), bytearray()).extend(entry(its_hash, coupon_id))
    return [(stock_no, HOLDERS, bucket, bytes(entries)) for bucket, entries in buckets.items()]


def _values(records: list[Any]) -> list[tuple[Any, ...]]:
    return [tuple(getattr(record, name) for name in record.__struct_fields__) for record in records]


def _paid_by(receipt: str) -> str:
    return msgspec.json.decode(receipt, type=ReturnReceipt).subsidy_receipt_id
