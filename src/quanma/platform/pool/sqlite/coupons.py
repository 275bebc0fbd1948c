"""Coupons in the SQLite pool: send, use, return, deactivate, associate, show, list. The states: platform/life.py."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from itertools import count

import msgspec

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
    ParamError,
    QuanmaError,
    RequestRefused,
    ResourceAlreadyExists,
    ResourceNotExists,
    StoreUnavailable,
    masked,
)
from ....wire.times import rfc3339
from ... import life, rules
from ...life import CouponFacts
from ...rules import SentFacts, StockFacts
from ..contract import Issue
from ..shelf import DELETED
from . import outbox
from .store import Held, Store
from .tables import COUPON

WECHATPAY_CODE_DIGITS = 22
"""Source: codes that the platform makes have 22 digits (documented)."""


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
    request = _others(issue.coupon_code, issue.also)
    mine = store.coupons_of(held, issue.openid)
    for coupon in mine:
        if coupon.out_request_no == issue.out_request_no:
            if (coupon.request, coupon.appid, coupon.send_merchant) != (request, issue.appid, issue.send_merchant):
                raise RequestRefused("same out_request_no, different request: nothing was given out, use a new number")
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
    _remember(store, held, issues[: len(positions)], now)
    return [*coupons, *(rules.pool_empty(held.facts) for _ in issues[len(positions) :])]


def _give(store: Store, held: Held, issue: Issue, now: int) -> CouponFacts:
    """As `_draw`, in a stock that takes no uploads: a code that comes with the request, or a new one."""
    shelf, chosen = held.shelf, issue.coupon_code
    code = chosen or "".join(secrets.choice("0123456789") for _ in range(WECHATPAY_CODE_DIGITS))
    if shelf.find(code) is not None:
        if chosen is None:
            raise StoreUnavailable("a new code was drawn twice, which can't be: look at the random source")
        raise ResourceAlreadyExists(f"券code已存在: code {masked(code)} was given out before")
    shelf.check_room(1)
    (coupon,) = _write(store, held, [issue], [shelf.uploaded], [code], now)
    shelf.append_given(store.next_coupon_id, code)
    _remember(store, held, [issue], now)
    return coupon


def _write(
    store: Store, held: Held, issues: Sequence[Issue], positions: Sequence[int], codes: Sequence[str], now: int
) -> list[CouponFacts]:
    """Write a coupon for each code, and its event."""
    first = store.next_coupon_id
    if first + len(codes) > DELETED:
        raise StoreUnavailable(f"a pool can give out {DELETED - 1} coupons in its life, of all its stocks")
    stock_id = held.facts.stock_id
    starts_at, ends_at = life.validity(held.facts, now)
    # In the order of the coupon's fields: named ones would cost as much as the row.
    given = [
        (code, openid, appid, number, _others(chosen, also), merchant, channel, now, starts_at, ends_at)
        for code, (_, openid, appid, number, chosen, merchant, channel, also) in zip(codes, issues, strict=False)
    ]
    rows = [
        (coupon_id, stock_id, position, *fields)
        for coupon_id, position, fields in zip(count(first), positions, given, strict=False)
    ]
    store.rows.add_many(COUPON, rows, _NOT_YET)
    outbox.add(store, held.facts.mchid, range(first, first + len(rows)), now)
    return [CouponFacts(coupon_id, stock_id, *fields) for coupon_id, fields in zip(count(first), given, strict=False)]


def _remember(store: Store, held: Held, issues: Sequence[Issue], now: int) -> None:
    held.give([issue.openid for issue in issues], store.next_coupon_id, now)
    store.next_coupon_id += len(issues)


def _others(chosen: str | None, also: str) -> str | None:
    """What a repeat must have the same beside a coupon's own fields. Mostly nothing, and then nothing is kept."""
    return f"{chosen or ''}\n{also}" if chosen or also else None


_NOT_YET = tuple(CouponFacts._field_defaults.values())
"""What a coupon's later steps will change."""


def use(store: Store, mchid: str, request: UseCoupon, now: int) -> UsedCoupon:
    if request.stock_id is None:
        raise ParamError("stock_id is required: a merchant's own codes are unique within their stock only")
    held = store.shared(mchid, request.stock_id)

    def work() -> UsedCoupon:
        coupon = store.coupon_of(held, request.coupon_code)
        life.check_usable(held.facts, coupon, request.openid, now)
        _move(
            store,
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
        _move(store, coupon, coupon_state="SENDED", return_request_no=request.return_request_no, returned_at=now)
        return ReturnedCoupon(wechatpay_return_time=rfc3339(now))

    return store.once(request.stock_id, "return_request_no", request, ReturnedCoupon, work)


def deactivate(store: Store, mchid: str, request: DeactivateCoupon, now: int) -> DeactivatedCoupon:
    held = store.shared(mchid, request.stock_id)

    def work() -> DeactivatedCoupon:
        coupon = store.coupon_of(held, request.coupon_code)
        life.check_unused(coupon, now)
        _move(
            store,
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
        _move(store, coupon, associate_out_trade_no=request.out_trade_no)
        return AssociatedOrder(wechatpay_associate_time=rfc3339(now))

    return store.once(request.stock_id, "out_request_no", request, AssociatedOrder, work)


def disassociate(store: Store, mchid: str, request: DisassociateOrder, now: int) -> DisassociatedOrder:
    held = store.shared(mchid, request.stock_id)

    def work() -> DisassociatedOrder:
        coupon = store.coupon_of(held, request.coupon_code)
        life.check_associated(coupon, request.out_trade_no)
        _move(store, coupon, associate_out_trade_no=None)
        return DisassociatedOrder(wechatpay_disassociate_time=rfc3339(now))

    return store.once(request.stock_id, "out_request_no", request, DisassociatedOrder, work)


def _move(store: Store, decided_on: CouponFacts, **values: object) -> None:
    """Change the one row of a step. The decision before it and this are one turn: anything else is a fault of ours."""
    row = store.coupon_row(decided_on.coupon_id)
    if row.facts != decided_on:
        raise AssertionError("a coupon did not stand where the decision saw it")
    store.rows.change(COUPON, row, **values)


def send_card(store: Store, mchid: str, request: SendCard) -> SentCard:
    """A consumption card: numbers of the platform's own, kept only to answer a repeat."""

    def work() -> SentCard:
        store.check_fence()
        return SentCard(card_code="".join(secrets.choice("0123456789") for _ in range(WECHATPAY_CODE_DIGITS)))

    # Source: the number is unique together with its send_time (documented).
    return store.once(
        f"card\n{mchid}\n{request.card_id}\n{request.send_time}", "out_request_no", request, SentCard, work
    )


def show(store: Store, mchid: str, request: ShowCoupon, now: int) -> Coupon:
    found = [
        coupon
        for coupon in _all_of(store, request.openid)
        if coupon.coupon_code == request.coupon_code and _may_see(store.stocks[coupon.stock_id].facts, coupon, mchid)
    ]
    if not found:
        raise ResourceNotExists(f"券不存在: this user has no coupon {masked(request.coupon_code)}")
    return shown(store.stocks[found[0].stock_id].facts, found[0], now)


def list_page(store: Store, mchid: str, request: ListCoupons, now: int) -> CouponPage:
    found: list[Coupon] = []
    for coupon in _all_of(store, request.openid):
        facts = store.stocks[coupon.stock_id].facts
        wanted = (
            _may_see(facts, coupon, mchid)
            and request.stock_id in (None, coupon.stock_id)
            and request.coupon_state in (None, coupon.state(now))
            and request.creator_merchant in (None, facts.mchid)
            and request.belong_merchant in (None, facts.request.belong_merchant)
            and request.sender_merchant in (None, coupon.send_merchant)
        )
        if wanted:
            found.append(shown(facts, coupon, now, listed=True))
    page = found[request.offset : request.offset + request.limit]
    return CouponPage(total_count=len(found), offset=request.offset, limit=len(page), data=page)


def _all_of(store: Store, openid: str) -> list[CouponFacts]:
    """A user's coupons of all stocks, the latest first."""
    coupons = [coupon for held in store.stocks.values() for coupon in store.coupons_of(held, openid)]
    return sorted(coupons, key=lambda coupon: -coupon.coupon_id)


def _may_see(stock: StockFacts, coupon: CouponFacts, mchid: str) -> bool:
    """Source: its stock's creator and owner, and who sent it (documented by the list's filters)."""
    return mchid in (*stock.merchants, coupon.send_merchant)


def shown(stock: StockFacts, coupon: CouponFacts, now: int, *, listed: bool = False) -> Coupon:
    request = stock.request
    pattern = request.display_pattern_info
    if listed and pattern is not None:
        # Source: rows of the list have no description since 2020-07-08 (documented).
        pattern = msgspec.structs.replace(pattern, description=None)
    return Coupon(
        belong_merchant=request.belong_merchant,
        stock_name=request.stock_name,
        comment=request.comment,
        goods_name=request.goods_name,
        stock_type=request.stock_type,
        coupon_state=coupon.state(now),
        display_pattern_info=pattern,
        coupon_use_rule=request.coupon_use_rule,
        custom_entrance=request.custom_entrance,
        coupon_code=coupon.coupon_code,
        stock_id=coupon.stock_id,
        available_start_time=rfc3339(coupon.starts_at),
        expire_time=rfc3339(coupon.expires_at),
        receive_time=rfc3339(coupon.sent_at),
        send_request_no=coupon.out_request_no,
        use_request_no=coupon.use_request_no,
        use_time=coupon.use_time,
        associate_out_trade_no=coupon.associate_out_trade_no,
        return_request_no=coupon.return_request_no,
        return_time=None if coupon.returned_at is None else rfc3339(coupon.returned_at),
        deactivate_request_no=coupon.deactivate_request_no,
        deactivate_time=None if coupon.deactivated_at is None else rfc3339(coupon.deactivated_at),
        deactivate_reason=coupon.deactivate_reason,
    )
