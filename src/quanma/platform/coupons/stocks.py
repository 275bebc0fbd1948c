"""What the platform decides about stocks: which may be made, and how one may be changed. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from ...api.operation import Operation
from ...api.productcoupon.benefits import CouponAvailablePeriod, SingleUsageRule
from ...api.productcoupon.entities import ProductStock, ShownSendRule
from ...api.rules import BUSIFAVOR, PRODUCT_COUPON, CodeRule
from ...api.stockrules import BACKGROUND_COLORS, CODE_DISPLAY_MODES, USE_METHODS, CouponUseRule
from ...api.stocks import Budget, ChangeBudget, ChangedBudget, CreateStock, ModifyStock, StockNode
from ...errors import ParamError, RequestRefused, RuleLimit
from ...reasons import Reason
from ...wire import codec
from ...wire.times import DAY_SECONDS, rfc3339, unix_seconds
from .product.terms import ProductTerms, lenient_seconds
from .repeats import Numbered


class OfStock(Protocol):
    """A request that names a stock."""

    @property
    def stock_id(self) -> str: ...


T = TypeVar("T")
Req = TypeVar("Req", bound=OfStock)
Resp = TypeVar("Resp")

MAX_COUPONS_DEFAULT = 1_000_000_000
VALIDITY_DAYS_MAX = 366
UPLOAD_MODES = ("MERCHANT_UPLOAD", "UPLOAD")
"""Of 商家券, and of 商品券."""
ASSIGN_MODES = ("MERCHANT_API", "API_ASSIGN")
"""The code comes with the request that sends a coupon."""


class Product(NamedTuple):
    """What makes a stock one of 商品券: it is addressed by these, and by no busifavor call."""

    product_coupon_id: str
    brand_id: str


class Limits(NamedTuple):
    """How many coupons a stock gives out: in all, on a day in Beijing, to one user."""

    total: int
    by_day: int | None
    per_user: int


class StockFacts(NamedTuple):
    """A stock as decisions need it, of either product. Times are Unix seconds."""

    stock_id: str
    mchid: str
    request: CreateStock | ProductTerms
    created_at: int
    begins_at: int
    ends_at: int
    product: Product | None = None

    @property
    def busifavor(self) -> CreateStock:
        """What made a stock of 商家券. To ask only where it was seen that it is one."""
        assert isinstance(self.request, CreateStock)
        return self.request

    @property
    def terms(self) -> ProductTerms:
        """What made a stock of 商品券. To ask only where it was seen that it is one."""
        assert isinstance(self.request, ProductTerms)
        return self.request

    @property
    def merchants(self) -> tuple[str, str]:
        """Its creator and its owner. Source: both may use its coupons and see them (documented)."""
        return self.mchid, owner_of(self.request, self.mchid)

    @property
    def notified(self) -> str:
        """Whose callback address gets its events: see `notified_as`."""
        return self.mchid if self.product is None else notified_as(self.mchid)

    @property
    def code_rule(self) -> CodeRule:
        return PRODUCT_COUPON if self.product else BUSIFAVOR

    @property
    def code_mode(self) -> str:
        return mode_of(self.request)

    @property
    def takes_uploads(self) -> bool:
        return self.code_mode in UPLOAD_MODES

    @property
    def notify_appid(self) -> str | None:
        config = (
            self.request.stock.notify_config if isinstance(self.request, ProductTerms) else self.request.notify_config
        )
        return config.notify_appid if config else None

    @property
    def limits(self) -> Limits:
        if isinstance(self.request, ProductTerms):
            return Limits(*self.request.limits)
        rule = self.request.stock_send_rule
        return Limits(rule.max_coupons or MAX_COUPONS_DEFAULT, rule.max_coupons_by_day, rule.max_coupons_per_user)

    @property
    def max_coupons(self) -> int:
        return self.limits.total

    def state(self, now: int) -> str:
        if isinstance(self.request, ProductTerms):
            return self.request.state(now, self.ends_at)
        return "RUNNING" if now < self.ends_at else "STOPED"


def stock_facts(
    stock_id: str, mchid: str, request: CreateStock | ProductTerms, created_at: int, product: Product | None
) -> StockFacts:
    if product is not None and isinstance(request, CreateStock):
        request = declared_terms(stock_id, product, request)
    times = request.period if isinstance(request, ProductTerms) else request.coupon_use_rule.coupon_available_time
    begins_at, ends_at = lenient_seconds(times.available_begin_time), lenient_seconds(times.available_end_time)
    return StockFacts(stock_id, mchid, request, created_at, begins_at, ends_at, product)


def declared_terms(stock_id: str, product: Product, request: CreateStock) -> ProductTerms:
    """The terms of a 商品券 stock that platform.toml declares: it is stored by the fields of 商家券."""
    times = request.coupon_use_rule.coupon_available_time
    period = CouponAvailablePeriod(
        available_begin_time=times.available_begin_time, available_end_time=times.available_end_time
    )
    rule = request.stock_send_rule
    return ProductTerms(
        stock=ProductStock(
            product_coupon_id=product.product_coupon_id,
            stock_id=stock_id,
            coupon_code_mode="UPLOAD",
            state="SENDING",
            stock_send_rule=ShownSendRule(max_count=rule.max_coupons, max_count_per_user=rule.max_coupons_per_user),
            single_usage_rule=SingleUsageRule(coupon_available_period=period),
            store_scope="NONE",
            brand_id=product.brand_id,
        )
    )


def stored_stock(text: str) -> CreateStock | ProductTerms:
    """Read a stock's request as the pool keeps it: also one that was taken when the limits were wider."""
    stored = msgspec.json.decode(text)
    if "stock" in stored:
        return codec.read_answer(stored, ProductTerms)
    return codec.read_answer(stored, CreateStock)


def notified_as(mchid: str) -> str:
    """The name under which a provider, or a brand, gets events of 商品券: another address than for 商家券."""
    return f"{PRODUCT_EVENTS}{mchid}"


PRODUCT_EVENTS = "product-coupon/"


def owner_of(request: CreateStock | ProductTerms, mchid: str) -> str:
    """The merchant that a stock belongs to, beside `mchid`, which made it."""
    return request.belong_merchant if isinstance(request, CreateStock) else mchid


def mode_of(request: CreateStock | ProductTerms) -> str:
    return request.coupon_code_mode if isinstance(request, CreateStock) else request.stock.coupon_code_mode


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


SENDING_STATES = ("RUNNING", "SENDING")


def check_open(stock: StockFacts, now: int) -> None:
    """Raises RequestRefused: the stock gives nothing out: it is past its end, or otherwise not open."""
    if stock.product is not None and (state := stock.state(now)) not in SENDING_STATES:
        raise RequestRefused(
            f"商品券批次不在发放状态: stock {stock.stock_id} is {state}", reason=Reason.STOCK_NOT_SENDING
        )
    if now >= stock.ends_at:
        raise RequestRefused(f"批次已停止: stock {stock.stock_id} ended at {rfc3339(stock.ends_at)}")


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
    rule = stock.busifavor.stock_send_rule
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
    return msgspec.structs.replace(stock.busifavor, stock_send_rule=rule)


def _check_current(field: str, said: int | None, real: int | None) -> None:
    if said is None and real is not None:
        raise ParamError(f"current_{field} is required beside target_{field}")
    if said != real:
        raise RequestRefused(f"预算已变更: {field} is {real}, not {said}: show the stock, and decide again")


class Change(Generic[Req, Resp]):
    """One way to change a stock that is not past its end. Its operation says which field of the request is its number.

    `changed`: from the stock as it is, the request, and how many coupons were given out, to what the stock's request
    then is. `answer`: from the stock as it then is.
    """

    def __init__(
        self,
        operation: Operation[..., Any, Req, Resp],
        *,
        changed: Callable[[StockFacts, Req, int], CreateStock],
        answer: Callable[[StockFacts], Resp],
    ) -> None:
        self.operation = operation
        self._changed = changed
        self._answer = answer

    def numbered(self, request: Req) -> Numbered[Resp]:
        return Numbered(self.operation, request)

    def decide(self, stock: StockFacts, request: Req, sent: int, now: int) -> tuple[StockFacts, Resp]:
        """Return the stock as it then is, and the answer.

        Raises:
            RequestRefused: it is past its end. ParamError too: what `changed` raises.
        """
        check_open(stock, now)
        after = stock._replace(request=self._changed(stock, request, sent))
        return after, self._answer(after)


MODIFY = Change(
    StockNode.patch,
    changed=lambda stock, request, sent: modified(stock.busifavor, request),
    answer=lambda stock: None,
)
CHANGE_BUDGET = Change(
    Budget.patch,
    changed=budgeted,
    answer=lambda stock: ChangedBudget(max_coupons=stock.max_coupons, max_coupons_by_day=stock.limits.by_day),
)
CHANGES: tuple[Change[Any, Any], ...] = (MODIFY, CHANGE_BUDGET)
"""Every way, each bound to its operation."""
