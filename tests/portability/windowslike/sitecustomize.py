"""Makes each Python that has this folder in PYTHONPATH lack what Windows lacks, as far as this package could use it.

Modules and functions are taken away; those that Windows has in another way behave as there:

- A loop knows no signals, and watches no socket for others.
- `msvcrt.locking` stands on the locks of this system, for byte ranges.
- A file that is open can't be removed or replaced. (SQLite's can: it opens them so that they may be.)
- A folder can't be opened, and only what is open to write can be synced.
- `os.open` translates line ends, unless it is told O_BINARY: here that is refused.
- Files have no mode that keeps others out: every one reads 0666.

Python's own library was made for this system and goes on using what is left of it: where it calls, nothing is refused.
"""

from __future__ import annotations

import asyncio.unix_events  # Before what it needs is gone, and before there is an msvcrt, by which it knows Windows.
import errno
import fcntl
import os
import signal
import socket
import stat
import struct
import sys
import types
from pathlib import Path
from typing import Any

O_BINARY = 1 << 29
_open, _fsync, _unlink, _replace = os.open, os.fsync, os.unlink, os.replace
_lockf, _getfl = fcntl.lockf, fcntl.F_GETFL
_fcntl = fcntl.fcntl


def _ours() -> bool:
    """Whether it is this package that calls."""
    return str(sys._getframe(2).f_globals.get("__name__", "")).startswith("quanma")


def locking(descriptor: int, mode: int, count: int) -> None:
    at = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        # A lock of its open file, as on Windows, and not of its process.
        kind = fcntl.F_UNLCK if mode == 0 else fcntl.F_WRLCK
        _fcntl(descriptor, 37, struct.pack("hhqqi4x", kind, os.SEEK_SET, at, count, 0))  # F_OFD_SETLK
    except OSError:
        raise PermissionError(errno.EACCES, "Permission denied") from None


def open_(path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
    if _ours():
        if not flags & O_BINARY:
            raise AssertionError(f"os.open of {path} without O_BINARY would change line ends")
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
    return _open(path, flags & ~O_BINARY, mode, **options)


def fsync(descriptor: int) -> None:
    if _ours() and _fcntl(descriptor, _getfl) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")
    _fsync(descriptor)


def _refuse_open(path: Any) -> None:
    try:
        wanted = os.stat(path)
    except OSError:
        return
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found = os.stat(entry)
            name = os.readlink(entry)
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino) and stat.S_ISREG(found.st_mode):
            raise PermissionError(errno.EACCES, f"it is open by this process as {name}", str(path))


def unlink(path: Any, **options: Any) -> None:
    _refuse_open(path)
    _unlink(path, **options)


def replace(source: Any, target: Any, **options: Any) -> None:
    _refuse_open(source)
    _refuse_open(target)
    _replace(source, target, **options)


def _without_handlers(*_: Any) -> None:
    raise NotImplementedError


msvcrt = types.ModuleType("msvcrt")
for name, value in {"LK_UNLCK": 0, "LK_LOCK": 1, "LK_NBLCK": 2, "locking": locking}.items():
    setattr(msvcrt, name, value)
sys.modules["msvcrt"] = msvcrt
for module in ("fcntl", "resource", "pwd", "grp", "termios", "syslog", "uvloop"):
    sys.modules[module] = None  # type: ignore[assignment]

asyncio.unix_events._UnixSelectorEventLoop.add_signal_handler = _without_handlers  # type: ignore[method-assign,assignment]
asyncio.unix_events._UnixSelectorEventLoop.add_reader = _without_handlers  # type: ignore[method-assign,assignment]

for owner, names in (
    (os, "fork forkpty pread pwrite preadv pwritev posix_fallocate posix_fadvise fdatasync fchmod fchown chown lchown"),
    (os, "geteuid getuid getegid getgid setpgid setsid killpg statvfs fstatvfs register_at_fork sched_getaffinity"),
    (os, "O_NOFOLLOW O_CLOEXEC O_NONBLOCK O_DIRECTORY O_SYNC O_DSYNC mkfifo getpgid initgroups"),
    (signal, "SIGCHLD SIGHUP SIGUSR1 SIGUSR2 SIGALRM SIGQUIT pthread_sigmask pthread_kill setitimer"),
    (socket, "SO_REUSEPORT send_fds recv_fds"),
):
    for name in names.split():
        vars(owner).pop(name, None)
for owner, values in (
    (os, {"open": open_, "fsync": fsync, "unlink": unlink, "remove": unlink, "O_BINARY": O_BINARY}),
    (os, {"replace": replace, "rename": replace}),
    (socket, {"SO_EXCLUSIVEADDRUSE": socket.SO_REUSEADDR}),  # Here this one does what that one does there.
):
    for name, value in values.items():
        setattr(owner, name, value)
