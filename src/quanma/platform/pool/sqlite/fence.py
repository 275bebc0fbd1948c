"""Whether the file is the latest of its pool, or an older copy that must not give anything out. See generation.py."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from pathlib import Path

import apsw

from ....errors import StoreUnavailable
from ....storage.descriptors import inode
from ..reconciling import NOT_KNOWN, Lacking, Named
from . import issue_batches, pool_file
from .generation import Generation, MarkDamaged, MarkFile, Seen, digest, marked, missing, why_fenced
from .rows import DELETION, UPLOAD
from .store import Store, coupon_seen, upload_seen

log = logging.getLogger(__name__)


def watch(store: Store, path: Path) -> Callable[[], None]:
    """Fence the pool, or move its mark from now on. Returns what lets the mark go.

    Raises:
        StoreUnavailable: the log is damaged, and commits in it that were acknowledged can't be read.
    """
    file = MarkFile(path)
    mark = read(file)
    pool = generation_of(store, path)
    if (
        isinstance(mark, Generation)
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
        pool_file.note(store.db, "fenced", store.fenced)
        if isinstance(mark, Generation):
            store.commits.follow_fenced(file, mark)
        log.critical("nothing is given out: %s: run `quanma reconcile`", store.fenced)
    else:
        start(store, file, pool)
    return file.close


def generation_of(store: Store, path: Path) -> Generation:
    """What the database itself says of which pool it is, and how far. No id: it never had a mark."""
    noted = pool_file.noted(store.db, "pool_id")
    pool_id = None if noted is None else bytes.fromhex(noted)
    return marked(Generation(pool_id, 0, 0, inode(path)), store.commits.commit_no - 1, store.latest)


def read(file: MarkFile) -> Generation | MarkDamaged | None:
    try:
        return file.read()
    except MarkDamaged as damaged:
        return damaged


def fenced(store: Store, pool: Generation, mark: Generation | MarkDamaged | None) -> str | None:
    """Why the pool is to be fenced."""
    if said := pool_file.noted(store.db, "fenced"):
        return said
    if pool.pool_id is None:
        # New. A mark that has seen commits is of a pool that stood here before.
        return why_fenced(pool, mark) if isinstance(mark, Generation) and mark.commits else None
    if mark is None and not store.stocks:
        return None  # Nothing that could be given out twice.
    return why_fenced(pool, mark, _absent(store, mark) if isinstance(mark, Generation) else None)


def lacking(store: Store, pool: Generation, mark: Generation | MarkDamaged | None) -> Lacking:
    """What the mark knows that the database does not hold."""
    if not isinstance(mark, Generation) or mark.pool_id != pool.pool_id:
        return NOT_KNOWN
    last_is_there = _coupon_is_there(store, mark)
    coupons = max(mark.coupons - pool.coupons, 0 if last_is_there else 1)
    if not coupons and mark.inode != pool.inode:
        # The mark may be a copy too, and what was given out since is in another one.
        return NOT_KNOWN._replace(commits=max(0, mark.commits - pool.commits))
    named = None if last_is_there or mark.last_coupon is None else Named(*mark.last_coupon)
    commits, codes = max(0, mark.commits - pool.commits), max(0, mark.codes - pool.codes)
    return Lacking(coupons, last=named, commits=commits, codes=codes)


def _absent(store: Store, mark: Generation) -> str | None:
    """What the mark saw acknowledged, and is not there."""
    if not _coupon_is_there(store, mark):
        return f"coupon {mark.coupons}"
    if mark.upload is not None:
        uploads = store.rows.read(UPLOAD, "upload_id = ?", mark.upload.number)
        if not any(_is(mark.upload, upload_seen(row)) for row in uploads):
            return f"upload {mark.upload.number}"
    if mark.deletion is not None:
        deletions = store.rows.read(DELETION, "deletion_id = ?", mark.deletion.number)
        if not any(_is(mark.deletion, row) for row in deletions):
            return f"deletion {mark.deletion.number}"
    return None


def _coupon_is_there(store: Store, mark: Generation) -> bool:
    if mark.coupons >= store.next_coupon_id:
        return False
    if not mark.coupons or mark.coupon_digest is None:  # There was none, or the pool was imported, and none since.
        return True
    coupon = issue_batches.coupon(store.rows, mark.coupons)
    return _is(Seen(mark.coupons, mark.coupon_digest), coupon_seen(coupon))


def _is(known: Seen, row: tuple[object, ...]) -> bool:
    return known.digest == digest(row)


def start(store: Store, file: MarkFile, pool: Generation) -> None:
    """Let the pool go on from here under its mark; under a new one, if it has none yet."""
    if pool.pool_id is None:
        pool_id = secrets.token_bytes(16)
        pool = pool._replace(pool_id=pool_id)
        file.make(pool)  # First: a database that knows its id and has no mark would be fenced.
        pool_file.note(store.db, "pool_id", pool_id.hex())
    else:
        file.make(pool)
    store.commits.follow(file, pool, lambda: store.latest)


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
