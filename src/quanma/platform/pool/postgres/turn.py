"""One turn at one stock: a transaction that no other one can come between, on this host or any.

It locks the stock's row in `turn` first, and reads after that, so it sees what the turn before it left. What it
decides is decided in Python, by the same rules as in every back end; what it writes is committed with it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from typing import Any, Never, TypeVar

import msgspec

from ....errors import RequestRefused
from ....wire.times import beijing_day
from ... import rules
from ...life import CouponFacts
from ...rules import Product, StockFacts
from .. import answers
from .between import SHARED_OUT, Astray
from .link import Connection, Link
from .mark_file import IssuedCoupon, Mark
from .missing import PROOFS, microseconds, word_of
from .seen import SEEN, SEEN_FIELDS, Missing, Seen
from .session import GROUND, check_durable

Answer = TypeVar("Answer", bound=msgspec.Struct | None)

TALLIES_KEPT = 256

COUPON_FIELDS = ", ".join(CouponFacts._fields)
STOCK_FIELDS = "s.stock_id, s.mchid, s.request, s.created_at, s.product_coupon_id, s.brand_id"


@dataclass
class Tally:
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


NEW = Tally(0, 0, 0, 0, -1, 0, 0, 0)
TALLY_FIELDS = "uploaded, deleted, free, stale, shift, sent, day, sent_on_day"


class Turn:
    def __init__(
        self,
        connection: Connection,
        link: Link,
        seen: Seen,
        facts: StockFacts,
        notifies: bool,
        turn_no: int,
        tally: Tally,
        known: Mark | None,
    ) -> None:
        self.connection = connection
        self._link = link
        self._seen = seen
        self.facts = facts
        self.notifies = notifies
        """Whether the stock's creator wants events."""
        self.tally = tally
        self.now_us = time.time_ns() // 1000
        """When what this turn writes was written, in microseconds: no other turn of the stock has the same."""
        self.word = secrets.randbits(63)
        """In each row that proves this turn."""
        self._before = replace(tally)
        self._turn_no = turn_no
        self._mark: Mark | None = None
        self._issued: list[IssuedCoupon] = []
        self._repeat: Mark | None = None
        self._known = known

    @property
    def stock_id(self) -> str:
        return self.facts.stock_id

    @classmethod
    async def begin(cls, connection: Connection, link: Link, stock_id: str) -> Turn:
        """Wait for the stock's turn.

        Raises:
            ResourceNotExists: there is no such stock.
            StoreUnavailable: the server may lose what it commits, or its settings do not hold.
            Unconfirmed: the database may have gone back.
            Missing: it has.
            PoolFenced: that was found already, and the stock may be among what is missing.
        """
        witness = link.witness
        if not await connection.fetchval("SELECT 1 FROM turn WHERE stock_id = $1 FOR UPDATE", stock_id):
            await refuse(connection, link, stock_id, is_there=False)
        witness.reserve(stock_id)
        host = witness.host
        mark = witness.mark_of(stock_id, host.history)
        # Not in one statement: what this one sees was not settled before the lock was had.
        row = await connection.fetchrow(
            _BEGIN.format(
                seen=SEEN.format(identity=link.epochs.identity, host="$2"),
                session="''" if link.many_nodes else "current_setting('quanma.session', true)",
                proof=_PROOF[mark.kind] if mark else "true",
            ),
            stock_id,
            host.host_id,
            *((mark.key, mark.number, word_of(mark)) if mark else ()),
        )
        seen, rest = Seen(*row[:SEEN_FIELDS]), row[SEEN_FIELDS:]
        session, is_proven, *ground = rest[:5]
        if session != connection.session and not link.many_nodes:
            raise Astray(SHARED_OUT)
        connection.note_look()
        check_durable(*ground)
        if not seen.is_fenced:
            link.epochs.check(seen, connection.server, host)
            if not is_proven:
                raise Missing
        facts, notifies, turn_no = facts_of(rest[5:11]), rest[11], rest[12]
        return cls(connection, link, seen, facts, notifies, turn_no, Tally(*rest[13:]), mark)

    def wrote(self, kind: str, key: str, number: int = 0) -> None:
        """Note a row that proves this turn."""
        self._mark = Mark(kind, key, number, self.now_us if kind == "coupon" else self.word, self._turn_no + 1)

    def gave(self, coupons: Sequence[CouponFacts]) -> None:
        """Note coupons that were given out."""
        last = coupons[-1]
        self.wrote("coupon", last.coupon_code, last.coupon_id)
        self._issued += [IssuedCoupon(it.stock_id, it.coupon_id, it.coupon_code, it.out_request_no) for it in coupons]

    async def gave_before(self, coupon: CouponFacts) -> None:
        """Note a coupon that is told again. Its first answer may never have left, and then no mark knows of it."""
        known = self._known
        if known is not None and (known.number >= coupon.coupon_id or known.turn_no >= self._turn_no):
            return  # Each mark has the number of the last coupon before it, of whatever kind it is.
        written_at = await self.connection.fetchval(
            "SELECT written_at FROM coupon WHERE stock_id = $1 AND coupon_code = $2", self.stock_id, coupon.coupon_code
        )
        self._repeat = Mark(
            "coupon",
            coupon.coupon_code,
            coupon.coupon_id,
            microseconds(written_at),
            # It was in a later turn than the mark's: this one at least.
            known.turn_no + 1 if known else 1,
        )

    async def end(self) -> None:
        """Write the counters. Each turn that writes anything has a number of its own, and a key that no other has."""
        if self.tally == self._before and self._mark is None:
            return
        turn_no = self._turn_no + 1
        await self.connection.execute(
            f"INSERT INTO tally (stock_id, turn_no, {TALLY_FIELDS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            self.stock_id,
            turn_no,
            *astuple(self.tally),
        )
        if turn_no % TALLIES_KEPT == 0:
            # From where the last time ended: what was removed then may still be in the way.
            await self.connection.execute(
                "DELETE FROM tally WHERE stock_id = $1 AND turn_no >= $2 AND turn_no < $3",
                self.stock_id,
                turn_no - 2 * TALLIES_KEPT,
                turn_no - TALLIES_KEPT,
            )

    def acknowledge(self) -> bool:
        """Bear witness of what was committed, before it is told. Returns whether anything was written.

        Raises:
            EpochPassed: it must not be told.
        """
        # Under a fence, the marks stay as they are: they know what is missing.
        if self._mark is not None and not self._seen.is_fenced:
            mark = self._mark if self._mark.kind == "coupon" else self._mark._replace(number=self.tally.sent)
            self._link.witness.note(self._seen.epoch, self._seen.history, self.stock_id, mark, self._issued)
        return self._mark is not None

    def acknowledge_what_was_read(self) -> None:
        """As `acknowledge`, of what an earlier turn wrote; after it is sure."""
        if self._repeat is not None and not self._seen.is_fenced:
            self._link.witness.note(self._seen.epoch, self._seen.history, self.stock_id, self._repeat)

    async def check_fence(self) -> None:
        """Raises PoolFenced: nothing new may be given out. Asked again each time, for it may have been lifted."""
        if self._seen.is_fenced or self._link.fenced:
            await self._link.look_at_fence(self.connection)

    async def enter_day(self, now: int) -> None:
        """Let `tally.sent_on_day` count the day of this moment."""
        day, tally = beijing_day(now), self.tally
        if day == tally.day:
            return
        await self.connection.execute(
            "INSERT INTO day_tally (stock_id, day, sent) VALUES ($1, $2, $3)"
            " ON CONFLICT (stock_id, day) DO UPDATE SET sent = excluded.sent",
            self.stock_id,
            tally.day,
            tally.sent_on_day,
        )
        tally.day, tally.sent_on_day = day, await sent_on(self.connection, self.stock_id, day)

    async def coupon_of(self, coupon_code: str) -> CouponFacts:
        """Return the coupon that carries a code. Raises ResourceNotExists: nobody was given it."""
        row = await self.connection.fetchrow(
            f"SELECT {COUPON_FIELDS} FROM coupon WHERE stock_id = $1 AND coupon_code = $2", self.stock_id, coupon_code
        )
        if row is None:
            raise answers.no_coupon(self.stock_id, coupon_code)
        return CouponFacts(*row)

    async def once(
        self,
        number_field: str,
        request: msgspec.Struct,
        answer: type[Answer],
        work: Callable[[], Awaitable[Answer]],
    ) -> Answer:
        """As `once`, under a number of this stock."""

        async def and_note() -> Answer:
            done = await work()
            self.wrote("done", f"{type(request).__name__}\n{getattr(request, number_field)}")
            return done

        return await once(self.connection, self.stock_id, number_field, request, answer, and_note, self.word)


_BEGIN = (
    "SELECT {seen}, {session}, ({proof}), " + GROUND + f", {STOCK_FIELDS},"
    " EXISTS (SELECT 1 FROM callback c WHERE c.caller = s.mchid AND c.mchid = s.mchid),"
    f" t.turn_no, {TALLY_FIELDS}"
    f" FROM epoch e, stock s, (SELECT turn_no, {TALLY_FIELDS} FROM tally WHERE stock_id = $1"
    " ORDER BY turn_no DESC LIMIT 1) t WHERE s.stock_id = $1"
)
_PROOF = {
    kind: f"EXISTS (SELECT 1 FROM {proof.table} WHERE stock_id = $1 AND "
    + proof.where.format(key="$3::text", number="$4::bigint", word=f"$5::{proof.word_type}")
    + (" AND $4::bigint IS NOT NULL" if "{number}" not in proof.where else "")
    + (" AND $3::text IS NOT NULL" if "{key}" not in proof.where else "")
    + ")"
    for kind, proof in PROOFS.items()
}


async def once(
    connection: Connection,
    stock_id: str,
    number_field: str,
    request: msgspec.Struct,
    answer: type[Answer],
    work: Callable[[], Awaitable[Answer]],
    word: int = 0,
) -> Answer:
    """Do something once under the number in a field: a repeat of the request has the first answer, word for word.

    Raises:
        RequestRefused: the number was used with other fields.
    """
    operation, asked = type(request).__name__, msgspec.json.encode(request).decode()
    number = getattr(request, number_field)
    known = await connection.fetchrow(
        "SELECT request, answer FROM done WHERE stock_id = $1 AND operation = $2 AND number = $3",
        stock_id,
        operation,
        number,
    )
    if known is not None:
        first, told = known
        if not answers.same_request(first, asked):
            raise RequestRefused(f"same {number_field}, different request: nothing was changed, use a new number")
        return msgspec.json.decode(told, type=answer)
    result = await work()
    await connection.execute(
        "INSERT INTO done (stock_id, operation, number, request, answer, word) VALUES ($1, $2, $3, $4, $5, $6)",
        stock_id,
        operation,
        number,
        asked,
        msgspec.json.encode(result).decode(),
        word,
    )
    return result


async def refuse(connection: Connection, link: Link, stock_id: str, *, is_there: bool) -> Never:
    """Say that there is no such stock, be it absent or another's: both are the same work.

    Raises:
        ResourceNotExists: there is none.
        Unconfirmed: the database may have gone back.
        Missing: it has, to before the stock was made.
        PoolFenced: that is known.
    """
    seen = await link.epochs.enter(connection)
    mark = link.witness.mark_of(stock_id, seen.history)
    if seen.is_fenced:
        await link.look_at_fence(connection)
    elif mark and not is_there:
        raise Missing
    raise answers.no_stock(stock_id)


async def sent_on(connection: Connection, stock_id: str, day: int) -> int:
    """How many coupons were given out on a day that is not the tally's."""
    sent = await connection.fetchval("SELECT sent FROM day_tally WHERE stock_id = $1 AND day = $2", stock_id, day)
    return int(sent or 0)


async def stock_of(connection: Connection, stock_id: str) -> StockFacts:
    """Raises ResourceNotExists: there is no such stock."""
    row = await connection.fetchrow(f"SELECT {STOCK_FIELDS} FROM stock s WHERE s.stock_id = $1", stock_id)
    if row is None:
        raise answers.no_stock(stock_id)
    return facts_of(row)


def facts_of(row: Any) -> StockFacts:
    """Read STOCK_FIELDS."""
    return _facts(*row)


@lru_cache(4096)
def _facts(
    stock_id: str, mchid: str, request: str, created_at: int, product_coupon_id: str | None, brand_id: str | None
) -> StockFacts:
    product = None if product_coupon_id is None or brand_id is None else Product(product_coupon_id, brand_id)
    return rules.stock_facts(stock_id, mchid, rules.stored_stock(request), created_at, product)


def check_creator(facts: StockFacts, mchid: str, product: Product | None = None) -> None:
    """Raises ResourceNotExists: the stock is another merchant's, or of another kind."""
    if (facts.mchid, facts.product) != (mchid, product):
        raise answers.no_stock(facts.stock_id)


def check_shared(facts: StockFacts, mchid: str) -> None:
    """Raises ResourceNotExists: the merchant is neither the stock's creator nor its owner."""
    if facts.product is not None or mchid not in facts.merchants:
        check_creator(facts, mchid)
