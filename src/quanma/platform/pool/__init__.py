"""The code pool: what it promises (`contract`), and the back ends that keep it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from ...errors import Misconfigured
from .contract import RETRIES, Retries
from .contract import CodePool as CodePool
from .sqlite import SqlitePool


def open_pool(
    url: str,
    folder: Path,
    *,
    warmup_seconds: int = 0,
    retries: Retries = RETRIES,
    accept_lost_failover: bool = False,
) -> CodePool:
    """Open the pool at a database URL.

    `sqlite:///relative.db` (to `folder`), `sqlite:////absolute.db`, or `postgresql://user:password@host:port/database`,
    which is connected to when the pool is first asked. `warmup_seconds`: how long a new stock is not ready for
    uploads. `retries`: of events. `accept_lost_failover`: of PostgreSQL, see there. What this host acknowledged is kept
    in `folder` too.

    Raises:
        Misconfigured: not such a URL, or PostgreSQL's package is not installed.
        StoreUnavailable: see `SqlitePool`.
    """
    if (path := file_of(url, folder)) is not None:
        return SqlitePool(path, warmup_seconds=warmup_seconds, retries=retries)
    if is_postgres(url):
        try:
            from .postgres import PostgresPool
        except ModuleNotFoundError as absent:
            raise Misconfigured(f"PostgreSQL needs `pip install quanma[postgres]` ({absent.name} is absent)") from None
        return PostgresPool(
            url,
            folder,
            warmup_seconds=warmup_seconds,
            retries=retries,
            accept_lost_failover=accept_lost_failover,
        )
    raise Misconfigured(
        f"database {urlsplit(url).scheme}:… is not sqlite:///relative.db, sqlite:////absolute.db or postgresql://…/database"
    )


def file_of(url: str, folder: Path) -> Path | None:
    """Return the file that a database URL names, or None where it names no SQLite file."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1:
        return folder / parts.path.removeprefix("/")
    return None


def is_postgres(url: str) -> bool:
    return urlsplit(url).scheme in ("postgresql", "postgres")
