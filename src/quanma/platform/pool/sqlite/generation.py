"""A pool's generation: which pool it is, and how far it has come. So an older copy is known for what it is.

A pool that was restored from a backup does not know which codes were given out since. It must not draw them again, so
it is fenced: it gives nothing out until someone says what was (`quanma reconcile`).

The generation stands in the pool's file, and in a small file beside it, the mark: the pool's id, the inode of its file,
the number of commits, and which coupon, upload and deletion were acknowledged last.

- The mark is written after each commit, before its answers leave, without an fsync: after kill -9 it is right. It is
  synced once a second. After a power failure it may be older than the pool, which is no reason for a fence.
- The pool is fenced if it has fewer commits than its mark says, or lacks what the mark saw acknowledged. A copy is a
  beginning of the pool's history, so if it has the last coupon, it has all before it. A count alone would not do: a
  copy that went on would pass it again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import time
import zlib
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import msgspec

from ....errors import StoreUnavailable
from ....storage import private
from ....storage.descriptors import read_at, sync, write_at

SYNC_SECONDS = 1.0
_HOLDS = "or change what was given out last"
_MAGIC = b"quanma\x02m"
_FORMAT = struct.Struct("<8s16sQQQ16sQ16sQ16sQ224s")
_UNKNOWN = bytes(16)
"""In the file, in place of a digest. So is 0 in place of a number."""
_CHECKSUM = struct.Struct("<I")
_BYTES = _FORMAT.size + _CHECKSUM.size
"""Less than a disk writes at once: after a power failure it is the old one or the new one."""


_encode = msgspec.msgpack.Encoder().encode


class Seen(NamedTuple):
    """A row that is only ever added: its id, and a digest of what it says."""

    number: int
    digest: bytes


class Generation(NamedTuple):
    """How far a pool has come: as its file says, or as its mark does."""

    pool_id: bytes | None
    """16 random bytes: new ones with each history of its own, when it is made and when it is reconciled.
    None: the file is new, and never had a mark."""
    commits: int
    coupons: int
    """The id of the last one; 0: there was none yet."""
    inode: int | None
    """Of the file that the pool is in: a copy has another. None: the pool was fenced, and was written to since."""
    coupon_digest: bytes | None = None
    """Of the last coupon. None: there was none, or it is not known."""
    upload: Seen | None = None
    """The last one. None: there was none, or it is not known. So with the deletion."""
    deletion: Seen | None = None
    codes: int = 0
    """Ever uploaded."""
    last_coupon: tuple[str, str] | None = None
    """Its stock and its code."""


class Latest(NamedTuple):
    """The last coupon, upload and deletion of a pool: the id of each, and what it says for good."""

    coupon: tuple[object, ...] | None
    """Its id, stock and code first."""
    upload: tuple[object, ...] | None
    deletion: tuple[object, ...] | None
    codes: int
    """Ever uploaded, to all stocks."""


NOTHING_YET = Latest(None, None, None, 0)


class MarkDamaged(Exception):
    """There is a mark, and it can't be read."""


class MarkUnwritable(StoreUnavailable):
    """A commit is durable, and the mark does not know of it: it is not to be acknowledged before that is made good."""


class MarkFile:
    """The mark of a pool, beside its file."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".mark")
        self._descriptor: int | None = None

    def read(self) -> Generation | None:
        """Raises MarkDamaged; StoreUnavailable: it can't be read, or others can write or read it."""
        try:
            # It may be on another disk: a link of ours is followed.
            descriptor = private.read(self.path, _HOLDS, links=True)
        except FileNotFoundError:
            return None
        except private.NotPrivate as problem:
            raise StoreUnavailable(f"{self.path} {problem.why}") from None
        except OSError as problem:
            if problem.errno == errno.ENXIO:
                raise StoreUnavailable(f"{self.path} is no file: remove it, and run `quanma reconcile`") from None
            raise StoreUnavailable(f"{self.path} can't be read: {problem.strerror}: correct its mode") from None
        try:
            return _read(read_at(descriptor, _BYTES + 1, 0))
        except OSError as problem:
            raise StoreUnavailable(f"{self.path} can't be read: {problem.strerror}: look at its disk") from None
        finally:
            os.close(descriptor)

    def make(self, mark: Generation) -> None:
        """Write a mark in place of any other, durably. Raises StoreUnavailable: the folder does not let us."""
        self.close()
        try:
            self._descriptor = private.keep(self.path, _HOLDS, links=True)
            # In this order: killed in between, there is one of the two marks.
            write_at(self._descriptor, _packed(mark), 0)
            os.ftruncate(self._descriptor, _BYTES)
            os.fsync(self._descriptor)
            sync(self.path.parent)
        except OSError as problem:
            raise StoreUnavailable(_unwritable(self.path, problem)) from None

    def check_writable(self) -> None:
        """Before something is done that must be marked. Raises StoreUnavailable."""
        try:
            # Where there was none, an empty one is damaged, which is a fence as well.
            os.close(private.keep(self.path, _HOLDS, links=True))
        except OSError as problem:
            raise StoreUnavailable(_unwritable(self.path, problem)) from None

    def move(self, mark: Generation) -> None:
        """Write a later mark. Raises MarkUnwritable: it stays behind."""
        assert self._descriptor is not None
        packed = _packed(mark)
        try:
            written = write_at(self._descriptor, packed, 0)
        except OSError as problem:
            raise MarkUnwritable(_unwritable(self.path, problem)) from None
        if written < len(packed):
            raise MarkUnwritable(_unwritable(self.path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))

    def sync(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor is not None:
            self.sync()
            os.close(self._descriptor)
            self._descriptor = None


def _unwritable(path: Path, problem: OSError) -> str:
    way_out = "free some space" if problem.errno in (errno.ENOSPC, errno.EDQUOT) else "correct the folder or its disk"
    return f"{path}, the mark of what was given out, can't be written: {problem.strerror}: {way_out}"


def _packed(mark: Generation) -> bytes:
    assert mark.pool_id is not None
    named = "\n".join(mark.last_coupon or ()).encode()
    fields = _FORMAT.pack(
        _MAGIC,
        mark.pool_id,
        mark.commits,
        mark.coupons,
        mark.inode or 0,
        mark.coupon_digest or _UNKNOWN,
        *(mark.upload or (0, _UNKNOWN)),
        *(mark.deletion or (0, _UNKNOWN)),
        mark.codes,
        named if len(named) <= 224 else b"",
    )
    return fields + _CHECKSUM.pack(zlib.crc32(fields))


def _read(content: bytes) -> Generation:
    fields, checksum = content[: -_CHECKSUM.size], content[-_CHECKSUM.size :]
    if len(fields) != _FORMAT.size or checksum != _CHECKSUM.pack(zlib.crc32(fields)) or not fields.startswith(_MAGIC):
        raise MarkDamaged
    _, pool_id, commits, coupons, inode, coupon_digest, upload_id, upload, deletion_id, deletion, codes, named = (
        _FORMAT.unpack(fields)
    )
    stock_id, _, coupon_code = named.rstrip(b"\0").decode().partition("\n")
    return Generation(
        pool_id,
        commits,
        coupons,
        inode or None,
        coupon_digest if coupon_digest != _UNKNOWN else None,
        Seen(upload_id, upload) if upload_id else None,
        Seen(deletion_id, deletion) if deletion_id else None,
        codes,
        (stock_id, coupon_code) if stock_id else None,
    )


def seen(row: tuple[object, ...] | None) -> Seen | None:
    """A row whose first column is its id."""
    return None if row is None else Seen(int(str(row[0])), digest(row))


@lru_cache(8)  # Most commits bring one of the three.
def digest(row: tuple[object, ...]) -> bytes:
    return blake2b(_encode(row), digest_size=16).digest()


def marked(mark: Generation, commits: int, latest: Latest) -> Generation:
    """The mark of this pool when it has come so far."""
    coupon, last = latest.coupon, seen(latest.coupon)
    coupons, coupon_digest = last or (0, None)
    named = None if coupon is None else (str(coupon[1]), str(coupon[2]))
    upload, deletion = seen(latest.upload), seen(latest.deletion)
    return Generation(mark.pool_id, commits, coupons, mark.inode, coupon_digest, upload, deletion, latest.codes, named)


def why_fenced(pool: Generation, mark: Generation | MarkDamaged | None, absent: str | None = None) -> str | None:
    """Why this pool may be an older copy, in words for whoever looks after it; None: it is not.

    `pool` is what the database itself says; `absent` names what the mark saw acknowledged and the database does not
    hold. Pure.
    """
    if mark is None:
        return "it was moved or copied here: the mark that is written beside a pool is not there"
    if isinstance(mark, MarkDamaged):
        return "the mark beside it is damaged, so whether it is the latest copy can't be known"
    if mark.pool_id != pool.pool_id:
        return "the mark beside it is another pool's: this one was put in its place"
    if mark.commits > pool.commits:
        return f"it is an older copy: {missing(pool, mark)} are missing"
    if absent is not None:
        return f"it is an older copy that has gone on: {absent}, acknowledged before, is not there"
    if mark.inode is None:
        return "it was put in the place of a fenced copy, and lacks what was acknowledged there meanwhile"
    if mark.inode != pool.inode:
        return "it is a copy: the mark beside it was written for another file"
    return None


def missing(pool: Generation, mark: Generation) -> str:
    """What a pool lacks of what its mark knows, in words."""
    commits, coupons = mark.commits - pool.commits, mark.coupons - pool.coupons
    said = f"{commits} acknowledged commit{'s' * (commits != 1)}"
    return said + (f" with {coupons} coupon{'s' * (coupons != 1)}" if coupons > 0 else "")


class CommitCounter:
    """Counts the commits of an open pool, and moves its mark. On the commit's thread, between commit and answers."""

    def __init__(self) -> None:
        self.commit_no = 1
        """Of the commit that is being gathered."""
        self.writes = 0
        """Rows written in it so far. A commit without any is none: nothing in the file would show it."""
        self._mark: Generation | None = None
        self._file: MarkFile | None = None
        self._latest: Callable[[], Latest] = lambda: NOTHING_YET
        self._fenced: tuple[MarkFile, Generation] | None = None
        self._synced_at = 0.0

    def follow(self, file: MarkFile, mark: Generation, latest: Callable[[], Latest]) -> None:
        """From now on, move this mark. `latest`: what the pool holds, as of the last commit."""
        self._file, self._mark, self._latest = file, mark, latest

    def follow_fenced(self, file: MarkFile, mark: Generation) -> None:
        """Leave the mark as it is, for it knows what is missing. Once anything is written, it is no other file's."""
        self._fenced = file, mark

    def committed(self) -> None:
        """Raises MarkUnwritable: the commit is durable, and may not be acknowledged before `catch_up` succeeds."""
        if not self.writes:
            return
        self.writes, self.commit_no = 0, self.commit_no + 1
        self.catch_up()

    def catch_up(self) -> None:
        """Let the mark be where the pool is. Raises MarkUnwritable."""
        if self._fenced is not None:
            # A file in the place of this one would lack what is acknowledged now.
            file, mark = self._fenced
            try:
                file.make(mark._replace(inode=None))
            except StoreUnavailable as problem:
                raise MarkUnwritable(str(problem)) from None
            self._fenced = None
        if self._file is None or self._mark is None:
            return
        self._file.move(marked(self._mark, self.commit_no - 1, self._latest()))
        now = time.monotonic()
        if now - self._synced_at >= SYNC_SECONDS:
            self._file.sync()
            self._synced_at = now
