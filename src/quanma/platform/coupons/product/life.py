"""A 商品券's life in a user's hands: its states, and every step that moves it. Pure.

              send                confirm                     use
    (the pool) ───▶ CONFIRMING ───────────▶ EFFECTIVE ──────────────▶ USED
                        │                   │ ▲ ╰ PENDING, by time     │
                        │     deactivate    │ ╰────────return──────────╯
                        ├───────────────────┤
                        ▼                   ▼
                   DEACTIVATED           EXPIRED, by time, from CONFIRMING too

PENDING, EFFECTIVE and EXPIRED follow from the time and are written nowhere: a coupon that was confirmed is EFFECTIVE in
the store. DELETED is the user's doing in the card pack, and no call's.

In a bundle there is a coupon for each round. A round is used after the one before it, `interval_days` later at least;
only the one used last can be returned. Source: the return is documented; the order of the rounds is our reading.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from ....api.productcoupon.callers import OfBoth
from ....api.productcoupon.entities import (
    OrderInfo,
    PayScoreOrderInfo,
    ShownCouponTagInfo,
    UsageDetail,
    UserCoupon,
    UserCouponBundle,
    UserCouponBundleInfo,
)
from ....api.productcoupon.usercoupons import (
    ConfirmUserCouponNode,
    DeactivateUserCouponBundleNode,
    DeactivateUserCouponNode,
    ReturnUserCouponNode,
    UseUserCoupon,
    UseUserCouponNode,
)
from ....errors import PlatformError, RequestRefused, ResourceNotExists, masked
from ....reasons import Reason
from ....wire.times import beijing_day, rfc3339
from ..coupon import CouponFacts
from ..requests import check_time
from ..step import Changes, Decision, Receipts, Seen, Step
from .bundles import bundle_of, members_of, user_bundle_id
from .changes import Caller, KnownStock
from .objects import kept_product, no_bundle, shown_stock

Resp = TypeVar("Resp")


class Also(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a send asks for beside its own fields, as the coupon keeps it."""

    attach: str | None = None
    coupon_tag_info: ShownCouponTagInfo | None = None

    @classmethod
    def of(cls, attach: str | None, tags: object) -> str:
        """As text; empty where there is nothing."""
        also = cls(attach, msgspec.convert(msgspec.to_builtins(tags), ShownCouponTagInfo) if tags else None)
        return "" if also == cls() else msgspec.json.encode(also).decode()


class UsedFor(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a coupon was used for, as it keeps it."""

    associated_order_info: OrderInfo | None = None
    associated_pay_score_order_info: PayScoreOrderInfo | None = None
    store_id: str | None = None
    saved_amount: int | None = None


class Held(NamedTuple):
    """A coupon in a user's hands, and its stock."""

    stock: KnownStock
    coupon: CouponFacts


class Group(NamedTuple):
    """What a user got under one number: a coupon, or one for each round of a bundle; and their product coupon."""

    caller: Caller
    product: str | None
    """The document."""
    held: Sequence[Held]

    @property
    def bundle_id(self) -> str | None:
        """Of the user's bundle, if it is one."""
        return bundle_id_of(self.held[0].coupon)

    def after(self, changed: Sequence[CouponFacts]) -> Group:
        """The same with other coupons in the place of some."""
        by_stock = {coupon.stock_id: coupon for coupon in changed}
        held = [one._replace(coupon=by_stock.get(one.coupon.stock_id, one.coupon)) for one in self.held]
        return self._replace(held=held)


def bundle_id_of(coupon: CouponFacts) -> str | None:
    """The id of the user's bundle that a coupon is in, if it is in one."""
    stock_bundle_id = bundle_of(coupon.stock_id)
    return stock_bundle_id and user_bundle_id(stock_bundle_id, coupon.openid, coupon.out_request_no)


def user_coupon(group: Group, coupon: CouponFacts, now: int) -> UserCoupon:
    """One coupon of a group, as it is answered."""
    stock = next(one.stock for one in group.held if one.coupon.stock_id == coupon.stock_id)
    product = kept_product(group.product, stock.facts.terms.stock.product_coupon_id)
    also = also_of(coupon)
    in_bundle = _bundle_info(group, coupon)
    detail = _detail(coupon)
    return UserCoupon(
        coupon_code=coupon.coupon_code,
        coupon_state=coupon.state(now),
        valid_begin_time=rfc3339(coupon.starts_at),
        valid_end_time=rfc3339(coupon.expires_at),
        receive_time=rfc3339(coupon.sent_at),
        send_request_no=coupon.out_request_no,
        send_channel=coupon.send_channel,
        product_coupon=product.shown(now),
        stock=shown_stock(stock, now),
        confirm_request_no=coupon.confirm_request_no,
        confirm_time=_time(coupon.confirmed_at),
        deactivate_request_no=coupon.deactivate_request_no,
        deactivate_time=_time(coupon.deactivated_at),
        deactivate_reason=coupon.deactivate_reason,
        single_usage_detail=None if in_bundle else detail,
        progressive_bundle_usage_detail=detail if in_bundle else None,
        user_product_coupon_bundle_info=in_bundle,
        attach=also.attach,
        coupon_tag_info=also.coupon_tag_info,
        brand_id=group.caller.shown_brand_id,
    )


def user_bundle(group: Group, now: int) -> UserCouponBundle:
    """All coupons of a group, as they are answered."""
    return UserCouponBundle(
        user_coupon_bundle_id=group.bundle_id or "",
        user_product_coupon_list=[user_coupon(group, one.coupon, now) for one in group.held],
        brand_id=group.caller.shown_brand_id,
    )


def also_of(coupon: CouponFacts) -> Also:
    _, _, also = (coupon.request or "").partition("\n")
    return msgspec.json.decode(also, type=Also) if also else Also()


def _bundle_info(group: Group, coupon: CouponFacts) -> UserCouponBundleInfo | None:
    if (bundle_id := group.bundle_id) is None:
        return None
    coupons = [one.coupon for one in group.held]
    return UserCouponBundleInfo(
        user_coupon_bundle_id=bundle_id,
        user_coupon_bundle_index=_index(coupons, coupon),
        total_count=len(coupons),
        used_count=sum(one.coupon_state == "USED" for one in coupons),
    )


def _detail(coupon: CouponFacts) -> UsageDetail | None:
    """Source: after a return the fields of the use stay (reported)."""
    if coupon.use_request_no is None:
        return None
    used_for = _used_for(coupon)
    return UsageDetail(
        use_request_no=coupon.use_request_no,
        use_time=coupon.use_time,
        return_request_no=coupon.return_request_no,
        return_time=_time(coupon.returned_at),
        associated_order_info=used_for.associated_order_info,
        associated_pay_score_order_info=used_for.associated_pay_score_order_info,
    )


def _used_for(coupon: CouponFacts) -> UsedFor:
    return msgspec.json.decode(coupon.used_for, type=UsedFor) if coupon.used_for else UsedFor()


def _time(moment: int | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def _index(coupons: Sequence[CouponFacts], coupon: CouponFacts) -> int:
    return next(index for index, one in enumerate(coupons) if one.stock_id == coupon.stock_id)


# Steps


class ProductStep(Step[Any, Resp]):
    """A step of one coupon, which sees its whole group. It answers the coupon as it then is."""

    def __init__(
        self,
        operation: OfBoth[..., Any, Any, ..., Any, Any, Resp],
        *,
        starts: Sequence[str],
        ends: str,
        check_request: Callable[[Any], None] = lambda request: None,
        check: Callable[[Seen[Any]], None] = lambda seen: None,
        changes: Callable[[Seen[Any]], Changes],
    ) -> None:
        super().__init__(
            operation.as_brand(),
            starts=starts,
            ends=ends,
            check_request=check_request,
            check=check,
            changes=changes,
            answer=_unasked,
        )
        self.both = operation
        self.end = ends

    def decide(self, seen: Seen[Any]) -> Decision[Any]:
        group = _group(seen)
        _check_user(seen)
        self.check(seen)
        check_state(seen.coupon, self.starts, seen.now)
        after = replace(seen.coupon, coupon_state=self.end, **self.changes(seen))
        answer = user_coupon(group.after([after]), after, seen.now)
        return Decision(after, answer, Receipts())


class BundleStep(ProductStep[UserCouponBundle]):
    """A step of all coupons of a user's bundle that are in a state that it starts from: of one at least."""

    def stock_of(self, request: Any) -> str:
        if not (members := members_of(request.stock_bundle_id)):
            raise no_bundle(request.stock_bundle_id)
        return members[0]

    def user_of(self, request: Any) -> str | None:
        openid: str = request.openid
        return openid

    def code_of(self, request: Any, mine: Sequence[CouponFacts]) -> str:
        for coupon in mine:
            known = user_bundle_id(request.stock_bundle_id, request.openid, coupon.out_request_no)
            if known == request.user_coupon_bundle_id:
                return coupon.coupon_code
        raise ResourceNotExists("券不存在: this user has no such bundle", reason=Reason.COUPON_UNKNOWN)

    def decide(self, seen: Seen[Any]) -> Decision[Any]:
        group = _group(seen)
        coupons = [one.coupon for one in group.held]
        moved = [
            replace(one, coupon_state=self.end, **self.changes(seen._replace(coupon=one)))
            for one in coupons
            if one.state(seen.now) in self.starts
        ]
        if not moved:
            check_state(seen.coupon, self.starts, seen.now)
        after = group.after(moved)
        itself = after.held[_index(coupons, seen.coupon)].coupon
        beside = [one for one in moved if one.stock_id != itself.stock_id]
        return Decision(itself, user_bundle(after, seen.now), Receipts(), beside)


def _unasked(seen: Any) -> Any:
    raise AssertionError("a step of 商品券 answers what the coupon then is")


def _group(seen: Seen[Any]) -> Group:
    assert isinstance(seen.group, Group)
    return seen.group


def _check_user(seen: Seen[Any]) -> None:
    if seen.coupon.openid != seen.request.openid:
        raise ResourceNotExists(
            f"券不存在: this user has no coupon {masked(seen.coupon.coupon_code)}", reason=Reason.COUPON_UNKNOWN
        )


_WHY: dict[str, Reason] = {
    "EXPIRED": Reason.COUPON_EXPIRED,
    "DELETED": Reason.COUPON_DELETED,
}


def check_state(coupon: CouponFacts, starts: Sequence[str], now: int) -> None:
    """Raises RequestRefused: the coupon is in none of these states."""
    if (state := coupon.state(now)) in starts:
        return
    code, wanted = masked(coupon.coupon_code), " or ".join(starts)
    if state == "CONFIRMING":
        raise RequestRefused(
            f"用户商品券未确认发放: coupon {code} is CONFIRMING, not {wanted}: confirm it first",
            reason=Reason.COUPON_STATE,
        )
    raise RequestRefused(
        f"用户商品券状态不符: coupon {code} is {state}, not {wanted}", reason=_WHY.get(state, Reason.COUPON_STATE)
    )


def check_usable(seen: Seen[UseUserCoupon]) -> None:
    """Raises RequestRefused: it is not its time, or not its turn in the bundle."""
    coupon, stock, now = seen.coupon, seen.stock, seen.now
    if coupon.state(now) == "PENDING":
        raise _not_now(f"it can be used from {rfc3339(coupon.starts_at)} on", Reason.OUTSIDE_VALIDITY)
    if coupon.coupon_state == "USED":
        raise RequestRefused(
            f"券已被其他订单核销: coupon {masked(coupon.coupon_code)} was used under another out_request_no",
            reason=Reason.COUPON_USED,
        )
    check_state(coupon, ("EFFECTIVE",), now)
    if not stock.terms.is_open_at(now):
        raise _not_now("its stock is not open on this weekday, at this hour or in this span", Reason.OUTSIDE_TIMES)
    coupons = [one.coupon for one in _group(seen).held]
    index = _index(coupons, coupon)
    if index == 0:
        return
    last = index - 1
    before = coupons[last]
    if before.coupon_state != "USED" or before.used_at is None:
        raise RequestRefused(
            f"the coupon of round {last} (from 0) comes first: it is {before.state(now)}",
            reason=Reason.COUPON_STATE,
        )
    day = beijing_day(before.used_at) + stock.terms.interval_days
    if beijing_day(now) < day:
        apart = stock.terms.interval_days
        said = f"two rounds are {apart} days apart, and the one before it was used at {rfc3339(before.used_at)}"
        raise _not_now(said, Reason.OUTSIDE_TIMES)


def _not_now(said: str, reason: Reason) -> PlatformError:
    return RequestRefused(f"券不在可用时间: {said}", reason=reason)


def check_used_last(seen: Seen[Any]) -> None:
    """Raises RequestRefused: a later round of the bundle is USED. Source: documented."""
    coupons = [one.coupon for one in _group(seen).held]
    later = coupons[_index(coupons, seen.coupon) + 1 :]
    if any(one.coupon_state == "USED" for one in later):
        raise RequestRefused(
            "only the coupon of a bundle that was used last can be returned", reason=Reason.COUPON_STATE
        )


def _used(seen: Seen[UseUserCoupon]) -> Changes:
    order, score = seen.request.associated_order_info, seen.request.associated_pay_score_order_info
    used_for = UsedFor(
        OrderInfo(**msgspec.structs.asdict(order)) if order else None,
        PayScoreOrderInfo(**msgspec.structs.asdict(score)) if score else None,
        seen.request.store_id,
        seen.request.saved_amount,
    )
    return {
        "use_request_no": seen.request.out_request_no,
        "use_time": seen.request.use_time,
        "used_at": seen.now,
        "used_for": msgspec.json.encode(used_for).decode(),
        "return_request_no": None,
        "returned_at": None,
    }


def _deactivated(seen: Seen[Any]) -> Changes:
    return {
        "deactivate_request_no": seen.request.out_request_no,
        "deactivate_reason": seen.request.deactivate_reason,
        "deactivated_at": seen.now,
    }


UNUSED = ("CONFIRMING", "PENDING", "EFFECTIVE")
CONFIRM = ProductStep(
    ConfirmUserCouponNode.post,
    starts=("CONFIRMING",),
    ends="EFFECTIVE",
    changes=lambda seen: {"confirm_request_no": seen.request.out_request_no, "confirmed_at": seen.now},
)
USE = ProductStep(
    UseUserCouponNode.post,
    starts=("EFFECTIVE",),
    ends="USED",
    check_request=lambda request: check_time("use_time", request.use_time),
    check=check_usable,
    changes=_used,
)
RETURN = ProductStep(
    ReturnUserCouponNode.post,
    starts=("USED",),
    ends="EFFECTIVE",
    check=check_used_last,
    changes=lambda seen: {"return_request_no": seen.request.out_request_no, "returned_at": seen.now},
)
DEACTIVATE = ProductStep(DeactivateUserCouponNode.post, starts=UNUSED, ends="DEACTIVATED", changes=_deactivated)
DEACTIVATE_BUNDLE = BundleStep(
    DeactivateUserCouponBundleNode.post, starts=UNUSED, ends="DEACTIVATED", changes=_deactivated
)

PRODUCT_STEPS: tuple[ProductStep[Any], ...] = (CONFIRM, USE, RETURN, DEACTIVATE, DEACTIVATE_BUNDLE)
"""Every step, each bound to its operation."""
