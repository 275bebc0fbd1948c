"""What whoever looks after a pool does beside serving it: its schema, its copies, its fence. By database URL."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from types import ModuleType
from typing import IO

from ...errors import Misconfigured
from ...storage import descriptors, private
from ...wire.times import rfc3339
from . import file_of, is_postgres
from .reconcile_file import ReconcileFile
from .reconciling import Decision
from .sqlite import backup as sqlite_backup
from .sqlite import reconcile as sqlite_reconcile
from .sqlite.transfer import SqliteTransfer
from .status import PoolStatus
from .transfer import Reading, Sum, Transfer, differences, sums_of, write


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


def status(url: str, folder: Path) -> PoolStatus:
    """Whether and why a pool is fenced, and what it holds. A SQLite pool must be stopped."""
    if (path := file_of(url, folder)) is not None:
        with sqlite_reconcile.stopped(path) as pool:
            return pool.status()
    found: PoolStatus = asyncio.run(_postgres(url).status(url, folder))
    return found


def fence(url: str, folder: Path, now: int) -> None:
    """Let a pool give nothing out until it is reconciled. A SQLite pool must be stopped; a PostgreSQL one may run."""
    why = f"it was declared a copy at {rfc3339(now)}, and may lack coupons"
    if (path := file_of(url, folder)) is not None:
        with sqlite_reconcile.stopped(path) as pool:
            pool.fence(why)
    else:
        asyncio.run(_postgres(url).fence(url, why))


def reconcile(
    url: str,
    folder: Path,
    issued: ReconcileFile | None,
    now: int,
    *,
    accept_short: int | None = None,
    dry_run: bool = False,
) -> Decision:
    """Take codes that were given out elsewhere out of the pool, and lift its fence: all of it, or nothing.

    `issued` None: nothing was given out. `dry_run`: nothing is changed. What was refused is in the decision. A SQLite
    pool must be stopped. One that is not fenced is not lifted, and its free codes are taken out all the same.
    """
    if (path := file_of(url, folder)) is not None:
        with sqlite_reconcile.stopped(path) as pool:
            return pool.reconcile(issued, now, accept_short=accept_short, dry_run=dry_run)
    work = _postgres(url).reconcile(url, folder, issued, now, accept_short=accept_short, dry_run=dry_run)
    done: Decision = asyncio.run(work)
    return done


def export(url: str, folder: Path, to: Path, now: int) -> list[Sum]:
    """Write all that a stopped pool holds to a file, and fence the pool: it is to be imported elsewhere.

    Raises:
        Misconfigured: something stands at `to`.
        StoreUnavailable: the pool is served, fenced or damaged.
    """
    if (path := file_of(url, folder)) is not None and not path.exists():
        raise Misconfigured(f"there is no {path}: name the pool with --database")
    if os.path.lexists(to):
        raise Misconfigured(f"{to} is there already, and an export replaces nothing: name another file")
    return asyncio.run(_exported(url, folder, to, now))


async def _exported(url: str, folder: Path, to: Path, now: int) -> list[Sum]:
    part = to.with_name(to.name + ".part")
    async with _transfer(url, folder) as pool:
        with _private(part) as file:
            sums = await write(file, pool.dump(), now)
            file.flush()
            os.fsync(file.fileno())
            file.close()  # Windows moves no file that is open.
            await pool.leave(
                f"it was exported at {rfc3339(now)}, and lives where it was imported; if that is nowhere, "
                "`quanma reconcile --nothing-issued` gives it back"
            )
            os.replace(part, to)
        descriptors.sync(to.parent)
    return sums


def take_in(url: str, folder: Path, source: Path) -> tuple[list[Sum], list[str]]:
    """Fill an empty pool with what was exported. Returns the sums, and where they differ: then the pool stays empty.

    Raises:
        SourceUnreadable: the file is not whole.
        StoreUnavailable: the pool is not empty, or is served.
    """
    return asyncio.run(_taken_in(url, folder, source))


async def _taken_in(url: str, folder: Path, source: Path) -> tuple[list[Sum], list[str]]:
    async with _transfer(url, folder) as pool:
        reading = Reading(source)
        await pool.fill(reading.records())
        different = differences(reading.sums, await sums_of(pool.dump()))
        if not different:
            await pool.accept()
        return reading.sums, different


@contextlib.contextmanager
def _private(path: Path) -> Generator[IO[bytes], None, None]:
    try:
        descriptor = private.make_anew(path)
    except OSError as problem:
        raise Misconfigured(f"{path} can't be written: {problem.strerror}") from None
    try:
        with open(descriptor, "wb") as file:
            yield file
    finally:
        path.unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def _transfer(url: str, folder: Path) -> AsyncGenerator[Transfer, None]:
    path = file_of(url, folder)
    pool: Transfer = _postgres(url, "transfer").PostgresTransfer(url) if path is None else SqliteTransfer(path)
    try:
        await pool.open()
        yield pool
    finally:
        await pool.close()


def _postgres(url: str, module: str = "reconcile") -> ModuleType:
    if not is_postgres(url):
        raise Misconfigured("the database is not sqlite:///relative.db, sqlite:////absolute.db or postgresql://…")
    from .postgres import reconcile, transfer

    return {"reconcile": reconcile, "transfer": transfer}[module]
