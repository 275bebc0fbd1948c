"""An application as its authors write it: the client is made when the module is loaded, so before a server forks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from quanma import Wechatpay

STOCK_ID = os.environ["STOCK_ID"]
WXPAY = Wechatpay.from_config()
if os.environ.get("CALL_BEFORE_FORK"):
    WXPAY.v3.marketing.busifavor.stocks[STOCK_ID].get()
LOADED_BY = os.getpid()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Issue a coupon under the number in the query; tell its code, and whether this process was forked since."""
    number = environ["QUERY_STRING"]
    sent = WXPAY.v3.marketing.busifavor.coupons.send.post(
        stock_id=STOCK_ID, openid="oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", out_request_no=number, appid="wx233544546545989"
    )
    forked = "forked" if os.getpid() != LOADED_BY else "not forked"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{sent.send_coupon_result.coupon_code} {forked}".encode()]
