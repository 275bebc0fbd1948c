"""Private files: of codes, users and keys. This is the one place that says what "private" means.

A private file is a regular file with mode 0600, and its owner is who runs this; or, for root, the owner of the folder
that it is in: root looks after other users' pools, and the owner of a folder can put another file there anyway.
A link is not followed: in a folder that others can write, they could lay one to any other file of ours.
Where files have no modes, on Windows, a file is as private as its folder, and nothing is checked.

Every function raises OSError with a `strerror` that says what is wrong and what to do.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from .descriptors import AT_ONCE, HAS_MODES, PLAIN, UNFOLLOWED, sync
from .paths import command

OTHERS = 0o077
"""The bits of a mode that let others in."""
_BESIDE = ("", "-journal", "-wal", "-shm")
"""What SQLite lays beside a file. A log that an earlier run left would be played into the new file."""


class NotPrivate(PermissionError):
    """Others can read or write a file. `why` goes on behind its name: "has mode 0644, so others …"."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(errno.EACCES, f"it {why}", str(path))
        self.why = why

    def __reduce__(self) -> tuple[type[NotPrivate], tuple[Path, str]]:
        return type(self), (Path(str(self.filename)), self.why)


def make(path: Path) -> int:
    """Make a new file, and return its descriptor, to read and write. Raises FileExistsError: something is there."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | UNFOLLOWED | PLAIN, 0o600)
    if HAS_MODES:
        os.fchmod(descriptor, 0o600)  # Whatever the umask is.
    return descriptor


def make_anew(path: Path, *, links: bool = True) -> int:
    """As `make`, in place of a file that is there, and of a link: the link is removed, and not what it leads to.

    `links` False, for a path that a user named: a link, as /dev/stdout is one, stays, and is refused.
    """
    with contextlib.suppress(FileNotFoundError):
        found = path.lstat().st_mode
        if stat.S_ISLNK(found) and not links:
            raise OSError(errno.ELOOP, _LINK, str(path))
        if not stat.S_ISREG(found) and not stat.S_ISLNK(found):
            raise OSError(errno.ENXIO, _NO_FILE, str(path))
        path.unlink()
    return make(path)


def make_database_anew(path: Path) -> None:
    """Make an empty file for SQLite, in place of what is there and what SQLite left beside it."""
    remove_database(path)
    os.close(make(path))


def remove_database(path: Path) -> None:
    """Remove a file of SQLite's, and what it left beside it. Raises OSError."""
    for suffix in _BESIDE:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def keep(path: Path, holds: str, *, create: bool = True, append: bool = False, links: bool = False) -> int:
    """Open a file to read and write, and return its descriptor. It is made if it is not there.

    `holds`: what others could read, for the message. `links`: follow a link, if it is our own.

    Raises:
        NotPrivate: others can read or write it, or it is another user's.
        OSError: it is a link, or no file at all, or can't be opened.
    """
    flags = os.O_RDWR | (os.O_CREAT if create else 0) | (os.O_APPEND if append else 0)
    return _checked(path, flags, holds, links=links)


def read(path: Path, holds: str, *, links: bool = False) -> int:
    """As `keep`, for a file that is there and is not to be changed."""
    return _checked(path, os.O_RDONLY, holds, links=links)


def replace(path: Path, content: bytes) -> None:
    """Write a file whole, or leave it as it was; its owner stays. Durable. Raises OSError."""
    part = path.with_name(path.name + ".new")
    descriptor = make_anew(part)
    try:
        with open(descriptor, "wb") as file, contextlib.suppress(FileNotFoundError):
            file.write(content)
            file.flush()
            before = os.lstat(path)
            if HAS_MODES and os.geteuid() == 0 and stat.S_ISREG(before.st_mode):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
        sync(part)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder for private files, if it is not there. Raises OSError: others can change what is in it."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise OSError(errno.ENOTDIR, "it is no folder: remove it", str(path))
    if not HAS_MODES:
        return
    if found.st_uid not in _owners(path):
        raise NotPrivate(path, f"is another user's folder: remove it, or chown it to user {os.geteuid()}")
    if (mode := stat.S_IMODE(found.st_mode)) & 0o022:
        raise NotPrivate(path, f"has mode {mode:04o}, so others can write in it: {command(['chmod', '700', path])}")


def _checked(path: Path, flags: int, holds: str, *, links: bool) -> int:
    try:
        if stat.S_ISLNK((found := os.lstat(path)).st_mode):
            if not links:
                raise OSError(errno.ELOOP, _LINK, str(path))
            if HAS_MODES and found.st_uid not in _owners(path):
                raise NotPrivate(path, "is another user's link: remove it")
            path = Path(os.path.realpath(path))
    except FileNotFoundError:
        pass
    try:
        # Without waiting: something else than a file may stand there.
        descriptor = os.open(path, flags | UNFOLLOWED | AT_ONCE | PLAIN, 0o600)
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, _LINK, str(path)) from None
        if problem.errno in (errno.EISDIR, errno.ENXIO):
            raise OSError(problem.errno, _NO_FILE, str(path)) from None
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.ENXIO, _NO_FILE, str(path))
        if not HAS_MODES:
            return descriptor
        if (mode := stat.S_IMODE(found.st_mode)) & OTHERS:
            raise NotPrivate(
                path, f"has mode {mode:04o}, so others can read {holds}: {command(['chmod', '600', path])}"
            )
        if found.st_uid not in _owners(path):
            raise NotPrivate(path, f"is another user's, who can read {holds}: remove it, or chown it")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


_NO_FILE = "it is no file"
_LINK = "it is a link, and none is followed: name the file itself"


def _owners(path: Path) -> set[int]:
    user = os.geteuid()
    return {user} if user else {user, path.parent.stat().st_uid}
