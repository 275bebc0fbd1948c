"""`quanma watch`: tells of a stock that runs low, once, and again after a refill."""

from __future__ import annotations

import contextlib
import datetime
import json
import time
from collections.abc import Callable
from pathlib import Path

import click

from ..api.stocks import StockNode
from ..client.client import Wechatpay
from ..client.network import HttpTransport
from ..client.transport import Request
from ..errors import Misconfigured, NoAnswer, NotSent, OutcomeUnknown, QuanmaError, TryAgain
from ..settings import addresses
from .api import request_of
from .connection import config_option
from .level import Alarm, keep_armed, read_armed
from .main import DONE, REJECTED
from .speaking import tell

LOW = REJECTED
"""Exit status: it ended as it should, and something is to be done."""
WEBHOOK_SECONDS = 10.0


@click.command()
@click.option("--stock", "stock_id", required=True, help="The stock: its stock_id.")
@click.option("--below", type=click.IntRange(1), required=True, metavar="N", help="Fewer available codes are too few.")
@click.option("--every", type=click.FloatRange(1), metavar="SECONDS", help="Go on looking. Without it: once.")
@click.option("--webhook", metavar="URL", help="Post a JSON object here when it runs low.")
@click.option("--state", type=click.Path(path_type=Path), help="Remember in this file what was told, for runs by cron.")
@config_option
def watch(
    stock_id: str, below: int, every: float | None, webhook: str | None, state: Path | None, config: Path | None
) -> int:
    """Tell of a stock whose codes run low: once, and again after a refill.

    Exit status: 0 enough codes · 1 it could not be asked, or the webhook took nothing · 3 too few.
    """
    if webhook is not None and isinstance(wrong := addresses.page(webhook.partition("?")[0]), addresses.Wrong):
        raise click.UsageError(f"--webhook {wrong.reason}")
    alarm = Alarm(below, armed=True if state is None else read_armed(state, stock_id))
    with Wechatpay.from_config(config) as wxpay, contextlib.ExitStack() as opened:
        transport = HttpTransport(wxpay.merchant.proxy)
        opened.callback(transport.close)

        def look() -> int:
            available = available_codes(wxpay, stock_id)
            if alarm.is_due(available):
                if webhook is not None:
                    _post(transport, webhook, stock_id, available, below)
                tell(f"stock {stock_id}: {available:,} codes are available, fewer than {below:,}")
                alarm.told()
            if state is not None:
                keep_armed(state, stock_id, armed=alarm.armed)
            return LOW if alarm.is_low(available) else DONE

        return look() if every is None else forever(look, every)


def available_codes(wxpay: Wechatpay, stock_id: str) -> int:
    """How many codes of a stock nobody has yet.

    Raises:
        Misconfigured: it is no stock that takes codes.
    """
    stock = wxpay.send(StockNode.get, request_of(StockNode.get, {"stock_id": stock_id})).data
    if stock.coupon_code_count is None:
        raise Misconfigured(f"stock {stock_id} has coupon_code_mode {stock.coupon_code_mode}: it holds no codes")
    return stock.coupon_code_count.available_count


def forever(look: Callable[[], object], every: float) -> int:
    """Look again and again, until Ctrl-C. What may be better the next time is told, and does not end it."""
    while True:
        try:
            look()
        except (TryAgain, NotSent, OutcomeUnknown) as problem:
            tell(f"quanma: {problem}; asked again in {every:g} s", err=True)
        time.sleep(every)


def _post(transport: HttpTransport, webhook: str, stock_id: str, available: int, below: int) -> None:
    """Raises NoAnswer: nobody took it. The address is not repeated: its path or query is often a secret."""
    text = f"stock {stock_id}: {available:,} codes are available, fewer than {below:,}"
    told = {
        "stock_id": stock_id,
        "available_count": available,
        "below": below,
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        # Robots of 企业微信 and 钉钉 read these two, others leave them.
        "msgtype": "text",
        "text": {"content": text},
    }
    headers = {"Content-Type": "application/json", "User-Agent": "quanma"}
    body = json.dumps(told, ensure_ascii=False).encode()
    try:
        reply = transport.send(Request("POST", webhook, headers, body), WEBHOOK_SECONDS)
    except QuanmaError as problem:
        raise NoAnswer(f"the webhook took nothing: {problem}") from None
    if not 200 <= reply.status_code < 300:
        raise NoAnswer(f"the webhook answers HTTP {reply.status_code}: it is told again the next time")
