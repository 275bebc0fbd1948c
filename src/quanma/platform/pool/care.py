"""What whoever looks after a pool does beside serving it: its schema, its copies, its fence. By database URL."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from ...errors import Misconfigured
from . import file_of, is_postgres
from .issued_codes import IssuedCode
from .sqlite import backup as sqlite_backup
from .sqlite import reconcile as sqlite_reconcile
from .standing import Reconciled, Standing


def migrate(url: str, folder: Path, *, distributed: bool) -> list[str]:
    """Bring a pool's schema up to date; make it in an empty database. Returns what was done, step by step.

    Raises:
        Misconfigured: not a database URL; or tables are to be distributed that can't be.
        StoreUnavailable: the schema is newer than this code; the database is in use or unsound.
    """
    if (path := file_of(url, folder)) is not None:
        if distributed:
            raise Misconfigured("--distributed is for a PostgreSQL database with the Citus extension, not for SQLite")
        return sqlite_reconcile.migrate(path)
    done: list[str] = asyncio.run(_postgres(url).migrate(url, distributed=distributed))
    return done


def backup(url: str, folder: Path, to: Path, now: int) -> int:
    """Copy a SQLite pool while it is served. Returns the copy's size in bytes. Raises: see `sqlite.backup`."""
    if (path := file_of(url, folder)) is not None:
        return sqlite_backup.backup(path, to, now)
    _postgres(url)
    raise Misconfigured("a PostgreSQL database is backed up with its own tools: pg_basebackup, or pg_dump")


def standing(url: str, folder: Path) -> Standing:
    """Whether and why a pool is fenced, and what it holds. A SQLite pool must be stopped."""
    if (path := file_of(url, folder)) is not None:
        with sqlite_reconcile.stopped(path) as pool:
            return pool.standing()
    found: Standing = asyncio.run(_postgres(url).standing(url))
    return found


def reconcile(url: str, folder: Path, issued: Sequence[IssuedCode], now: int) -> Reconciled:
    """Take codes that were given out elsewhere out of the pool, and lift its fence. A SQLite pool must be stopped."""
    if (path := file_of(url, folder)) is not None:
        with sqlite_reconcile.stopped(path) as pool:
            return pool.reconcile(issued, now)
    done: Reconciled = asyncio.run(_postgres(url).reconcile(url, issued, now))
    return done


def _postgres(url: str) -> ModuleType:
    if not is_postgres(url):
        raise Misconfigured("the database is not sqlite:///relative.db, sqlite:////absolute.db or postgresql://…")
    try:
        from .postgres import care
    except ModuleNotFoundError as absent:
        raise Misconfigured(f"PostgreSQL needs `pip install quanma[postgres]` ({absent.name} is absent)") from None
    return care
