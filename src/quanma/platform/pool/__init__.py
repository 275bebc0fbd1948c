"""The code pool: what it promises (`contract`), and the back ends that keep it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from ...errors import Misconfigured
from .contract import RETRIES, Retries
from .contract import CodePool as CodePool
from .sqlite import SqlitePool


def open_pool(url: str, folder: Path, *, warmup_seconds: int = 0, retries: Retries = RETRIES) -> CodePool:
    """Open the pool at a database URL: `sqlite:///relative.db` (to `folder`) or `sqlite:////absolute.db`.

    `warmup_seconds`: how long a new stock is not ready for uploads. `retries`: of events.

    Raises:
        Misconfigured: not such a URL.
        StoreUnavailable: see `SqlitePool`.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1:
        return SqlitePool(folder / parts.path.removeprefix("/"), warmup_seconds=warmup_seconds, retries=retries)
    if parts.scheme in ("postgresql", "postgres"):
        raise Misconfigured("PostgreSQL is not served yet: use sqlite:///quanma.db")
    raise Misconfigured(f"database {parts.scheme}:… is not sqlite:///relative.db or sqlite:////absolute.db")
