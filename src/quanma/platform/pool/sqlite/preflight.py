"""What must hold before a SQLite pool gives its first promise.

Refused, with the reason: a SQLite with the WAL bug, a network file system, a file that others can read, a file that
another process serves, settings that don't hold.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import IO

import apsw

from ....errors import StoreUnavailable
from ....storage import locks, private

_NETWORK = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "glusterfs",
    "lustre",
    "fuse.ceph",
    "fuse.glusterfs",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.sshfs",
)


def lock(path: Path) -> IO[bytes]:
    """Take the file for this process, until the returned file is closed or the process ends.

    Raises:
        StoreUnavailable: another process has it.
    """
    # A file of its own: closing any descriptor of the database itself would drop SQLite's locks.
    lock_path = path.with_name(path.name + ".lock")
    try:
        descriptor = private.keep(lock_path, "it")
        held = open(descriptor, "r+b", buffering=0)  # noqa: SIM115  # Open as long as the pool.
    except OSError as problem:
        raise StoreUnavailable(
            f"{lock_path} can't be made: {problem.strerror}: correct the folder or its mode"
        ) from None
    try:
        locks.take(held.fileno())
    except OSError:
        owner = held.read(20).decode(errors="replace").strip() or "unknown"
        held.close()
        raise StoreUnavailable(f"{path} is served by another process (pid {owner}): stop that one first") from None
    held.truncate()
    held.write(str(os.getpid()).encode())
    return held


def check_version(version: str) -> None:
    """Raises StoreUnavailable: this SQLite can corrupt a WAL database (fixed in 3.51.3, 3.50.7 and 3.44.6)."""
    major, minor, patch = (int(part) for part in version.split(".")[:3])
    fixed = {(3, 50): 7, (3, 44): 6}
    if (major, minor, patch) < (3, 51, 3) and patch < fixed.get((major, minor), 10**6):
        raise StoreUnavailable(
            f"SQLite {version} has a bug that can corrupt the pool: use 3.51.3 or later (pip install -U apsw)"
        )


def check_file_system(path: Path, mounts: str | None = None) -> None:
    """Raises StoreUnavailable: the file is on a network, where SQLite's locks and shared memory don't hold."""
    if mounts is None:
        table = Path("/proc/self/mounts")
        if not table.exists():
            return
        mounts = table.read_text("utf-8", "surrogateescape")
    folder = str(path.resolve().parent).rstrip("/") + "/"
    kind, longest = "", 0
    for line in mounts.splitlines():
        mounted, found = line.split(" ")[1:3]
        # A space in a path is written \040. Of two mounts on one path, the later one is what we see.
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), mounted).rstrip("/") + "/"
        if folder.startswith(point) and len(point) >= longest:
            kind, longest = found, len(point)
    if kind in _NETWORK:
        raise StoreUnavailable(f"{path} is on a network file system ({kind}): move it to a local disk")


def make_private(path: Path) -> None:
    """Make the file, if it is not there, for its owner alone. Raises StoreUnavailable: others can read it."""
    try:
        os.close(private.keep(path, "codes and users", links=True))
    except private.NotPrivate as problem:
        raise StoreUnavailable(f"{path} {problem.why}") from None
    except OSError as problem:
        raise StoreUnavailable(f"{path} can't be opened: {problem.strerror}: correct the folder or its mode") from None


def settle(db: apsw.Connection) -> None:
    """Set what durability hangs on. Raises StoreUnavailable: it does not hold."""
    db.set_busy_timeout(2000)
    wanted = {
        "journal_mode": "wal",
        "synchronous": 2,
        "fullfsync": 1,
        "checkpoint_fullfsync": 1,
        "foreign_keys": 1,
    }
    for setting, value in wanted.items():
        db.execute(f"PRAGMA {setting} = {value}").fetchall()
        if (found := db.execute(f"PRAGMA {setting}").get) != value:
            raise StoreUnavailable(
                f"SQLite did not take {setting} = {value} (it is {found}): move the file to a local disk"
            )
    db.execute("PRAGMA cache_size = -8192")
