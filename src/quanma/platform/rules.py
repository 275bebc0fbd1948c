"""What the platform decides, apart from how a back end stores it: pure functions, from facts to a refusal or none."""

from __future__ import annotations

from typing import NamedTuple

from ..api.couponcodes import FailedCode, UploadCodes, UploadedCodes
from ..api.coupons import SendCoupon, UseCoupon
from ..api.rules import BUSIFAVOR, PRODUCT_COUPON, CodeRule
from ..api.stockrules import BACKGROUND_COLORS, CODE_DISPLAY_MODES, USE_METHODS, CouponUseRule
from ..api.stocks import CreateStock
from ..errors import (
    NotEnough,
    ParamError,
    RequestRefused,
    ResourceAlreadyExists,
    RuleLimit,
    StockNotReady,
    masked,
)
from ..wire.times import DAY_SECONDS, beijing_day, rfc3339, unix_seconds

MAX_COUPONS_DEFAULT = 1_000_000_000
VALIDITY_DAYS_MAX = 366
UPLOAD_MODE = "MERCHANT_UPLOAD"


class Product(NamedTuple):
    """What makes a stock one of 商品券: it is addressed by these, and by no busifavor call."""

    product_coupon_id: str
    brand_id: str


class StockFacts(NamedTuple):
    """A stock as decisions need it. Times are Unix seconds."""

    stock_id: str
    mchid: str
    request: CreateStock
    created_at: int
    begins_at: int
    ends_at: int
    product: Product | None = None

    @property
    def code_rule(self) -> CodeRule:
        return PRODUCT_COUPON if self.product else BUSIFAVOR

    @property
    def max_coupons(self) -> int:
        return self.request.stock_send_rule.max_coupons or MAX_COUPONS_DEFAULT

    def state(self, now: int) -> str:
        return "RUNNING" if now < self.ends_at else "STOPED"


def stock_facts(
    stock_id: str, mchid: str, request: CreateStock, created_at: int, product: Product | None
) -> StockFacts:
    times = request.coupon_use_rule.coupon_available_time
    return StockFacts(
        stock_id,
        mchid,
        request,
        created_at,
        unix_seconds(times.available_begin_time),
        unix_seconds(times.available_end_time),
        product,
    )


def check_new_stock(request: CreateStock) -> None:
    """Raises ParamError: a rule of the stock is missing, contradicts another or has an unknown value."""
    rule = request.coupon_use_rule
    _check_times(rule)
    amounts = {
        "NORMAL": rule.fixed_normal_coupon,
        "DISCOUNT": rule.discount_coupon,
        "EXCHANGE": rule.exchange_coupon,
    }
    if amounts[request.stock_type] is None or sum(amount is not None for amount in amounts.values()) != 1:
        raise ParamError(
            f"a {request.stock_type} stock needs exactly one of fixed_normal_coupon (NORMAL), discount_coupon "
            "(DISCOUNT) and exchange_coupon (EXCHANGE), and the one of its type"
        )
    _check_known("coupon_use_rule.use_method", rule.use_method, USE_METHODS)
    if rule.use_method == "MINI_PROGRAMS" and not (rule.mini_programs_appid and rule.mini_programs_path):
        raise ParamError("use_method MINI_PROGRAMS needs mini_programs_appid and mini_programs_path")
    if request.custom_entrance is not None:
        _check_known("custom_entrance.code_display_mode", request.custom_entrance.code_display_mode, CODE_DISPLAY_MODES)
    if request.display_pattern_info is not None:
        color = request.display_pattern_info.background_color
        _check_known("display_pattern_info.background_color", color, BACKGROUND_COLORS)


def _check_times(rule: CouponUseRule) -> None:
    times = rule.coupon_available_time
    try:
        begins_at, ends_at = unix_seconds(times.available_begin_time), unix_seconds(times.available_end_time)
        # A year that our own clock can't print would fail every later answer that shows it.
        rfc3339(begins_at), rfc3339(ends_at)
        for span in times.irregulary_avaliable_time or []:
            if unix_seconds(span.begin_time) >= unix_seconds(span.end_time):
                raise ParamError("irregulary_avaliable_time has a span that ends before it begins")
    except ValueError as problem:
        raise ParamError(f"coupon_available_time: {problem}") from None
    if begins_at >= ends_at:
        raise ParamError("available_end_time is not after available_begin_time")
    if ends_at - begins_at > VALIDITY_DAYS_MAX * DAY_SECONDS:
        raise ParamError("a stock is valid for a year at most")
    if times.wait_days_after_receive and times.available_day_after_receive is None:
        raise ParamError("wait_days_after_receive goes only with available_day_after_receive")
    week = times.available_week
    if week is not None and week.available_day_time and not week.week_day:
        raise ParamError("available_day_time needs week_day")


def _check_known(field: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise ParamError(f"{field} {value[:40]!r} is none of {', '.join(known)}")


class SortedCodes(NamedTuple):
    """An upload's list, taken apart: each distinct code is acceptable or failed."""

    acceptable: list[str]
    failed: list[FailedCode]
    duplicates: list[str]

    @property
    def distinct(self) -> set[str]:
        return {*self.acceptable, *(failed.coupon_code for failed in self.failed)}


def sort_codes(request: UploadCodes, rule: CodeRule) -> SortedCodes:
    codes = request.coupon_code_list
    distinct = list(dict.fromkeys(codes))
    failed = [
        FailedCode(coupon_code=code, code=why[0], message=why[1])
        for code in distinct
        if (why := rule.why_refused(code))
    ]
    if failed:
        refused = {one.coupon_code for one in failed}
        acceptable = [code for code in distinct if code not in refused]
    else:
        acceptable = distinct
    duplicates: list[str] = []
    if len(distinct) < len(codes):
        seen: set[str] = set()
        repeated = dict.fromkeys(code for code in codes if code in seen or seen.add(code))  # type: ignore[func-returns-value]
        duplicates = list(repeated)
    return SortedCodes(acceptable, failed, duplicates)


def check_takes_uploads(stock: StockFacts, now: int, warmup_seconds: int) -> None:
    """Raises RequestRefused: the stock's mode or state takes no uploads. StockNotReady: it is too new."""
    if (mode := stock.request.coupon_code_mode) != UPLOAD_MODE:
        raise RequestRefused(
            f"发券模式不合法: stock {stock.stock_id} has coupon_code_mode {mode}, and only {UPLOAD_MODE} takes codes; "
            "the mode can't be changed, create a new stock"
        )
    if stock.state(now) != "RUNNING":
        raise RequestRefused(f"批次已停止: stock {stock.stock_id} ended at {rfc3339(stock.ends_at)}")
    if now < stock.created_at + warmup_seconds:
        raise StockNotReady("批次创建处理中,请稍晚进行上传code操作")


def check_room(stock: StockFacts, total: int, added: int) -> None:
    """Raises RequestRefused: more codes than max_coupons."""
    if total + added > stock.max_coupons:
        raise RequestRefused(
            f"上传的自定义code已达上限: stock {stock.stock_id} holds {total} codes and takes {stock.max_coupons}, "
            f"this request brings {added} more"
        )


def check_same_upload(answer: UploadedCodes, sorted_codes: SortedCodes) -> None:
    """Raises RequestRefused: the number was used with other codes. The lists are compared as sets."""
    first = {
        *answer.success_codes,
        *answer.exist_codes,
        *(failed.coupon_code for failed in answer.fail_codes),
    }
    if first != sorted_codes.distinct:
        raise RequestRefused("same upload_request_no, different codes: nothing was stored, use a new number")


class SentFacts(NamedTuple):
    """How much of a stock was given out."""

    total: int
    today: int
    to_this_user: int


def check_sends(stock: StockFacts, request: SendCoupon, now: int) -> None:
    """Raises RequestRefused: the stock gives out no coupons like this one. Final, and the same at each repeat."""
    if (mode := stock.request.coupon_code_mode) != UPLOAD_MODE:
        raise RequestRefused(
            f"发券模式不合法: stock {stock.stock_id} has coupon_code_mode {mode}, not issued by this platform yet"
        )
    if request.coupon_code is not None:
        raise RequestRefused(f"coupon_code can't be chosen: stock {stock.stock_id} draws from its uploaded codes")
    if now >= stock.ends_at:
        raise RequestRefused(f"批次已停止: stock {stock.stock_id} ended at {rfc3339(stock.ends_at)}")


def check_limits(stock: StockFacts, sent: SentFacts) -> None:
    """Raises NotEnough or RuleLimit: a limit is reached. A number does not remember this: it may be asked again."""
    rule = stock.request.stock_send_rule
    if sent.total >= stock.max_coupons:
        raise NotEnough(f"批次预算不足: all {stock.max_coupons} coupons of stock {stock.stock_id} were given out")
    if rule.max_coupons_by_day is not None and sent.today >= rule.max_coupons_by_day:
        raise NotEnough(f"批次预算不足: the {rule.max_coupons_by_day} coupons of today were given out")
    if sent.to_this_user >= rule.max_coupons_per_user:
        raise RuleLimit(
            f"用户已达领取上限: this user has {sent.to_this_user} coupons, the stock allows {rule.max_coupons_per_user}"
        )


def pool_empty(stock: StockFacts) -> NotEnough:
    return NotEnough(f"批次预算不足: stock {stock.stock_id} has no code left to give out, upload more")


class CouponFacts(NamedTuple):
    """A coupon in a user's hand. Times are Unix seconds; use_time is the merchant's own text."""

    coupon_id: int
    stock_id: str
    coupon_code: str
    openid: str
    appid: str
    out_request_no: str
    sent_at: int
    coupon_state: str
    use_request_no: str | None
    use_appid: str | None
    use_openid: str | None
    use_time: str | None
    used_at: int | None


def check_same_send(coupon: CouponFacts, request: SendCoupon) -> None:
    """Raises RequestRefused: the number gave this coupon to a request with other fields."""
    if coupon.appid != request.appid or request.coupon_code not in (None, coupon.coupon_code):
        raise RequestRefused("same out_request_no, different request: nothing was given out, use a new number")


def validity(stock: StockFacts, received_at: int) -> tuple[int, int]:
    """When a coupon can be used: from, until. Source: documented; days are Beijing's, and the first is day 1."""
    times = stock.request.coupon_use_rule.coupon_available_time
    starts_at, ends_at = max(stock.begins_at, received_at), stock.ends_at
    if times.available_day_after_receive is not None:
        first_day = beijing_day(received_at) + (times.wait_days_after_receive or 0)
        midnight = first_day * DAY_SECONDS - 8 * 3600
        starts_at = max(starts_at, midnight) if times.wait_days_after_receive else starts_at
        ends_at = min(ends_at, midnight + times.available_day_after_receive * DAY_SECONDS)
    if times.available_second_after_receive is not None:
        ends_at = min(ends_at, received_at + times.available_second_after_receive)
    return starts_at, ends_at


def coupon_state(stock: StockFacts, coupon: CouponFacts, now: int) -> str:
    expired = coupon.coupon_state == "SENDED" and now >= validity(stock, coupon.sent_at)[1]
    return "EXPIRED" if expired else coupon.coupon_state


def check_same_use(coupon: CouponFacts, request: UseCoupon) -> None:
    """Raises: a used coupon's request is not the one that used it."""
    if coupon.use_request_no != request.use_request_no:
        raise ResourceAlreadyExists(
            f"券已被其他订单核销: coupon {masked(coupon.coupon_code)} was used under another use_request_no"
        )
    asked = (request.coupon_code, request.appid, request.use_time, request.openid)
    if asked != (coupon.coupon_code, coupon.use_appid, coupon.use_time, coupon.use_openid):
        raise RequestRefused("same use_request_no, different request: nothing was changed, use a new number")


def check_usable(stock: StockFacts, coupon: CouponFacts, request: UseCoupon, now: int) -> None:
    """Raises RequestRefused or RuleLimit: this coupon can't be used now, or by this user."""
    if request.openid not in (None, coupon.openid):
        raise RequestRefused(f"coupon {masked(coupon.coupon_code)} is another user's")
    try:
        unix_seconds(request.use_time)
    except ValueError as problem:
        raise ParamError(f"use_time: {problem}") from None
    starts_at, ends_at = validity(stock, coupon.sent_at)
    if not starts_at <= now < ends_at:
        raise RuleLimit(f"券不在有效期: it can be used from {rfc3339(starts_at)} until {rfc3339(ends_at)}")
