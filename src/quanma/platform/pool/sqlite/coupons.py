"""Coupons in the SQLite pool: given out, and a user's listed."""

from __future__ import annotations

from collections.abc import Sequence

from ....api.coupons import CardSend, SendCard, SentCard
from ....errors import QuanmaError, StoreUnavailable
from ...coupons import draws
from ...coupons.coupon import CouponFacts
from ...coupons.draws import Issue, SentFacts
from ...coupons.repeats import Numbered
from ...coupons.responses import Owned
from . import issue_batches, outbox
from .index.codes import COUPON_IDS_MAX, SentCodeIndex
from .issue_batches import SentCoupon, SentWhen
from .rows import CARD, CardRow
from .store import StockIndex, Store

Asked = tuple[str, str, int]
"""What coupons have in common that may be given out together: who asks, the stock, and the time."""


def send(store: Store, asked: Asked, issues: Sequence[Issue]) -> list[CouponFacts | QuanmaError]:
    """Give coupons out, or return those that these numbers got.

    To the first of them only, up to one for a user who is among them already: what a user has must be known.
    """
    mchid, stock_id, now = asked
    stock = store.stock(mchid, stock_id, issues[0].product)
    if isinstance(stock.codes, SentCodeIndex):
        return [_known(store, stock, issues[0], now, 0) or _give(store, stock, stock.codes, issues[0], now)]
    users = _until_one_comes_again([issue.openid for issue in issues])
    room = 0 if store.fenced else draws.room(stock.facts, stock.sent, stock.sent_today(now), now)
    outcomes: list[CouponFacts | QuanmaError | None] = []
    new: list[Issue] = []
    for issue, may_have in zip(issues, stock.users.may_have(users), strict=False):
        known: CouponFacts | QuanmaError | None = None
        # A new user, and room: then there is nothing to find out, and nothing to refuse.
        if may_have or issue.coupon_code is not None or len(new) >= room:
            try:
                known = _known(store, stock, issue, now, len(new))
            except QuanmaError as refusal:
                known = refusal
        if known is None:
            new.append(issue)
        outcomes.append(known)
    if not new:
        return [outcome for outcome in outcomes if outcome is not None]
    drawn = _draw(store, stock, new, now)
    if len(new) == len(outcomes):
        return drawn
    those = iter(drawn)
    return [next(those) if outcome is None else outcome for outcome in outcomes]


def _until_one_comes_again(users: list[str]) -> list[str]:
    seen: set[str] = set()
    for number, user in enumerate(users):
        if user in seen:
            return users[:number]
        seen.add(user)
    return users


def _known(store: Store, stock: StockIndex, issue: Issue, now: int, others: int) -> CouponFacts | None:
    """Return the coupon that this number got, or None where it is to get one, after `others` of the same piece.

    Raises: what `CodePool.send_coupon` says.
    """
    mine = store.coupons_of(stock, issue.openid)
    for coupon in mine:
        if coupon.out_request_no == issue.out_request_no:
            draws.check_same_issue(coupon, issue)
            return coupon
    store.check_fence()
    draws.check_sends(stock.facts, issue.coupon_code, now)
    draws.check_limits(stock.facts, SentFacts(stock.sent + others, stock.sent_today(now) + others, len(mine)))
    return None


def _draw(store: Store, stock: StockIndex, issues: Sequence[Issue], now: int) -> list[CouponFacts | QuanmaError]:
    index = stock.uploaded
    positions = index.draw(len(issues))
    try:
        coupons = _write(store, stock, issues, positions, index.texts(positions), now)
    except BaseException:
        index.put_back(positions)
        raise
    index.give(positions, store.next_coupon_id)
    _remember(store, stock, issues[: len(positions)], coupons, now)
    return [*coupons, *(draws.pool_empty(stock.facts) for _ in issues[len(positions) :])]


def _give(store: Store, stock: StockIndex, index: SentCodeIndex, issue: Issue, now: int) -> CouponFacts:
    """As `_draw`, in a stock that takes no uploads: a code that comes with the request, or a new one."""
    chosen = issue.coupon_code
    code = chosen or draws.new_code()
    if index.find(code) is not None or code in store.barred.get(issue.stock_id, ()):
        if chosen is None:
            raise StoreUnavailable("a new code was drawn twice, which can't be: look at the random source")
        raise draws.code_was_given(code)
    index.check_room(1)
    (coupon,) = _write(store, stock, [issue], [index.uploaded], [code], now)
    index.add(store.next_coupon_id, code)
    _remember(store, stock, [issue], [coupon], now)
    return coupon


def _write(
    store: Store, stock: StockIndex, issues: Sequence[Issue], positions: Sequence[int], codes: Sequence[str], now: int
) -> list[CouponFacts]:
    """Write a coupon for each code, and its event."""
    first = store.next_coupon_id
    if first + len(codes) - 1 > COUPON_IDS_MAX:
        raise StoreUnavailable(f"a pool can give out {COUPON_IDS_MAX} coupons in its life, of all its stocks")
    stock_id = stock.facts.stock_id
    sent = [
        SentCoupon(
            position,
            code,
            issue.openid,
            issue.appid,
            issue.out_request_no,
            draws.other_fields(issue.coupon_code, issue.also),
            issue.send_merchant,
            issue.send_channel,
        )
        for position, code, issue in zip(positions, codes, issues, strict=False)
    ]
    when = SentWhen(now, *draws.validity(stock.facts, now))
    issue_batches.add(store.rows, first, stock_id, sent, when)
    outbox.add(store, stock.facts.notified, range(first, first + len(sent)), now)
    return [issue_batches.as_coupon(coupon_id, stock_id, one, when) for coupon_id, one in enumerate(sent, first)]


def _remember(
    store: Store, stock: StockIndex, issues: Sequence[Issue], coupons: Sequence[CouponFacts], now: int
) -> None:
    stock.give([issue.openid for issue in issues], store.next_coupon_id, now)
    store.next_coupon_id += len(issues)
    if coupons:
        store.gave(coupons[-1])


def send_card(store: Store, mchid: str, request: SendCard) -> SentCard:
    """A consumption card: numbers of the platform's own, kept only to answer a repeat."""
    # Source: the number is unique together with its send_time (documented).
    key = mchid, request.card_id, str(request.send_time), request.out_request_no
    asked = Numbered(CardSend.post, request)
    for first in store.rows.read(CARD, "mchid = ? AND card_id = ? AND send_time = ? AND out_request_no = ?", *key):
        return asked.again(first.request, first.answer)
    store.check_fence()
    answer = SentCard(card_code=draws.new_code())
    store.rows.add(CARD, CardRow(*key, asked.request, asked.kept(answer)))
    return answer


def of_user(store: Store, mchid: str, openid: str) -> list[Owned]:
    """Return a user's coupons of the merchant's stocks, the latest first."""
    return [(store.stocks[coupon.stock_id].facts, coupon) for coupon in store.coupons_at(mchid, openid)]
