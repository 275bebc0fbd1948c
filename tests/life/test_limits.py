"""Many at the same moment, against every limit there is: never one more than it allows.

All calls of a test are on their way at once, on the loop that the platform runs on, signatures included.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from quanma import AsyncWechatpay, errors
from quanma.client import config
from quanma.client.exchange import Clocks
from quanma.client.transport import Reply, Request
from tests.support.platform import APPID, MCHID, InProcess, Served, call_app, create_stock, merchant_config

pytestmark = pytest.mark.both_back_ends

AT_ONCE = 60
NEW_YEAR_BEIJING = 1_893_427_200
"""2030-01-01T00:00:00+08:00, at which a new day of limits begins."""


class Moment:
    """A clock that stands until a test moves it."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def moment() -> Moment:
    return Moment(time.time())


@pytest.fixture
def at_once(world: Path, database: str, moment: Moment) -> Iterator[AtOnce]:
    running = InProcess(world, database, clock=moment)
    yield AtOnce(running, moment)
    running.close()


class AtOnce:
    """A platform, a client on the platform's own loop, and one on any."""

    def __init__(self, platform: InProcess, moment: Moment) -> None:
        clocks = Clocks(moment, time.monotonic)
        self.platform = platform
        self.wxpay = platform.wechatpay(clocks=clocks)
        self._here = AsyncWechatpay(
            config.load(merchant_config(platform.world)), transport=_OnItsLoop(platform), clocks=clocks
        )

    def all(self, calls: Iterable[Callable[[AsyncWechatpay], Awaitable[Any]]]) -> list[Any]:
        """Make all calls at once. Returns answers and refusals, in the order of the calls."""

        async def together() -> list[Any]:
            return await asyncio.gather(*(call(self._here) for call in calls), return_exceptions=True)

        answers = self.platform.run(together())
        for answer in answers:
            if isinstance(answer, Exception) and not isinstance(answer, errors.RequestRefused):
                raise answer
        return answers

    def sent(self, stock_id: str) -> int | None:
        stock = self.wxpay.v3.marketing.busifavor.stocks._stock_id_.get(stock_id=stock_id)
        assert stock.send_count_information is not None
        return stock.send_count_information.total_send_num

    def upload(self, stock_id: str, *codes: str) -> None:
        couponcodes = self.wxpay.v3.marketing.busifavor.stocks[stock_id].couponcodes
        couponcodes.post(coupon_code_list=list(codes), upload_request_no=codes[0])


class _OnItsLoop:
    def __init__(self, platform: InProcess) -> None:
        self._platform = platform

    async def send(self, request: Request, timeout_seconds: float) -> Reply:
        target = urlsplit(request.url)._replace(scheme="", netloc="").geturl()
        return await call_app(self._platform.app, request.verb, target, list(request.headers.items()), request.body)

    async def close(self) -> None:
        pass


def send(stock_id: str, user: int, number: int) -> Callable[[AsyncWechatpay], Awaitable[Any]]:
    def call(wxpay: AsyncWechatpay) -> Awaitable[Any]:
        return wxpay.v3.marketing.busifavor.coupons.send.post(
            stock_id=stock_id, openid=f"user-{user}", appid=APPID, out_request_no=str(number)
        )

    return call


def outcomes(answers: Iterable[Any]) -> Counter[str]:
    """How many were given, and how many refused for which reason."""
    return Counter(answer.code if isinstance(answer, errors.PlatformError) else "given" for answer in answers)


@pytest.mark.slow
def test_one_user_gets_as_many_as_a_user_may_however_many_ask_at_once(at_once: AtOnce) -> None:
    stock_id = create_stock(at_once.wxpay, "s", coupon_code_mode="WECHATPAY_MODE", max_coupons_per_user=3)
    answers = at_once.all(send(stock_id, 1, number) for number in range(AT_ONCE))
    assert outcomes(answers) == {"given": 3, "RULELIMIT": AT_ONCE - 3}
    assert at_once.sent(stock_id) == 3


def test_a_stock_gives_as_many_as_it_has_however_many_ask_at_once(at_once: AtOnce) -> None:
    stock_id = create_stock(at_once.wxpay, "s", coupon_code_mode="WECHATPAY_MODE", max_coupons=7)
    answers = at_once.all(send(stock_id, user, 1) for user in range(AT_ONCE))
    assert outcomes(answers) == {"given": 7, "NOT_ENOUGH": AT_ONCE - 7}
    assert at_once.sent(stock_id) == 7


@pytest.mark.slow
def test_a_day_gives_as_many_as_a_day_may_and_the_next_second_is_another_day(at_once: AtOnce, moment: Moment) -> None:
    moment.now = NEW_YEAR_BEIJING - 1
    times = {"available_begin_time": "2029-12-01T00:00:00+08:00", "available_end_time": "2030-02-01T00:00:00+08:00"}
    stock_id = at_once.wxpay.v3.marketing.busifavor.stocks.post(
        {
            "stock_name": "a few a day",
            "belong_merchant": MCHID,
            "goods_name": "all",
            "stock_type": "NORMAL",
            "coupon_use_rule": {
                "coupon_available_time": times,
                "use_method": "OFF_LINE",
                "fixed_normal_coupon": {"discount_amount": 100, "transaction_minimum": 1000},
            },
            "stock_send_rule": {"max_coupons_per_user": 1, "max_coupons": 100, "max_coupons_by_day": 5},
            "out_request_no": "a few a day",
            "coupon_code_mode": "WECHATPAY_MODE",
        }
    ).stock_id
    on_the_last_day = at_once.all(send(stock_id, user, 1) for user in range(AT_ONCE))
    assert outcomes(on_the_last_day) == {"given": 5, "NOT_ENOUGH": AT_ONCE - 5}
    moment.now = NEW_YEAR_BEIJING
    on_the_first = at_once.all(send(stock_id, user, 1) for user in range(AT_ONCE, 2 * AT_ONCE))
    assert outcomes(on_the_first) == {"given": 5, "NOT_ENOUGH": AT_ONCE - 5}
    assert at_once.sent(stock_id) == 10


@pytest.mark.slow
@pytest.mark.parametrize(("asked_before", "budget", "given"), [(10, "lowered", 20), (30, "refused", 50)])
def test_a_budget_that_is_lowered_meanwhile_holds_at_once_or_is_refused(
    at_once: AtOnce, asked_before: int, budget: str, given: int
) -> None:
    stock_id = create_stock(at_once.wxpay, "s", coupon_code_mode="WECHATPAY_MODE", max_coupons=50)

    def lower(wxpay: AsyncWechatpay) -> Awaitable[Any]:
        return wxpay.v3.marketing.busifavor.stocks._stock_id_.budget.patch(
            stock_id=stock_id, modify_budget_request_no="1", target_max_coupons=20, current_max_coupons=50
        )

    calls = [send(stock_id, user, 1) for user in range(AT_ONCE)]
    answers = at_once.all([*calls[:asked_before], lower, *calls[asked_before:]])
    lowered = answers.pop(asked_before)
    assert (lowered.code if isinstance(lowered, errors.RequestRefused) else "lowered") == (
        "INVALID_REQUEST" if budget == "refused" else "lowered"
    )
    assert outcomes(answers) == {"given": given, "NOT_ENOUGH": AT_ONCE - given}
    assert at_once.sent(stock_id) == given


def test_two_budgets_at_once_are_set_one_after_the_other_or_not_at_all(at_once: AtOnce) -> None:
    stock_id = create_stock(at_once.wxpay, "s", coupon_code_mode="WECHATPAY_MODE", max_coupons=50)

    def change(number: int) -> Callable[[AsyncWechatpay], Awaitable[Any]]:
        return lambda wxpay: wxpay.v3.marketing.busifavor.stocks._stock_id_.budget.patch(
            stock_id=stock_id,
            modify_budget_request_no=str(number),
            target_max_coupons=100 + number,
            current_max_coupons=50,
        )

    answers = at_once.all(change(number) for number in range(10))
    assert outcomes(answers) == {"given": 1, "INVALID_REQUEST": 9}


def test_one_number_at_the_same_moment_gives_one_coupon(at_once: AtOnce) -> None:
    stock_id = create_stock(at_once.wxpay, "s")
    at_once.upload(stock_id, *(f"CODE{number:03}" for number in range(AT_ONCE)))
    answers = at_once.all(send(stock_id, 1, 1) for _ in range(AT_ONCE))
    assert len({answer.send_coupon_result.coupon_code for answer in answers}) == 1
    stock = at_once.wxpay.v3.marketing.busifavor.stocks._stock_id_.get(stock_id=stock_id)
    assert stock.coupon_code_count is not None
    assert (stock.coupon_code_count.available_count, at_once.sent(stock_id)) == (AT_ONCE - 1, 1)


@pytest.mark.slow
def test_the_last_code_goes_to_one_of_all_who_ask_and_a_number_that_got_none_can_ask_again(at_once: AtOnce) -> None:
    stock_id = create_stock(at_once.wxpay, "s")
    at_once.upload(stock_id, "LAST")
    everyone = [send(stock_id, user, 1) for user in range(AT_ONCE)]
    assert outcomes(at_once.all(everyone)) == {"given": 1, "NOT_ENOUGH": AT_ONCE - 1}
    at_once.upload(stock_id, *(f"MORE{number:03}" for number in range(AT_ONCE - 1)))
    answers = at_once.all(everyone)
    assert outcomes(answers) == {"given": AT_ONCE}
    assert len({answer.send_coupon_result.coupon_code for answer in answers}) == AT_ONCE


def test_a_code_that_is_chosen_goes_to_one_of_all_who_want_it(at_once: AtOnce) -> None:
    stock_id = create_stock(at_once.wxpay, "s", coupon_code_mode="MERCHANT_API")

    def choose(user: int) -> Callable[[AsyncWechatpay], Awaitable[Any]]:
        return lambda wxpay: wxpay.v3.marketing.busifavor.coupons.send.post(
            stock_id=stock_id, openid=f"user-{user}", appid=APPID, out_request_no="1", coupon_code="CHOSEN"
        )

    answers = at_once.all(choose(user) for user in range(AT_ONCE))
    assert outcomes(answers) == {"given": 1, "RESOURCE_ALREADY_EXISTS": AT_ONCE - 1}


@pytest.mark.slow
def test_a_coupon_is_used_once_by_all_who_redeem_it_at_once(at_once: AtOnce) -> None:
    stock_id = create_stock(at_once.wxpay, "s")
    at_once.upload(stock_id, "ONCE")
    at_once.all([send(stock_id, 1, 1)])

    def use(number: int) -> Callable[[AsyncWechatpay], Awaitable[Any]]:
        return lambda wxpay: wxpay.v3.marketing.busifavor.coupons.use.post(
            stock_id=stock_id,
            coupon_code="ONCE",
            appid=APPID,
            use_time="2026-08-01T12:00:00+08:00",
            use_request_no=str(number),
        )

    answers = at_once.all(use(number) for number in range(AT_ONCE))
    assert outcomes(answers) == {"given": 1, "RESOURCE_ALREADY_EXISTS": AT_ONCE - 1}


@pytest.mark.slow
def test_over_many_connections_no_limit_is_exceeded_while_the_budget_moves(serving: Served) -> None:
    with serving.wechatpay() as wxpay:
        stock_id = create_stock(wxpay, "s", max_coupons=150, max_coupons_per_user=2, max_coupons_by_day=120)
        codes = [f"CODE{number:03}" for number in range(150)]
        wxpay.v3.marketing.busifavor.stocks[stock_id].couponcodes.post(coupon_code_list=codes, upload_request_no="1")

        async def story() -> tuple[list[Any], int]:
            async with serving.async_wechatpay() as there:
                budget = there.v3.marketing.busifavor.stocks._stock_id_.budget
                has = 150

                async def lower() -> None:
                    nonlocal has
                    for target in (140, 110, 80, 60):
                        with contextlib.suppress(errors.RequestRefused):
                            changed = await budget.patch(
                                stock_id=stock_id,
                                modify_budget_request_no=str(target),
                                target_max_coupons=target,
                                current_max_coupons=has,
                            )
                            has = changed.max_coupons

                # Every number twice, three numbers a user: 100 users, 600 calls.
                sends = [send(stock_id, number % 100, number)(there) for number in range(300) for _ in range(2)]
                *answers, _ = await asyncio.gather(*sends, lower(), return_exceptions=True)
                return answers, has

        answers, has = asyncio.run(story())
        broken = [
            one for one in answers if isinstance(one, BaseException) and not isinstance(one, errors.RequestRefused)
        ]
        assert broken == []
        results = [one.send_coupon_result for one in answers if not isinstance(one, BaseException)]
        given = {result.coupon_code: result.out_request_no for result in results}
        assert len({(result.coupon_code, result.out_request_no) for result in results}) == len(given)
        assert len(given) == min(120, has)
        assert max(Counter(int(number) % 100 for number in given.values()).values()) <= 2
        stock = wxpay.v3.marketing.busifavor.stocks._stock_id_.get(stock_id=stock_id)
        assert stock.coupon_code_count is not None
        assert stock.coupon_code_count.available_count == 150 - len(given)
