"""The code pool: what it promises (`contract`), and the back ends that keep it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from ...errors import Misconfigured
from .contract import RETRIES, Retries
from .contract import CodePool as CodePool
from .sqlite import SqlitePool


def open_pool(url: str, folder: Path, *, warmup_seconds: int = 0, retries: Retries = RETRIES) -> CodePool:
    """Open the pool at a database URL.

    `sqlite:///relative.db` (to `folder`), `sqlite:////absolute.db`, or `postgresql://user:password@host:port/database`,
    which is connected to when the pool is first asked. `warmup_seconds`: how long a new stock is not ready for
    uploads. `retries`: of events.

    Raises:
        Misconfigured: not such a URL, or PostgreSQL's package is not installed.
        StoreUnavailable: see `SqlitePool`.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1:
        return SqlitePool(folder / parts.path.removeprefix("/"), warmup_seconds=warmup_seconds, retries=retries)
    if parts.scheme in ("postgresql", "postgres"):
        try:
            from .postgres import PostgresPool
        except ModuleNotFoundError as absent:
            raise Misconfigured(f"PostgreSQL needs `pip install quanma[postgres]` ({absent.name} is absent)") from None
        return PostgresPool(url, warmup_seconds=warmup_seconds, retries=retries)
    raise Misconfigured(
        f"database {parts.scheme}:… is not sqlite:///relative.db, sqlite:////absolute.db or postgresql://…/database"
    )
