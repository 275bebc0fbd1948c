"""What a fenced pool holds, and the end of its fence: someone says what was given out that it does not know."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Generator, Sequence
from pathlib import Path

import apsw

from ....errors import Misconfigured
from ....wire.times import rfc3339
from .. import ground, steps
from ..contract import RETRIES
from ..issued_codes import IssuedCode
from ..shelf import FREE
from ..standing import Reconciled, Standing
from ..tide import Mark, MarkFile, missing
from . import fence, schema
from .store import Store
from .tables import BARRED, DELETION, BarredRow, DeletionRow


class Stopped:
    """A pool that nobody serves, open to be looked at and reconciled."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store = store
        self._file = MarkFile(path)
        self._pool, self._mark = fence.standing(store, path), fence.read(self._file)
        self._fenced = fence.fenced(store, self._pool, self._mark)

    def standing(self) -> Standing:
        held = self._store.stocks.values()
        lost = None
        if isinstance(self._mark, Mark) and self._mark.pool_id == self._pool.pool_id:
            lost = missing(self._pool, self._mark) if self._mark.commits > self._pool.commits else None
        uploads = [row for row in held if row.facts.takes_uploads]
        return Standing(
            self._fenced,
            lost,
            len(held),
            sum(each.shelf.total for each in uploads),
            sum(each.shelf.available for each in uploads),
            sum(each.sent for each in held),
            self._latest("SELECT max(success_at) FROM upload"),
            self._latest("SELECT max(sent_at) FROM (SELECT sent_at FROM coupon UNION ALL SELECT sent_at FROM sending)"),
        )

    def _latest(self, statement: str) -> str | None:
        found: int | None = self._store.db.execute(statement).get
        return None if found is None else rfc3339(found)

    def reconcile(self, issued: Sequence[IssuedCode], now: int) -> Reconciled:
        """Take codes that were given out elsewhere out of the pool, all or none, and lift the fence."""
        store = self._store
        new, reconciled = self._pool._replace(pool_id=secrets.token_bytes(16)), Reconciled(0, [], [])
        with store.db:
            reconciled = self._take_out(issued, now)
            # A new history begins here. The mark of the old one, or a copy of it, is another pool's from now on.
            schema.note(store.db, "pool_id", new.pool_id.hex())
            schema.note(store.db, "fenced", "")
        if store.tide.writes:
            new = new._replace(commits=store.tide.commit_no)
            store.tide.committed()
        self._file.make(new)
        self._file.close()
        self._pool, self._mark, self._fenced = new, new, None
        return reconciled

    def _take_out(self, issued: Sequence[IssuedCode], now: int) -> Reconciled:
        store, taken_out = self._store, 0
        known: list[int] = []
        unknown: list[int] = []
        for line, stock_id, coupon_code in issued:
            if coupon_code in store.barred.get(stock_id, ()):
                continue  # A repeat, or a file that was given before.
            held = store.stocks.get(stock_id)
            position = None if held is None else held.shelf.find(coupon_code)
            if held is not None and position is not None:
                if held.shelf.fate(position) != FREE:
                    known.append(line)
                    continue
                number = store.rows.number(DELETION)
                no = f"reconciled\n{coupon_code}"  # No caller's number has a line break.
                store.rows.add(DELETION, DeletionRow(number, stock_id, position, coupon_code, no, now))
                held.shelf.delete(position)
                taken_out += 1
            else:
                unknown.append(line)
            store.rows.add(BARRED, BarredRow(stock_id, coupon_code, now))
            store.barred.setdefault(stock_id, set()).add(coupon_code)
        return Reconciled(taken_out, known, unknown)


@contextlib.contextmanager
def stopped(path: Path) -> Generator[Stopped, None, None]:
    """Open a pool that nobody serves.

    Raises:
        Misconfigured: there is none.
        StoreUnavailable: it is served, or damaged.
    """
    if not path.exists():
        raise Misconfigured(f"there is no {path}: name the pool with --database")
    with schema.readable(path), contextlib.ExitStack() as opened:
        opened.enter_context(ground.lock(path))
        db = schema.connect(path)
        opened.callback(db.close)
        yield Stopped(Store(db, 0, RETRIES), path)


def migrate(path: Path) -> list[str]:
    """Bring a stopped pool's schema up to date, or make an empty pool. Returns the names of the steps."""
    with contextlib.ExitStack() as opened:
        opened.enter_context(ground.lock(path))
        before = 0
        if path.exists() and path.stat().st_size:
            with schema.readable(path):
                db = apsw.Connection(str(path))
                opened.callback(db.close)
                before = schema.version_of(db, path)
        schema.connect(path).close()
    return [step.name for step in steps.all_steps("sqlite")[before:]]
