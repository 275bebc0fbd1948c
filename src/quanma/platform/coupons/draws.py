"""What the platform decides about giving coupons out: to whom, how many, and until when they can be used. Pure."""

from __future__ import annotations

from typing import NamedTuple

from ...api.coupons import SendCoupon
from ...errors import NotEnough, ParamError, RequestRefused, ResourceAlreadyExists, RuleLimit, masked
from ...wire.times import DAY_SECONDS, beijing_day, beijing_midnight
from ..chance import Chance
from .coupon import CouponFacts
from .stocks import ASSIGN_MODES, SENDING_STATES, Product, StockFacts, check_open

_CHANCE = Chance("codes")
WECHATPAY_CODE_DIGITS = 22
"""Source: codes that the platform makes have 22 digits (documented)."""


class Issue(NamedTuple):
    """A coupon to be given out, whichever call or page asks for it."""

    stock_id: str
    openid: str
    appid: str
    out_request_no: str
    coupon_code: str | None
    send_merchant: str
    send_channel: str
    also: str = ""
    """The call's other fields: a repeat of the number must have the same."""
    product: Product | None = None
    """Of a 商品券 stock."""


def issue_of(request: SendCoupon, send_merchant: str, send_channel: str, also: str = "") -> Issue:
    """What a request to send a coupon asks for, by whichever channel it came."""
    return Issue(
        request.stock_id,
        request.openid,
        request.appid,
        request.out_request_no,
        request.coupon_code,
        send_merchant,
        send_channel,
        also,
    )


class SentFacts(NamedTuple):
    """How much of a stock was given out."""

    total: int
    today: int
    to_this_user: int


def check_sends(stock: StockFacts, coupon_code: str | None, now: int) -> None:
    """Raises RequestRefused: the stock gives out no coupons like this one. Final, and the same at each repeat."""
    mode = stock.code_mode
    if mode in ASSIGN_MODES and coupon_code is None:
        raise RequestRefused(f"发券模式不合法: stock {stock.stock_id} is {mode}, and takes a coupon_code")
    if mode not in ASSIGN_MODES and coupon_code is not None:
        raise RequestRefused(f"发券模式不合法: stock {stock.stock_id} is {mode}, and its coupon_code can't be chosen")
    if coupon_code is not None and (why := stock.code_rule.why_refused(coupon_code)):
        raise ParamError(f"coupon_code: {why[1]}")
    check_open(stock, now)


def check_limits(stock: StockFacts, sent: SentFacts) -> None:
    """Raises NotEnough or RuleLimit: a limit is reached. A number does not remember this: it may be asked again."""
    limits = stock.limits
    if sent.total >= limits.total:
        raise NotEnough(f"批次预算不足: all {limits.total} coupons of stock {stock.stock_id} were given out")
    if limits.by_day is not None and sent.today >= limits.by_day:
        raise NotEnough(f"批次预算不足: the {limits.by_day} coupons of today were given out")
    if sent.to_this_user >= limits.per_user:
        raise RuleLimit(
            f"用户已达领取上限: this user has {sent.to_this_user} coupons, the stock allows {limits.per_user}"
        )


def room(stock: StockFacts, sent: int, sent_today: int, now: int) -> int:
    """How many coupons `check_sends` and `check_limits` let through now, if each is for a user who has none."""
    limits = stock.limits
    if stock.state(now) not in SENDING_STATES or limits.per_user < 1:
        return 0
    left = limits.total - sent
    return left if limits.by_day is None else min(left, limits.by_day - sent_today)


def pool_empty(stock: StockFacts) -> NotEnough:
    return NotEnough(f"批次预算不足: stock {stock.stock_id} has no code left to give out, upload more")


class Validity(NamedTuple):
    starts_at: int
    expires_at: int


def validity(stock: StockFacts, received_at: int) -> Validity:
    """When a coupon can be used, by its stock's dates. Source: documented. Days are Beijing's; the first is day 1."""
    if stock.product is not None:
        return Validity(*stock.terms.validity(stock.begins_at, stock.ends_at, received_at))
    times = stock.busifavor.coupon_use_rule.coupon_available_time
    starts_at, expires_at = max(stock.begins_at, received_at), stock.ends_at
    if times.available_day_after_receive is not None:
        midnight = beijing_midnight(beijing_day(received_at) + (times.wait_days_after_receive or 0))
        starts_at = max(starts_at, midnight)
        expires_at = min(expires_at, midnight + times.available_day_after_receive * DAY_SECONDS)
    if times.available_second_after_receive is not None:
        expires_at = min(expires_at, received_at + times.available_second_after_receive)
    return Validity(starts_at, expires_at)


def other_fields(coupon_code: str | None, also: str) -> str | None:
    """What a repeat must have the same beside a coupon's own fields. Mostly nothing, and then nothing is kept."""
    return f"{coupon_code or ''}\n{also}" if coupon_code or also else None


def check_same_issue(coupon: CouponFacts, issue: Issue) -> None:
    """Raises RequestRefused: the number was used with other fields."""
    asked = (other_fields(issue.coupon_code, issue.also), issue.appid, issue.send_merchant)
    if (coupon.request, coupon.appid, coupon.send_merchant) != asked:
        raise RequestRefused("same out_request_no, different request: nothing was given out, use a new number")


def new_code() -> str:
    """A code of the platform's own making."""
    return f"{_CHANCE.randbelow(10**WECHATPAY_CODE_DIGITS):0{WECHATPAY_CODE_DIGITS}}"


def code_was_given(coupon_code: str) -> ResourceAlreadyExists:
    return ResourceAlreadyExists(f"券code已存在: code {masked(coupon_code)} was given out before")
