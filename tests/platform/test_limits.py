"""How many requests, and how many stocks, a merchant may make in a time."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from quanma.errors import Misconfigured, RateLimited
from quanma.platform import config
from quanma.platform.app import App
from quanma.platform.handlers import HANDLERS
from quanma.platform.limits import HOUR_SECONDS, RateLimit
from quanma.wire import codec
from tests.contract.driver import NOW, USE_RULE
from tests.platform.caller import BUSIFAVOR, Caller
from tests.platform.conftest import fresh
from tests.support.platform import MCHID, OTHER_MCHID, InProcess, call_app, new_stock

STOCKS = f"{BUSIFAVOR}/stocks"


def test_so_many_may_come_at_once_and_then_one_after_the_other() -> None:
    limit = RateLimit(4, HOUR_SECONDS)
    for _ in range(4):
        limit.check(MCHID, NOW)
    with pytest.raises(RateLimited) as refusal:
        limit.check(MCHID, NOW)
    assert refusal.value.retry_after_seconds == 900
    limit.check(OTHER_MCHID, NOW)
    limit.check(MCHID, NOW + 900)
    with pytest.raises(RateLimited):
        limit.check(MCHID, NOW + 900)


def test_a_merchant_creates_so_many_stocks_an_hour(still: InProcess, caller: Caller, other: Caller) -> None:
    app = App(HANDLERS, still.pool, still.keystore, clock=lambda: NOW, stocks_per_hour=2)

    def create(caller: Caller, number: str) -> tuple[int, str, dict[str, str]]:
        request = new_stock(number, belong_merchant=caller.merchant.mchid, coupon_use_rule=USE_RULE)
        body = codec.encode_answer(request)
        reply = still.run(call_app(app, "POST", STOCKS, caller.headers("POST", STOCKS, body), body))
        return reply.status_code, caller.check(reply).get("code", ""), dict(reply.headers)

    numbers = [fresh("hour") for _ in range(3)]
    assert [create(caller, number)[:2] for number in numbers] == [
        (200, ""),
        (200, ""),
        (429, "FREQUENCY_LIMITED"),
    ]
    assert create(caller, numbers[2])[2]["Retry-After"] == "1800"
    assert create(other, numbers[2])[0] == 200


def test_a_stock_with_a_list_that_is_too_long_is_refused_by_name(still: InProcess, caller: Caller) -> None:
    stock = msgspec.to_builtins(new_stock("too-long", coupon_use_rule=USE_RULE))
    span = {"begin_time": "2026-10-01T00:00:00+08:00", "end_time": "2026-10-02T00:00:00+08:00"}
    stock["coupon_use_rule"]["coupon_available_time"]["irregulary_avaliable_time"] = [span] * 101
    body = json.dumps(stock).encode()
    reply = still.ask("POST", STOCKS, caller.headers("POST", STOCKS, body), body)
    refusal = caller.check(reply)
    assert (reply.status_code, refusal["code"]) == (400, "PARAM_ERROR")
    assert refusal["detail"]["field"] == "/coupon_use_rule/coupon_available_time/irregulary_avaliable_time"


def test_the_settings_of_stocks_are_read(shared_world: Path, tmp_path: Path) -> None:
    path = tmp_path / "platform.toml"
    path.touch(0o600)
    text = (shared_world / "platform.toml").read_text()
    path.write_text(text)
    assert (config.load(path).stocks_per_merchant, config.load(path).stocks_per_merchant_per_hour) == (10_000, None)
    path.write_text(f"stocks_per_merchant = 50\nstocks_per_merchant_per_hour = 20\n{text}")
    assert (config.load(path).stocks_per_merchant, config.load(path).stocks_per_merchant_per_hour) == (50, 20)
    path.write_text(f"stocks_per_merchant = 0\n{text}")
    with pytest.raises(Misconfigured, match="stocks_per_merchant"):
        config.load(path)
