"""When a coupon can be used: each edge to the second, on Beijing's days."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanma.api.coupons import UseCoupon
from quanma.api.stockrules import AvailableWeek, DayTime, Span
from quanma.errors import ParamError, RequestRefused, ResourceAlreadyExists, RuleLimit
from quanma.platform.coupons import draws, states, stocks
from quanma.platform.coupons.coupon import CouponFacts
from quanma.platform.coupons.draws import Validity
from quanma.platform.coupons.states import DISASSOCIATE, USE
from quanma.platform.coupons.step import Seen
from quanma.platform.coupons.stocks import StockFacts
from tests.support.every import every_row
from tests.support.platform import APPID, MCHID, new_stock
from tests.support.stepping import LEADS_TO, ORDER, STATES, STEP, request_of

BEGIN, END = "2026-11-01T00:00:00+08:00", "2027-05-01T00:00:00+08:00"
DAY = 86400


def at(text: str) -> int:
    """Unix seconds of a time in Beijing, without the project's own reading of times."""
    return int(datetime.datetime.fromisoformat(f"{text}+08:00").timestamp())


def stock(begin: str = BEGIN, end: str = END, **times: Any) -> StockFacts:
    """A stock with these fields of coupon_available_time."""
    request = new_stock("n1")
    available = msgspec.structs.replace(
        request.coupon_use_rule.coupon_available_time, available_begin_time=begin, available_end_time=end, **times
    )
    use_rule = msgspec.structs.replace(request.coupon_use_rule, coupon_available_time=available)
    return stocks.stock_facts("98065001", MCHID, msgspec.structs.replace(request, coupon_use_rule=use_rule), 0, None)


def coupon(facts: StockFacts, received_at: int, **changes: Any) -> CouponFacts:
    starts_at, expires_at = draws.validity(facts, received_at)
    fields: dict[str, Any] = {
        **dict.fromkeys(CouponFacts.__struct_fields__),
        "coupon_id": 1,
        "stock_id": "98065001",
        "position": 0,
        "coupon_code": "ABC9588200",
        "openid": "oUser",
        "appid": APPID,
        "out_request_no": "n1",
        "send_merchant": MCHID,
        "send_channel": "BUSICOUPON_SEND_CHANNEL_API",
        "sent_at": received_at,
        "starts_at": starts_at,
        "expires_at": expires_at,
        "coupon_state": "SENDED",
    }
    return CouponFacts(**{**fields, **changes})


RECEIVED = at("2026-11-24T15:30:00")


@every_row(
    ("times", "received", "starts", "expires"),
    [
        # Fixed dates: from receipt, or from the stock's begin.
        ({}, "2026-11-24T15:30:00", "2026-11-24T15:30:00", "2027-05-01T00:00:00"),
        ({}, "2026-10-24T15:30:00", "2026-11-01T00:00:00", "2027-05-01T00:00:00"),
        # Days from receipt: 1 is the same day, and ends with it.
        ({"available_day_after_receive": 1}, "2026-11-24T15:30:00", "2026-11-24T15:30:00", "2026-11-25T00:00:00"),
        ({"available_day_after_receive": 1}, "2026-11-24T00:00:00", "2026-11-24T00:00:00", "2026-11-25T00:00:00"),
        ({"available_day_after_receive": 1}, "2026-11-24T23:59:59", "2026-11-24T23:59:59", "2026-11-25T00:00:00"),
        ({"available_day_after_receive": 3}, "2026-11-24T15:30:00", "2026-11-24T15:30:00", "2026-11-27T00:00:00"),
        # 08:00 in Beijing is where a day of UTC begins: a day of ours must not.
        ({"available_day_after_receive": 1}, "2026-11-24T07:59:59", "2026-11-24T07:59:59", "2026-11-25T00:00:00"),
        ({"available_day_after_receive": 1}, "2026-11-24T08:00:00", "2026-11-24T08:00:00", "2026-11-25T00:00:00"),
        # Across the end of a year.
        ({"available_day_after_receive": 2}, "2026-12-31T23:00:00", "2026-12-31T23:00:00", "2027-01-02T00:00:00"),
        # Never past the stock's end.
        ({"available_day_after_receive": 365}, "2026-11-24T15:30:00", "2026-11-24T15:30:00", "2027-05-01T00:00:00"),
        # Waiting: from the midnight of the day after the wait.
        (
            {"available_day_after_receive": 1, "wait_days_after_receive": 0},
            *("2026-11-24T15:30:00", "2026-11-24T15:30:00", "2026-11-25T00:00:00"),
        ),
        (
            {"available_day_after_receive": 1, "wait_days_after_receive": 1},
            *("2026-11-24T15:30:00", "2026-11-25T00:00:00", "2026-11-26T00:00:00"),
        ),
        (
            {"available_day_after_receive": 3, "wait_days_after_receive": 30},
            *("2026-11-24T23:59:59", "2026-12-24T00:00:00", "2026-12-27T00:00:00"),
        ),
        # Seconds from receipt.
        ({"available_second_after_receive": 60}, "2026-11-24T15:30:00", "2026-11-24T15:30:00", "2026-11-24T15:31:00"),
        (
            {"available_second_after_receive": 86400, "available_day_after_receive": 1},
            *("2026-11-24T15:30:00", "2026-11-24T15:30:00", "2026-11-25T00:00:00"),
        ),
    ],
)
def test_a_coupon_is_valid_from_and_until(times: dict[str, Any], received: str, starts: str, expires: str) -> None:
    assert draws.validity(stock(**times), at(received)) == Validity(at(starts), at(expires))


def test_a_summer_without_daylight_saving_has_whole_days() -> None:
    facts = stock("1991-04-01T00:00:00+08:00", "1991-10-01T00:00:00+08:00", available_day_after_receive=100)
    starts_at, expires_at = draws.validity(facts, at("1991-04-14T00:00:00"))
    assert expires_at - starts_at == 100 * DAY


def using(facts: StockFacts, held: CouponFacts, openid: str | None, now: int) -> Seen[UseCoupon]:
    request = UseCoupon(
        coupon_code=held.coupon_code,
        stock_id=held.stock_id,
        appid=APPID,
        use_time=BEGIN,
        use_request_no="u1",
        openid=openid,
    )
    return Seen(facts, held, [], request, now)


def usable(facts: StockFacts, held: CouponFacts, now: int) -> bool:
    try:
        USE.decide(using(facts, held, None, now))
    except RuleLimit:
        return False
    return True


def test_a_coupon_is_usable_from_its_first_second_until_before_its_last() -> None:
    facts = stock(available_day_after_receive=1, wait_days_after_receive=1)
    held = coupon(facts, RECEIVED)
    moments = [
        at("2026-11-24T23:59:59"),
        at("2026-11-25T00:00:00"),
        at("2026-11-25T23:59:59"),
        at("2026-11-26T00:00:00"),
    ]
    assert [usable(facts, held, now) for now in moments] == [False, True, True, False]
    assert [held.state(now) for now in moments] == ["SENDED", "SENDED", "SENDED", "EXPIRED"]


@pytest.mark.slow
@given(
    received_at=st.integers(at("2026-10-01T00:00:00"), at("2027-04-30T23:59:59")),
    days=st.none() | st.integers(1, 365),
    wait=st.integers(0, 30),
    seconds=st.none() | st.integers(1, 10**7),
    now=st.integers(at("2026-10-01T00:00:00"), at("2027-06-01T00:00:00")),
)
@settings(deadline=None, max_examples=200)
def test_a_coupon_starts_before_it_expires_or_is_never_usable(
    received_at: int, days: int | None, wait: int, seconds: int | None, now: int
) -> None:
    facts = stock(
        available_day_after_receive=days,
        wait_days_after_receive=wait if days else None,
        available_second_after_receive=seconds,
    )
    held = coupon(facts, received_at)
    assert held.starts_at >= max(facts.begins_at, received_at)
    assert held.expires_at <= facts.ends_at
    if usable(facts, held, now):
        assert held.starts_at <= now < held.expires_at
        assert facts.begins_at <= now < facts.ends_at
    if held.starts_at < held.expires_at:
        assert usable(facts, held, held.starts_at)
        assert usable(facts, held, held.expires_at - 1)
    else:
        assert not any(usable(facts, held, moment) for moment in (held.starts_at, held.expires_at, now))


@every_row(
    ("now", "is_open"),
    [
        ("2026-11-21T23:59:59", False),  # A Saturday's last second.
        ("2026-11-22T00:00:00", True),  # Sunday is 0.
        ("2026-11-22T23:59:59", True),
        ("2026-11-23T00:00:00", False),
        ("2026-11-24T07:59:59", True),  # A Tuesday in Beijing, a Monday in UTC.
        ("2026-11-25T07:59:59", False),
    ],
)
def test_a_stock_is_open_on_its_weekdays_in_beijing(now: str, is_open: bool) -> None:
    assert states.open_at(stock(available_week=AvailableWeek(week_day=[0, 2])), at(now)) is is_open


@every_row(
    ("now", "is_open"),
    [
        ("2026-11-24T09:59:59", False),
        ("2026-11-24T10:00:00", True),
        ("2026-11-24T12:00:00", True),  # The end is the last second that counts, so that 86399 is a whole day.
        ("2026-11-24T12:00:01", False),
        ("2026-11-24T22:59:59", False),
        ("2026-11-24T23:59:59", True),
        ("2026-11-25T10:00:00", False),  # A Wednesday.
    ],
)
def test_a_stock_is_open_at_its_hours(now: str, is_open: bool) -> None:
    hours = [DayTime(begin_time=36000, end_time=43200), DayTime(begin_time=82800, end_time=86399)]
    assert (
        states.open_at(stock(available_week=AvailableWeek(week_day=[2], available_day_time=hours)), at(now)) is is_open
    )


@every_row(
    ("now", "is_open"),
    [
        ("2026-12-24T23:59:59", False),
        ("2026-12-25T00:00:00", True),
        ("2026-12-26T00:00:00", True),
        ("2026-12-26T00:00:01", False),
        ("2027-01-01T12:00:00", True),  # Given in UTC.
    ],
)
def test_a_stock_is_open_in_its_irregular_spans(now: str, is_open: bool) -> None:
    spans = [
        Span(begin_time="2026-12-25T00:00:00+08:00", end_time="2026-12-26T00:00:00+08:00"),
        Span(begin_time="2027-01-01T04:00:00Z", end_time="2027-01-01T05:00:00.000Z"),
    ]
    assert states.open_at(stock(irregulary_avaliable_time=spans), at(now)) is is_open


def test_spans_and_weekdays_add_up() -> None:
    spans = [Span(begin_time="2026-11-25T00:00:00+08:00", end_time="2026-11-25T01:00:00+08:00")]
    facts = stock(available_week=AvailableWeek(week_day=[2]), irregulary_avaliable_time=spans)
    wednesday_in_the_span, tuesday, wednesday = (
        at(f"2026-11-{time}") for time in ("25T00:30:00", "24T00:30:00", "25T12:00:00")
    )
    assert [states.open_at(facts, now) for now in (wednesday_in_the_span, tuesday, wednesday)] == [True, True, False]


@every_row("times", [{}, {"available_week": AvailableWeek()}, {"irregulary_avaliable_time": []}])
def test_a_stock_without_weekdays_hours_and_spans_is_always_open(times: dict[str, Any]) -> None:
    assert states.open_at(stock(**times), RECEIVED)


@every_row(
    ("changes", "openid", "error", "reason"),
    [
        ({}, "oAnother", RequestRefused, "another user's"),
        ({"coupon_state": "USED"}, None, ResourceAlreadyExists, "was used under another number"),
        ({"coupon_state": "DEACTIVATED"}, None, RequestRefused, "was deactivated"),
        ({"starts_at": RECEIVED + 1}, None, RuleLimit, "it can be used from 2026-11-24T15:30:01"),
        ({"expires_at": RECEIVED}, None, RuleLimit, "until 2026-11-24T15:30:00"),
    ],
)
def test_a_coupon_that_cannot_be_used_says_why(
    changes: dict[str, Any], openid: str | None, error: type[RequestRefused], reason: str
) -> None:
    with pytest.raises(error, match=reason) as refused:
        USE.decide(using(stock(), coupon(stock(), RECEIVED, **changes), openid, RECEIVED))
    assert type(refused.value) is error
    assert "ABC9588200" not in str(refused.value)
    assert "oUser" not in str(refused.value)


def test_outside_its_stocks_hours_a_coupon_is_refused() -> None:
    facts = stock(available_week=AvailableWeek(week_day=[3]))
    with pytest.raises(RuleLimit, match="not open on this weekday"):
        USE.decide(using(facts, coupon(facts, RECEIVED), "oUser", RECEIVED))


def seen(held: CouponFacts, request: Any, now: int, facts: StockFacts | None = None) -> Seen[Any]:
    return Seen(facts or stock(), held, [], request, now)


UNPAID = {"pay", "take back"}
"""Steps of payments: tests/contract/test_steps.py."""


@every_row("state", STATES)
def test_each_state_lets_its_own_steps_happen(state: str) -> None:
    now = at("2027-05-01T00:00:00") if state == "EXPIRED" else RECEIVED
    stored = "SENDED" if state == "EXPIRED" else state
    held = coupon(stock(), RECEIVED, coupon_state=stored, associate_out_trade_no=ORDER)
    led: dict[str, str] = {}
    for name in STEP.keys() - UNPAID:
        try:
            decided = STEP[name].decide(seen(held, request_of(name, "98065001", "ABC9588200", "n1"), now))
            led[name] = decided.after.state(now)
        except RequestRefused:
            continue
    assert led == {name: ends[state] for name, ends in LEADS_TO.items() if name not in UNPAID and state in ends}


@every_row(
    ("step", "state", "reason"),
    [
        ("return", "SENDED", "券状态非已核销: coupon AB…00 is SENDED, not USED"),
        ("deactivate", "USED", "券状态非可用态: coupon AB…00 is USED, not SENDED"),
        ("associate", "DEACTIVATED", "券状态非可用态: coupon AB…00 is DEACTIVATED, not SENDED"),
    ],
)
def test_a_step_that_its_state_refuses_says_both_states(step: str, state: str, reason: str) -> None:
    held = coupon(stock(), RECEIVED, coupon_state=state)
    with pytest.raises(RequestRefused) as refusal:
        STEP[step].decide(seen(held, request_of(step, "98065001", "ABC9588200", "n1"), RECEIVED))
    assert refusal.value.message == reason


def test_only_the_order_that_a_coupon_is_tied_to_can_be_untied() -> None:
    request = request_of("disassociate", "98065001", "ABC9588200", "n1")
    held = coupon(stock(), RECEIVED, associate_out_trade_no=ORDER)
    assert DISASSOCIATE.decide(seen(held, request, RECEIVED)).after.associate_out_trade_no is None
    for other in ("order-2", "", None):
        with pytest.raises(RequestRefused, match="is not associated with this order"):
            DISASSOCIATE.decide(seen(msgspec.structs.replace(held, associate_out_trade_no=other), request, RECEIVED))


def test_the_stock_of_these_tests_is_one_that_can_be_created() -> None:
    with pytest.raises(ParamError):
        stocks.check_new_stock(stock(END, BEGIN).busifavor)
    stocks.check_new_stock(stock(available_day_after_receive=1, wait_days_after_receive=1).busifavor)
