"""One transaction at one stock, which no other one comes between, on this host or any.

It locks the stock's row in `stock_lock` first, and reads after that: so it sees what the one before it left. What it
decides is decided in Python, by the same rules as in every back end; what it writes is committed with it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from typing import Any, Never, TypeVar

from ....errors import StoreUnavailable
from ....wire.times import beijing_day
from ...coupons import responses, stocks
from ...coupons.coupon import CouponFacts
from ...coupons.repeats import Numbered
from ...coupons.stocks import Product, StockFacts
from .between import SHARED_OUT, Astray
from .connections import Connection, Connections
from .due_stocks import DueStocks
from .mark_file import IssuedCoupon, Mark
from .missing import PROOFS, microseconds, word_of
from .numbers import Numbers
from .queries import code_at, columns, query
from .rows import KnownTerms, coupon_of
from .seen import SEEN, SEEN_FIELDS, Missing, Seen
from .session import GROUND, check_durable

Answer = TypeVar("Answer")

COUNTERS_KEPT = 256
TERMS_READ = 32
"""How many of a stock's latest terms a transaction reads. Most stocks have one or two."""

COUNTERS, ADD_COUNTERS = query("stock_counters"), query("add_stock_counters")
_FORGET_COUNTERS = query("forget_stock_counters")
_LOCK_STOCK = query("lock_stock")
_KEEP_DAY, _SENT_ON = query("keep_day"), query("sent_on")
_STOCK, _COUPON, _WRITTEN_AT = query("stock"), query("coupon"), query("written_at")
_ANSWERED, _ADD_ANSWERED = query("answered"), query("add_answered")


@dataclass
class StockCounters:
    """A stock's counters: see the table. `day` is a day in Beijing."""

    uploaded: int
    deleted: int
    free: int
    stale: int
    shift: int
    sent: int
    day: int
    sent_on_day: int

    @property
    def total(self) -> int:
        return self.uploaded - self.deleted

    @property
    def available(self) -> int:
        return self.free - self.stale


NEW = StockCounters(0, 0, 0, 0, -1, 0, 0, 0)


class StockTransaction:
    def __init__(
        self,
        connection: Connection,
        connections: Connections,
        seen: Seen,
        stock_no: int,
        facts: StockFacts,
        notifies: bool,
        transaction_no: int,
        counters: StockCounters,
        terms: Sequence[str],
        known: Mark | None,
        epoch: str,
    ) -> None:
        self.connection = connection
        self.product_document: str | None = None
        """Of 商品券: that of its product coupon, once it was read."""
        self._connections = connections
        self._seen = seen
        self.stock_no = stock_no
        self.facts = facts
        self.notifies = notifies
        """Whether the stock's creator wants events."""
        self.counters = counters
        self.terms = KnownTerms(terms)
        self.now_us = time.time_ns() // 1000
        """When its rows were written, in microseconds: no other transaction of the stock has the same."""
        self.word = secrets.randbits(63)
        """In each row that proves this transaction."""
        self._before = replace(counters)
        self._transaction_no = transaction_no
        self._mark: Mark | None = None
        self._issued: list[IssuedCoupon] = []
        self._repeat: Mark | None = None
        self._known = known
        self._epoch = epoch
        """`Host.epoch` when the transaction began: the latest that this host knew, confirmed or not."""

    @property
    def due_stocks(self) -> DueStocks | None:
        """Where it is a Citus cluster."""
        return self._connections.listing

    @property
    def many_nodes(self) -> bool:
        """Whether the database is a Citus cluster."""
        return self._connections.many_nodes

    @property
    def stock_id(self) -> str:
        return self.facts.stock_id

    @classmethod
    async def begin(cls, connection: Connection, connections: Connections, stock_id: str) -> StockTransaction:
        """Wait until no other transaction is at the stock, and keep others out until the end.

        Raises:
            ResourceNotExists: there is no such stock.
            StoreUnavailable: the server may lose what it commits, or its settings do not hold.
            Unconfirmed: the database may have gone back.
            Missing: it has.
            PoolFenced: that was found already, and the stock may be among what is missing.
        """
        witness = connections.witness
        stock_no = await _take(connection, connections.numbers, stock_id)
        if stock_no is None:
            await refuse(connection, connections, stock_id, is_there=False)
        witness.reserve(stock_id)
        host = witness.host
        mark = witness.mark_of(stock_id, host.history)
        # Not in one statement: what this one sees was not settled before the lock was had.
        row = await connection.fetchrow(
            _BEGIN.format(
                seen=SEEN.format(identity=connections.epochs.identity, host="$2"),
                session="''" if connections.many_nodes else "current_setting('quanma.session', true)",
                proof=_PROOF[mark.kind] if mark else "true",
            ),
            stock_no,
            host.host_id,
            stock_id,
            *((mark.key, mark.number, word_of(mark)) if mark else ()),
        )
        if row is None:
            # The number that was kept is another stock's now: the database went back to before this one had it.
            connections.numbers.forget(stock_id)
            if await connections.numbers.of(connection, stock_id) == stock_no:
                raise StoreUnavailable(f"stock {stock_id} has no counters: restore a backup")
            return await cls.begin(connection, connections, stock_id)
        seen, rest = Seen(*row[:SEEN_FIELDS]), row[SEEN_FIELDS:]
        session, is_proven, *ground = rest[:5]
        if session != connection.session and not connections.many_nodes:
            raise Astray(SHARED_OUT)
        connection.note_look()
        check_durable(*ground)
        if not seen.is_fenced:
            connections.epochs.check(seen, connection.server, host)
            if not is_proven:
                raise Missing
        facts, notifies, transaction_no = facts_of(rest[5:12]), rest[12], rest[13]
        counters, terms = StockCounters(*rest[14:-1]), rest[-1]
        return cls(
            connection, connections, seen, stock_no, facts, notifies, transaction_no, counters, terms, mark, host.epoch
        )

    def wrote(self, kind: str, key: str, number: int = 0) -> None:
        """Note a row that proves this transaction."""
        self._mark = Mark(kind, key, number, self.now_us if kind == "coupon" else self.word, self._transaction_no + 1)

    def gave(self, coupons: Sequence[CouponFacts]) -> None:
        """Note coupons that were given out."""
        last = coupons[-1]
        self.wrote("coupon", last.coupon_code, last.coupon_id)
        self._issued += [IssuedCoupon(it.stock_id, it.coupon_id, it.coupon_code, it.out_request_no) for it in coupons]

    async def gave_before(self, coupon: CouponFacts) -> None:
        """Note a coupon that is told again. Its first answer may never have left, and then no mark knows of it."""
        known = self._known
        if known is not None and (known.number >= coupon.coupon_id or known.transaction_no >= self._transaction_no):
            return  # Each mark has the number of the last coupon before it, of whatever kind it is.
        written_at = await self.connection.fetchval(_WRITTEN_AT, self.stock_no, coupon.coupon_id)
        self._repeat = Mark(
            "coupon",
            coupon.coupon_code,
            coupon.coupon_id,
            microseconds(written_at),
            # It was in a later transaction than the mark's: this one at least.
            known.transaction_no + 1 if known else 1,
        )

    async def end(self) -> None:
        """Write the counters. Each transaction that writes anything has its own number, and a key that no other has."""
        if self.counters == self._before and self._mark is None:
            return
        transaction_no = self._transaction_no + 1
        await self.connection.execute(
            ADD_COUNTERS,
            self.stock_no,
            transaction_no,
            *astuple(self.counters),
        )
        if transaction_no % COUNTERS_KEPT == 0:
            # From where the last time ended: what was removed then may still be in the way.
            await self.connection.execute(
                _FORGET_COUNTERS,
                self.stock_no,
                transaction_no - 2 * COUNTERS_KEPT,
                transaction_no - COUNTERS_KEPT,
            )

    def acknowledge(self) -> bool:
        """Bear witness of what was committed, before it is told. Returns whether anything was written.

        Raises:
            EpochPassed: it must not be told.
        """
        if self._mark is None:
            return False
        if self._seen.is_fenced:
            self._connections.witness.note_under_fence(self._epoch, self._seen.history)
        else:
            mark = self._mark if self._mark.kind == "coupon" else self._mark._replace(number=self.counters.sent)
            self._connections.witness.note(self._seen.epoch, self._seen.history, self.stock_id, mark, self._issued)
        return True

    def acknowledge_what_was_read(self) -> None:
        """As `acknowledge`, of what an earlier transaction wrote; after it is sure."""
        if self._repeat is not None and not self._seen.is_fenced:
            self._connections.witness.note(self._seen.epoch, self._seen.history, self.stock_id, self._repeat)

    async def check_fence(self) -> None:
        """Raises PoolFenced: nothing new may be given out. Asked again each time, for it may have been lifted."""
        if self._seen.is_fenced or self._connections.fenced:
            await self._connections.look_at_fence(self.connection)

    async def enter_day(self, now: int) -> None:
        """Let `counters.sent_on_day` count the day of this moment."""
        day, counters = beijing_day(now), self.counters
        if day == counters.day:
            return
        await self.connection.execute(
            _KEEP_DAY,
            self.stock_no,
            counters.day,
            counters.sent_on_day,
        )
        counters.day, counters.sent_on_day = day, await sent_on(self.connection, self.stock_no, day)

    async def coupon_of(self, coupon_code: str) -> CouponFacts:
        """Return the coupon that carries a code. Raises ResourceNotExists: nobody was given it."""
        row = await self.connection.fetchrow(_COUPON, self.stock_no, coupon_code)
        if row is None:
            raise responses.no_coupon(self.stock_id, coupon_code)
        return coupon_of(self.stock_id, row)

    async def once(self, asked: Numbered[Answer], work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Do something once under its number. Raises RequestRefused: the number was used with other fields."""
        known = await self.connection.fetchrow(_ANSWERED, self.stock_no, asked.name, asked.number)
        if known is not None:
            return asked.again(*known)
        answer = await work()
        self.wrote("answered", f"{asked.name}\n{asked.number}")
        await self.connection.execute(
            _ADD_ANSWERED, self.stock_no, asked.name, asked.number, asked.request, asked.kept(answer), self.word
        )
        return answer


_NOTIFIED = f"(CASE WHEN s.product_coupon_id IS NULL THEN '' ELSE '{stocks.PRODUCT_EVENTS}' END || s.mchid)"
"""See `StockFacts.notified`."""


class StockTransactions:
    """Those of several stocks, in one transaction of the database. They are locked in the order of their ids."""

    def __init__(self, each: Sequence[StockTransaction]) -> None:
        self.each = each

    @classmethod
    async def begin(
        cls, connection: Connection, connections: Connections, stock_ids: Sequence[str]
    ) -> StockTransactions:
        """Lock the stocks. `each` is in the order in which they were asked for. Raises: as for one."""
        locked = {
            stock_id: await StockTransaction.begin(connection, connections, stock_id) for stock_id in sorted(stock_ids)
        }
        return cls([locked[stock_id] for stock_id in stock_ids])

    async def end(self) -> None:
        for one in self.each:
            await one.end()

    def acknowledge(self) -> bool:
        """As for one. Returns whether anything was written to any."""
        written = [one.acknowledge() for one in self.each]  # Of every one, whatever the first says.
        return any(written)

    def acknowledge_what_was_read(self) -> None:
        for one in self.each:
            one.acknowledge_what_was_read()


_BEGIN = (
    "SELECT {seen}, {session}, ({proof}), " + GROUND + f", {columns('stock', 's')},"
    f" EXISTS (SELECT 1 FROM callback c WHERE c.caller = {_NOTIFIED} AND c.mchid = c.caller),"
    f" t.transaction_no, {columns('stock_counters')},"
    " ARRAY(SELECT terms_no || E'\\n' || terms FROM terms WHERE stock_no = $1 ORDER BY terms_no DESC"
    f" LIMIT {TERMS_READ})"
    f" FROM epoch e, stock s, (SELECT transaction_no, {columns('stock_counters')} FROM stock_counters"
    " WHERE stock_no = $1 ORDER BY transaction_no DESC LIMIT 1) t WHERE s.stock_no = $1 AND s.stock_id = $3"
)
_PROOF = {
    kind: f"EXISTS (SELECT 1 FROM {proof.table} WHERE stock_no = $1 AND "
    + proof.where.format(
        key="$4::text", number="$5::bigint", word=f"$6::{proof.word_type}", code=code_at("coupon.position")
    )
    + (" AND $5::bigint IS NOT NULL" if "{number}" not in proof.where else "")
    + (" AND $4::text IS NOT NULL" if "{key}" not in proof.where else "")
    + ")"
    for kind, proof in PROOFS.items()
}


async def _take(connection: Connection, numbers: Numbers, stock_id: str) -> int | None:
    """Lock a stock, and return its number. None: there is no such stock."""
    for _ in range(2):
        stock_no = await numbers.of(connection, stock_id)
        if stock_no is not None and await connection.fetchval(_LOCK_STOCK, stock_no):
            return stock_no
        numbers.forget(stock_id)  # What was kept may be of before the database went back.
    return None


async def refuse(connection: Connection, connections: Connections, stock_id: str, *, is_there: bool) -> Never:
    """Say that there is no such stock, be it absent or another's: both are the same work.

    Raises:
        ResourceNotExists: there is none.
        Unconfirmed: the database may have gone back.
        Missing: it has, to before the stock was made.
        PoolFenced: that is known.
    """
    seen = await connections.epochs.enter(connection)
    mark = connections.witness.mark_of(stock_id, seen.history)
    if seen.is_fenced:
        await connections.look_at_fence(connection)
    elif mark and not is_there:
        raise Missing
    raise responses.no_stock(stock_id)


async def sent_on(connection: Connection, stock_no: int, day: int) -> int:
    """How many coupons were given out on a day that is not the counters'."""
    sent = await connection.fetchval(_SENT_ON, stock_no, day)
    return int(sent or 0)


async def stock_of(connection: Connection, stock_id: str) -> tuple[int, StockFacts]:
    """Return a stock's number inside, and the stock. Raises ResourceNotExists: there is no such stock."""
    row = await connection.fetchrow(_STOCK, stock_id)
    if row is None:
        raise responses.no_stock(stock_id)
    return row[0], facts_of(row)


def facts_of(row: Any) -> StockFacts:
    """Read the columns of `stock`: see queries.py."""
    return _facts(*row[1:])


@lru_cache(4096)
def _facts(
    stock_id: str, mchid: str, request: str, created_at: int, product_coupon_id: str | None, brand_id: str | None
) -> StockFacts:
    product = None if product_coupon_id is None or brand_id is None else Product(product_coupon_id, brand_id)
    return stocks.stock_facts(stock_id, mchid, stocks.stored_stock(request), created_at, product)


def check_creator(facts: StockFacts, mchid: str, product: Product | None = None) -> None:
    """Raises ResourceNotExists: the stock is another merchant's, or of another kind."""
    if (facts.mchid, facts.product) != (mchid, product):
        raise responses.no_stock(facts.stock_id)


def check_shared(facts: StockFacts, mchid: str) -> None:
    """Raises ResourceNotExists: the merchant is neither the stock's creator nor its owner."""
    if facts.product is not None or mchid not in facts.merchants:
        check_creator(facts, mchid)
