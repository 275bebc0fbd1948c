"""All that a pool holds, as a stream of records: to move a pool between back ends, with running sums of both sides.

One file, zstd over JSON lines: a head, the records, and an end with the sums. What a back end makes of its own accord,
numbers of rows and the like, is not in it: the sums of a pool are the same wherever it lives.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import msgspec

from ...errors import SourceUnreadable
from ...storage.zstd import CompressionParameter, DecompressionParameter, ZstdError, ZstdFile
from ..coupons.coupon import CouponFacts

VERSION = 1
LINE_BYTES_MAX = 16 * 1024 * 1024
"""Of a record. A request, the largest part of one, has 1 MiB at most; in JSON it may have three times as many."""
SUM_BYTES_MAX = 256
WINDOW_BYTES_MAX = 8 * 1024 * 1024
"""How far back a packed file may refer, and so how much memory it takes. Ours refer 2 MiB back."""
RATIO_MAX = 500
RATIO_FROM_BYTES = 64 * 1024 * 1024
"""A larger one that is packed more tightly is not ours: 10 to 60 times is usual."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="is"):
    """One thing that a pool holds. Times are Unix seconds; what is JSON in the pool is its text here."""

    @property
    def of(self) -> str:
        """The stock that it belongs to, if to one."""
        return str(getattr(self, "stock_id", ""))


class StockRecord(Record, frozen=True, kw_only=True, tag="stock"):
    stock_id: str
    mchid: str
    out_request_no: str
    request: str
    created_at: int
    product_coupon_id: str | None = None
    brand_id: str | None = None


class CallbackRecord(Record, frozen=True, kw_only=True, tag="callback"):
    caller: str
    mchid: str
    notify_url: str
    updated_at: int


class NonceRecord(Record, frozen=True, kw_only=True, tag="nonce"):
    mchid: str
    next: int


class DocumentRecord(Record, frozen=True, kw_only=True, tag="document"):
    """Of 商品券: see coupons/product/changes.py."""

    owner: str
    kind: str
    id: str
    body: str


class UploadRecord(Record, frozen=True, kw_only=True, tag="upload"):
    """Of one stock, in the order of their positions."""

    stock_id: str
    upload_request_no: str
    first_position: int
    """0 if it brought no code."""
    codes: str
    """Newly stored ones, one a line."""
    others: str | None = None
    success_at: int


class CouponRecord(CouponFacts, Record, frozen=True, kw_only=True, tag="coupon"):
    """In the order in which they were given out. It has no number: each pool numbers its own."""

    @classmethod
    def of_coupon(cls, coupon: CouponFacts) -> CouponRecord:
        return cls(**msgspec.structs.asdict(msgspec.structs.replace(coupon, coupon_id=0)))

    def numbered(self, coupon_id: int) -> CouponFacts:
        """Return the coupon as a pool has it."""
        fields: dict[str, Any] = msgspec.structs.asdict(self) | {"coupon_id": coupon_id}
        return CouponFacts(**fields)


class DeletionRecord(Record, frozen=True, kw_only=True, tag="deletion"):
    stock_id: str
    position: int
    coupon_code: str
    delete_request_no: str
    deleted_at: int


class BarredRecord(Record, frozen=True, kw_only=True, tag="barred"):
    """A code that a lost history of the pool gave out."""

    stock_id: str
    coupon_code: str
    barred_at: int


class CardKey(NamedTuple):
    """What the number of a consumption card is unique with. In the file it stands where others have their stock."""

    mchid: str
    card_id: str
    send_time: str

    @classmethod
    def of(cls, stock_id: str) -> CardKey | None:
        """Read what an `AnsweredRecord` has as its stock. None: it is a stock."""
        if not stock_id.startswith("card\n"):
            return None
        _, mchid, rest = stock_id.split("\n", 2)
        card_id, _, send_time = rest.rpartition("\n")
        return cls(mchid, card_id, send_time)

    def written(self) -> str:
        return "\n".join(("card", *self))


class AnsweredRecord(Record, frozen=True, kw_only=True, tag="done"):
    """What a number did. `stock_id`: see `CardKey`."""

    stock_id: str
    operation: str
    number: str
    request: str
    answer: str


class PayReceiptRecord(Record, frozen=True, kw_only=True, tag="pay_receipt"):
    subsidy_receipt_id: str
    stock_id: str
    coupon_code: str
    transaction_id: str
    amount: int
    returned_amount: int
    receipt: str


class ReturnReceiptRecord(Record, frozen=True, kw_only=True, tag="return_receipt"):
    subsidy_return_receipt_id: str
    stock_id: str
    receipt: str


class EventRecord(Record, frozen=True, kw_only=True, tag="event"):
    """In the order in which they were written."""

    stock_id: str
    coupon_code: str
    """Of the coupon that it tells of."""
    id: str
    mchid: str
    created_at: int
    attempts: int
    due_at: int | None = None
    delivered_at: int | None = None
    last_error: str | None = None


AnyRecord = (
    StockRecord
    | CallbackRecord
    | NonceRecord
    | DocumentRecord
    | DeletionRecord
    | UploadRecord
    | CouponRecord
    | BarredRecord
    | AnsweredRecord
    | PayReceiptRecord
    | ReturnReceiptRecord
    | EventRecord
)
"""In the order of a stream: each only speaks of what came before it."""


class Transfer(Protocol):
    """A pool that nobody serves, opened to be moved."""

    async def open(self) -> None: ...

    async def close(self) -> None:
        """What was filled in and not accepted is gone."""
        ...

    def dump(self) -> AsyncIterator[AnyRecord]:
        """Yield all that it holds, in the order of `AnyRecord`."""
        ...

    async def fill(self, records: Iterable[AnyRecord]) -> None:
        """Take all records into an empty pool, durably; it gives nothing out and shows nothing until `accept`.

        Raises:
            StoreUnavailable: the pool is not empty, or can't be written.
        """
        ...

    async def accept(self) -> None:
        """What was filled in is the pool from now on."""
        ...

    async def leave(self, why: str) -> None:
        """Fence the pool: it has moved elsewhere."""
        ...


class Sum(msgspec.Struct, frozen=True, array_like=True):
    """Of the records of one kind and stock: how many, how many codes in them, and their checksums added up."""

    kind: str
    stock_id: str
    records: int
    codes: int
    checksum: int


class Sums:
    """Running sums. The order of the records is of no account."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], list[int]] = {}

    def add(self, record: AnyRecord, line: bytes) -> None:
        sums = self._sums.setdefault((_kind(record), record.of), [0, 0, 0])
        sums[0] += 1
        if isinstance(record, UploadRecord) and record.codes:
            sums[1] += record.codes.count("\n") + 1
        digest = hashlib.blake2b(line, digest_size=8).digest()
        sums[2] = (sums[2] + int.from_bytes(digest)) % 2**63

    def __len__(self) -> int:
        return len(self._sums)

    def all(self) -> list[Sum]:
        return [Sum(*key, *sums) for key, sums in sorted(self._sums.items())]


class KindSum(NamedTuple):
    kind: str
    records: int
    codes: int
    checksum: str


def by_kind(sums: Iterable[Sum]) -> list[KindSum]:
    """Add up the stocks, for people to compare."""
    totals: dict[str, list[int]] = {}
    for one in sums:
        total = totals.setdefault(one.kind, [0, 0, 0])
        for at, value in enumerate((one.records, one.codes, one.checksum)):
            total[at] += value
    return [KindSum(kind, records, codes, f"{total % 2**63:016x}") for kind, (records, codes, total) in totals.items()]


def differences(before: Iterable[Sum], after: Iterable[Sum]) -> list[str]:
    """Say where the sums of two pools differ."""
    one, other = ({(it.kind, it.stock_id): it for it in sums} for sums in (before, after))
    said: list[str] = []
    for key in sorted(one.keys() | other.keys()):
        if one.get(key) != other.get(key):
            kind, stock_id = key
            there, here = (str(sums[key].records) if key in sums else "no" for sums in (one, other))
            said.append(f"{kind} of stock {stock_id or '-'}: {there} records exported, {here} found")
    return said


class _Head(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="house"):
    version: int
    made_at: int


class _End(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="end"):
    sums: list[Sum]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AnyRecord | _Head | _End).decode


def _kind(record: AnyRecord) -> str:
    return str(record.__struct_config__.tag)


async def write(file: IO[bytes], records: AsyncIterator[AnyRecord], now: int) -> list[Sum]:
    """Write a stream of records, and return its sums."""
    sums = Sums()
    how: dict[int, int] = {CompressionParameter.compression_level: 3, CompressionParameter.checksum_flag: 1}
    with ZstdFile(file, "wb", options=how) as out:
        out.write(_encode(_Head(version=VERSION, made_at=now)) + b"\n")
        async for record in records:
            line = _encode(record)
            sums.add(record, line)
            out.write(line + b"\n")
        out.write(_encode(_End(sums=sums.all())) + b"\n")
    return sums.all()


class Reading:
    """A file of records being read: `records` once, then `sums`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.sums: list[Sum] = []

    def records(self) -> Iterator[AnyRecord]:
        """Raises SourceUnreadable: it is no such file, is cut off, or is not what was written."""
        running = Sums()
        try:
            with self._path.open("rb") as file:
                lines = self._lines(file, running)
                head, ended = _decode(next(lines, b"")), False
                if not isinstance(head, _Head):
                    raise ValueError("it has no head")
                if head.version != VERSION:
                    raise ValueError(f"it has version {head.version}, this quanma knows {VERSION}")
                for line in lines:
                    record = _decode(line)
                    if isinstance(record, _Head) or ended:
                        raise ValueError("it goes on behind its end")
                    if isinstance(record, _End):
                        self.sums, ended = record.sums, True
                        continue
                    running.add(record, line.rstrip(b"\n"))
                    yield record
                if not ended:
                    raise ValueError("it is cut off")
                if running.all() != self.sums:
                    raise ValueError("its records are not those that were written")
        except (OSError, EOFError, ValueError, RecursionError, ZstdError) as problem:
            raise SourceUnreadable(f"{self._path} can't be read: {problem}: nothing was imported") from None

    def _lines(self, file: IO[bytes], running: Sums) -> Iterator[bytes]:
        """Raises ValueError: the file would unpack to more than our own ever do."""
        how: dict[int, int] = {DecompressionParameter.window_log_max: WINDOW_BYTES_MAX.bit_length() - 1}
        unpacked = ZstdFile(file, "rb", options=how)
        packed_bytes, unpacked_bytes = os.fstat(file.fileno()).st_size, 0
        # The end tells the sums of what came before it.
        while line := unpacked.readline(limit := LINE_BYTES_MAX + SUM_BYTES_MAX * len(running)):
            if len(line) == limit:
                raise ValueError(f"a line of it is longer than {limit:,} bytes")
            unpacked_bytes += len(line)
            if unpacked_bytes > RATIO_FROM_BYTES and unpacked_bytes > RATIO_MAX * packed_bytes:
                raise ValueError(f"it unpacks to more than {RATIO_MAX:,} times its size")
            yield line


async def sums_of(records: AsyncIterator[AnyRecord]) -> list[Sum]:
    sums = Sums()
    async for record in records:
        sums.add(record, _encode(record))
    return sums.all()
