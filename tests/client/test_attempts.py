"""What a call tries, in the log and for whoever watches: a line for each request that left, and no secret in it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from quanma.client.attempts import Attempt, line_of, shown_path, tell
from quanma.errors import NoAnswer, NotSent, RateLimited, ResourceNotExists
from tests.client.test_exchange import BUSY, DONE, Played
from tests.support.every import every_row
from tests.support.platform import InProcess, create_stock

UPLOAD_PATH = "POST /v3/marketing/busifavor/stocks/{stock_id}/couponcodes"


def test_a_call_is_a_line_in_the_log_with_number_status_time_and_request_id(
    platform: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    wxpay = platform.wechatpay()
    stock_id = create_stock(wxpay, "n1")
    caplog.set_level(logging.INFO, "quanma.calls")
    caplog.clear()  # Another test of this process may have had the level lower.
    answer = wxpay.v3.marketing.busifavor.stocks[stock_id].couponcodes.post.raw(
        coupon_code_list=["SECRET9588200"], upload_request_no="upload-1"
    )
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    line = record.getMessage()
    assert line.startswith(f"{UPLOAD_PATH} upload-1, try 1 at 127.0.0.1:8460: 200 in ")
    assert line.endswith(f" ms, Request-ID {answer.request_id}")
    assert "SECRET" not in str(record.__dict__)


def test_a_refusal_is_a_warning_with_the_platforms_code(platform: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    wxpay = platform.wechatpay()
    caplog.set_level(logging.INFO, "quanma.calls")
    with pytest.raises(ResourceNotExists):
        wxpay.v3.marketing.busifavor.stocks["98065001"].get()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert ": 404 RESOURCE_NOT_EXISTS in " in record.getMessage()


def test_each_try_is_told_to_whoever_watches_sync_and_async(platform: InProcess) -> None:
    told: list[Attempt] = []
    wxpay, aio = platform.wechatpay(on_attempt=told.append), platform.async_wechatpay(on_attempt=told.append)
    wxpay.v3.security.echo.post(echo_message="hi")

    async def call() -> None:
        await aio.v3.security.echo.post(echo_message="hi")

    asyncio.run(call())
    assert [(one.operation, one.attempt, one.status_code, one.error) for one in told] == [
        ("POST /v3/security/echo", 1, 200, None)
    ] * 2
    assert all(one.request_id and one.seconds > 0 for one in told)


def test_tries_are_counted_and_each_has_its_own_end() -> None:
    told: list[Attempt] = []
    played = Played(BUSY, NotSent("no connection"), DONE, reply_seconds=0.25, watch=told.append, number="n1")
    assert played.answer.status_code == 200
    ends = [  # The waits between them are drawn, and the clock that adds them up rounds.
        (one.attempt, one.host, one.status_code, type(one.error), round(one.seconds, 6), one.number) for one in told
    ]
    assert ends == [
        (1, "api.mch.weixin.qq.com", 429, RateLimited, 0.25, "n1"),
        (2, "api2.mch.weixin.qq.com", None, NotSent, 0.25, "n1"),
        (3, "api.mch.weixin.qq.com", 200, type(None), 0.25, "n1"),
    ]


def test_an_error_of_whoever_watches_harms_no_call(caplog: pytest.LogCaptureFixture) -> None:
    def watch(attempt: Attempt) -> None:
        raise RuntimeError("their own fault")

    assert Played(DONE, watch=watch).answer.status_code == 200
    assert "on_attempt failed; the call goes on" in caplog.text


def test_without_logging_set_up_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("quanma.calls")
    before, root = logger.propagate, logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        tell(None, Attempt("GET /v3/x", None, 1, "h", None, 0.1, None, NoAnswer("broken")))
    finally:
        root.handlers, logger.propagate = handlers, before
    assert capfd.readouterr() == ("", "")


@every_row(
    ("path", "shown"),
    [
        (
            "/v3/marketing/busifavor/stocks/{stock_id}/couponcodes",
            "/v3/marketing/busifavor/stocks/{stock_id}/couponcodes",
        ),
        ("/v3/pay/transactions/id/4200000913202101152566792388", "/v3/pay/transactions/id/42…88"),
        (
            "/v3/marketing/busifavor/users/oUpF8uMuAJO_M2pxb1Q9zNjWeS6o/coupons",
            "/v3/marketing/busifavor/users/oU…6o/coupons",
        ),
        ("/v3/refund/domestic/refunds", "/v3/refund/domestic/refunds"),
    ],
)
def test_a_path_written_by_hand_shows_no_whole_code_or_user(path: str, shown: str) -> None:
    assert shown_path(path) == shown


def test_a_line_says_what_is_known() -> None:
    attempt = Attempt("GET /v3/certificates", None, 2, "127.0.0.1", None, 0.0349, None, NoAnswer("broken"))
    assert line_of(attempt) == "GET /v3/certificates, try 2 at 127.0.0.1: NoAnswer in 35 ms"


def test_a_fetch_of_certificates_is_told_too(platform: InProcess) -> None:
    told: list[Attempt] = []
    wxpay = platform.wechatpay(platform_keys={}, on_attempt=told.append)
    wxpay.v3.security.echo.post(echo_message="hi")
    *fetched, asked = [(one.operation, one.status_code) for one in told]
    assert {*fetched} == {("GET /v3/certificates", 200)}
    assert asked == ("POST /v3/security/echo", 200)
