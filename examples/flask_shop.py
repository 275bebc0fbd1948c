"""Flask: the client at the top of the module; a process makes its own connections.  gunicorn flask_shop:app"""

import os
from datetime import UTC, datetime
from typing import Any

from flask import Flask, request
from kept import keep

from quanma import Wechatpay
from quanma.errors import NotSent, OutcomeUnknown, QuanmaError, RequestRefused, SignatureInvalid, TryAgain
from quanma.events import Receiver

APPID, STOCK_ID = os.environ["APPID"], os.environ["STOCK_ID"]
wxpay = Wechatpay.from_config()
receiver = Receiver.from_config()
coupons = wxpay.v3.marketing.busifavor.coupons
app = Flask(__name__)


@app.post("/coupons")
def issue() -> dict[str, Any]:
    sent = coupons.send.post(
        stock_id=STOCK_ID, openid=request.args["openid"], appid=APPID, out_request_no=request.args["number"]
    )
    return sent.to_dict()


@app.post("/coupons/<code>/use")
def use(code: str) -> dict[str, Any]:
    used = coupons.use.post(
        coupon_code=code,
        stock_id=STOCK_ID,
        appid=APPID,
        use_time=datetime.now(UTC),
        use_request_no=request.args["number"],
    )
    return used.to_dict()


@app.post("/events")
def events() -> tuple[str, int]:
    try:
        event = receiver.receive(request.headers, request.get_data())
    except SignatureInvalid:
        return "", 401
    keep(event)
    return "", 204


@app.errorhandler(QuanmaError)
def failed(error: QuanmaError) -> tuple[dict[str, str], int]:
    if isinstance(error, RequestRefused):
        return {"code": error.code}, 409
    again = isinstance(error, TryAgain | NotSent | OutcomeUnknown)  # the caller asks again, under the same number
    return {"code": type(error).__name__}, 503 if again else 500
