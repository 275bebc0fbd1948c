"""Coupons in the PostgreSQL pool: given out, and a user's listed."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from ....api.coupons import CardSend, SendCard, SentCard
from ....errors import QuanmaError, StoreUnavailable
from ...coupons import draws
from ...coupons.coupon import CouponFacts, first_state
from ...coupons.draws import Issue, SentFacts
from ...coupons.repeats import Numbered
from ...coupons.responses import Owned
from . import codes, outbox
from .blocks import CARRIERS, HOLDERS, SLOTS, Blocks, first_from, first_of
from .connections import Connection, Connections
from .holders import Holders, hash_of
from .missing import moment
from .queries import query
from .rows import coupon_of, lasts_seconds, terms_of
from .slots import Slots
from .stock_queue import Asked
from .stock_transaction import StockTransaction, check_creator, facts_of

_GIVE, _AT_SLOTS, _CODES_AT = query("give"), query("codes_at_slots"), query("codes_at")
_FORGET_SLOTS, _KEEP_BLOCKS, _ADD_COUPONS = query("forget_slots"), query("keep_blocks"), query("add_coupons")
_HOLDERS, _NUMBERED = query("holders"), query("coupons_numbered")
_OF_USER, _AT_MERCHANT = query("coupons_of_user"), query("coupons_at_merchant")
_OF_MERCHANT, _STOCKS = query("stocks_of_merchant"), query("stocks")
_CARRIERS, _ADD_TERMS = query("carriers"), query("add_terms")
_LOCK, _CARD, _ADD_CARD = query("lock"), query("card"), query("add_card")


async def send(transaction: StockTransaction, asks: Sequence[Asked[Issue]]) -> list[CouponFacts | QuanmaError]:
    """Give coupons out, or return those that these numbers got: decide one by one, then draw for all at once."""
    sending = await Sending.begin(transaction, [ask.request for ask in asks])
    outcomes: list[CouponFacts | QuanmaError] = []
    for ask in asks:
        try:
            outcomes.append(await sending.decide(ask))
        except QuanmaError as refusal:
            outcomes.append(refusal)
    await sending.give()
    return [sending.as_given(outcome) if isinstance(outcome, CouponFacts) else outcome for outcome in outcomes]


class Sending:
    """Coupons of one stock that are given out together: each is decided on, then the codes of all are drawn."""

    def __init__(
        self,
        transaction: StockTransaction,
        holders: Holders,
        mine: defaultdict[str, list[CouponFacts]],
        taken: set[str],
    ) -> None:
        self._transaction = transaction
        self._holders = holders
        self._mine = mine
        self._taken = taken
        self._new: list[CouponFacts] = []
        self._repeated: list[CouponFacts] = []
        self._given: dict[int, CouponFacts] = {}

    @classmethod
    async def begin(cls, transaction: StockTransaction, issues: Sequence[Issue]) -> Sending:
        outbox.check_listed(transaction)
        holders = Holders(transaction.counters.sent)
        mine = await _coupons_of(transaction, holders, {issue.openid for issue in issues}, len(issues))
        taken = await codes.taken_among(transaction, {issue.coupon_code for issue in issues if issue.coupon_code})
        return cls(transaction, holders, mine, taken)

    async def decide(self, ask: Asked[Issue]) -> CouponFacts:
        """Return the coupon that a number got, or a new one, whose code is not drawn yet. Raises: as `send_coupon`."""
        counters, mine = self._transaction.counters, self._mine[ask.request.openid]
        coupon = await _decide(self._transaction, ask, mine, self._taken, len(self._new))
        if coupon.coupon_id > counters.sent:
            counters.sent += 1
            counters.sent_on_day += 1
            mine.append(coupon)
            self._new.append(coupon)
        else:
            self._repeated.append(coupon)
        return coupon

    def undo(self, coupon: CouponFacts) -> None:
        """Take back the last decision, where it made a new coupon: another stock of a bundle can't give one."""
        if self._new and self._new[-1] is coupon:
            self._new.pop()
            self._mine[coupon.openid].pop()
            self._taken.discard(coupon.coupon_code)
            self._transaction.counters.sent -= 1
            self._transaction.counters.sent_on_day -= 1

    async def give(self) -> None:
        """Draw the codes, and write the coupons and their events."""
        if self._new:
            coupons = await _give(self._transaction, self._new, self._holders)
            self._given = {coupon.coupon_id: coupon for coupon in coupons}
            self._transaction.gave(coupons)
            if self._transaction.notifies:
                await outbox.add(self._transaction, coupons)
        elif self._repeated:
            await self._transaction.gave_before(max(self._repeated, key=lambda coupon: coupon.coupon_id))

    def as_given(self, coupon: CouponFacts) -> CouponFacts:
        """A coupon with its code. Repeats in one transaction: what they got is what the first of them got."""
        return self._given.get(coupon.coupon_id, coupon)


async def coupons_of(transaction: StockTransaction, openid: str) -> list[CouponFacts]:
    """A user's coupons of the stock."""
    return (await _coupons_of(transaction, Holders(transaction.counters.sent), {openid}, 0))[openid]


async def _coupons_of(
    transaction: StockTransaction, holders: Holders, openids: set[str], draws: int
) -> defaultdict[str, list[CouponFacts]]:
    """These users' coupons. `holders` learns what it needs to be told of so many draws."""
    mine: defaultdict[str, list[CouponFacts]] = defaultdict(list)
    rows = await transaction.connection.fetch(
        _HOLDERS, transaction.stock_no, holders.asked(openids, transaction.counters.sent + draws)
    )
    for bucket, entries in rows:
        holders.learn(bucket, entries)
    if found := [coupon_id for openid in openids for coupon_id in holders.coupons_of(openid)]:
        for row in await transaction.connection.fetch(_NUMBERED, transaction.stock_no, found):
            coupon = coupon_of(transaction.stock_id, row)
            mine[coupon.openid].append(coupon)
    return mine


async def _decide(
    transaction: StockTransaction, ask: Asked[Issue], mine: Sequence[CouponFacts], taken: set[str], others: int
) -> CouponFacts:
    """Return the coupon that this number got, or a new one after `others`; its code may not be known yet.

    Raises: what `CodePool.send_coupon` says.
    """
    mchid, issue, now = ask
    facts, counters = transaction.facts, transaction.counters
    check_creator(facts, mchid, issue.product)
    for coupon in mine:
        if coupon.out_request_no == issue.out_request_no:
            draws.check_same_issue(coupon, issue)
            return coupon
    await transaction.check_fence()
    draws.check_sends(facts, issue.coupon_code, now)
    await transaction.enter_day(now)
    draws.check_limits(facts, SentFacts(counters.sent, counters.sent_on_day, len(mine)))
    code = ""
    if facts.takes_uploads:
        if counters.available <= others:
            raise draws.pool_empty(facts)
    else:
        code = issue.coupon_code or draws.new_code()
        if code in taken:
            raise draws.code_was_given(code)
        taken.add(code)
    starts_at, expires_at = draws.validity(facts, now)
    return CouponFacts(
        coupon_id=counters.sent + 1,
        stock_id=transaction.stock_id,
        position=-1,  # Of its code, which is drawn later.
        coupon_code=code,
        openid=issue.openid,
        appid=issue.appid,
        out_request_no=issue.out_request_no,
        request=draws.other_fields(issue.coupon_code, issue.also),
        send_merchant=issue.send_merchant,
        send_channel=issue.send_channel,
        sent_at=now,
        starts_at=starts_at,
        expires_at=expires_at,
        coupon_state=first_state(issue.send_channel),
    )


@dataclass
class _Drawn:
    """Codes that were taken for coupons, each with its position; and what that changed."""

    codes: list[tuple[int, str]]
    slots: Slots
    displaced: Blocks
    carriers: Blocks


async def _give(transaction: StockTransaction, coupons: Sequence[CouponFacts], holders: Holders) -> list[CouponFacts]:
    """Write coupons, and return them with the codes that they carry."""
    free = transaction.counters.free
    drawn = await (
        _draw(transaction, len(coupons)) if transaction.facts.takes_uploads else _bring(transaction, coupons)
    )
    coupons = [
        msgspec.structs.replace(coupon, position=position, coupon_code=code)
        for coupon, (position, code) in zip(coupons, drawn.codes, strict=True)
    ]
    for coupon in coupons:
        if drawn.carriers[coupon.position]:
            raise StoreUnavailable(f"stock {transaction.stock_id} has a free code that was given out: restore a backup")
        drawn.carriers[coupon.position] = coupon.coupon_id
    for slot, position in drawn.slots.moved.items():
        drawn.displaced[slot] = position + 1
    lasts = lasts_seconds(transaction.facts.request)
    terms = [transaction.terms.number_of(terms_of(coupon, lasts)) for coupon in coupons]
    numbers, added = transaction.terms.take_added()
    if added:
        await transaction.connection.execute(_ADD_TERMS, transaction.stock_no, numbers, added)
    holders.add(((coupon.openid, coupon.coupon_id) for coupon in coupons), transaction.counters.sent)
    gone = first_from(drawn.slots.free), free
    kinds, places, kept = [], [], []
    for kind, changed in ((SLOTS, drawn.displaced), (CARRIERS, drawn.carriers), (HOLDERS, holders)):
        its_places, its_numbers = changed.changed()
        kinds += [kind] * len(its_places)
        places += its_places
        kept += its_numbers
    rows = (
        moment(transaction.now_us),
        [coupon.coupon_id for coupon in coupons],
        [position for position, _ in drawn.codes],
        terms,
        [coupon.openid for coupon in coupons],
        [coupon.out_request_no for coupon in coupons],
        [coupon.request or "" for coupon in coupons],
        [coupon.sent_at for coupon in coupons],
    )
    connection, stock_no = transaction.connection, transaction.stock_no
    if not transaction.many_nodes:
        await connection.execute(_GIVE, stock_no, *gone, kinds, places, kept, *rows)
        return coupons
    # One statement that writes to two tables would be shared out by the coordinator, and committed in two phases.
    if gone[0] < gone[1]:
        await connection.execute(_FORGET_SLOTS, stock_no, *gone)
    await connection.execute(_KEEP_BLOCKS, stock_no, kinds, places, kept)
    await connection.execute(_ADD_COUPONS, stock_no, *rows)
    return coupons


async def _bring(transaction: StockTransaction, coupons: Sequence[CouponFacts]) -> _Drawn:
    """Codes that come with their coupons: each is new, and gets the next position."""
    first = transaction.counters.uploaded
    transaction.counters.uploaded += len(coupons)
    codes.check_positions(transaction.stock_id, transaction.counters.uploaded)
    brought = [(position, coupon.coupon_code) for position, coupon in enumerate(coupons, first)]
    await codes.add_codes(transaction, brought, [(first, [code for _, code in brought], None)])
    carriers = Blocks()
    carriers.learn(first, await transaction.connection.fetchval(_CARRIERS, transaction.stock_no, first_of(first)))
    for position, _ in brought:
        carriers.learn(position, None)
    return _Drawn(brought, Slots(transaction.counters.free), Blocks(), carriers)


async def _draw(transaction: StockTransaction, count: int) -> _Drawn:
    """Take so many free codes at random."""
    drawn = _Drawn([], Slots(transaction.counters.free), Blocks(), Blocks())
    texts: dict[int, str] = {}
    while len(drawn.codes) < count:
        asked = drawn.slots.choose(count - len(drawn.codes))
        are_drawn = [slot in drawn.slots.chosen for slot in asked]
        rows = await transaction.connection.fetch(_AT_SLOTS, transaction.stock_no, asked, are_drawn)
        drawn.slots.learn((row[0], row[1]) for row in rows)
        for (slot, position, displaced, code, carriers), is_drawn in zip(rows, are_drawn, strict=True):
            if is_drawn:
                texts[position] = code
                drawn.displaced.learn(slot, displaced)
                drawn.carriers.learn(position, carriers)
        positions = drawn.slots.take()
        # A slot that was drawn twice: what another one moved into it.
        if unread := [position for position in positions if position not in texts]:
            for position, code, carriers in await transaction.connection.fetch(_CODES_AT, transaction.stock_no, unread):
                texts[position] = code
                drawn.carriers.learn(position, carriers)
        if not positions:
            raise StoreUnavailable(f"stock {transaction.stock_id} has fewer codes than it counts: restore a backup")
        gone: set[int] = set()
        if transaction.counters.stale:
            # Codes that were deleted. Their slots are gone now, and others are drawn.
            gone = await codes.deleted_among(transaction.connection, transaction.stock_no, positions)
            transaction.counters.stale -= len(gone)
        drawn.codes += [(position, texts[position]) for position in positions if position not in gone]
    transaction.counters.free = drawn.slots.free
    return drawn


async def send_card(connection: Connection, connections: Connections, mchid: str, request: SendCard) -> SentCard:
    """A consumption card: numbers of the platform's own, kept only to answer a repeat."""

    # Source: the number is unique together with its send_time (documented).
    key = f"card\n{mchid}\n{request.card_id}\n{request.send_time}"
    # Two of one number at a time: the second waits, and then reads what the first wrote.
    await connection.execute(_LOCK, key)
    asked = Numbered(CardSend.post, request)
    known = await connection.fetchrow(_CARD, key, asked.number)
    if known is not None:
        return asked.again(*known)
    await connections.look_at_fence(connection)
    card = SentCard(card_code=draws.new_code())
    await connection.execute(_ADD_CARD, key, asked.number, asked.request, asked.kept(card))
    return card


Written = tuple[datetime.datetime, CouponFacts]
"""A coupon, and when it was written."""


async def of_user(connection: Connection, connections: Connections, mchid: str, openid: str) -> list[Owned]:
    """Return a user's coupons of the merchant's stocks, the latest first. Nobody else's are read."""
    found = await (_one_by_one if connections.many_nodes else _at_once)(connection, mchid, openid)
    stocks = await connection.fetch(_STOCKS, list({coupon.stock_id for _, coupon in found})) if found else []
    facts = {stock.stock_id: stock for stock in map(facts_of, stocks)}
    found.sort(key=lambda one: (one[1].sent_at, one[0], one[1].coupon_id), reverse=True)
    return [(facts[coupon.stock_id], coupon) for _, coupon in found]


async def _at_once(connection: Connection, mchid: str, openid: str) -> list[Written]:
    rows = await connection.fetch(
        _AT_MERCHANT,
        mchid,
        openid,
        hash_of(openid),
    )
    return [(row["written_at"], coupon_of(row["stock_id"], row)) for row in rows]


async def _one_by_one(connection: Connection, mchid: str, openid: str) -> list[Written]:
    """A statement for each stock: none touches two, so each goes to the node that has it."""
    found: list[Written] = []
    for stock_id, stock_no in await connection.fetch(_OF_MERCHANT, mchid):
        rows = await connection.fetch(_OF_USER, stock_no, openid, hash_of(openid))
        found += [(row["written_at"], coupon_of(stock_id, row)) for row in rows]
    return found
