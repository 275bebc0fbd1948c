"""商品券 in the SQLite pool: its documents, its stocks and bundles, and coupons given out, alone or as a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from ....errors import QuanmaError
from ...coupons import draws
from ...coupons.coupon import CouponFacts
from ...coupons.draws import Issue, SentFacts
from ...coupons.product.changes import PRODUCT, Caller, Known, KnownStock, ProductChange, Rules
from ...coupons.product.life import Group, Held
from ...coupons.responses import Counts
from ...coupons.stocks import StockFacts
from . import coupons
from .rows import DOCUMENT, STOCK, DocumentRow, StockRow
from .store import StockIndex, Store
from .writer import HalfDone

Req = TypeVar("Req")
Resp = TypeVar("Resp")

Asked = tuple[Caller, tuple[str, ...], int]
"""What is given out together has in common: who asks, the stocks, and the time."""


# Documents and what is made


def change(
    store: Store, caller: Caller, change: ProductChange[Req, Resp], request: Req, now: int, rules: Rules
) -> Resp:
    number = change.number(request)
    if number is not None and (kept := _document(store, caller, *number)) is not None:
        return change.again(kept.body, request)
    product = caller.product(getattr(request, "product_coupon_id", ""))
    stocks = [store.stock(caller.mchid, stock_id, product) for stock_id in change.stocks(request)]
    if change.all_stocks_of(request) is not None:
        stocks = list(store.of_product.get((caller.mchid, product), ()))
    documents = {
        key: kept.body for key in change.documents(request) if (kept := _document(store, caller, *key)) is not None
    }
    known = Known(caller, documents, [_known(stock, now) for stock in stocks], now, rules)
    changed = change.decide(known, request)
    for kind, document_id, body in changed.documents:
        _keep(store, caller, kind, document_id, body)
    for kind, document_id in changed.gone:
        if (gone := _document(store, caller, kind, document_id)) is not None:
            store.rows.remove(DOCUMENT, gone)
    for facts in changed.changed:
        (row,) = store.rows.read(STOCK, "stock_id = ?", facts.stock_id)
        store.rows.change(STOCK, row, request=_text(facts))
    for facts in changed.added:
        stock_id, of_product = facts.stock_id, caller.product(facts.terms.stock.product_coupon_id)
        row = StockRow(stock_id, caller.mchid, f"商品券 {stock_id}", _text(facts), now, *of_product)
        store.rows.add(STOCK, row)
    if number is not None:
        _keep(store, caller, *number, change.kept(request, changed.answer))
    # Only after all that is written with it.
    for facts in changed.changed:
        store.stocks[facts.stock_id].facts = facts
    for facts in changed.added:
        store.add_stock(facts)
    return changed.answer


def _text(facts: StockFacts) -> str:
    return msgspec.json.encode(facts.request).decode()


def _document(store: Store, caller: Caller, kind: str, document_id: str) -> DocumentRow | None:
    known = store.rows.read(DOCUMENT, "owner = ? AND kind = ? AND id = ?", caller.owner, kind, document_id)
    return known[0] if known else None


def _keep(store: Store, caller: Caller, kind: str, document_id: str, body: str) -> None:
    if (known := _document(store, caller, kind, document_id)) is None:
        store.rows.add(DOCUMENT, DocumentRow(caller.owner, kind, document_id, body))
    elif known.body != body:
        store.rows.change(DOCUMENT, known, body=body)


def documents(
    store: Store, caller: Caller, kind: str, ids: Sequence[str] | None, after: str, limit: int
) -> dict[str, str]:
    if ids is not None:
        found = [_document(store, caller, kind, document_id) for document_id in dict.fromkeys(ids)]
        return {one.id: one.body for one in found if one is not None}
    found_after = store.rows.read(
        DOCUMENT,
        "document.owner = ? AND document.kind = ? AND document.id > ? ORDER BY document.id LIMIT ?",
        caller.owner,
        kind,
        after,
        limit,
    )
    return {one.id: one.body for one in found_after}


def count_documents(store: Store, caller: Caller, kind: str) -> int:
    counted = store.db.execute("SELECT count(*) FROM document WHERE owner = ? AND kind = ?", (caller.owner, kind)).get
    return int(counted)


def stocks_of(store: Store, caller: Caller, product_coupon_id: str, now: int) -> list[KnownStock]:
    product = caller.product(product_coupon_id)
    return [_known(stock, now) for stock in store.of_product.get((caller.mchid, product), ())]


def known_stocks(store: Store, caller: Caller, stock_ids: Sequence[str], now: int) -> dict[str, KnownStock]:
    found = {stock_id: store.stocks.get(stock_id) for stock_id in stock_ids}
    return {
        stock_id: _known(stock, now)
        for stock_id, stock in found.items()
        if stock is not None
        and stock.facts.mchid == caller.mchid
        and stock.facts.product is not None
        and stock.facts.product.brand_id == caller.brand_id
    }


def _known(stock: StockIndex, now: int) -> KnownStock:
    return KnownStock(stock.facts, Counts(stock.codes.total, stock.codes.available, stock.sent, stock.sent_today(now)))


# Coupons


def give(store: Store, asked: Asked, requests: Sequence[Sequence[Issue]]) -> list[Group | QuanmaError]:
    """Give coupons out, one of each stock for each request, or return those that these numbers got.

    To the first requests only, as many as can be done together.
    """
    caller, stock_ids, now = asked
    if len(stock_ids) == 1:
        stock = store.stock(caller.mchid, stock_ids[0], requests[0][0].product)
        given = coupons.send(store, (caller.mchid, stock_ids[0], now), [issues[0] for issues in requests])
        seen = _Seen(store, caller, [stock], now)
        return [seen.group([one]) if isinstance(one, CouponFacts) else one for one in given]
    stocks = [store.stock(caller.mchid, stock_id, requests[0][0].product) for stock_id in stock_ids]
    new = _surely_new(store, stocks, requests, now)
    if not new:
        new = 1
        if (known := _given_before(store, stocks, requests[0], now)) is not None:
            return [_Seen(store, caller, stocks, now).group(known)]
    rounds: list[list[CouponFacts]] = []
    try:
        for which, stock in enumerate(stocks):
            issues = [issues[which] for issues in requests[:new]]
            given = coupons.send(store, (caller.mchid, stock.facts.stock_id, now), issues)
            rounds.append([one for one in given if isinstance(one, CouponFacts)])
            if len(rounds[-1]) < new:
                raise AssertionError("a bundle was given out in part")
    except Exception as error:
        if rounds:  # What is in memory of the first ones can't be undone alone.
            raise HalfDone from error
        raise
    seen = _Seen(store, caller, stocks, now)
    return [seen.group([of_round[one] for of_round in rounds]) for one in range(new)]


def _surely_new(store: Store, stocks: Sequence[StockIndex], requests: Sequence[Sequence[Issue]], now: int) -> int:
    """How many of the first requests are for users who have nothing of these stocks, and find enough of all."""
    users: list[str] = []
    for issues in requests:
        if issues[0].openid in users:
            break
        users.append(issues[0].openid)
    for stock in stocks:
        room = 0 if store.fenced else draws.room(stock.facts, stock.sent, stock.sent_today(now), now)
        # Codes of the platform's own making are given out one by one.
        room = min(room, stock.codes.available if stock.facts.takes_uploads else 1)
        users = users[: max(room, 0)]
        may_have = stock.users.may_have(users)
        users = users[: may_have.index(True)] if True in may_have else users
    return len(users)


def _given_before(
    store: Store, stocks: Sequence[StockIndex], issues: Sequence[Issue], now: int
) -> list[CouponFacts] | None:
    """Return the coupons that this number got, or None where all of the stocks can give one now.

    Raises: what `CodePool.send_coupon` says.
    """
    before: list[CouponFacts] = []
    for stock, issue in zip(stocks, issues, strict=True):
        mine = store.coupons_of(stock, issue.openid)
        same = [coupon for coupon in mine if coupon.out_request_no == issue.out_request_no]
        if same:
            draws.check_same_issue(same[0], issue)
            before.append(same[0])
            continue
        store.check_fence()
        draws.check_sends(stock.facts, issue.coupon_code, now)
        draws.check_limits(stock.facts, SentFacts(stock.sent, stock.sent_today(now), len(mine)))
        if stock.facts.takes_uploads and not stock.codes.available:
            raise draws.pool_empty(stock.facts)
    return before if len(before) == len(stocks) else None


def group_of(store: Store, caller: Caller, stocks: Sequence[StockIndex], coupon: CouponFacts, now: int) -> Group:
    """All that a user got under a coupon's number."""
    found = [
        next(
            one
            for one in store.coupons_of(stock, coupon.openid)
            if (one.stock_id, one.coupon_code) == (coupon.stock_id, coupon.coupon_code)
            or (one.stock_id != coupon.stock_id and one.out_request_no == coupon.out_request_no)
        )
        for stock in stocks
    ]
    return _Seen(store, caller, stocks, now).group(found)


class _Seen:
    """What all groups of these stocks have in common at one moment: it is read once for all of them."""

    def __init__(self, store: Store, caller: Caller, stocks: Sequence[StockIndex], now: int) -> None:
        product = stocks[0].facts.product
        assert product is not None
        document = _document(store, caller, PRODUCT, product.product_coupon_id)
        self._product = document.body if document else None
        self._caller = caller
        self._stocks = [_known(stock, now) for stock in stocks]

    def group(self, given: Sequence[CouponFacts]) -> Group:
        held = [Held(stock, coupon) for stock, coupon in zip(self._stocks, given, strict=True)]
        return Group(self._caller, self._product, held)
