"""A copy of a pool's file while it is served: consistent, private, checked, and fenced wherever it is served."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import apsw

from ....errors import Misconfigured, StoreUnavailable
from ....storage import descriptors, private
from ....wire.times import rfc3339
from . import pool_file
from .rows import TABLES, Rows, damaged


def backup(path: Path, to: Path, now: int) -> int:
    """Copy the pool's file to `to`, as it stands at this moment, and return the size in bytes.

    The pool may be served meanwhile: it is not waited for, and waits for nobody. The copy is verified, row by row.

    Raises:
        Misconfigured: there is no such pool, or something stands at `to`.
        StoreUnavailable: the pool is damaged, or the copy can't be written.
    """
    if not path.exists():
        raise Misconfigured(f"there is no {path}: name the pool with --database")
    if os.path.lexists(to):
        raise Misconfigured(f"{to} is there already, and a backup replaces nothing: name another file")
    part = to.with_name(to.name + ".part")
    try:
        with contextlib.ExitStack() as opened:
            opened.callback(lambda: private.remove_database(part))
            # Private from the first byte on.
            private.make_database_anew(part)
            with pool_file.readable(path):
                _copy(path, part)
                _finish(part, f"it is a backup of {rfc3339(now)}")
            descriptors.sync(part)
            os.link(part, to)  # Fails where something came to stand meanwhile.
            descriptors.sync(to.parent)
    except OSError as problem:
        raise StoreUnavailable(f"{to} can't be written: {problem.strerror}") from None
    return to.stat().st_size


def _copy(path: Path, part: Path) -> None:
    source = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    target = apsw.Connection(str(part))
    try:
        source.set_busy_timeout(10_000)
        # All at once, in one read transaction: in pieces, it would begin anew with each commit of the one who serves.
        with target.backup("main", source, "main") as copying:
            copying.step(-1)
    finally:
        target.close()
        source.close()


def _finish(part: Path, fence: str) -> None:
    db = apsw.Connection(str(part))
    try:
        db.execute("PRAGMA journal_mode = delete").fetchall()  # One file, without a log beside it.
        if not pool_file.version_of(db, part):
            raise StoreUnavailable("the file holds no pool yet: run `quanma migrate` first")
        said = db.execute("PRAGMA integrity_check(1)").get
        if said != "ok":
            raise damaged(str(said))
        rows = Rows(db)
        there = {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        for table in TABLES:
            if table.name in there:
                for _ in rows.scan(table):
                    pass
        pool_file.note(db, "fenced", fence)
    finally:
        db.close()
