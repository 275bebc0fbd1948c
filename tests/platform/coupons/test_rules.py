"""What a new stock, a change of one, a budget and a subsidy must be like."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from quanma.api.stockrules import (
    AvailableWeek,
    CouponAvailableTime,
    CouponUseRule,
    CustomEntrance,
    DayTime,
    DiscountCoupon,
    DisplayPatternInfo,
    ExchangeCoupon,
    FixedNormalCoupon,
    NotifyConfig,
    Span,
)
from quanma.api.stocks import ChangeBudget, CreateStock, ModifiedSendRule, ModifiedUseRule, ModifyStock
from quanma.api.subsidy import PaySubsidy
from quanma.errors import NotEnough, ParamError, RequestRefused
from quanma.platform.coupons import draws, stocks
from quanma.platform.coupons.coupon import CouponFacts
from quanma.platform.coupons.step import Seen
from quanma.platform.coupons.stocks import StockFacts
from quanma.platform.coupons.subsidies import PAY
from tests.support.every import every_row
from tests.support.platform import MCHID, OTHER_MCHID, new_stock

BEGIN, END = "2026-11-01T00:00:00+08:00", "2027-05-01T00:00:00+08:00"
NORMAL = FixedNormalCoupon(discount_amount=100, transaction_minimum=1000)
DISCOUNT = DiscountCoupon(discount_percent=88, transaction_minimum=1000)
EXCHANGE = ExchangeCoupon(exchange_price=0, transaction_minimum=1000)


def stock(**changes: Any) -> CreateStock:
    """A stock. `changes` are fields of it, of its coupon_use_rule, or of its coupon_available_time."""
    request = new_stock("n1")
    times = {"available_begin_time": BEGIN, "available_end_time": END}
    times |= {name: value for name, value in changes.items() if name in CouponAvailableTime.__struct_fields__}
    rule = {name: value for name, value in changes.items() if name in CouponUseRule.__struct_fields__}
    own = {name: value for name, value in changes.items() if name in CreateStock.__struct_fields__}
    available = msgspec.structs.replace(request.coupon_use_rule.coupon_available_time, **times)
    use_rule = msgspec.structs.replace(request.coupon_use_rule, coupon_available_time=available, **rule)
    return msgspec.structs.replace(request, coupon_use_rule=use_rule, **own)


def facts(**changes: Any) -> StockFacts:
    return stocks.stock_facts("98065001", MCHID, stock(**changes), 0, None)


@every_row(
    "changes",
    [
        {},
        {"stock_type": "DISCOUNT", "discount_coupon": DISCOUNT, "fixed_normal_coupon": None},
        {"stock_type": "EXCHANGE", "exchange_coupon": EXCHANGE, "fixed_normal_coupon": None},
        {"use_method": "MINI_PROGRAMS", "mini_programs_appid": "wx1", "mini_programs_path": "/path/index"},
        {"available_end_time": "2027-11-01T00:00:00+08:00"},
        {"available_begin_time": "2026-10-31T16:00:00.999Z"},
        {"available_day_after_receive": 3, "wait_days_after_receive": 1},
        {"wait_days_after_receive": 0},
        {"available_week": AvailableWeek(week_day=[0, 6])},
        {"available_week": AvailableWeek(week_day=[0], available_day_time=[DayTime(begin_time=0, end_time=86399)])},
        {"custom_entrance": CustomEntrance(code_display_mode="QRCODE")},
        {"display_pattern_info": DisplayPatternInfo(background_color="Color100")},
    ],
    ids=repr,
)
def test_a_stock_as_documented_is_taken(changes: dict[str, Any]) -> None:
    stocks.check_new_stock(stock(**changes))


HOURS = [DayTime(begin_time=79200, end_time=7200)]


@every_row(
    ("changes", "reason"),
    [
        ({"fixed_normal_coupon": None}, "a NORMAL stock needs exactly one of fixed_normal_coupon"),
        ({"discount_coupon": DISCOUNT}, "a NORMAL stock needs exactly one of"),
        ({"stock_type": "DISCOUNT"}, "a DISCOUNT stock needs exactly one of"),
        ({"stock_type": "EXCHANGE", "exchange_coupon": EXCHANGE}, "EXCHANGE stock needs exactly one of"),
        ({"use_method": "ON_LINE"}, "coupon_use_rule.use_method 'ON_LINE' is none of OFF_LINE, MINI_PROGRAMS"),
        ({"use_method": "MINI_PROGRAMS"}, "MINI_PROGRAMS needs mini_programs_appid and mini_programs_path"),
        (
            {"use_method": "MINI_PROGRAMS", "mini_programs_appid": "wx1"},
            "MINI_PROGRAMS needs mini_programs_appid and mini_programs_path",
        ),
        ({"custom_entrance": CustomEntrance(code_display_mode="PDF417")}, "code_display_mode 'PDF417' is none of"),
        ({"display_pattern_info": DisplayPatternInfo(background_color="Color011")}, "'Color011' is none of Color010"),
        ({"available_begin_time": "2026-11-01"}, "coupon_available_time: '2026-11-01' is not a time like"),
        ({"available_end_time": "2027-02-30T00:00:00+08:00"}, "coupon_available_time: "),
        ({"available_end_time": "9999-12-31T23:59:59-23:59"}, "coupon_available_time: "),
        (
            {"available_begin_time": "0001-01-01T00:00:00+23:59", "available_end_time": "0001-01-02T00:00:00+23:59"},
            "coupon_available_time: ",
        ),
        ({"available_end_time": BEGIN}, "available_end_time is not after available_begin_time"),
        ({"available_end_time": "2027-11-02T00:00:01+08:00"}, "a stock is valid for a year at most"),
        ({"wait_days_after_receive": 1}, "wait_days_after_receive goes only with available_day_after_receive"),
        ({"available_week": AvailableWeek(available_day_time=HOURS)}, "available_day_time needs week_day"),
        ({"available_week": AvailableWeek(week_day=[1], available_day_time=HOURS)}, "hours that end before they begin"),
        ({"irregulary_avaliable_time": [Span(begin_time=END, end_time=BEGIN)]}, "a span that ends before it begins"),
        ({"irregulary_avaliable_time": [Span(begin_time="x", end_time=END)]}, "'x' is not a time like"),
    ],
    ids=repr,
)
def test_a_stock_with_rules_that_contradict_each_other_is_a_param_error(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ParamError, match=re.escape(reason)):
        stocks.check_new_stock(stock(**changes))


def change(**fields: Any) -> ModifyStock:
    return ModifyStock(stock_id="98065001", out_request_no="n2", **fields)


def differences(before: msgspec.Struct, after: msgspec.Struct, under: str = "") -> Iterator[tuple[str, Any]]:
    """What differs, by its path."""
    for name in before.__struct_fields__:
        first, second = getattr(before, name), getattr(after, name)
        if isinstance(first, msgspec.Struct) and type(first) is type(second):
            yield from differences(first, second, f"{under}{name}.")
        elif first != second:
            yield under + name, second


@every_row(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"comment": "new"}, {"comment": "new"}),
        ({"goods_name": "new"}, {"goods_name": "new"}),
        ({"stock_name": "new"}, {}),  # Accepted, and not modifiable now (documented).
        ({"notify_config": NotifyConfig(notify_appid="wx1")}, {"notify_config": NotifyConfig(notify_appid="wx1")}),
        ({"subsidy": True}, {"subsidy": True}),
        ({"subsidy": False}, {"subsidy": False}),
        ({"custom_entrance": CustomEntrance(hall_id="1")}, {"custom_entrance": CustomEntrance(hall_id="1")}),
        (
            {"coupon_use_rule": ModifiedUseRule(use_method="PAYMENT_CODE")},
            {"coupon_use_rule.use_method": "PAYMENT_CODE"},
        ),
        (
            {
                "coupon_use_rule": ModifiedUseRule(
                    use_method="MINI_PROGRAMS", mini_programs_appid="a", mini_programs_path="p"
                )
            },
            {
                "coupon_use_rule.use_method": "MINI_PROGRAMS",
                "coupon_use_rule.mini_programs_appid": "a",
                "coupon_use_rule.mini_programs_path": "p",
            },
        ),
        ({"stock_send_rule": ModifiedSendRule(prevent_api_abuse=True)}, {"stock_send_rule.prevent_api_abuse": True}),
        ({"stock_send_rule": ModifiedSendRule(natural_person_limit=True)}, {}),
    ],
    ids=repr,
)
def test_a_change_changes_what_it_names_and_nothing_else(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    before = stock()
    assert dict(differences(before, stocks.modified(before, change(**fields)))) == expected


@every_row(
    ("before", "fields", "reason"),
    [
        ({"subsidy": True}, {"subsidy": False}, "subsidy goes from false to true only"),
        ({}, {"coupon_use_rule": ModifiedUseRule(use_method="ON_LINE")}, "'ON_LINE' is none of"),
        ({}, {"coupon_use_rule": ModifiedUseRule(use_method="MINI_PROGRAMS")}, "needs mini_programs_appid"),
        ({}, {"custom_entrance": CustomEntrance(code_display_mode="X")}, "code_display_mode 'X' is none of"),
        ({}, {"display_pattern_info": DisplayPatternInfo(background_color="red")}, "background_color 'red' is none of"),
    ],
)
def test_a_change_that_leaves_no_legal_stock_is_a_param_error(
    before: dict[str, Any], fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ParamError, match=re.escape(reason)):
        stocks.modified(stock(**before), change(**fields))


def budget(**fields: int) -> ChangeBudget:
    return ChangeBudget(stock_id="98065001", modify_budget_request_no="n2", **fields)


def with_limits(max_coupons: int | None, by_day: int | None = None) -> StockFacts:
    request = stock()
    send_rule = msgspec.structs.replace(request.stock_send_rule, max_coupons=max_coupons, max_coupons_by_day=by_day)
    return facts()._replace(request=msgspec.structs.replace(request, stock_send_rule=send_rule))


@every_row(
    ("before", "sent", "fields", "after"),
    [
        ((100, None), 0, {"target_max_coupons": 200, "current_max_coupons": 100}, (200, None)),
        ((100, None), 50, {"target_max_coupons": 50, "current_max_coupons": 100}, (50, None)),
        ((100, 10), 0, {"target_max_coupons_by_day": 5, "current_max_coupons_by_day": 10}, (100, 5)),
        ((None, None), 0, {"target_max_coupons": 5, "current_max_coupons": 1_000_000_000}, (5, None)),
        (
            (100, 10),
            0,
            {"target_max_coupons": 200, "current_max_coupons": 100, "current_max_coupons_by_day": 9},
            (200, 10),
        ),
    ],
)
def test_a_budget_is_set_where_the_caller_knows_what_it_was(
    before: tuple[int | None, int | None], sent: int, fields: dict[str, int], after: tuple[int, int | None]
) -> None:
    changed = stocks.budgeted(with_limits(*before), budget(**fields), sent).stock_send_rule
    assert (changed.max_coupons, changed.max_coupons_by_day) == after


@every_row(
    ("fields", "error", "reason"),
    [
        ({}, ParamError, "exactly one of target_max_coupons and target_max_coupons_by_day is needed"),
        (
            {
                "target_max_coupons": 1,
                "current_max_coupons": 100,
                "target_max_coupons_by_day": 1,
                "current_max_coupons_by_day": 10,
            },
            ParamError,
            "exactly one of",
        ),
        ({"target_max_coupons": 200}, ParamError, "current_max_coupons is required beside target_max_coupons"),
        (
            {"target_max_coupons": 200, "current_max_coupons_by_day": 10},
            ParamError,
            "current_max_coupons is required beside target_max_coupons",
        ),
        ({"target_max_coupons_by_day": 5}, ParamError, "current_max_coupons_by_day is required beside"),
        ({"target_max_coupons": 200, "current_max_coupons": 99}, RequestRefused, "max_coupons is 100, not 99"),
        (
            {"target_max_coupons_by_day": 5, "current_max_coupons_by_day": 11},
            RequestRefused,
            "max_coupons_by_day is 10, not 11",
        ),
        ({"target_max_coupons": 39, "current_max_coupons": 100}, RequestRefused, "40 coupons were given out"),
    ],
    ids=repr,
)
def test_a_budget_is_left_as_it_is(fields: dict[str, int], error: type[RequestRefused], reason: str) -> None:
    with pytest.raises(error, match=re.escape(reason)) as refused:
        stocks.budgeted(with_limits(100, 10), budget(**fields), 40)
    assert type(refused.value) is error


def subsidy(**changes: Any) -> PaySubsidy:
    fields: dict[str, Any] = {
        "stock_id": "98065001",
        "coupon_code": "A1",
        "transaction_id": "4200000913202101152566792388",
        "payer_merchant": MCHID,
        "payee_merchant": OTHER_MCHID,
        "amount": 100,
        "description": "d",
        "out_subsidy_no": "n1",
    }
    return PaySubsidy(**{**fields, **changes})


def paying(of: StockFacts, state: str, request: PaySubsidy) -> Seen[PaySubsidy]:
    now = of.ends_at if state == "EXPIRED" else of.begins_at
    stored = "SENDED" if state == "EXPIRED" else state
    coupon = CouponFacts(
        coupon_id=1,
        stock_id=of.stock_id,
        position=0,
        coupon_code="A1",
        openid="oUser",
        appid="wx1",
        out_request_no="s1",
        send_merchant=MCHID,
        send_channel="BUSICOUPON_SEND_CHANNEL_API",
        sent_at=of.begins_at,
        starts_at=of.begins_at,
        expires_at=of.ends_at,
        coupon_state=stored,
    )
    return Seen(of, coupon, [], request, now)


DISCOUNTED = {"stock_type": "DISCOUNT", "discount_coupon": DISCOUNT, "fixed_normal_coupon": None}


@every_row(
    ("changes", "request_"),
    [
        ({}, subsidy()),
        ({}, subsidy(payer_merchant=OTHER_MCHID)),
        (DISCOUNTED, subsidy(amount=500_000)),
    ],
)
def test_the_discount_of_a_used_coupon_is_subsidised(changes: dict[str, Any], request_: PaySubsidy) -> None:
    decided = PAY.decide(paying(facts(belong_merchant=OTHER_MCHID, **changes), "USED", request_))
    assert (decided.answer.amount, decided.answer.status) == (request_.amount, "SUCCESS")
    assert decided.receipts.payment == (decided.answer, 0)


@every_row(
    ("changes", "state", "request_", "reason"),
    [
        ({}, "SENDED", subsidy(), "the coupon is SENDED, and only a used one is subsidised"),
        ({}, "EXPIRED", subsidy(), "the coupon is EXPIRED, and only a used one is subsidised"),
        ({}, "USED", subsidy(amount=101), "101 fen are more than the discount of 100"),
        ({}, "USED", subsidy(payee_merchant=MCHID), "payee_merchant is not the stock's belong_merchant 1900000002"),
        ({}, "USED", subsidy(payer_merchant="1900000003"), "neither the stock's creator nor its belong_merchant"),
        (
            {"stock_type": "EXCHANGE", "exchange_coupon": EXCHANGE, "fixed_normal_coupon": None},
            *("USED", subsidy(), "an EXCHANGE stock takes no subsidy"),
        ),
    ],
)
def test_nothing_else_is_subsidised(changes: dict[str, Any], state: str, request_: PaySubsidy, reason: str) -> None:
    with pytest.raises(RequestRefused, match=reason):
        PAY.decide(paying(facts(belong_merchant=OTHER_MCHID, **changes), state, request_))


@every_row(
    ("changes", "now"),
    [
        ({"max_coupons": 7}, 0),
        ({"max_coupons": 7, "max_coupons_by_day": 4}, 0),
        ({"max_coupons": 3, "max_coupons_by_day": 5}, 0),
        ({"max_coupons": 3, "max_coupons_by_day": 3}, 0),
        ({"max_coupons": 0}, 0),  # 0: no limit of its own.
        ({"max_coupons": 7}, 4_000_000_000),
    ],
)
@every_row(("sent", "sent_today"), [(0, 0), (2, 1), (6, 4), (7, 0), (9, 9)])
def test_there_is_room_for_as_many_coupons_as_the_checks_let_through(
    changes: dict[str, Any], now: int, sent: int, sent_today: int
) -> None:
    limited = facts(**changes)
    room = draws.room(limited, sent, sent_today, now)
    for more in range(10):
        try:
            draws.check_sends(limited, None, now)
            draws.check_limits(limited, draws.SentFacts(sent + more, sent_today + more, 0))
            passes = True
        except (RequestRefused, NotEnough):
            passes = False
        assert passes == (more < room)
