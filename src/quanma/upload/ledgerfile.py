"""A ledger's file: held by one process, private, durable, and told apart from any other file."""

from __future__ import annotations

import os
import secrets
from importlib.resources import files
from pathlib import Path
from typing import IO
from urllib.parse import quote

import apsw

from ..errors import LedgerBusy, LedgerRefused
from ..storage import locks, private

APPLICATION_ID = 0x716D6C67  # "qmlg"
VERSION = 2
WITHOUT_REASON_CODE, WITH_REASON_CODE = 1, 2
"""Both are read. An upload that was planned in the first form goes on in it."""
SAFE_SQLITE = (3, 51, 3)
NO_INPUTS = '{"sources":[]}'


def lock(path: Path, *, create: bool) -> IO[bytes]:
    """Hold the file for this process, until what is returned is closed or the process ends.

    Raises:
        LedgerBusy: another process holds it.
        LedgerRefused: it can't be opened, or others can read it.
    """
    # The ledger itself: SQLite locks byte ranges of it, this is a lock on the whole, and neither sees the other.
    try:
        descriptor = private.keep(path, "the codes", create=create)
        held = open(descriptor, "r+b", buffering=0)  # noqa: SIM115  # Open as long as the ledger.
    except private.NotPrivate as problem:
        raise LedgerRefused(f"{path} {problem.why}") from None
    except OSError as problem:
        raise LedgerRefused(f"{path} can't be opened: {problem.strerror}: name another with --ledger") from None
    try:
        locks.take(held.fileno())
    except BlockingIOError:
        held.close()
        raise LedgerBusy(f"{path} is being run by another process: wait for it, or stop it") from None
    return held


def connect(path: Path, *, read_only: bool = False) -> apsw.Connection:
    """Open the file, whatever it holds, and change nothing. Raises LedgerRefused: it can't be opened."""
    if tuple(map(int, apsw.sqlite_lib_version().split("."))) < SAFE_SQLITE:
        raise LedgerRefused(f"SQLite {apsw.sqlite_lib_version()} can corrupt a ledger: pip install -U apsw")
    try:
        flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
        # As a URI, which is ASCII: the name of a file is bytes, and need not be a text.
        name = "file:" + quote(os.fsencode(path.absolute()))
        db = apsw.Connection(name, flags=flags | apsw.SQLITE_OPEN_URI)
        db.set_busy_timeout(5000)
        return db
    except apsw.Error as problem:
        raise LedgerRefused(f"{path} can't be opened ({type(problem).__name__}: {problem}): name another") from None


def make_durable(db: apsw.Connection) -> None:
    """After `is_begun`: it changes the file."""
    db.execute("PRAGMA journal_mode = wal").fetchall()
    db.execute("PRAGMA synchronous = full")
    db.execute("PRAGMA fullfsync = on").fetchall()


def is_begun(path: Path, db: apsw.Connection) -> bool:
    """Whether the file holds a ledger, and not nothing yet. Raises LedgerRefused: it holds something else."""
    try:
        kind, found = db.execute("PRAGMA application_id").get, db.execute("PRAGMA user_version").get
        empty = not db.execute("SELECT count(*) FROM sqlite_schema").get
    except apsw.Error as problem:
        raise LedgerRefused(f"{path} is no ledger ({problem}): name another with --ledger") from None
    if empty and kind == 0:
        return False
    if kind != APPLICATION_ID:
        raise LedgerRefused(f"{path} is no ledger of an upload: name another with --ledger")
    if found not in (WITHOUT_REASON_CODE, WITH_REASON_CODE):
        raise LedgerRefused(f"{path} was written by another quanma (form {found}, this one reads {VERSION})")
    return True


def version(db: apsw.Connection) -> int:
    return int(db.execute("PRAGMA user_version").get)


def bring_up_to_date(db: apsw.Connection) -> None:
    """Before a plan is made: a ledger that an earlier quanma began holds no plan then. In its transaction."""
    if version(db) == WITHOUT_REASON_CODE:
        db.execute("ALTER TABLE rejected ADD COLUMN reason_code TEXT NOT NULL DEFAULT ''")
        db.execute(f"PRAGMA user_version = {VERSION}")


def start(db: apsw.Connection, target: str, mchid: str, stock_id: str) -> None:
    """Begin a ledger, in place of one that may be there."""
    with db:
        for table in ("upload", "batch", "duplicate", "rejected"):
            db.execute(f"DROP TABLE IF EXISTS {table}")
        db.execute(files("quanma.upload").joinpath("ledger.sql").read_text("utf-8"))
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute(
            "INSERT INTO upload (only, state, target, mchid, stock_id, inputs, number_prefix)"
            " VALUES (1, 'planning', ?, ?, ?, ?, ?)",
            (target, mchid, stock_id, NO_INPUTS, f"qm{secrets.token_hex(8)}"),
        )
