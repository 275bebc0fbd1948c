"""Celery: a task that is tried again under its own number.  celery -A celery_shop worker"""

import os
from typing import Any

from celery import Celery

from quanma import Wechatpay
from quanma.errors import NotSent, OutcomeUnknown, TryAgain

APPID, STOCK_ID = os.environ["APPID"], os.environ["STOCK_ID"]
wxpay = Wechatpay.from_config()  # before the fork: each process of the pool connects by itself
app = Celery("shop", broker="redis://localhost/0", backend="redis://localhost/1")
app.conf.task_acks_late = True  # a task whose worker was lost comes again; its number makes that harmless


@app.task(autoretry_for=(TryAgain, NotSent, OutcomeUnknown), retry_backoff=True, retry_backoff_max=60, max_retries=20)
def issue(openid: str, number: str) -> dict[str, Any]:
    """Give a coupon. The number comes with the task, so each try, after a lost worker too, is the same request."""
    sent = wxpay.v3.marketing.busifavor.coupons.send.post(
        stock_id=STOCK_ID, openid=openid, appid=APPID, out_request_no=number
    )
    return sent.to_dict()
