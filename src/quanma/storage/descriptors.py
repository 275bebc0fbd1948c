"""What is done with an open file by its descriptor, on systems of both kinds.

POSIX has all of it. Windows lacks reads and writes at a position, room made beforehand, and a sync of a folder's names;
what stands in there promises the same, to one thread at a time of each descriptor.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

PLAIN: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOINHERIT", 0)
"""Flags of every file: not for a child, and no byte is changed on its way."""
UNFOLLOWED: Final = getattr(os, "O_NOFOLLOW", 0)
AT_ONCE: Final = getattr(os, "O_NONBLOCK", 0)
HAS_MODES: Final = hasattr(os, "geteuid")
"""Whether files have an owner and a mode that keeps others out. Windows has lists of rights instead, which a file
takes from its folder, and a user's own folders are closed to others there."""
_moving = threading.Lock()
_ZEROS: Final = bytes(65536)


def _read_after_moving(descriptor: int, count: int, offset: int) -> bytes:
    with _moving:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, count)


def _write_after_moving(descriptor: int, content: bytes, offset: int) -> int:
    with _moving:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.write(descriptor, content)


read_at: Callable[[int, int, int], bytes] = getattr(os, "pread", _read_after_moving)
"""Read so many bytes at an offset."""
write_at: Callable[[int, bytes, int], int] = getattr(os, "pwrite", _write_after_moving)
"""Write at an offset. Returns how many bytes were written."""


def make_room(descriptor: int, offset: int, length: int) -> None:
    """Have so many bytes on the disk: zeros, where the file ended before. Raises OSError: there is no room."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, offset, length)
        return
    at, end = max(offset, os.fstat(descriptor).st_size), offset + length
    while at < end:
        at += write_at(descriptor, _ZEROS[: end - at], at)


def sync_content(descriptor: int) -> None:
    """Have what was written on the disk; its times perhaps later."""
    getattr(os, "fdatasync", os.fsync)(descriptor)


def sync(path: Path) -> None:
    """Have a file, or a folder's names, on the disk. Windows keeps the names by itself."""
    if path.is_dir() and not HAS_MODES:
        return
    # Windows syncs only what is open to write.
    descriptor = os.open(path, (os.O_RDONLY if HAS_MODES else os.O_RDWR) | PLAIN)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def inode(path: Path) -> int:
    """Return the file's number in its file system, in 64 bits. ReFS has longer ones, of which the end differs."""
    return path.stat().st_ino & 0xFFFFFFFFFFFFFFFF
