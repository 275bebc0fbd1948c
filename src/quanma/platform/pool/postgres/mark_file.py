"""A worker's marks in a file of its own: a head, a ring of issued coupons, a mark for each stock."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from ....errors import Misconfigured, StoreUnavailable
from ....storage import locks, private
from ....storage.descriptors import make_room, read_at, write_at

ISSUED_KEPT = 1024
"""Coupons that a worker can name."""
KINDS = ("stock", "coupon", "upload", "deletion", "answered")

_GROW = 64
"""Marks for which room is made at a time: a full disk is met then, and not when an answer is due."""
_READ_AT_ONCE = 1024
_HEAD_BYTES = 4096
_CHECKSUM = struct.Struct("<I")
_HEAD = struct.Struct("<8sQQ32x")
_MAGIC = b"quanmaW1"
_STOCK_BYTES = 40
_KEY_BYTES = 172
_MARK = struct.Struct(f"<{_STOCK_BYTES}s8sQB3xqqH{_KEY_BYTES}s")
_MARK_BYTES = 256
_ISSUED = struct.Struct(f"<{_STOCK_BYTES}s8sqH40s148s")
_ISSUED_BYTES = 256
_MARKS_AT = _HEAD_BYTES + ISSUED_KEPT * _ISSUED_BYTES


class Mark(NamedTuple):
    """The row that proves the last transaction of a stock that was acknowledged."""

    kind: str
    """One of KINDS: the row's table."""
    key: str
    """What the row is found by: a code, a number; of `done`, operation and number, a line each."""
    number: int
    """Of a coupon, its number in the stock; else that of the last coupon before."""
    word: int
    """Random, or the microsecond of writing: a row that was written again in another history has another one."""
    transaction_no: int = 0
    """Which of two marks is the later one."""


class IssuedCoupon(NamedTuple):
    """A coupon that was acknowledged."""

    stock_id: str
    coupon_id: int
    coupon_code: str
    out_request_no: str


class MarkFile:
    """One worker writes it; the others of its host read it."""

    def __init__(self, path: Path, *, owned: bool) -> None:
        """Raises BlockingIOError: it has an owner."""
        self.path = path
        self.descriptor = open_private(path)
        try:
            if owned:
                locks.take(self.descriptor)
            if os.fstat(self.descriptor).st_size < _MARKS_AT and owned:
                make_room(self.descriptor, 0, _MARKS_AT)
        except OSError:
            os.close(self.descriptor)
            raise
        self.doubts, self._issued = self._read_head()
        self._places: dict[str, int] = {}
        """Of each stock's mark."""
        self._marks = self._room = 0
        """How many there are, and for how many there is room."""
        self._learn()

    def close(self) -> None:
        os.close(self.descriptor)

    def read(self, stock_id: str, history: str) -> Mark | None:
        place = self._places.get(stock_id)
        if place is None:
            self._learn()
            if (place := self._places.get(stock_id)) is None:
                return None
        for _ in range(2):  # It may be half written by its worker at this moment.
            if (found := _mark_in(self._raw(place))) is not None:
                return found[2] if found[1] == digest(history) else None
        return None

    def marks(self) -> Iterator[tuple[str, str, Mark]]:
        self._learn()
        for place in self._places.values():
            if (found := _mark_in(self._raw(place))) is not None:
                stock_id, of, mark = found
                yield stock_id, of.hex(), mark

    def reserve(self, stock_id: str) -> None:
        if stock_id not in self._places:
            place = self._new_place()
            # The name is written with the room: where the marks are is learned from it.
            name = stock_id.encode().ljust(_MARK_BYTES, b"\0")
            write_at(self.descriptor, name, _MARKS_AT + place * _MARK_BYTES)
            self._places[stock_id] = place
            self._marks += 1

    def write(self, stock_id: str, history: str, mark: Mark) -> bytes:
        """Returns what stood there. There is room for it: see `reserve`."""
        place = self._places[stock_id]
        before, content = self._raw(place), _packed(stock_id, history, mark)
        if content is not None:
            write_at(self.descriptor, content, _MARKS_AT + place * _MARK_BYTES)
        return before

    def write_back(self, stock_id: str, before: bytes) -> None:
        write_at(self.descriptor, before, _MARKS_AT + self._places[stock_id] * _MARK_BYTES)

    def add_issued(self, history: str, issued: Sequence[IssuedCoupon]) -> None:
        if not issued:
            return
        entries = [_packed_issued(history, coupon) for coupon in issued[-ISSUED_KEPT:]]
        first = self._issued % ISSUED_KEPT
        until_end, rest = entries[: ISSUED_KEPT - first], entries[ISSUED_KEPT - first :]
        write_at(self.descriptor, b"".join(until_end), _HEAD_BYTES + first * _ISSUED_BYTES)
        if rest:
            write_at(self.descriptor, b"".join(rest), _HEAD_BYTES)
        self._issued += len(entries)
        self._write_head()

    def issued(self, history: str) -> Iterator[IssuedCoupon]:
        content = read_at(self.descriptor, ISSUED_KEPT * _ISSUED_BYTES, _HEAD_BYTES)
        for at in range(0, len(content) - _ISSUED_BYTES + 1, _ISSUED_BYTES):
            if (coupon := _issued_in(content[at : at + _ISSUED_BYTES], digest(history))) is not None:
                yield coupon

    def set_doubts(self, doubts: int) -> None:
        if doubts != self.doubts:
            self.doubts = doubts
            self._write_head()

    def read_doubts(self) -> int:
        return self._read_head()[0]

    def _read_head(self) -> tuple[int, int]:
        content = read_at(self.descriptor, _HEAD.size, 0)
        if len(content) < _HEAD.size:
            return 0, 0
        magic, doubts, issued = _HEAD.unpack(content)
        return (doubts, issued) if magic == _MAGIC else (0, 0)

    def _write_head(self) -> None:
        write_at(self.descriptor, _HEAD.pack(_MAGIC, self.doubts, self._issued), 0)

    def _raw(self, place: int) -> bytes:
        return read_at(self.descriptor, _MARK_BYTES, _MARKS_AT + place * _MARK_BYTES)

    def _learn(self) -> None:
        """Where the marks are that were written since the last look."""
        self._room = max(0, os.fstat(self.descriptor).st_size - _MARKS_AT) // _MARK_BYTES
        while (first := self._marks) < self._room:
            content = read_at(self.descriptor, _READ_AT_ONCE * _MARK_BYTES, _MARKS_AT + first * _MARK_BYTES)
            for at in range(0, len(content), _MARK_BYTES):
                if not content[at]:
                    return
                # By its name alone: a mark that is torn keeps its place.
                self._places[content[at : at + _STOCK_BYTES].rstrip(b"\0").decode(errors="replace")] = self._marks
                self._marks += 1

    def _new_place(self) -> int:
        place = self._marks
        if place >= self._room:
            try:
                make_room(self.descriptor, _MARKS_AT + place * _MARK_BYTES, _GROW * _MARK_BYTES)
            except OSError as problem:
                raise StoreUnavailable(
                    f"{self.path} has no room for another stock ({problem.strerror}): free the disk; nothing is "
                    "acknowledged that this host can't bear witness of"
                ) from None
            self._room = place + _GROW
        return place


@lru_cache(16)
def digest(history: str) -> bytes:
    """How a history is known in the marks."""
    return blake2b(history.encode(), digest_size=8).digest()


def _packed(stock_id: str, history: str, mark: Mark) -> bytes | None:
    """None: the number is too long to be written down. The older mark stays, and proves less."""
    key = mark.key.encode()
    if len(key) > _KEY_BYTES:
        return None
    fields = _MARK.pack(
        stock_id.encode(),
        digest(history),
        mark.transaction_no,
        KINDS.index(mark.kind),
        mark.number,
        mark.word,
        len(key),
        key,
    )
    return fields.ljust(_MARK_BYTES - _CHECKSUM.size, b"\0") + _CHECKSUM.pack(
        zlib.crc32(fields.ljust(_MARK_BYTES - _CHECKSUM.size, b"\0"))
    )


def _mark_in(content: bytes) -> tuple[str, bytes, Mark] | None:
    """None: there is none, or it is torn or damaged."""
    fields, checksum = content[: -_CHECKSUM.size], content[-_CHECKSUM.size :]
    if len(content) != _MARK_BYTES or not fields[0] or checksum != _CHECKSUM.pack(zlib.crc32(fields)):
        return None
    stock_id, history, transaction_no, kind, number, word, length, key = _MARK.unpack_from(fields)
    mark = Mark(KINDS[kind], key[:length].decode(), number, word, transaction_no)
    return stock_id.rstrip(b"\0").decode(), history, mark


def _packed_issued(history: str, coupon: IssuedCoupon) -> bytes:
    number = coupon.out_request_no.encode()[:148]
    fields = _ISSUED.pack(
        coupon.stock_id.encode(),
        digest(history),
        coupon.coupon_id,
        len(number),
        coupon.coupon_code.encode(),
        number,
    )
    fields = fields.ljust(_ISSUED_BYTES - _CHECKSUM.size, b"\0")
    return fields + _CHECKSUM.pack(zlib.crc32(fields))


def _issued_in(content: bytes, history: bytes) -> IssuedCoupon | None:
    fields, checksum = content[: -_CHECKSUM.size], content[-_CHECKSUM.size :]
    if not fields[0] or checksum != _CHECKSUM.pack(zlib.crc32(fields)):
        return None
    stock_id, of, coupon_id, length, coupon_code, number = _ISSUED.unpack_from(fields)
    if of != history:
        return None
    return IssuedCoupon(
        stock_id.rstrip(b"\0").decode(), coupon_id, coupon_code.rstrip(b"\0").decode(), number[:length].decode()
    )


def open_private(path: Path) -> int:
    """A private file that this user owns, and no link. Raises OSError."""
    try:
        return private.keep(path, "codes")
    except private.NotPrivate:
        raise Misconfigured(
            f"{path} is another user's, or open to others: it holds codes; remove it, or chmod 600 and chown it"
        ) from None


def is_free(path: Path) -> bool:
    """Whether a worker's file has no living owner."""
    descriptor = open_private(path)
    try:
        locks.take(descriptor)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
