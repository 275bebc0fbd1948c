"""Rows with a checksum: a flipped bit in one is an error when it is read, and no wrong answer.

Each table ends in two columns. `commit_no` says which commit wrote the row last; the highest one in the file is how
many commits it has had, and costs no page of its own. `checksum` is the CRC-32 of all columns before it.

All reading and writing goes through `Rows`, so no statement can forget them. A row that was written around it keeps
the default checksum, -1, which holds for nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import apsw
import msgspec

from ....errors import StoreUnavailable
from ...coupons.coupon import CouponFacts
from .generation import CommitCounter

R = TypeVar("R")

_encode = msgspec.msgpack.Encoder().encode


def checksum(*row: object) -> int:
    """The checksum of a table's name and a row's values, in the order of its columns: one table's row is no other's."""
    return zlib.crc32(_encode(row[1:]), zlib.crc32(str(row[0]).encode()))


def damaged(what: str) -> StoreUnavailable:
    return StoreUnavailable(f"the store is damaged: {what}: restore a backup")


class Table(Generic[R]):
    """A table: its name, its rows' type, and its columns in order, of which the first `key` name a row.

    A row is changed only where the columns `stands` still are as they were read.
    """

    def __init__(
        self,
        name: str,
        row: Callable[..., R],
        columns: tuple[str, ...],
        key: int = 1,
        *,
        flat: Callable[[Any], tuple[Any, ...]] = lambda row: row,
        stands: tuple[str, ...] = (),
    ) -> None:
        """`row` makes a row of its columns, and `flat` the columns of a row."""
        self.name = name
        self.row = row
        self.flat = flat
        self.columns = columns
        self.key = key
        self.seed = zlib.crc32(name.encode())
        everything = (*columns, "commit_no", "checksum")
        self.select = f"SELECT {', '.join(everything)} FROM {name}"
        self.insert = f"INSERT INTO {name} ({', '.join(everything)}) VALUES ({', '.join('?' * len(everything))})"
        rest, named = everything[key:], (*columns[:key], *stands)
        self.named = tuple(columns.index(column) for column in named)
        self.update = f"UPDATE {name} SET {', '.join(f'{it} = ?' for it in rest)} WHERE " + " AND ".join(
            f"{it} = ?" for it in named
        )

    def sealed(self, row: tuple[Any, ...], commit_no: int) -> tuple[Any, ...]:
        """A row as `insert` takes it."""
        values = (*row, commit_no)
        return (*values, zlib.crc32(_encode(values), self.seed))

    def opened(self, read: tuple[Any, ...]) -> R:
        """A row as `select` gives it. Raises StoreUnavailable: it is not as it was written."""
        self.check(read)
        return self.row(*read[:-2])

    def check(self, read: tuple[Any, ...]) -> None:
        if zlib.crc32(_encode(read[:-1]), self.seed) != read[-1]:
            raise damaged(f"a row of {self.name} is not as it was written")


class Rows:
    """The rows of the file. Every method is called in the writer's turn."""

    def __init__(self, db: apsw.Connection, commits: CommitCounter | None = None) -> None:
        self._db = db
        self.commits = commits or CommitCounter()
        """Its commit is being gathered: what is written now carries its number."""
        self._next: dict[str, int] = {}

    def forget(self) -> None:
        """After a rollback: rows that were numbered, or written, may never have been."""
        self.commits.writes = 0
        self._next.clear()

    def read(self, table: Table[R], where: str, *values: object) -> list[R]:
        """Return the rows that a condition names.

        Raises:
            StoreUnavailable: one is not as it was written. So does each method that reads.
        """
        return [table.opened(row) for row in self._db.execute(f"{table.select} WHERE {where}", values).fetchall()]

    def scan(self, table: Table[Any]) -> Iterator[tuple[Any, ...]]:
        """Yield every row in the order of its key, as plain columns: there may be many."""
        check, latest = table.check, 0
        row: Any
        for row in self._db.execute(f"{table.select} ORDER BY {', '.join(table.columns[: table.key])}"):
            check(row)
            if row[-2] > latest:
                latest = row[-2]
            yield row
        self.commits.commit_no = max(self.commits.commit_no, latest + 1)

    def values(self, table: Table[Any], column: str, where: str) -> list[Any]:
        """Return each value of a column among the rows of a condition, once: one look at an index for each value.

        The index must begin with the column and be of that condition. It has no checksum: read the rows themselves.
        """
        found: list[Any] = []
        least = f"SELECT min({column}) FROM {table.name} WHERE {where}"
        value = self._db.execute(least).get
        while value is not None:
            found.append(value)
            value = self._db.execute(f"{least} AND {column} > ?", (value,)).get
        return found

    def number(self, table: Table[Any]) -> int:
        """Take the next number of a table whose rows are numbered from 1. What is undone leaves a gap."""
        number = self._next.get(table.name)
        if number is None:
            number = int(self._db.execute(f"SELECT max({table.columns[0]}) FROM {table.name}").get or 0) + 1
        self._next[table.name] = number + 1
        return number

    def add(self, table: Table[R], row: R) -> None:
        self._db.execute(table.insert, table.sealed(table.flat(row), self.commits.commit_no))
        self.commits.writes += 1

    def add_many(self, table: Table[Any], rows: Iterable[tuple[Any, ...]]) -> None:
        """As `add`, and quicker than one by one."""
        sealed = [table.sealed(row, self.commits.commit_no) for row in rows]
        self._db.executemany(table.insert, sealed)
        self.commits.writes += len(sealed)

    def remove(self, table: Table[R], row: R) -> None:
        """Take a row away that was read in this turn. Of notes only: what is counted or marked must stay."""
        key = " AND ".join(f"{it} = ?" for it in table.columns[: table.key])
        self._db.execute(f"DELETE FROM {table.name} WHERE {key}", table.flat(row)[: table.key])

    def change(self, table: Table[R], row: R, **values: object) -> R:
        """Write other values into a row that was read in this turn, and return what it is now."""
        unknown = values.keys() - set(table.columns[table.key :])
        before = table.flat(row)
        now = tuple(values.get(column, was) for column, was in zip(table.columns, before, strict=True))
        sealed = table.sealed(now, self.commits.commit_no)
        self._db.execute(table.update, (*sealed[table.key :], *(before[column] for column in table.named)))
        if unknown or self._db.changes() != 1:
            raise AssertionError(f"a row of {table.name} did not stand where the decision saw it")
        self.commits.writes += 1
        return table.row(*now)


# What stands in the tables, row by row. What it means: migrations/sqlite.


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


class IssueBatchRow(NamedTuple):
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


class AnsweredRow(NamedTuple):
    stock_id: str
    operation: str
    number: str
    request: str
    answer: str


class CardRow(NamedTuple):
    mchid: str
    card_id: str
    send_time: str
    out_request_no: str
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


class DocumentRow(NamedTuple):
    owner: str
    kind: str
    id: str
    body: str


ABOUT = Table("about", AboutRow, AboutRow._fields)
STOCK = Table("stock", StockRow, StockRow._fields)
UPLOAD = Table("upload", UploadRow, UploadRow._fields)
COUPON = Table(
    "coupon",
    lambda *columns: CouponFacts(**dict(zip(CouponFacts.__struct_fields__, columns, strict=True))),
    CouponFacts.__struct_fields__,
    flat=msgspec.structs.astuple,
    stands=("coupon_state",),
)
ISSUE_BATCH = Table("issue_batch", IssueBatchRow, IssueBatchRow._fields)
DELETION = Table("deletion", DeletionRow, DeletionRow._fields)
ANSWERED = Table("answered", AnsweredRow, AnsweredRow._fields, key=3)
CARD = Table("card", CardRow, CardRow._fields, key=4)
PAY_RECEIPT = Table("pay_receipt", PayReceiptRow, PayReceiptRow._fields)
RETURN_RECEIPT = Table("return_receipt", ReturnReceiptRow, ReturnReceiptRow._fields)
CALLBACK = Table("callback", CallbackRow, CallbackRow._fields, key=2)
EVENT = Table("event", EventRow, EventRow._fields)
BARRED = Table("barred", BarredRow, BarredRow._fields, key=2)
NONCE = Table("nonce", NonceRow, NonceRow._fields)
DOCUMENT = Table("document", DocumentRow, DocumentRow._fields, key=3)

TABLES: tuple[Table[Any], ...] = (
    ABOUT,
    STOCK,
    UPLOAD,
    COUPON,
    ISSUE_BATCH,
    DELETION,
    ANSWERED,
    CARD,
    PAY_RECEIPT,
    RETURN_RECEIPT,
    CALLBACK,
    EVENT,
    BARRED,
    NONCE,
    DOCUMENT,
)
