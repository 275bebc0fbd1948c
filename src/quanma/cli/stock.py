"""`quanma stock create`, `list`, `show`: stocks (批次) from a few options, with what is usual for the rest."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import click

from ..api.operation import Operation
from ..api.stocklists import ListStocks, OwnStocks
from ..api.stocks import CreateStock, StockNode, Stocks
from ..client.client import Wechatpay
from ..errors import QuanmaError, ResourceNotExists
from .api import json_object, request_of
from .connection import config_option, name_number, new_number
from .nearby import NearGroup
from .picking import get_option, show
from .speaking import tell

BEIJING = datetime.timezone(datetime.timedelta(hours=8))
PAGE = 100


@click.group(cls=NearGroup)
def stock() -> None:
    """Create, list and show stocks (批次)."""


@stock.command()
@click.option("--name", "stock_name", required=True, help="What users see, 1 to 21 characters.")
@click.option("--max", "max_coupons", required=True, type=click.IntRange(1), help="Coupons at most.")
@click.option(
    "--goods", "goods_name", default="全场商品", show_default=True, help="What it is for, 1 to 15 characters."
)
@click.option("--per-user", type=click.IntRange(1, 100), default=1, show_default=True, help="Coupons of one user.")
@click.option("--minus", "minus_fen", type=click.IntRange(1), help="满减券: fen off. [default: 100]")
@click.option("--percent", type=click.IntRange(1, 100), help="折扣券: 90 is to pay 90 %.")
@click.option("--price", "price_fen", type=click.IntRange(0), help="换购券: fen to pay.")
@click.option("--minimum", "minimum_fen", type=click.IntRange(1), default=1000, show_default=True, help="Fen to spend.")
@click.option("--days", type=click.IntRange(1), default=90, show_default=True, help="How long it is valid, from today.")
@click.option(
    "--mode",
    "coupon_code_mode",
    default="MERCHANT_UPLOAD",
    show_default=True,
    type=click.Choice(["MERCHANT_UPLOAD", "MERCHANT_API", "WECHATPAY_MODE"]),
    help="Whose the codes are.",
)
@click.option("--notify-appid", help="Events carry the user's openid under this appid.")
@click.option("--no", "number", help="Its out_request_no. [default: a new one]")
@click.option("--data", metavar="JSON|@FILE", help="Other fields as a JSON object; they come on top.")
@click.option("--dry-run", is_flag=True, help="Print the request, send nothing.")
@get_option
@config_option
def create(
    number: str | None, data: str | None, dry_run: bool, wanted: str | None, config: Path | None, **options: Any
) -> None:
    """Create a stock. Only MERCHANT_UPLOAD takes uploaded codes, and the mode can't be changed later."""
    number = number or new_number("stock")
    with Wechatpay.from_config(config) as wxpay:
        given = _merged(
            usual(wxpay.merchant.mchid, number, datetime.datetime.now(BEIJING), **options), json_object(data)
        )
        request: CreateStock = request_of(Stocks.post, given)
        if dry_run:
            show(given, wanted)
            return
        _say(request)
        try:
            show(wxpay.send(Stocks.post, request).data, wanted)
        except QuanmaError as error:
            name_number(error, "--no", number)
            raise


def usual(
    mchid: str,
    number: str,
    now: datetime.datetime,
    *,
    stock_name: str,
    max_coupons: int,
    goods_name: str,
    per_user: int,
    minus_fen: int | None,
    percent: int | None,
    price_fen: int | None,
    minimum_fen: int,
    days: int,
    coupon_code_mode: str,
    notify_appid: str | None,
) -> dict[str, Any]:
    """Return the request for a stock, with what is usual where nothing was said. The usual values are our choice.

    Raises:
        UsageError: more than one kind of discount.
    """
    kinds = [
        name
        for name, value in (("--minus", minus_fen), ("--percent", percent), ("--price", price_fen))
        if value is not None
    ]
    if len(kinds) > 1:
        raise click.UsageError(f"{' and '.join(kinds)}: a stock has one kind of discount")
    if percent is not None:
        stock_type, rule = (
            "DISCOUNT",
            {"discount_coupon": {"discount_percent": percent, "transaction_minimum": minimum_fen}},
        )
    elif price_fen is not None:
        stock_type, rule = (
            "EXCHANGE",
            {"exchange_coupon": {"exchange_price": price_fen, "transaction_minimum": minimum_fen}},
        )
    else:
        stock_type, rule = (
            "NORMAL",
            {"fixed_normal_coupon": {"discount_amount": minus_fen or 100, "transaction_minimum": minimum_fen}},
        )
    begins = now.replace(hour=0, minute=0, second=0, microsecond=0)
    ends = begins + datetime.timedelta(days=days, seconds=-1)
    given: dict[str, Any] = {
        "stock_name": stock_name,
        "belong_merchant": mchid,
        "goods_name": goods_name,
        "stock_type": stock_type,
        "coupon_use_rule": {
            "coupon_available_time": {
                "available_begin_time": begins.isoformat(),
                "available_end_time": ends.isoformat(),
            },
            "use_method": "OFF_LINE",
            **rule,
        },
        "stock_send_rule": {"max_coupons": max_coupons, "max_coupons_per_user": per_user},
        "out_request_no": number,
        "coupon_code_mode": coupon_code_mode,
    }
    return given | ({"notify_config": {"notify_appid": notify_appid}} if notify_appid else {})


def _merged(usual: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Own fields on top of the usual ones, in objects too."""
    merged = dict(usual)
    for name, value in own.items():
        before = merged.get(name)
        merged[name] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


def _say(request: CreateStock) -> None:
    """What is about to be made: half of it was not typed."""
    rule, times = request.coupon_use_rule, request.coupon_use_rule.coupon_available_time
    if rule.fixed_normal_coupon:
        gain = f"{rule.fixed_normal_coupon.discount_amount} fen off"
        least = rule.fixed_normal_coupon.transaction_minimum
    elif rule.discount_coupon:
        gain, least = f"pay {rule.discount_coupon.discount_percent} %", rule.discount_coupon.transaction_minimum
    elif rule.exchange_coupon:
        gain, least = f"for {rule.exchange_coupon.exchange_price} fen", rule.exchange_coupon.transaction_minimum
    else:
        gain, least = "no discount", 0
    tell(
        f"creating {request.stock_name}: {request.stock_type}, {gain} from {least} fen, "
        f"{request.stock_send_rule.max_coupons_per_user} a user, valid until {times.available_end_time}, "
        f"{request.coupon_code_mode}, out_request_no {request.out_request_no}",
        err=True,
    )


@stock.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@config_option
def list_(as_json: bool, config: Path | None) -> None:
    """List the merchant's stocks, the latest first. For a platform of quanma: WeChat Pay has no such call."""
    with Wechatpay.from_config(config) as wxpay:
        rows: list[Any] = []
        while True:
            page = asked(
                wxpay,
                OwnStocks.get,
                ListStocks(offset=len(rows), limit=PAGE),
                "show one by its number, with `quanma stock show ID`, or see the list at pay.weixin.qq.com",
            ).data
            rows += page
            if not page:
                break
    if as_json:
        show(rows)
        return
    for row in rows:
        click.echo(
            f"{row.stock_id}  {row.stock_state:<10}  {row.coupon_code_mode:<15}  {row.create_time}  {row.stock_name}"
        )
    if not rows:
        tell("no stock yet: `quanma stock create --name NAME --max N` makes one", err=True)


@stock.command("show")
@click.argument("stock_id", metavar="ID")
@get_option
@config_option
def show_(stock_id: str, wanted: str | None, config: Path | None) -> None:
    """Show a stock, its state, and how many codes it holds."""
    with Wechatpay.from_config(config) as wxpay:
        show(wxpay.send(StockNode.get, request_of(StockNode.get, {"stock_id": stock_id})).data, wanted)


def asked(wxpay: Wechatpay, operation: Operation[..., Any, Any, Any], request: Any, instead: str) -> Any:
    """Call what only a platform of quanma has.

    Raises:
        ClickException: it is another's; the message says what to do instead.
    """
    try:
        return wxpay.send(operation, request).data
    except ResourceNotExists:
        raise click.ClickException(
            f"{wxpay.merchant.base_url} has no {operation.path}, which is a call of quanma's own platform: {instead}"
        ) from None
