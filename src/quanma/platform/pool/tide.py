"""How many commits a pool has had, and a mark of it beside the file: so that an older copy is known for what it is.

A pool that was restored from a backup does not know which codes were given out since. It must not draw them again, so
it is fenced: it gives nothing out until someone says what was (`quanma reconcile`).

The mark is a file of 64 bytes: which pool, how many commits and coupons, and which file holds them. It is written after
each commit and before its answers leave, without an fsync, so kill -9 never leaves it behind; now and then it is
synced. A power failure may leave it behind the pool, which is no reason for a fence. The pool behind its mark is one.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ...errors import StoreUnavailable

SYNC_SECONDS = 1.0
_FORMAT = struct.Struct("<8s16sQQQ")
_CHECKSUM = struct.Struct("<I")
_MAGIC = b"quanma\x01m"


class Mark(NamedTuple):
    pool_id: bytes
    """16 random bytes: new ones with each history of its own, when it is made and when it is reconciled."""
    commits: int
    coupons: int
    """The id of the last one."""
    inode: int
    """Of the file that the pool is in: a copy has another."""


class MarkDamaged(Exception):
    """There is a mark, and it can't be read."""


class MarkFile:
    """The mark of a pool, beside its file."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".mark")
        self._descriptor: int | None = None

    def read(self) -> Mark | None:
        """Raises MarkDamaged."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise StoreUnavailable(f"{self.path} can't be read: {problem.strerror}: correct its mode") from None
        fields, checksum = content[: _FORMAT.size], content[_FORMAT.size :]
        if len(content) != _FORMAT.size + _CHECKSUM.size or checksum != _CHECKSUM.pack(zlib.crc32(fields)):
            raise MarkDamaged
        magic, *mark = _FORMAT.unpack(fields)
        if magic != _MAGIC:
            raise MarkDamaged
        return Mark(*mark)

    def make(self, mark: Mark) -> None:
        """Write a mark in place of any other, durably. Raises StoreUnavailable: the folder does not let us."""
        self.close()
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.fchmod(self._descriptor, 0o600)
            os.ftruncate(self._descriptor, _FORMAT.size + _CHECKSUM.size)
            os.pwrite(self._descriptor, _packed(mark), 0)
            os.fsync(self._descriptor)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as problem:
            raise StoreUnavailable(f"{self.path} can't be written: {problem.strerror}: correct the folder") from None

    def move(self, mark: Mark) -> None:
        """Write a later mark. Where there is no room, it stays behind, which makes it weaker and not wrong."""
        assert self._descriptor is not None
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, _packed(mark), 0)

    def sync(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor is not None:
            self.sync()
            os.close(self._descriptor)
            self._descriptor = None


def _packed(mark: Mark) -> bytes:
    fields = _FORMAT.pack(_MAGIC, *mark)
    return fields + _CHECKSUM.pack(zlib.crc32(fields))


def why_fenced(pool: Mark, mark: Mark | MarkDamaged | None) -> str | None:
    """Why this pool may be an older copy, in words for whoever looks after it; None: it is not.

    `pool` is what the database itself says. Pure.
    """
    if mark is None:
        return "it was moved or copied here: the mark that is written beside a pool is not there"
    if isinstance(mark, MarkDamaged):
        return "the mark beside it is damaged, so whether it is the latest copy can't be known"
    if mark.pool_id != pool.pool_id:
        return "the mark beside it is another pool's: this one was put in its place"
    if mark.commits > pool.commits:
        return f"it is an older copy: {missing(pool, mark)} are missing"
    if mark.inode != pool.inode:
        return "it is a copy: the mark beside it was written for another file"
    return None


def missing(pool: Mark, mark: Mark) -> str:
    """What a pool lacks of what its mark knows, in words."""
    commits, coupons = mark.commits - pool.commits, mark.coupons - pool.coupons
    said = f"{commits} acknowledged commit{'s' * (commits != 1)}"
    return said + (f" with {coupons} coupon{'s' * (coupons != 1)}" if coupons > 0 else "")


class Tide:
    """Counts the commits of an open pool, and moves its mark. On the commit's thread, between commit and answers."""

    def __init__(self) -> None:
        self.commit_no = 1
        """Of the commit that is being gathered."""
        self.writes = 0
        """Rows written in it so far. A commit without any is none: nothing in the file would show it."""
        self._mark: Mark | None = None
        self._file: MarkFile | None = None
        self._coupons: Callable[[], int] = lambda: 0
        self._synced_at = 0.0

    def follow(self, file: MarkFile, mark: Mark, coupons: Callable[[], int]) -> None:
        """From now on, move this mark. `coupons`: the id of the last one."""
        self._file, self._mark, self._coupons = file, mark, coupons

    def committed(self) -> None:
        if not self.writes:
            return
        commits, self.writes, self.commit_no = self.commit_no, 0, self.commit_no + 1
        if self._file is None or self._mark is None:
            return
        self._file.move(self._mark._replace(commits=commits, coupons=self._coupons()))
        now = time.monotonic()
        if now - self._synced_at >= SYNC_SECONDS:
            self._file.sync()
            self._synced_at = now
