"""What must go together in a request for 商品券. The client asks before it sends, the platform before it acts.

Each returns what is wrong, with the mend, or None. Source: documented, unless a line says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Protocol

from .benefits import (
    CouponAvailablePeriod,
    ProgressiveBundleUsageInfo,
    ProgressiveBundleUsageRule,
    SingleUsageInfo,
)
from .display import ProductDisplay, UsageDisplay
from .stockrequests import NewStock, NewStockBundle

BENEFITS = {"NORMAL": "normal_coupon", "DISCOUNT": "discount_coupon", "EXCHANGE": "exchange_coupon"}
"""Which object a type of coupon has; in a bundle, the list of them."""
YEAR = timedelta(days=366)
BUNDLE_DAYS_MIN = 3


class HasOrders(Protocol):
    @property
    def associated_order_info(self) -> object | None: ...
    @property
    def associated_pay_score_order_info(self) -> object | None: ...


class Terms(Protocol):
    """What of a product coupon decides where its benefit goes."""

    @property
    def scope(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def usage_mode(self) -> str: ...
    @property
    def progressive_bundle_usage_info(self) -> ProgressiveBundleUsageInfo | None: ...


class Creates(Terms, Protocol):
    @property
    def display_info(self) -> ProductDisplay: ...
    @property
    def single_usage_info(self) -> SingleUsageInfo | None: ...
    @property
    def stock(self) -> NewStock | None: ...
    @property
    def stock_bundle(self) -> NewStockBundle | None: ...


class AddsStock(Protocol):
    @property
    def stock(self) -> NewStock: ...


class AddsBundle(Protocol):
    @property
    def stock_bundle(self) -> NewStockBundle: ...


class Budget(Protocol):
    @property
    def update_mode(self) -> str: ...
    @property
    def current_max_count(self) -> int | None: ...
    @property
    def target_max_count(self) -> int | None: ...
    @property
    def current_max_count_per_day(self) -> int | None: ...
    @property
    def target_max_count_per_day(self) -> int | None: ...


def of_creation(request: Creates) -> str | None:
    return next(_of_creation(request), None)


def of_new_stock(stock: NewStock, terms: Terms) -> str | None:
    """What is wrong with a stock for a coupon of these terms."""
    return next(_of_new_stock(stock, terms), None)


def of_new_bundle(bundle: NewStockBundle, terms: Terms) -> str | None:
    return next(_of_new_bundle(bundle, terms), None)


def of_added_stock(request: AddsStock) -> str | None:
    """What is wrong with a stock whatever the coupon's terms are, which only the platform knows."""
    return next(_of_stock_alone(request.stock), None)


def of_added_bundle(request: AddsBundle) -> str | None:
    """Likewise of a bundle."""
    return next(_of_bundle_alone(request.stock_bundle), None)


def of_display(scope: str, display: ProductDisplay) -> str | None:
    """What is wrong with a coupon's display: a price and a package are for one product only."""
    for field in ("original_price", "combo_package_list"):
        given = getattr(display, field) is not None
        if given and scope != "SINGLE":
            return f"display_info.{field} is only for scope SINGLE, and scope is {scope}: leave it out"
        # The page says "when scope is SINGLE"; whether both must be there is not clear, so neither is asked for.
    return None


def of_budget(request: Budget) -> str | None:
    """Exactly the pair that the mode names."""
    per_day = request.update_mode == "MAX_COUNT_PER_DAY"
    pairs = {
        False: (request.current_max_count, request.target_max_count),
        True: (request.current_max_count_per_day, request.target_max_count_per_day),
    }
    wanted, other = ("max_count_per_day", "max_count") if per_day else ("max_count", "max_count_per_day")
    if None in pairs[per_day]:
        return f"update_mode {request.update_mode} needs current_{wanted}, as it is now, and target_{wanted}"
    if pairs[not per_day] != (None, None):
        return f"update_mode {request.update_mode} goes without current_{other} and target_{other}"
    return None


def of_use(request: HasOrders) -> str | None:
    """A use names exactly one order."""
    order, score = request.associated_order_info, request.associated_pay_score_order_info
    if order is None and score is None:
        return "a use needs an order: give associated_order_info, or associated_pay_score_order_info"
    if order is not None and score is not None:
        return "a use has one order: give associated_order_info or associated_pay_score_order_info, not both"
    if order is not None:
        return _order_named("associated_order_info", order, "transaction_id", "out_trade_no")
    return _order_named("associated_pay_score_order_info", score, "order_id", "out_order_no")


def _order_named(name: str, order: object, platforms: str, merchants: str) -> str | None:
    if getattr(order, platforms) is not None:
        return None
    if getattr(order, merchants) is None:
        return f"{name} names no order: give {platforms}, or {merchants} with mchid"
    return None if getattr(order, "mchid", None) is not None else f"{name}.{merchants} needs its mchid beside it"


def _of_creation(request: Creates) -> Iterator[str]:
    if request.type == "EXCHANGE" and request.scope != "SINGLE":
        yield f"type EXCHANGE is only for scope SINGLE, and scope is {request.scope}"
    if wrong := of_display(request.scope, request.display_info):
        yield wrong
    if request.usage_mode == "SINGLE":
        if request.stock is None or request.stock_bundle is not None:
            yield "usage_mode SINGLE has a stock, and no stock_bundle"
        if request.progressive_bundle_usage_info is not None:
            yield "usage_mode SINGLE has no progressive_bundle_usage_info"
        yield from _of_single_benefit(request)
    else:
        if request.stock_bundle is None or request.stock is not None:
            yield "usage_mode PROGRESSIVE_BUNDLE has a stock_bundle, and no stock"
        if request.progressive_bundle_usage_info is None:
            yield "usage_mode PROGRESSIVE_BUNDLE needs progressive_bundle_usage_info with the count of its rounds"
        if request.single_usage_info is not None:
            yield (
                "usage_mode PROGRESSIVE_BUNDLE has no single_usage_info: "
                "its benefits are in stock_bundle.progressive_bundle_usage_rule"
            )
    if request.stock is not None:
        yield from _of_new_stock(request.stock, request)
    if request.stock_bundle is not None:
        yield from _of_new_bundle(request.stock_bundle, request)


def _of_single_benefit(request: Creates) -> Iterator[str]:
    """Source: for scope CATEGORY the place is not documented; taken as for ALL, which is our choice."""
    if request.scope == "SINGLE":
        if request.single_usage_info is not None:
            yield "scope SINGLE has its benefit in stock.single_usage_rule: leave single_usage_info out"
    elif request.single_usage_info is None:
        yield f"scope {request.scope} has its benefit at the top: give single_usage_info.{BENEFITS[request.type]}"
    elif wrong := _only("single_usage_info", request.single_usage_info, request.type):
        yield wrong


def _of_new_stock(stock: NewStock, terms: Terms) -> Iterator[str]:
    if terms.usage_mode != "SINGLE":
        yield f"the coupon has usage_mode {terms.usage_mode}, and takes a stock bundle, not a stock"
    if terms.scope == "SINGLE":
        if wrong := _only("stock.single_usage_rule", stock.single_usage_rule, terms.type):
            yield wrong
    elif any(getattr(stock.single_usage_rule, field) is not None for field in BENEFITS.values()):
        yield f"scope {terms.scope} has its benefit in single_usage_info, and none in stock.single_usage_rule"
    yield from _of_stock_alone(stock)


def _of_new_bundle(bundle: NewStockBundle, terms: Terms) -> Iterator[str]:
    rule = bundle.progressive_bundle_usage_rule
    if terms.usage_mode != "PROGRESSIVE_BUNDLE":
        yield f"the coupon has usage_mode {terms.usage_mode}, and takes a stock, not a stock bundle"
    elif wrong := _only("stock_bundle.progressive_bundle_usage_rule", rule, terms.type, "_list"):
        yield wrong
    else:
        rounds: Sequence[object] = getattr(rule, f"{BENEFITS[terms.type]}_list")
        count = terms.progressive_bundle_usage_info.count if terms.progressive_bundle_usage_info else len(rounds)
        given, name = len(rounds), f"{BENEFITS[terms.type]}_list"
        if given != count:
            yield f"{name} has {given} rounds, and count is {count}: one entry a round"
    yield from _of_bundle_alone(bundle)


def _of_stock_alone(stock: NewStock) -> Iterator[str]:
    yield from _of_usage(stock.usage_rule_display_info)
    yield from _of_period(stock.single_usage_rule.coupon_available_period, 1)


def _of_bundle_alone(bundle: NewStockBundle) -> Iterator[str]:
    yield from _of_usage(bundle.usage_rule_display_info)
    yield from _of_period(bundle.progressive_bundle_usage_rule.coupon_available_period, BUNDLE_DAYS_MIN)


def less_generous(rule: ProgressiveBundleUsageRule) -> int | None:
    """Return the first round, from 0, that gives less than the one before it, or None. The platform decides.

    Source: that it is refused is documented; how two rounds compare is our reading: a higher threshold, a smaller
    discount or a higher exchange price is less.
    """
    worth = (
        [(-one.threshold, one.discount_amount) for one in rule.normal_coupon_list or ()]
        or [(-one.threshold, one.percent_off) for one in rule.discount_coupon_list or ()]
        or [(-one.threshold, -one.exchange_price) for one in rule.exchange_coupon_list or ()]
    )
    for index, (before, after) in enumerate(pairwise(worth), 1):
        if after[0] < before[0] or after[1] < before[1]:
            return index
    return None


def _only(place: str, holder: object, kind: str, many: str = "") -> str | None:
    """The holder has the benefit of that type, and none of another."""
    wanted = f"{BENEFITS[kind]}{many}"
    given = [f"{field}{many}" for field in BENEFITS.values() if getattr(holder, f"{field}{many}", None) is not None]
    return (
        None
        if given == [wanted]
        else f"type {kind} has {wanted} in {place}, and nothing else; it has {given or 'none'}"
    )


def _of_usage(display: UsageDisplay) -> Iterator[str]:
    methods = display.coupon_usage_method_list
    mini = (display.mini_program_appid, display.mini_program_path)
    if "MINI_PROGRAM" in methods and None in mini:
        yield "MINI_PROGRAM in coupon_usage_method_list needs mini_program_appid and mini_program_path"
    if "MINI_PROGRAM" not in methods and mini != (None, None):
        yield "mini_program_appid and mini_program_path go with MINI_PROGRAM in coupon_usage_method_list"
    if ("APP" in methods) != (display.app_path is not None):
        yield "APP in coupon_usage_method_list goes with app_path, and app_path with it"


def _of_period(period: CouponAvailablePeriod, days_min: int) -> Iterator[str]:
    begin, end = _moment(period.available_begin_time), _moment(period.available_end_time)
    if begin is not None and end is not None and not timedelta() < end - begin <= YEAR:
        yield "available_end_time is not after available_begin_time, or more than a year after it"
    if period.wait_days_after_receive is not None and period.available_days is None:
        yield "wait_days_after_receive needs available_days"
    if period.available_days is not None and period.available_days < days_min:
        yield f"available_days is {period.available_days}, and a bundle's are at least {days_min}"
    weekly = period.weekly_available_period
    if weekly is not None and weekly.day_period_list:
        if not weekly.day_list:
            yield "day_period_list needs day_list"
        spans = sorted((one.begin_time, one.end_time) for one in weekly.day_period_list)
        if any(later[0] < earlier[1] for earlier, later in pairwise(spans)):
            yield "times in day_period_list overlap"
        if any(begin >= end for begin, end in spans):
            yield "a time in day_period_list ends before it begins"
    others = (period.available_days, period.wait_days_after_receive, weekly)
    if period.irregular_available_period_list and others != (None, None, None):
        yield (
            "irregular_available_period_list goes without available_days, wait_days_after_receive "
            "and weekly_available_period"
        )


def _moment(text: str) -> datetime | None:
    """A time with its offset, or None if it is none: the platform says so, and not we."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.utcoffset() is not None else None
