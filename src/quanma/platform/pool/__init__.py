"""The code pool: what it promises (`contract`), and the back ends that keep it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from ...errors import Misconfigured
from ...settings import addresses
from .contract import RETRIES, STOCKS_PER_MERCHANT, Retries
from .contract import CodePool as CodePool
from .sqlite.pool import SqlitePool


def open_pool(
    url: str,
    folder: Path,
    *,
    warmup_seconds: int = 0,
    retries: Retries = RETRIES,
    stocks_per_merchant: int = STOCKS_PER_MERCHANT,
    accept_lost_failover: bool = False,
) -> CodePool:
    """Open the pool at a database URL.

    `sqlite:///relative.db` (to `folder`), `sqlite:////absolute.db`, or `postgresql://user:password@host:port/database`,
    which is connected to when the pool is first asked. `warmup_seconds`: how long a new stock is not ready for
    uploads. `retries`: of events. `stocks_per_merchant`: how many each may create. `accept_lost_failover`: of
    PostgreSQL, see there. What this host acknowledged is kept in `folder` too.

    Raises:
        Misconfigured: not such a URL.
        ExtraMissing: PostgreSQL's package is not installed.
        StoreUnavailable: see `SqlitePool`.
    """
    if (path := file_of(url, folder)) is not None:
        return SqlitePool(path, warmup_seconds=warmup_seconds, retries=retries, stocks_per_merchant=stocks_per_merchant)
    if is_postgres(url):
        from .postgres.pool import PostgresPool

        return PostgresPool(
            url,
            folder,
            warmup_seconds=warmup_seconds,
            retries=retries,
            stocks_per_merchant=stocks_per_merchant,
            accept_lost_failover=accept_lost_failover,
        )
    raise AssertionError("a database URL is one of SQLite or of PostgreSQL")


def file_of(url: str, folder: Path) -> Path | None:
    """Return the file that a database URL names, or None where it is PostgreSQL's.

    Raises:
        Misconfigured: no database URL. The message repeats nothing of it: it may hold a password.
    """
    parts = urlsplit(_checked(url))
    return folder / parts.path.removeprefix("/") if parts.scheme == "sqlite" else None


def is_postgres(url: str) -> bool:
    """Raises Misconfigured: as `file_of`."""
    return urlsplit(_checked(url)).scheme in ("postgresql", "postgres")


def _checked(url: str) -> str:
    read = addresses.database(url)
    if isinstance(read, addresses.Wrong):
        raise Misconfigured(f"database {read.reason}")
    return read
