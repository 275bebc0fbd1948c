"""The ground under a SQLite pool: what must hold before the first promise is given, and how the file is opened.

Refused, with the reason: a SQLite with the WAL bug, a network file system, a file that others can read, a file that
another process serves, another program's file, a schema from tomorrow.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from importlib.resources import files
from pathlib import Path
from typing import IO

import apsw

from ...errors import StoreUnavailable

APPLICATION_ID = 0x7175616E  # "quan"
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
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        held = open(descriptor, "r+b", buffering=0)  # noqa: SIM115  # Open as long as the pool.
    except OSError as problem:
        raise StoreUnavailable(
            f"{lock_path} can't be made: {problem.strerror}: correct the folder or its mode"
        ) from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = held.read(20).decode(errors="replace").strip() or "unknown"
        held.close()
        raise StoreUnavailable(f"{path} is served by another process (pid {owner}): stop that one first") from None
    held.truncate()
    held.write(str(os.getpid()).encode())
    return held


def connect(path: Path) -> apsw.Connection:
    """Open the file, bring its schema up to date, and check that the settings hold.

    Raises:
        StoreUnavailable: the ground is not safe; the message says what to do.
    """
    check_version(apsw.sqlite_lib_version())
    check_file_system(path)
    _make_private(path)
    try:
        db = apsw.Connection(str(path), statementcachesize=200)
        try:
            steps = _missing_steps(db, path)
            _settle(db)
            _migrate(db, steps)
        except BaseException:
            db.close()
            raise
    except apsw.Error as problem:
        raise StoreUnavailable(
            f"{path} can't be opened ({type(problem).__name__}: {problem}): restore a backup"
        ) from None
    return db


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
        mounts = table.read_text()
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


def _make_private(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as problem:
        raise StoreUnavailable(f"{path} can't be opened: {problem.strerror}: correct the folder or its mode") from None
    if mode & 0o077:
        raise StoreUnavailable(f"{path} has mode {mode:04o}, so others can read codes and users: chmod 600 {path}")


def _settle(db: apsw.Connection) -> None:
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
    db.execute("PRAGMA cache_size = -65536")


def _missing_steps(db: apsw.Connection, path: Path) -> list[tuple[int, str]]:
    """Return the numbered files that this pool lacks. Before anything is written: it may be another program's."""
    application_id, version = db.execute("PRAGMA application_id").get, db.execute("PRAGMA user_version").get
    if application_id not in (0, APPLICATION_ID) or (
        application_id == 0 and db.execute("SELECT count(*) FROM sqlite_schema").get
    ):
        raise StoreUnavailable(f"{path} is another program's database: name another file")
    folder = files("quanma.platform.pool") / "migrations" / "sqlite"
    steps = sorted((step for step in folder.iterdir() if step.name.endswith(".sql")), key=lambda step: step.name)
    if version > len(steps):
        raise StoreUnavailable(f"{path} has schema {version}, this quanma knows {len(steps)}: upgrade quanma")
    return [(number, step.read_text("utf-8")) for number, step in enumerate(steps[version:], version + 1)]


def _migrate(db: apsw.Connection, steps: list[tuple[int, str]]) -> None:
    """Apply each step in one transaction with its number."""
    for number, step in steps:
        with db:
            db.execute(step)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {number}")
