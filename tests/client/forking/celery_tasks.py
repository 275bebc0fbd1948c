"""Tasks as their authors write them, broker and results in a folder: the client is made before the pool forks."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from quanma import Wechatpay

STOCK_ID = os.environ["STOCK_ID"]
FOLDER = os.environ["BROKER_FOLDER"]
WXPAY = Wechatpay.from_config()
if os.environ.get("CALL_BEFORE_FORK"):
    WXPAY.v3.marketing.busifavor.stocks[STOCK_ID].get()
LOADED_BY = os.getpid()

app: Any = Celery("tasks", broker="filesystem://", backend=f"file://{FOLDER}/results")
app.conf.broker_transport_options = {
    "data_folder_in": f"{FOLDER}/queue",
    "data_folder_out": f"{FOLDER}/queue",
    "control_folder": f"{FOLDER}/control",
}


@app.task(name="issue")  # type: ignore[untyped-decorator]
def issue(number: str) -> str:
    """Issue a coupon, and tell its code, and whether this process was forked since the module was loaded."""
    sent = WXPAY.v3.marketing.busifavor.coupons.send.post(
        stock_id=STOCK_ID, openid="oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", out_request_no=number, appid="wx233544546545989"
    )
    forked = "forked" if os.getpid() != LOADED_BY else "not forked"
    return f"{sent.send_coupon_result.coupon_code} {forked}"
