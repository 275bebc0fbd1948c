"""A file that one process holds: until its descriptor is closed, or the process ends, however it does.

`flock` where there is one. Windows has none: there it is a lock on one byte, which keeps others from that byte too.
"""

from __future__ import annotations

import errno
import os
import time
from typing import Any, Final

fcntl: Any = None
msvcrt: Any = None
try:
    import fcntl
except ImportError:
    import msvcrt

_BYTE: Final = 0x40000000 + 1024
"""Which byte is locked on Windows. In a SQLite file nothing is ever written there, and SQLite locks only the 512 bytes
before it. Source: documented, as the lock-byte page of SQLite's file format."""
_LOOK_AGAIN_SECONDS: Final = 0.01


def take(descriptor: int) -> None:
    """Hold the file. Raises BlockingIOError: another descriptor holds it."""
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    try:
        _at_the_byte(descriptor, msvcrt.LK_NBLCK)
    except OSError as problem:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from problem


def wait_and_take(descriptor: int) -> None:
    """Hold the file, as soon as nobody else does."""
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    while True:
        try:
            take(descriptor)
        except BlockingIOError:
            time.sleep(_LOOK_AGAIN_SECONDS)
        else:
            return


def release(descriptor: int) -> None:
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    else:
        _at_the_byte(descriptor, msvcrt.LK_UNLCK)


def _at_the_byte(descriptor: int, mode: int) -> None:
    before = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, _BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, mode, 1)
    finally:
        os.lseek(descriptor, before, os.SEEK_SET)
