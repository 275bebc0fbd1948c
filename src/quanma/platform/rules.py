"""What the platform decides, apart from how a back end stores it: pure functions, from facts to a refusal or none."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple, TypeVar

import msgspec

from ..api import answers
from ..api.couponcodes import FailedCode, UploadCodes, UploadedCodes
from ..api.rules import BUSIFAVOR, PRODUCT_COUPON, CodeRule
from ..api.stockrules import BACKGROUND_COLORS, CODE_DISPLAY_MODES, USE_METHODS, CouponUseRule
from ..api.stocks import ChangeBudget, CreateStock, ModifyStock
from ..api.subsidy import PaySubsidy
from ..errors import (
    NotEnough,
    ParamError,
    RequestRefused,
    RuleLimit,
    StockNotReady,
)
from ..wire.times import DAY_SECONDS, rfc3339, unix_seconds

T = TypeVar("T")

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
    def merchants(self) -> tuple[str, str]:
        """Its creator and its owner. Source: both may use its coupons and see them (documented)."""
        return self.mchid, self.request.belong_merchant

    @property
    def code_rule(self) -> CodeRule:
        return PRODUCT_COUPON if self.product else BUSIFAVOR

    @property
    def takes_uploads(self) -> bool:
        return self.request.coupon_code_mode == UPLOAD_MODE

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


def stored_stock(text: str) -> CreateStock:
    """Read a stock's request as the pool keeps it: also one that was taken when the limits were wider."""
    return answers.read(msgspec.json.decode(text), CreateStock)


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


def check_stock_count(made: int, stocks_max: int) -> None:
    """Raises RuleLimit: a merchant has as many stocks as it may create. The code is our choice: none is published."""
    if made >= stocks_max:
        raise RuleLimit(f"商户批次数已达上限: this merchant has created {made} stocks, and {stocks_max} are taken")


def _check_times(rule: CouponUseRule) -> None:
    times = rule.coupon_available_time
    try:
        begins_at, ends_at = unix_seconds(times.available_begin_time), unix_seconds(times.available_end_time)
        # A year that our own clock can't print would fail every later answer that shows it.
        for moment in (begins_at, ends_at):
            rfc3339(moment)
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
    for hours in (week.available_day_time or []) if week is not None else []:
        if hours.begin_time > hours.end_time:
            raise ParamError("available_day_time has hours that end before they begin, so they would never come")


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
    distinct, duplicates = codes, list[str]()
    if len(set(codes)) < len(codes):
        distinct = list(dict.fromkeys(codes))
        times = Counter(codes)
        duplicates = [code for code in distinct if times[code] > 1]
    if rule.takes_all(distinct):
        return SortedCodes(distinct, [], duplicates)
    failed = [
        FailedCode(coupon_code=code, code=why[0], message=why[1])
        for code in distinct
        if (why := rule.why_refused(code))
    ]
    refused = {one.coupon_code for one in failed}
    return SortedCodes([code for code in distinct if code not in refused], failed, duplicates)


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
    if added and total + added > stock.max_coupons:  # The budget may be below what is there already.
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


def check_sends(stock: StockFacts, coupon_code: str | None, now: int) -> None:
    """Raises RequestRefused: the stock gives out no coupons like this one. Final, and the same at each repeat."""
    mode = stock.request.coupon_code_mode
    if mode == "MERCHANT_API" and coupon_code is None:
        raise RequestRefused(f"发券模式不合法: stock {stock.stock_id} is MERCHANT_API, and takes a coupon_code")
    if mode != "MERCHANT_API" and coupon_code is not None:
        raise RequestRefused(f"发券模式不合法: stock {stock.stock_id} is {mode}, and its coupon_code can't be chosen")
    if coupon_code is not None and (why := stock.code_rule.why_refused(coupon_code)):
        raise ParamError(f"coupon_code: {why[1]}")
    check_open(stock, now)


def check_open(stock: StockFacts, now: int) -> None:
    """Raises RequestRefused: the stock is past its end."""
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


def room(stock: StockFacts, sent: int, sent_today: int, now: int) -> int:
    """How many coupons `check_sends` and `check_limits` let through now, if each is for a user who has none."""
    rule = stock.request.stock_send_rule
    if now >= stock.ends_at or rule.max_coupons_per_user < 1:
        return 0
    left = stock.max_coupons - sent
    return left if rule.max_coupons_by_day is None else min(left, rule.max_coupons_by_day - sent_today)


def pool_empty(stock: StockFacts) -> NotEnough:
    return NotEnough(f"批次预算不足: stock {stock.stock_id} has no code left to give out, upload more")


def check_texts(request: msgspec.Struct) -> None:
    """Raises ParamError: a field holds the character NUL, which not every store can keep. Our choice.

    Lists are let through: of codes, each has its own outcome.
    """
    for field, value in msgspec.structs.asdict(request).items():
        if isinstance(value, msgspec.Struct):
            check_texts(value)
        elif isinstance(value, str) and "\0" in value:
            raise ParamError(f"{field} holds the character NUL")


def check_time(field: str, text: str) -> None:
    """Raises ParamError: not a time."""
    try:
        unix_seconds(text)
    except ValueError:
        raise ParamError(f"{field} is not a time like 2015-05-20T13:29:35+08:00") from None


def modified(stock: CreateStock, change: ModifyStock) -> CreateStock:
    """Return the stock's request with what a change names. What can't be modified now is accepted and ignored.

    Raises:
        ParamError: a value is none of the known ones, or subsidy would go back to false.
    """
    if change.subsidy is False and stock.subsidy:
        raise ParamError("subsidy goes from false to true only")
    use = change.coupon_use_rule
    abuse = change.stock_send_rule.prevent_api_abuse if change.stock_send_rule else None
    result = msgspec.structs.replace(
        stock,
        comment=_or(change.comment, stock.comment),
        goods_name=_or(change.goods_name, stock.goods_name),
        custom_entrance=_or(change.custom_entrance, stock.custom_entrance),
        display_pattern_info=_or(change.display_pattern_info, stock.display_pattern_info),
        notify_config=_or(change.notify_config, stock.notify_config),
        subsidy=_or(change.subsidy, stock.subsidy),
        coupon_use_rule=msgspec.structs.replace(
            stock.coupon_use_rule,
            use_method=_or(use.use_method if use else None, stock.coupon_use_rule.use_method),
            mini_programs_appid=_or(
                use.mini_programs_appid if use else None, stock.coupon_use_rule.mini_programs_appid
            ),
            mini_programs_path=_or(use.mini_programs_path if use else None, stock.coupon_use_rule.mini_programs_path),
        ),
        stock_send_rule=msgspec.structs.replace(
            stock.stock_send_rule, prevent_api_abuse=_or(abuse, stock.stock_send_rule.prevent_api_abuse)
        ),
    )
    check_new_stock(result)
    return result


def _or(new: T, old: T) -> T:
    return old if new is None else new


def budgeted(stock: StockFacts, change: ChangeBudget, sent: int) -> CreateStock:
    """Return the stock's request with a new budget, if it still is what the caller thinks: compare and set.

    Raises:
        ParamError: not exactly one target, or its current value is missing.
        RequestRefused: the current value is another, or more coupons were given out already.
    """
    rule = stock.request.stock_send_rule
    total, by_day = change.target_max_coupons, change.target_max_coupons_by_day
    if (total is None) == (by_day is None):
        raise ParamError("exactly one of target_max_coupons and target_max_coupons_by_day is needed")
    if total is not None:
        _check_current("max_coupons", change.current_max_coupons, stock.max_coupons)
        if total < sent:
            raise RequestRefused(f"预算不能小于已发放数量: {sent} coupons were given out, more than {total}")
        rule = msgspec.structs.replace(rule, max_coupons=total)
    else:
        _check_current("max_coupons_by_day", change.current_max_coupons_by_day, rule.max_coupons_by_day)
        rule = msgspec.structs.replace(rule, max_coupons_by_day=by_day)
    return msgspec.structs.replace(stock.request, stock_send_rule=rule)


def _check_current(field: str, said: int | None, real: int | None) -> None:
    if said is None and real is not None:
        raise ParamError(f"current_{field} is required beside target_{field}")
    if said != real:
        raise RequestRefused(f"预算已变更: {field} is {real}, not {said}: show the stock, and decide again")


PAYMENTS_PER_COUPON = 100


def check_payments(paid: int) -> None:
    """Raises RequestRefused: a coupon has payments enough.

    Source: none. The list of them has no pages, so this bounds its answer: our choice.
    """
    if paid >= PAYMENTS_PER_COUPON:
        raise RequestRefused(
            f"补差付款单数已达上限: this coupon has {paid} payments, and {PAYMENTS_PER_COUPON} are taken"
        )


def check_subsidy(stock: StockFacts, state: str, request: PaySubsidy) -> None:
    """Raises RequestRefused: this coupon's discount can't be subsidised like this."""
    fixed = stock.request.coupon_use_rule.fixed_normal_coupon
    if stock.request.stock_type == "EXCHANGE":
        raise RequestRefused("补差不支持换购券: an EXCHANGE stock takes no subsidy")
    if state != "USED":
        raise RequestRefused(f"券未核销: the coupon is {state}, and only a used one is subsidised")
    if request.payee_merchant != stock.request.belong_merchant:
        raise RequestRefused(f"payee_merchant is not the stock's belong_merchant {stock.request.belong_merchant}")
    if request.payer_merchant not in stock.merchants:
        raise RequestRefused("payer_merchant is neither the stock's creator nor its belong_merchant")
    if fixed is not None and request.amount > fixed.discount_amount:
        raise RequestRefused(
            f"补差金额超限: {request.amount} fen are more than the discount of {fixed.discount_amount}"
        )
