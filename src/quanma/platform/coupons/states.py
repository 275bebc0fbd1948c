"""A coupon's life in a user's hands: its states, and every step that moves it or is recorded with it. Pure.

                send            use
    (the pool) ─────▶ SENDED ─────────▶ USED
                       │  ▲ ╲            │
            deactivate │  ╰──╲──return───╯
                       ▼      ╲ time
                 DEACTIVATED   ▶ EXPIRED

    associate      SENDED stays SENDED        pay            USED stays USED
    disassociate   any state stays            take back      any state stays

Each arrow is one value in STEPS. A back end writes a step where the coupon still is in a state that the step starts
from, by the time too: a coupon expires at its second with no sweeper, for EXPIRED is a SENDED coupon past its
`expires_at`. A code never goes back to the pool. DELETED, by the user in the wallet, has no call.

To add a step: declare its operation in `api/`, and say here what it does.
"""

from __future__ import annotations

import datetime
from typing import Any

from ...api.coupons import (
    Associate,
    AssociatedOrder,
    Deactivate,
    DeactivatedCoupon,
    Disassociate,
    DisassociatedOrder,
    DisassociateOrder,
    Return,
    ReturnedCoupon,
    Use,
    UseCoupon,
    UsedCoupon,
)
from ...errors import RequestRefused, ResourceAlreadyExists, RuleLimit, masked
from ...wire.times import BEIJING, rfc3339, unix_seconds
from .requests import check_time
from .step import Seen, Step
from .stocks import StockFacts
from .subsidies import PAY, TAKE_BACK


def check_usable(seen: Seen[UseCoupon]) -> None:
    """Raises: this coupon can't be used now, or by this user.

    ResourceAlreadyExists: it was used under another number. RequestRefused: it is another user's, or deactivated.
    RuleLimit: it has expired, has not begun, or this is not its weekday, hour or span.
    """
    stock, coupon, _, request, now, _ = seen
    if request.openid not in (None, coupon.openid):
        raise RequestRefused(f"coupon {masked(coupon.coupon_code)} is another user's")
    state = coupon.state(now)
    if state == "USED":
        raise ResourceAlreadyExists(
            f"券已被其他订单核销: coupon {masked(coupon.coupon_code)} was used under another number"
        )
    if state == "DEACTIVATED":
        raise RequestRefused(f"券状态非可用态: coupon {masked(coupon.coupon_code)} was deactivated")
    if not coupon.starts_at <= now < coupon.expires_at:
        raise RuleLimit(
            f"券不在有效期: it can be used from {rfc3339(coupon.starts_at)} until {rfc3339(coupon.expires_at)}"
        )
    if not open_at(stock, now):
        raise RuleLimit("券不在可用时段: its stock is not open on this weekday, at this hour or in this span")


def open_at(stock: StockFacts, now: int) -> bool:
    """Whether the weekdays, hours and irregular spans of a stock, if it has any, hold this moment."""
    times = stock.busifavor.coupon_use_rule.coupon_available_time
    spans = times.irregulary_avaliable_time or []
    week = times.available_week
    if week is None and not spans:
        return True
    if any(unix_seconds(span.begin_time) <= now <= unix_seconds(span.end_time) for span in spans):
        return True
    if week is None:
        return False
    moment = datetime.datetime.fromtimestamp(now, BEIJING)
    # Source: 0 is Sunday (documented); isoweekday has Sunday as 7.
    if week.week_day and moment.isoweekday() % 7 not in week.week_day:
        return False
    second = moment.hour * 3600 + moment.minute * 60 + moment.second
    hours = week.available_day_time or []
    return not hours or any(hour.begin_time <= second <= hour.end_time for hour in hours)


def check_associated(seen: Seen[DisassociateOrder]) -> None:
    """Raises RequestRefused: the coupon is not tied to this order."""
    coupon = seen.coupon
    if coupon.associate_out_trade_no != seen.request.out_trade_no:
        raise RequestRefused(f"查询记录为空: coupon {masked(coupon.coupon_code)} is not associated with this order")


USE = Step(
    Use.post,
    starts=("SENDED",),
    ends="USED",
    check_request=lambda request: check_time("use_time", request.use_time),
    check=check_usable,
    changes=lambda seen: {
        "use_request_no": seen.request.use_request_no,
        "use_time": seen.request.use_time,
        "used_at": seen.now,
    },
    answer=lambda seen: UsedCoupon(
        stock_id=seen.coupon.stock_id, openid=seen.coupon.openid, wechatpay_use_time=rfc3339(seen.now)
    ),
)
RETURN = Step(
    Return.post,
    starts=("USED",),
    ends="SENDED",
    changes=lambda seen: {"return_request_no": seen.request.return_request_no, "returned_at": seen.now},
    answer=lambda seen: ReturnedCoupon(wechatpay_return_time=rfc3339(seen.now)),
)
DEACTIVATE = Step(
    Deactivate.post,
    starts=("SENDED",),
    ends="DEACTIVATED",
    changes=lambda seen: {
        "deactivate_request_no": seen.request.deactivate_request_no,
        "deactivate_reason": seen.request.deactivate_reason,
        "deactivated_at": seen.now,
    },
    answer=lambda seen: DeactivatedCoupon(wechatpay_deactivate_time=rfc3339(seen.now)),
)
ASSOCIATE = Step(
    Associate.post,
    starts=("SENDED",),
    changes=lambda seen: {"associate_out_trade_no": seen.request.out_trade_no},
    answer=lambda seen: AssociatedOrder(wechatpay_associate_time=rfc3339(seen.now)),
)
DISASSOCIATE = Step(
    Disassociate.post,
    check=check_associated,
    changes=lambda seen: {"associate_out_trade_no": None},
    answer=lambda seen: DisassociatedOrder(wechatpay_disassociate_time=rfc3339(seen.now)),
)

STEPS: tuple[Step[Any, Any], ...] = (USE, RETURN, DEACTIVATE, ASSOCIATE, DISASSOCIATE, PAY, TAKE_BACK)
"""Every step, each bound to its operation."""
