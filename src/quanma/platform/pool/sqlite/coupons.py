"""Coupons in the SQLite pool: send, use, return, deactivate, associate, show, list. The states: platform/life.py."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from ....api.coupons import (
    AssociatedOrder,
    AssociateOrder,
    Coupon,
    CouponPage,
    DeactivateCoupon,
    DeactivatedCoupon,
    DisassociatedOrder,
    DisassociateOrder,
    ListCoupons,
    ReturnCoupon,
    ReturnedCoupon,
    SendCard,
    SentCard,
    ShowCoupon,
    UseCoupon,
    UsedCoupon,
)
from ....errors import (
    QuanmaError,
    StoreUnavailable,
)
from ....wire.times import rfc3339
from ... import life, rules
from ...life import CouponFacts
from ...rules import SentFacts
from .. import answers
from ..answers import Owned
from ..contract import Issue
from ..shelf import DELETED
from . import outbox, sendings
from .store import Held, Store

Asked = tuple[str, str, int]
"""What coupons have in common that may be given out together: who asks, the stock, and the time."""


def send(store: Store, asked: Asked, issues: Sequence[Issue]) -> list[CouponFacts | QuanmaError]:
    """Give coupons out, or return those that these numbers got.

    To the first of them only, up to one for a user who is among them already: what a user has must be known.
    """
    mchid, stock_id, now = asked
    held = store.held(mchid, stock_id)
    if not held.facts.takes_uploads:
        return [_known(store, held, issues[0], now, 0) or _give(store, held, issues[0], now)]
    users = _until_one_comes_again([issue.openid for issue in issues])
    room = 0 if store.fenced else rules.room(held.facts, held.sent, held.sent_today(now), now)
    outcomes: list[CouponFacts | QuanmaError | None] = []
    draws: list[Issue] = []
    for issue, may_have in zip(issues, held.issued.may_have(users), strict=False):
        known: CouponFacts | QuanmaError | None = None
        # A new user, and room: then there is nothing to find out, and nothing to refuse.
        if may_have or issue.coupon_code is not None or len(draws) >= room:
            try:
                known = _known(store, held, issue, now, len(draws))
            except QuanmaError as refusal:
                known = refusal
        if known is None:
            draws.append(issue)
        outcomes.append(known)
    if not draws:
        return [outcome for outcome in outcomes if outcome is not None]
    drawn = _draw(store, held, draws, now)
    if len(draws) == len(outcomes):
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


def _known(store: Store, held: Held, issue: Issue, now: int, others: int) -> CouponFacts | None:
    """Return the coupon that this number got, or None where it is to get one, after `others` of the same piece.

    Raises: what `CodePool.send_coupon` says.
    """
    mine = store.coupons_of(held, issue.openid)
    for coupon in mine:
        if coupon.out_request_no == issue.out_request_no:
            answers.check_same_issue(coupon, issue)
            return coupon
    store.check_fence()
    rules.check_sends(held.facts, issue.coupon_code, now)
    rules.check_limits(held.facts, SentFacts(held.sent + others, held.sent_today(now) + others, len(mine)))
    return None


def _draw(store: Store, held: Held, issues: Sequence[Issue], now: int) -> list[CouponFacts | QuanmaError]:
    positions = held.shelf.draw(len(issues))
    try:
        coupons = _write(store, held, issues, positions, held.shelf.texts(positions), now)
    except BaseException:
        held.shelf.put_back(positions)
        raise
    held.shelf.give(positions, store.next_coupon_id)
    _remember(store, held, issues[: len(positions)], coupons, now)
    return [*coupons, *(rules.pool_empty(held.facts) for _ in issues[len(positions) :])]


def _give(store: Store, held: Held, issue: Issue, now: int) -> CouponFacts:
    """As `_draw`, in a stock that takes no uploads: a code that comes with the request, or a new one."""
    shelf, chosen = held.shelf, issue.coupon_code
    code = chosen or answers.new_code()
    if shelf.find(code) is not None or code in store.barred.get(issue.stock_id, ()):
        if chosen is None:
            raise StoreUnavailable("a new code was drawn twice, which can't be: look at the random source")
        raise answers.code_was_given(code)
    shelf.check_room(1)
    (coupon,) = _write(store, held, [issue], [shelf.uploaded], [code], now)
    shelf.append_given(store.next_coupon_id, code)
    _remember(store, held, [issue], [coupon], now)
    return coupon


def _write(
    store: Store, held: Held, issues: Sequence[Issue], positions: Sequence[int], codes: Sequence[str], now: int
) -> list[CouponFacts]:
    """Write a coupon for each code, and its event."""
    first = store.next_coupon_id
    if first + len(codes) > DELETED:
        raise StoreUnavailable(f"a pool can give out {DELETED - 1} coupons in its life, of all its stocks")
    stock_id = held.facts.stock_id
    # Plain tuples, in the order of the fields: named ones would cost as much as all the rest.
    sent = [
        (position, code, openid, appid, number, answers.other_fields(chosen, also), merchant, channel)
        for position, code, (_, openid, appid, number, chosen, merchant, channel, also) in zip(
            positions, codes, issues, strict=False
        )
    ]
    starts_at, expires_at = life.validity(held.facts, now)
    when = now, starts_at, expires_at
    sendings.add(store.rows, first, stock_id, sent, when)
    outbox.add(store, held.facts.mchid, range(first, first + len(sent)), now)
    rest = *when, *sendings.NOT_YET
    return [
        CouponFacts._make((coupon_id, stock_id, *own[1:], *rest))
        for coupon_id, own in zip(count(first), sent, strict=False)
    ]


def _remember(store: Store, held: Held, issues: Sequence[Issue], coupons: Sequence[CouponFacts], now: int) -> None:
    held.give([issue.openid for issue in issues], store.next_coupon_id, now)
    store.next_coupon_id += len(issues)
    if coupons:
        store.gave(coupons[-1])


def use(store: Store, mchid: str, request: UseCoupon, now: int) -> UsedCoupon:
    if request.stock_id is None:
        raise answers.no_stock_named()
    held = store.shared(mchid, request.stock_id)

    def work() -> UsedCoupon:
        coupon = store.coupon_of(held, request.coupon_code)
        life.check_usable(held.facts, coupon, request.openid, now)
        sendings.change(
            store.rows,
            coupon,
            coupon_state="USED",
            use_request_no=request.use_request_no,
            use_time=request.use_time,
            used_at=now,
        )
        return UsedCoupon(stock_id=coupon.stock_id, openid=coupon.openid, wechatpay_use_time=rfc3339(now))

    rules.check_time("use_time", request.use_time)
    return store.once(request.stock_id, "use_request_no", request, UsedCoupon, work)


def give_back(store: Store, mchid: str, request: ReturnCoupon, now: int) -> ReturnedCoupon:
    held = store.shared(mchid, request.stock_id)

    def work() -> ReturnedCoupon:
        coupon = store.coupon_of(held, request.coupon_code)
        life.check_returnable(coupon, now)
        sendings.change(
            store.rows, coupon, coupon_state="SENDED", return_request_no=request.return_request_no, returned_at=now
        )
        return ReturnedCoupon(wechatpay_return_time=rfc3339(now))

    return store.once(request.stock_id, "return_request_no", request, ReturnedCoupon, work)


def deactivate(store: Store, mchid: str, request: DeactivateCoupon, now: int) -> DeactivatedCoupon:
    held = store.shared(mchid, request.stock_id)

    def work() -> DeactivatedCoupon:
        coupon = store.coupon_of(held, request.coupon_code)
        life.check_unused(coupon, now)
        sendings.change(
            store.rows,
            coupon,
            coupon_state="DEACTIVATED",
            deactivate_request_no=request.deactivate_request_no,
            deactivate_reason=request.deactivate_reason,
            deactivated_at=now,
        )
        return DeactivatedCoupon(wechatpay_deactivate_time=rfc3339(now))

    return store.once(request.stock_id, "deactivate_request_no", request, DeactivatedCoupon, work)


def associate(store: Store, mchid: str, request: AssociateOrder, now: int) -> AssociatedOrder:
    held = store.shared(mchid, request.stock_id)

    def work() -> AssociatedOrder:
        coupon = store.coupon_of(held, request.coupon_code)
        life.check_unused(coupon, now)
        sendings.change(store.rows, coupon, associate_out_trade_no=request.out_trade_no)
        return AssociatedOrder(wechatpay_associate_time=rfc3339(now))

    return store.once(request.stock_id, "out_request_no", request, AssociatedOrder, work)


def disassociate(store: Store, mchid: str, request: DisassociateOrder, now: int) -> DisassociatedOrder:
    held = store.shared(mchid, request.stock_id)

    def work() -> DisassociatedOrder:
        coupon = store.coupon_of(held, request.coupon_code)
        life.check_associated(coupon, request.out_trade_no)
        sendings.change(store.rows, coupon, associate_out_trade_no=None)
        return DisassociatedOrder(wechatpay_disassociate_time=rfc3339(now))

    return store.once(request.stock_id, "out_request_no", request, DisassociatedOrder, work)


def send_card(store: Store, mchid: str, request: SendCard) -> SentCard:
    """A consumption card: numbers of the platform's own, kept only to answer a repeat."""

    def work() -> SentCard:
        store.check_fence()
        return SentCard(card_code=answers.new_code())

    # Source: the number is unique together with its send_time (documented).
    return store.once(
        f"card\n{mchid}\n{request.card_id}\n{request.send_time}", "out_request_no", request, SentCard, work
    )


def show(store: Store, mchid: str, request: ShowCoupon, now: int) -> Coupon:
    return answers.latest_coupon(_all_of(store, mchid, request.openid), request.coupon_code, mchid, now)


def list_page(store: Store, mchid: str, request: ListCoupons, now: int) -> CouponPage:
    return answers.coupon_page(_all_of(store, mchid, request.openid), request, mchid, now)


def _all_of(store: Store, mchid: str, openid: str) -> list[Owned]:
    """A user's coupons of the merchant's stocks, the latest first."""
    return [(store.stocks[coupon.stock_id].facts, coupon) for coupon in store.coupons_at(mchid, openid)]
