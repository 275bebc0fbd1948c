"""`quanma send` and `quanma use`: one coupon to one user, and used, from a few options: for a try-out, or by hand."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from ..api.coupons import Send, Use
from ..client.client import Wechatpay
from ..errors import QuanmaError
from .api import request_of
from .connection import TRY_APPID, TRY_OPENID, config_option, for_a_try, name_number, new_number
from .picking import get_option, show
from .stock import BEIJING


@click.command()
@click.option("--stock", "stock_id", required=True, help="The stock: its stock_id.")
@click.option("--openid", help="The user. [default on a local platform: a made-up one]")
@click.option("--appid", help="The openid's appid. [default on a local platform: a made-up one]")
@click.option("--no", "number", help="Its out_request_no. [default: a new one, so a new coupon]")
@click.option("--code", "coupon_code", help="The code, for a MERCHANT_API stock only.")
@get_option
@config_option
def send(
    stock_id: str,
    openid: str | None,
    appid: str | None,
    number: str | None,
    coupon_code: str | None,
    wanted: str | None,
    config: Path | None,
) -> None:
    """Give a user one coupon of a stock. Of uploaded codes, the platform draws one."""
    number = number or new_number("send")
    with Wechatpay.from_config(config) as wxpay:
        fields = {
            "stock_id": stock_id,
            "openid": for_a_try(wxpay, "--openid", openid, TRY_OPENID),
            "appid": for_a_try(wxpay, "--appid", appid, TRY_APPID),
            "out_request_no": number,
        }
        request = request_of(Send.post, fields | ({"coupon_code": coupon_code} if coupon_code else {}))
        try:
            show(wxpay.send(Send.post, request).data, wanted)
        except QuanmaError as error:
            name_number(error, "--no", number)
            raise


@click.command()
@click.argument("coupon_code", metavar="CODE")
@click.option("--stock", "stock_id", required=True, help="Its stock: a code is unique in one stock only.")
@click.option("--appid", help="An appid of the merchant. [default on a local platform: a made-up one]")
@click.option("--openid", help="The user: another one's coupon is refused then.")
@click.option("--no", "number", help="Its use_request_no. [default: a new one]")
@click.option("--time", "use_time", help="When it was used, like 2026-11-24T10:00:00+08:00. [default: now]")
@get_option
@config_option
def use(
    coupon_code: str,
    stock_id: str,
    appid: str | None,
    openid: str | None,
    number: str | None,
    use_time: str | None,
    wanted: str | None,
    config: Path | None,
) -> None:
    """Use (核销) a coupon. Once: under another number, it is refused as used."""
    number = number or new_number("use")
    with Wechatpay.from_config(config) as wxpay:
        fields = {
            "coupon_code": coupon_code,
            "stock_id": stock_id,
            "appid": for_a_try(wxpay, "--appid", appid, TRY_APPID),
            "use_time": use_time or datetime.datetime.now(BEIJING).isoformat(timespec="seconds"),
            "use_request_no": number,
        }
        request = request_of(Use.post, fields | ({"openid": openid} if openid else {}))
        try:
            show(wxpay.send(Use.post, request).data, wanted)
        except QuanmaError as error:
            name_number(error, "--no", number)
            raise
