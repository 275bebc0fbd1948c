"""Whether the file is the latest of its pool, or an older copy that must not give anything out. See tide.py."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from pathlib import Path

import apsw

from ....errors import StoreUnavailable
from ..tide import Mark, MarkDamaged, MarkFile, missing, why_fenced
from . import schema
from .store import Store

log = logging.getLogger(__name__)


def watch(store: Store, path: Path) -> Callable[[], None]:
    """Fence the pool, or move its mark from now on. Returns what lets the mark go.

    Raises:
        StoreUnavailable: the log is damaged, and commits in it that were acknowledged can't be read.
    """
    file = MarkFile(path)
    mark = read(file)
    pool = standing(store, path)
    if (
        isinstance(mark, Mark)
        and mark.pool_id == pool.pool_id
        and mark.commits > pool.commits
        and _log_is_cut(store.db, path)
    ):
        raise StoreUnavailable(
            f"{path}-wal is damaged: {missing(pool, mark)} can't be read: restore a backup, "
            "or run `quanma reconcile` to go on without them"
        )
    store.fenced = fenced(store, pool, mark)
    if store.fenced:
        schema.note(store.db, "fenced", store.fenced)
        log.critical("nothing is given out: %s: run `quanma reconcile`", store.fenced)
    else:
        start(store, file, pool)
    return file.close


def standing(store: Store, path: Path) -> Mark:
    """What the database itself says of which pool it is, and how far. No id: it never had a mark."""
    pool_id = bytes.fromhex(schema.noted(store.db, "pool_id") or "")
    return Mark(pool_id, store.tide.commit_no - 1, store.next_coupon_id - 1, path.stat().st_ino)


def read(file: MarkFile) -> Mark | MarkDamaged | None:
    try:
        return file.read()
    except MarkDamaged as damaged:
        return damaged


def fenced(store: Store, pool: Mark, mark: Mark | MarkDamaged | None) -> str | None:
    """Why the pool is to be fenced."""
    if said := schema.noted(store.db, "fenced"):
        return said
    if not pool.pool_id:
        # New, or from before there were marks. A mark that has seen commits is of a pool that stood here before.
        return why_fenced(pool, mark) if isinstance(mark, Mark) and mark.commits else None
    if mark is None and not store.stocks:
        return None  # Nothing that could be given out twice.
    return why_fenced(pool, mark)


def start(store: Store, file: MarkFile, pool: Mark) -> None:
    """Let the pool go on from here under its mark; under a new one, if it has none yet."""
    if not pool.pool_id:
        pool = pool._replace(pool_id=secrets.token_bytes(16))
        file.make(pool)  # First: a database that knows its id and has no mark would be fenced.
        schema.note(store.db, "pool_id", pool.pool_id.hex())
    else:
        file.make(pool)
    store.tide.follow(file, pool, lambda: store.next_coupon_id - 1)


def _log_is_cut(db: apsw.Connection, path: Path) -> bool:
    """Whether the log goes on behind the last frame that SQLite could read from it, in the same turn of the log."""
    readable, _ = db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
    frame = int(db.execute("PRAGMA page_size").get) + 24
    log_path = path.with_name(path.name + "-wal")
    if not log_path.exists():
        return False
    with log_path.open("rb") as file:
        salts = file.read(32)[16:24]
        frames = (log_path.stat().st_size - 32) // frame
        if frames > 0 and readable <= 0:
            return True
        for number in range(max(readable, 0), frames):
            file.seek(32 + number * frame)
            if file.read(24)[8:16] == salts:
                return True
    return False
