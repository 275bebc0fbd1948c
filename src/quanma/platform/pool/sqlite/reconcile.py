"""What a fenced pool holds, and the end of its fence: someone says what was given out that it does not know."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Generator
from pathlib import Path

import apsw

from ....errors import Misconfigured
from ....wire.times import rfc3339
from .. import migrations, reconciling
from ..contract import RETRIES
from ..reconcile_file import ReconcileFile
from ..reconciling import CodeState, Decision
from ..status import PoolStatus
from . import fence, pool_file, preflight
from .generation import MarkFile
from .rows import BARRED, DELETION, BarredRow, DeletionRow
from .store import Store


class Stopped:
    """A pool that nobody serves, open to be looked at and reconciled."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store = store
        self._path = path
        self._file = MarkFile(path)
        self._pool, self._mark = fence.generation_of(store, path), fence.read(self._file)
        self._fenced = fence.fenced(store, self._pool, self._mark)
        self._lacking = fence.lacking(store, self._pool, self._mark) if self._fenced else reconciling.NOT_KNOWN

    def status(self) -> PoolStatus:
        stocks = self._store.stocks.values()
        uploads = [row for row in stocks if row.facts.takes_uploads]
        return PoolStatus(
            self._fenced,
            self._lacking,
            len(stocks),
            sum(each.codes.total for each in uploads),
            sum(each.codes.available for each in uploads),
            sum(each.sent for each in stocks),
            self._latest("SELECT max(success_at) FROM upload"),
            self._latest(
                "SELECT max(sent_at) FROM (SELECT sent_at FROM coupon UNION ALL SELECT sent_at FROM issue_batch)"
            ),
        )

    def _latest(self, statement: str) -> str | None:
        found: int | None = self._store.db.execute(statement).get
        return None if found is None else rfc3339(found)

    def reconcile(self, issued: ReconcileFile | None, now: int, *, accept_short: int | None, dry_run: bool) -> Decision:
        """Take codes that were given out elsewhere out of the pool, and lift the fence: all of it, or nothing."""
        store = self._store
        decision = reconciling.decide(
            issued,
            self._lacking,
            {pair: self._state(*pair) for pair in reconciling.pairs(issued, self._lacking)},
            store.stocks,
            fenced=self._fenced is not None,
            accept_short=accept_short,
        )
        if decision.refused or dry_run:
            return decision
        self._file.check_writable()
        with store.db:
            for stock_id, coupon_code in decision.take_out:
                self._take_out(stock_id, coupon_code, now)
            for stock_id, coupon_code in (*decision.take_out, *decision.keep_out):
                self._keep_out(stock_id, coupon_code, now)
            if self._fenced or self._pool.pool_id is None:
                # A new history begins here. The mark of the old one, or a copy of it, is another pool's from now on.
                pool_file.note(store.db, "pool_id", secrets.token_bytes(16).hex())
                pool_file.forget(store.db, "fenced")
        store.commits.committed()
        self._fenced, self._lacking = None, reconciling.NOT_KNOWN
        self._pool = self._mark = fence.generation_of(store, self._path)
        self._file.make(self._pool)
        self._file.close()
        return decision

    def fence(self, why: str) -> None:
        """Let nothing be given out from here."""
        if not self._fenced:
            pool_file.note(self._store.db, "fenced", why)
            self._fenced = why

    def _state(self, stock_id: str, coupon_code: str) -> CodeState:
        stock = self._store.stocks.get(stock_id)
        if stock is None:
            return CodeState.NO_STOCK
        position = stock.codes.find(coupon_code)
        if position is not None:
            return CodeState.FREE if stock.codes.owner(position) is None else CodeState.GIVEN
        if coupon_code in self._store.barred.get(stock_id, ()):
            return CodeState.KEPT_OUT
        return CodeState.ABSENT if stock.facts.takes_uploads else CodeState.OPEN

    def _take_out(self, stock_id: str, coupon_code: str, now: int) -> None:
        store, stock = self._store, self._store.stocks[stock_id]
        position = store.position(stock, coupon_code)
        number, no = store.rows.number(DELETION), reconciling.delete_request_no(coupon_code)
        row = DeletionRow(number, stock_id, position, coupon_code, no, now)
        store.rows.add(DELETION, row)
        stock.uploaded.delete(position)
        store.deleted(row)

    def _keep_out(self, stock_id: str, coupon_code: str, now: int) -> None:
        barred = self._store.barred.setdefault(stock_id, set())
        if coupon_code not in barred:
            self._store.rows.add(BARRED, BarredRow(stock_id, coupon_code, now))
            barred.add(coupon_code)


@contextlib.contextmanager
def stopped(path: Path) -> Generator[Stopped, None, None]:
    """Open a pool that nobody serves.

    Raises:
        Misconfigured: there is none.
        StoreUnavailable: it is served, or damaged.
    """
    if not path.exists():
        raise Misconfigured(f"there is no {path}: name the pool with --database")
    with pool_file.readable(path), contextlib.ExitStack() as opened:
        opened.enter_context(preflight.lock(path))
        db = pool_file.connect(path)
        opened.callback(db.close)
        yield Stopped(Store(db, 0, RETRIES), path)


def migrate(path: Path) -> list[str]:
    """Bring a stopped pool's schema up to date, or make an empty pool. Returns the names of the steps."""
    with contextlib.ExitStack() as opened:
        opened.enter_context(preflight.lock(path))
        before = 0
        if path.exists() and path.stat().st_size:
            with pool_file.readable(path):
                db = apsw.Connection(str(path))
                opened.callback(db.close)
                before = pool_file.version_of(db, path)
        pool_file.connect(path).close()
    return [step.name for step in migrations.all_migrations("sqlite")[before:]]
