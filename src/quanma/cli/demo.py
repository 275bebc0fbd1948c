"""`quanma demo`: the whole story, on a platform of its own. Real HTTP, real signatures both ways, one command."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import random
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import click

from ..api.stockrules import CouponAvailableTime, CouponUseRule, FixedNormalCoupon, StockSendRule
from ..api.stocks import Stock
from ..client import config as settings
from ..client.client import AsyncWechatpay
from ..errors import StoreUnavailable
from ..platform.keys import environment
from ..upload import run
from ..upload.ledger import Totals
from ..upload.prepare import Limits
from ..upload.target import BUSIFAVOR
from ..upload.uploader import Progress
from . import output
from .main import DONE, FAILED
from .speaking import tell

COUPONS, DRAWERS, USED = 1000, 16, 100
APPID = "wx233544546545989"
OWN_PLATFORM_RATE = 150.0
"""Requests a second to begin with: this platform has no limit to be felt for."""


class Told(NamedTuple):
    """What the story ends with, to be reconciled."""

    totals: Totals
    stock: Stock
    given: list[str]
    used: int


@click.command()
@click.option("--codes", type=click.IntRange(1), default=100_000, show_default=True, help="Rows in the file.")
def demo(codes: int) -> int:
    """Create a stock, upload a file of codes, issue some to users, redeem, and print sums that reconcile."""
    with tempfile.TemporaryDirectory(prefix="quanma-demo-") as name:
        folder = Path(name)
        environment.make_environment(
            folder, port=0, mchids=[environment.MCHID_DEFAULT], now=datetime.datetime.now(datetime.UTC)
        )
        with _platform(folder) as url:
            output.say(f"a platform of its own at {url}, with its keys in a temporary folder")
            file = folder / "codes.txt"
            _write_codes(file, codes)
            output.say(f"{file.name}: {codes:,} rows, with repeats, over-long and ill-formed codes among them")
            merchant = settings.load(folder / "merchants" / environment.MCHID_DEFAULT / "quanma.toml", base_url=url)
            told = asyncio.run(_story(merchant, file))
    return _reconciled(told)


@contextlib.contextmanager
def _platform(folder: Path) -> Generator[str, None, None]:
    command = [sys.executable, "-m", "quanma", "serve", "--config", str(folder / "platform.toml"), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            first = process.stderr.readline()
            if not first.startswith("listening on "):
                raise StoreUnavailable(f"the platform did not start: {first}{process.stderr.read()}")
            yield first.removeprefix("listening on ").strip()
        finally:
            process.terminate()


def _write_codes(file: Path, rows: int) -> None:
    """Codes that anybody could guess: good for a story, never for money. Three rows in a hundred are faulty."""
    chance = random.Random(rows)
    with file.open("w", encoding="utf-8") as lines:
        for number in range(rows):
            kind = chance.random()
            if kind < 0.01:
                lines.write(f"QM{chance.randrange(number + 1):010d}\n")
            elif kind < 0.02:
                lines.write(f"QM{number:010d}-and-much-too-long-for-a-code\n")
            elif kind < 0.03:
                lines.write(f"QM{number:010d}券\n")
            else:
                lines.write(f"QM{number:010d}\n")


async def _story(merchant: settings.Merchant, file: Path) -> Told:
    async with AsyncWechatpay(merchant) as wxpay:
        stock_id = await _create_stock(wxpay)
        output.say(f"stock {stock_id} created; uploading, {BUSIFAVOR.batch_codes_max} codes a request")
        totals = await _upload(merchant, file, stock_id)
        given = await _issue(wxpay, stock_id, min(COUPONS, totals.stored))
        output.say(f"{len(given):,} coupons issued by {DRAWERS} drawers at once, drawn at random")
        used = await _use(wxpay, stock_id, given[:USED])
        output.say(f"{used:,} coupons used")
        return Told(totals, await wxpay.v3.marketing.busifavor.stocks._stock_id_.get(stock_id=stock_id), given, used)


async def _create_stock(wxpay: AsyncWechatpay) -> str:
    today = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    created = await wxpay.v3.marketing.busifavor.stocks.post(
        stock_name="quanma demo",
        belong_merchant=wxpay.merchant.mchid,
        goods_name="coffee",
        stock_type="NORMAL",
        coupon_use_rule=CouponUseRule(
            coupon_available_time=CouponAvailableTime(
                available_begin_time=today.isoformat(),
                available_end_time=(today + datetime.timedelta(days=90)).isoformat(),
            ),
            use_method="OFF_LINE",
            fixed_normal_coupon=FixedNormalCoupon(discount_amount=100, transaction_minimum=1000),
        ),
        stock_send_rule=StockSendRule(max_coupons_per_user=1, max_coupons=1_000_000_000),
        out_request_no="demo-stock",
        coupon_code_mode="MERCHANT_UPLOAD",
    )
    return created.stock_id


async def _upload(merchant: settings.Merchant, file: Path, stock_id: str) -> Totals:
    options = run.Options(stock_id, limits=Limits(rejected_max=1.0), first_rate=OWN_PLATFORM_RATE)
    with contextlib.ExitStack() as displays:
        uploaded = await run.upload([str(file)], options, merchant, _Shown(displays))
    output.result(stock_id, uploaded.totals, uploaded.ledger, as_json=False)
    return uploaded.totals


class _Shown(run.Events):
    """The progress alone: the story has its own lines."""

    def __init__(self, displays: contextlib.ExitStack) -> None:
        self._displays = displays

    def sending(self, sending: run.Sending) -> None:
        self._progress = self._displays.enter_context(output.sending())

    def progress(self, progress: Progress) -> None:
        self._progress(progress)


async def _issue(wxpay: AsyncWechatpay, stock_id: str, count: int) -> list[str]:
    users = iter(range(count))
    given: list[str] = []

    async def drawer() -> None:
        for user in users:
            answer = await wxpay.v3.marketing.busifavor.coupons.send.post(
                openid=f"demo-user-{user}", appid=APPID, stock_id=stock_id, out_request_no=f"demo-{user}"
            )
            given.append(answer.send_coupon_result.coupon_code)

    await asyncio.gather(*(drawer() for _ in range(DRAWERS)))
    return given


async def _use(wxpay: AsyncWechatpay, stock_id: str, coupon_codes: list[str]) -> int:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    for number, coupon_code in enumerate(coupon_codes):
        await wxpay.v3.marketing.busifavor.coupons.use.post(
            coupon_code=coupon_code, stock_id=stock_id, appid=APPID, use_time=now, use_request_no=f"demo-use-{number}"
        )
    return len(coupon_codes)


def _reconciled(told: Told) -> int:
    """Print the sums, and whether each holds."""
    totals, count = told.totals, told.stock.coupon_code_count
    in_pool, available = (count.total_count, count.available_count) if count else (0, 0)
    sent = told.stock.send_count_information.total_send_num if told.stock.send_count_information else 0
    settled = totals.stored + totals.existed + totals.duplicate + totals.rejected
    parts = (
        f"stored {totals.stored:,} + existed {totals.existed:,} "
        f"+ duplicate {totals.duplicate:,} + rejected {totals.rejected:,}"
    )
    checks = [
        (f"rows {totals.rows:,} = {parts}", totals.rows == settled and totals.pending == 0),
        (f"pool total {in_pool:,} = stored {totals.stored:,}", in_pool == totals.stored),
        (
            f"pool available {available:,} = total {in_pool:,} - issued {sent:,}",
            available == in_pool - len(told.given) and sent == len(told.given),
        ),
        (f"distinct codes issued {len(set(told.given)):,} = coupons {len(told.given):,}", len(set(told.given)) == sent),
    ]
    for line, holds in checks:
        tell(f"{'✓' if holds else '✗ does not hold:'} {line}")
    return DONE if all(holds for _, holds in checks) else FAILED
