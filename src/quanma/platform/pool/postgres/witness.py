"""What this host acknowledged of a pool, kept outside the database: so that a database that went back is noticed.

A folder beside platform.toml holds, for each pool, a file `host` and a file for each worker of this machine.

A worker writes down, after each COMMIT and before the answers leave, which row proves what it acknowledged last of the
stock: its *mark*. Turns of a stock are serial, and a database goes back to a prefix of what was committed. So a mark
that is found in the database proves all before it, of every worker and host. One that is not found: something that was
acknowledged is missing. The last thousand coupons are kept by number and code, to name what is missing.

Nothing is synced but once a second: kill -9 loses nothing of it, and a power failure may leave an older mark, which
proves less and is not wrong. Each file has one writer, so nothing is locked while codes are drawn.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import struct
import zlib
from collections.abc import Generator, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from ....errors import Misconfigured, StoreUnavailable
from ....storage import private

FOLDER = "witness"
ISSUED_KEPT = 1024
"""Coupons that a worker can name."""
WORKERS_MAX = 64

_GROW = 64
"""Marks for which room is made at a time: a full disk is met then, and not when an answer is due."""
_READ_AT_ONCE = 1024
_HEAD_BYTES = 4096
_CHECKSUM = struct.Struct("<I")
_LENGTH = struct.Struct("<I")
_HEAD = struct.Struct("<8sQQ32x")
_MAGIC = b"quanmaW1"
_STOCK_BYTES = 40
_KEY_BYTES = 172
_MARK = struct.Struct(f"<{_STOCK_BYTES}s8sQB3xqqH{_KEY_BYTES}s")
_MARK_BYTES = 256
_ISSUED = struct.Struct(f"<{_STOCK_BYTES}s8sqH40s148s")
_ISSUED_BYTES = 256
_MARKS_AT = _HEAD_BYTES + ISSUED_KEPT * _ISSUED_BYTES

KINDS = ("stock", "coupon", "upload", "deletion", "done")


class Mark(NamedTuple):
    """The row that proves the last turn of a stock that was acknowledged."""

    kind: str
    """One of KINDS: the row's table."""
    key: str
    """What the row is found by: a code, a number; of `done`, operation and number, a line each."""
    number: int
    """Of a coupon, its number in the stock; else that of the last coupon before."""
    word: int
    """Random, or the microsecond of writing: a row that was written again in another history has another one."""
    turn_no: int = 0
    """Which of two marks is the later one."""


class IssuedCoupon(NamedTuple):
    """A coupon that was acknowledged."""

    stock_id: str
    coupon_id: int
    coupon_code: str
    out_request_no: str


class Host(msgspec.Struct, frozen=True):
    """What the workers of this host share."""

    inode: int = 0
    """Of its file: a copy of the folder has another, and is a host of its own."""

    host_id: str = ""
    history: str = ""
    """The history that its marks belong to."""
    epoch: str = ""
    """The epoch that it confirmed, as `Seen.epoch`."""
    epoch_number: int = 0
    system: int = 0
    timeline: int = 0
    """The latest timeline seen of that system: a server on an earlier one is an old primary."""
    beat: int = 0
    claimed_at: int = 0
    """When a worker last went to renew the lease, and when that was done: nanoseconds of the monotonic clock."""
    renewed_at: int = 0
    address: str = ""
    """The database's, without user and password."""
    peers: dict[str, str] = {}
    """The other hosts that had a live lease when this one last renewed its own, by id: their names. A database that
    went back to before one of them came does not know of it."""


class EpochPassed(Exception):
    """The host has confirmed another epoch since the turn began: what was committed may not be in the database."""


class Witness:
    """The marks of this host for one pool, open for one worker."""

    def __init__(self, folder: Path, pool_id: str, address: str | None = None) -> None:
        """`address`: None leaves it as it is noted. Raises Misconfigured: the folder can't be written."""
        self.folder = folder / FOLDER / pool_id
        self._prefix = f"{self.folder}/worker-"
        try:
            private.make_folder(folder / FOLDER)
            private.make_folder(self.folder)
            self._host = _HostFile(self.folder / "host", address)
            self._own = self._take_a_file()
        except OSError as problem:
            raise Misconfigured(
                f"{self.folder} can't be written ({problem.strerror}): it keeps what this host acknowledged; "
                "let the platform write beside platform.toml"
            ) from None
        self._others: list[_MarkFile] = []
        self._next_place = 0
        """Whose file is looked for next: they are made in the order of their places."""
        self.is_new = self.host.beat == 0 and not any(True for _ in self.marks())

    def _take_a_file(self) -> _MarkFile:
        """One that no living worker has, with the marks in it."""
        for number in range(WORKERS_MAX):
            with contextlib.suppress(BlockingIOError):
                return _MarkFile(Path(f"{self._prefix}{number:02}"), owned=True)
        raise Misconfigured(f"more than {WORKERS_MAX} workers serve one pool from {self.folder}")

    @property
    def host(self) -> Host:
        return self._host.read()

    def change_host(self, **changes: Any) -> Host:
        """Raises StoreUnavailable: another worker holds the file for too long."""
        return self._host.change(**changes)

    def mark_of(self, stock_id: str, history: str) -> Mark | None:
        """The latest mark of a stock in a history, of all workers of this host."""
        found = [mark for file in self._all() if (mark := file.read(stock_id, history)) is not None]
        return max(found, key=lambda mark: mark.turn_no) if found else None

    def marks(self) -> Iterator[tuple[str, str, Mark]]:
        """Every mark of every worker: the stock, the history's digest as text, the mark."""
        for file in self._all():
            yield from file.marks()

    def issued(self, history: str) -> list[IssuedCoupon]:
        """The coupons that this host can name, of a history."""
        return [coupon for file in self._all() for coupon in file.issued(history)]

    def reserve(self, stock_id: str) -> None:
        """Make room for a stock's mark, before anything is done. Raises StoreUnavailable: there is none."""
        self._own.reserve(stock_id)

    def note(self, epoch: str, history: str, stock_id: str, mark: Mark, issued: Sequence[IssuedCoupon] = ()) -> None:
        """Write down what was committed, before it is acknowledged.

        Raises:
            EpochPassed: it must not be acknowledged.
        """
        before = self._own.write(stock_id, history, mark)
        # Written first, looked at then: whoever confirms an epoch meanwhile writes first, and then reads the marks.
        if self.host.epoch != epoch:
            self._own.write_back(stock_id, before)
            raise EpochPassed
        self._own.add_issued(history, issued)

    def doubt(self) -> None:
        """A COMMIT has no sure outcome: what it wrote may be seen, and be lost by a failover."""
        self._own.set_doubts(self._own.doubts + 1)

    @property
    def doubts(self) -> int:
        """How many such commits the workers of this host have not proven yet."""
        return self._own.doubts + sum(file.read_doubts() for file in self._found())

    def clear_doubts(self) -> None:
        """A later commit of this worker is sure, so all before it are."""
        self._own.set_doubts(0)

    def sync(self) -> None:
        """Now and then. A worker's file that can't be synced is a weaker witness, and no wrong one."""
        with contextlib.suppress(OSError):
            os.fdatasync(self._own.descriptor)

    def others_serve(self) -> bool:
        """Whether another worker of this host is alive."""
        return any(not _is_free(file.path) for file in self._found())

    def close(self) -> None:
        self.sync()
        self._own.close()
        self._host.close()
        for file in self._others:
            file.close()

    def _all(self) -> Iterator[_MarkFile]:
        yield self._own
        yield from self._found()

    def _found(self) -> list[_MarkFile]:
        """The files of the other workers, those that came meanwhile too."""
        # Looked for in each turn: text and one call of the system, where a Path would cost more than the rest.
        while os.path.exists(path := f"{self._prefix}{self._next_place:02}"):
            if path != str(self._own.path):
                self._others.append(_MarkFile(Path(path), owned=False))
            self._next_place += 1
        return self._others


def known_pools(folder: Path, address: str) -> list[str]:
    """The ids of the pools that this host served at an address."""
    if not (folder / FOLDER).is_dir():
        return []
    hosts = sorted((folder / FOLDER).glob("*/host"))
    return [
        path.parent.name
        for path in hosts
        if (host := _host_in(path.read_bytes())) is not None and host.address == address
    ]


class _HostFile:
    """A small file that any worker may write, one at a time."""

    BYTES = 4096

    def __init__(self, path: Path, address: str | None) -> None:
        self._path = path
        self._descriptor = _open(path)
        self._read = b"", Host()
        inode = os.fstat(self._descriptor).st_ino
        with self._locked():
            host = _host_in(os.pread(self._descriptor, self.BYTES, 0)) or Host()
            if host.inode != inode:
                # New; or a copy of another host's folder. The marks in it stay true.
                host = replace(host, inode=inode, host_id=secrets.token_hex(8), beat=0)
            self._write(host if address is None else replace(host, address=address))

    def read(self) -> Host:
        content = os.pread(self._descriptor, self.BYTES, 0)
        if content == self._read[0]:
            return self._read[1]
        for _ in range(1000):
            if (found := _host_in(content)) is not None:
                self._read = content, found
                return found
            content = os.pread(self._descriptor, self.BYTES, 0)
        raise StoreUnavailable(f"{self._path} is damaged: remove it; quanma then has no witness of older coupons")

    def change(self, **changes: Any) -> Host:
        with self._locked():
            host = replace(self.read(), **changes)
            self._write(host)
            return host

    def close(self) -> None:
        os.close(self._descriptor)

    def _write(self, host: Host) -> None:
        packed = msgspec.msgpack.encode(host)
        content = (_LENGTH.pack(len(packed)) + packed).ljust(self.BYTES - _CHECKSUM.size, b"\0")
        os.pwrite(self._descriptor, content + _CHECKSUM.pack(zlib.crc32(content)), 0)

    @contextlib.contextmanager
    def _locked(self) -> Generator[None, None, None]:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)


def _host_in(content: bytes) -> Host | None:
    """None: there is none, or it is half written or damaged."""
    fields, checksum = content[: -_CHECKSUM.size], content[-_CHECKSUM.size :]
    if len(content) != _HostFile.BYTES or checksum != _CHECKSUM.pack(zlib.crc32(fields)):
        return None
    (length,) = _LENGTH.unpack_from(fields)
    return msgspec.msgpack.decode(fields[_LENGTH.size : _LENGTH.size + length], type=Host)


class _MarkFile:
    """A worker's marks: a head, a ring of issued coupons, a mark for each stock. One worker writes it."""

    def __init__(self, path: Path, *, owned: bool) -> None:
        """Raises BlockingIOError: it has an owner."""
        self.path = path
        self.descriptor = _open(path)
        try:
            if owned:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(self.descriptor).st_size < _MARKS_AT and owned:
                os.posix_fallocate(self.descriptor, 0, _MARKS_AT)
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
            os.pwrite(self.descriptor, name, _MARKS_AT + place * _MARK_BYTES)
            self._places[stock_id] = place
            self._marks += 1

    def write(self, stock_id: str, history: str, mark: Mark) -> bytes:
        """Returns what stood there. There is room for it: see `reserve`."""
        place = self._places[stock_id]
        before, content = self._raw(place), _packed(stock_id, history, mark)
        if content is not None:
            os.pwrite(self.descriptor, content, _MARKS_AT + place * _MARK_BYTES)
        return before

    def write_back(self, stock_id: str, before: bytes) -> None:
        os.pwrite(self.descriptor, before, _MARKS_AT + self._places[stock_id] * _MARK_BYTES)

    def add_issued(self, history: str, issued: Sequence[IssuedCoupon]) -> None:
        if not issued:
            return
        entries = [_packed_issued(history, coupon) for coupon in issued[-ISSUED_KEPT:]]
        first = self._issued % ISSUED_KEPT
        until_end, rest = entries[: ISSUED_KEPT - first], entries[ISSUED_KEPT - first :]
        os.pwrite(self.descriptor, b"".join(until_end), _HEAD_BYTES + first * _ISSUED_BYTES)
        if rest:
            os.pwrite(self.descriptor, b"".join(rest), _HEAD_BYTES)
        self._issued += len(entries)
        self._write_head()

    def issued(self, history: str) -> Iterator[IssuedCoupon]:
        content = os.pread(self.descriptor, ISSUED_KEPT * _ISSUED_BYTES, _HEAD_BYTES)
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
        content = os.pread(self.descriptor, _HEAD.size, 0)
        if len(content) < _HEAD.size:
            return 0, 0
        magic, doubts, issued = _HEAD.unpack(content)
        return (doubts, issued) if magic == _MAGIC else (0, 0)

    def _write_head(self) -> None:
        os.pwrite(self.descriptor, _HEAD.pack(_MAGIC, self.doubts, self._issued), 0)

    def _raw(self, place: int) -> bytes:
        return os.pread(self.descriptor, _MARK_BYTES, _MARKS_AT + place * _MARK_BYTES)

    def _learn(self) -> None:
        """Where the marks are that were written since the last look."""
        self._room = max(0, os.fstat(self.descriptor).st_size - _MARKS_AT) // _MARK_BYTES
        while (first := self._marks) < self._room:
            content = os.pread(self.descriptor, _READ_AT_ONCE * _MARK_BYTES, _MARKS_AT + first * _MARK_BYTES)
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
                os.posix_fallocate(self.descriptor, _MARKS_AT + place * _MARK_BYTES, _GROW * _MARK_BYTES)
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
        mark.turn_no,
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
    stock_id, history, turn_no, kind, number, word, length, key = _MARK.unpack_from(fields)
    mark = Mark(KINDS[kind], key[:length].decode(), number, word, turn_no)
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


def _open(path: Path) -> int:
    """A private file that this user owns, and no link. Raises OSError."""
    try:
        return private.keep(path, "codes")
    except private.NotPrivate:
        raise Misconfigured(
            f"{path} is another user's, or open to others: it holds codes; remove it, or chmod 600 and chown it"
        ) from None


def _is_free(path: Path) -> bool:
    """Whether a worker's file has no living owner."""
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
