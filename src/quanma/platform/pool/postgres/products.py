"""商品券 in the PostgreSQL pool: its documents, its stocks and bundles, and coupons given out, alone or as a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, replace
from typing import Any, NamedTuple

import msgspec

from ....errors import QuanmaError
from ....wire.times import beijing_day
from ...coupons import responses
from ...coupons.coupon import CouponFacts
from ...coupons.draws import Issue
from ...coupons.product.changes import PRODUCT, Caller, Known, KnownStock, ProductChange, Rules
from ...coupons.product.life import Group, Held
from ...coupons.responses import Counts
from ...coupons.stocks import StockFacts
from . import coupons
from .connections import Connection, Connections
from .coupons import Sending
from .mark_file import Mark
from .queries import query
from .seen import Seen
from .stock_queue import Asked
from .stock_transaction import (
    ADD_COUNTERS,
    COUNTERS,
    NEW,
    StockCounters,
    StockTransaction,
    StockTransactions,
    check_creator,
    facts_of,
    sent_on,
)

_DOCUMENT, _DOCUMENTS, _AFTER = query("document"), query("documents"), query("documents_after")
_COUNT, _KEEP, _REMOVE = query("count_documents"), query("keep_document"), query("remove_document")
_STOCKS, _OF_PRODUCT = query("stocks"), query("stocks_of_product")
_LOCK, _ADD_STOCK, _ADD_LOCK, _CHANGE = query("lock"), query("add_stock"), query("add_turn"), query("change_stock")


# Documents and what is made


class Changing:
    """One request for a change, done in one transaction: what it makes, and the witness of it."""

    def __init__(
        self,
        connections: Connections,
        caller: Caller,
        change: ProductChange[Any, Any],
        request: Any,
        now: int,
        rules: Rules,
    ) -> None:
        self._connections = connections
        self._asked = caller, change, request, now, rules
        self._seen: Seen | None = None
        self._epoch = ""
        self._added: Sequence[StockFacts] = ()
        self._locked = StockTransactions(())

    async def work(self, open_: Connection) -> Any:
        caller, change, request, now, rules = self._asked
        self._added, self._locked = (), StockTransactions(())
        self._epoch = self._connections.witness.host.epoch
        self._seen = await self._connections.epochs.enter(open_)
        # One at a time for a brand: a number that comes twice waits, and then finds what the first wrote.
        await open_.execute(_LOCK, f"product coupons\n{caller.owner}")
        number = change.number(request)
        if number is not None and (kept := await _document(open_, caller, *number)) is not None:
            return change.again(kept, request)
        product = caller.product(getattr(request, "product_coupon_id", ""))
        stock_ids = list(change.stocks(request))
        if change.all_stocks_of(request) is not None:
            stock_ids = [facts.stock_id for facts in await _of_product(open_, caller, product.product_coupon_id)]
        self._locked = locked = await StockTransactions.begin(open_, self._connections, stock_ids)
        for one in locked.each:
            check_creator(one.facts, caller.mchid, product)
        documents = {
            key: body for key in change.documents(request) if (body := await _document(open_, caller, *key)) is not None
        }
        stocks = [await _known(one, now) for one in locked.each]
        changed = change.decide(Known(caller, documents, stocks, now, rules), request)
        for kind, document_id, body in changed.documents:
            await open_.execute(_KEEP, caller.owner, kind, document_id, body)
        for kind, document_id in changed.gone:
            await open_.execute(_REMOVE, caller.owner, kind, document_id)
        by_id = {one.stock_id: one for one in locked.each}
        for facts in changed.changed:
            await open_.execute(_CHANGE, by_id[facts.stock_id].stock_no, _text(facts))
        for facts in changed.added:
            self._connections.witness.reserve(facts.stock_id)
            await _add(open_, caller, facts, now)
        self._added = changed.added
        if number is not None:
            await open_.execute(_KEEP, caller.owner, *number, change.kept(request, changed.answer))
        await locked.end()
        return changed.answer

    def acknowledge(self) -> bool:
        """Bear witness of new stocks. Returns whether anything was written."""
        seen, now = self._seen, self._asked[3]
        assert seen is not None
        witness = self._connections.witness
        for facts in self._added:
            if seen.is_fenced:
                witness.note_under_fence(self._epoch, seen.history)
            else:
                witness.note(seen.epoch, seen.history, facts.stock_id, Mark("stock", "", 0, now))
        self._locked.acknowledge()
        return True


async def _add(open_: Connection, caller: Caller, facts: StockFacts, now: int) -> None:
    await open_.execute(_LOCK, "stocks")
    stock_id, product = facts.stock_id, caller.product(facts.terms.stock.product_coupon_id)
    added = await open_.fetchval(
        _ADD_STOCK, stock_id, caller.mchid, caller.mchid, f"商品券 {stock_id}", _text(facts), now, *product
    )
    if added is None:
        raise responses.another_ones_stock(stock_id)
    await open_.execute(_ADD_LOCK, added)
    await open_.execute(ADD_COUNTERS, added, 0, *astuple(replace(NEW, day=beijing_day(now))))


def _text(facts: StockFacts) -> str:
    return msgspec.json.encode(facts.request).decode()


async def _document(open_: Connection, caller: Caller, kind: str, document_id: str) -> str | None:
    body: str | None = await open_.fetchval(_DOCUMENT, caller.owner, kind, document_id)
    return body


async def documents(
    open_: Connection, caller: Caller, kind: str, ids: Sequence[str] | None, after: str, limit: int
) -> dict[str, str]:
    if ids is not None:
        rows = await open_.fetch(_DOCUMENTS, caller.owner, kind, list(dict.fromkeys(ids)))
    else:
        rows = await open_.fetch(_AFTER, caller.owner, kind, after, limit)
    return {row[0]: row[1] for row in rows}


async def count_documents(open_: Connection, caller: Caller, kind: str) -> int:
    counted: int = await open_.fetchval(_COUNT, caller.owner, kind)
    return counted


async def stocks_of(open_: Connection, caller: Caller, product_coupon_id: str, now: int) -> list[KnownStock]:
    rows = await open_.fetch(_OF_PRODUCT, caller.mchid, product_coupon_id, caller.brand_id)
    return [await _read(open_, row[0], facts_of(row), now) for row in rows]


async def known_stocks(open_: Connection, stock_ids: Sequence[str], now: int) -> dict[str, KnownStock]:
    """Of stocks of which it is known that they are the caller's."""
    rows = await open_.fetch(_STOCKS, stock_ids) if stock_ids else []
    return {facts.stock_id: await _read(open_, row[0], facts, now) for row in rows for facts in [facts_of(row)]}


async def _of_product(open_: Connection, caller: Caller, product_coupon_id: str) -> list[StockFacts]:
    rows = await open_.fetch(_OF_PRODUCT, caller.mchid, product_coupon_id, caller.brand_id)
    return [facts_of(row) for row in rows]


async def _read(open_: Connection, stock_no: int, facts: StockFacts, now: int) -> KnownStock:
    counters = StockCounters(*await open_.fetchrow(COUNTERS, stock_no))
    return KnownStock(facts, await _counts(open_, stock_no, counters, now))


async def _known(transaction: StockTransaction, now: int) -> KnownStock:
    counts = await _counts(transaction.connection, transaction.stock_no, transaction.counters, now)
    return KnownStock(transaction.facts, counts)


async def _counts(open_: Connection, stock_no: int, counters: StockCounters, now: int) -> Counts:
    day = beijing_day(now)
    today = counters.sent_on_day if day == counters.day else await sent_on(open_, stock_no, day)
    return Counts(counters.total, counters.available, counters.sent, today)


# Coupons

Given = tuple[Caller, Sequence[Issue]]


async def give(
    transactions: StockTransaction | Sequence[StockTransaction], asks: Sequence[Asked[Given]]
) -> list[Group | QuanmaError]:
    """Give coupons out, one of each stock for each request, or return those that these numbers got.

    A request is decided on in all stocks before anything is written: it gets all, or none.
    """
    each = [transactions] if isinstance(transactions, StockTransaction) else transactions
    sendings = [await Sending.begin(one, [ask.request[1][which] for ask in asks]) for which, one in enumerate(each)]
    outcomes: list[Sequence[CouponFacts] | QuanmaError] = []
    for ask in asks:
        decided: list[CouponFacts] = []
        try:
            for sending, issue in zip(sendings, ask.request[1], strict=True):
                decided.append(await sending.decide(Asked(ask.mchid, issue, ask.now)))
        except QuanmaError as refusal:
            for sending, coupon in zip(sendings, decided, strict=False):
                sending.undo(coupon)
            outcomes.append(refusal)
            continue
        outcomes.append(decided)
    for sending in sendings:
        await sending.give()
    groups: list[Group | QuanmaError] = []
    moments: dict[tuple[Caller, int], _Seen] = {}
    for ask, outcome in zip(asks, outcomes, strict=True):
        if isinstance(outcome, QuanmaError):
            groups.append(outcome)
            continue
        given = [sending.as_given(coupon) for sending, coupon in zip(sendings, outcome, strict=True)]
        caller = ask.request[0]
        if (seen := moments.get((caller, ask.now))) is None:
            seen = moments[caller, ask.now] = await _seen(caller, each, ask.now)
        groups.append(seen.group(given))
    return groups


async def group_of(caller: Caller, transactions: Sequence[StockTransaction], coupon: CouponFacts, now: int) -> Group:
    """All that a user got under a coupon's number."""
    found: list[CouponFacts] = []
    for one in transactions:
        if one.stock_id == coupon.stock_id:
            found.append(coupon)
            continue
        mine = await coupons.coupons_of(one, coupon.openid)
        found.append(next(it for it in mine if it.out_request_no == coupon.out_request_no))
    return (await _seen(caller, transactions, now)).group(found)


class _Seen(NamedTuple):
    """What all groups of these stocks have in common at one moment."""

    caller: Caller
    product: str | None
    stocks: Sequence[KnownStock]

    def group(self, given: Sequence[CouponFacts]) -> Group:
        held = [Held(stock, coupon) for stock, coupon in zip(self.stocks, given, strict=True)]
        return Group(self.caller, self.product, held)


async def _seen(caller: Caller, transactions: Sequence[StockTransaction], now: int) -> _Seen:
    first = transactions[0]
    product = first.facts.product
    assert product is not None
    if first.product_document is None:
        first.product_document = await _document(first.connection, caller, PRODUCT, product.product_coupon_id)
    return _Seen(caller, first.product_document, [await _known(one, now) for one in transactions])
