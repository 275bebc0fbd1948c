"""FastAPI: one client for the whole life of the application.  uvicorn fastapi_shop:app"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from kept import keep

from quanma import AsyncWechatpay
from quanma.errors import NotSent, OutcomeUnknown, QuanmaError, RequestRefused, SignatureInvalid, TryAgain
from quanma.events import Receiver

APPID, STOCK_ID = os.environ["APPID"], os.environ["STOCK_ID"]
receiver = Receiver.from_config()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with AsyncWechatpay.from_config() as wxpay:  # wrong settings end the start here
        app.state.coupons = wxpay.v3.marketing.busifavor.coupons
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/coupons")
async def issue(request: Request, openid: str, number: str) -> dict[str, Any]:
    sent = await request.app.state.coupons.send.post(
        stock_id=STOCK_ID, openid=openid, appid=APPID, out_request_no=number
    )
    return sent.to_dict()


@app.post("/coupons/{code}/use")
async def use(request: Request, code: str, number: str) -> dict[str, Any]:
    used = await request.app.state.coupons.use.post(
        coupon_code=code, stock_id=STOCK_ID, appid=APPID, use_time=datetime.now(UTC), use_request_no=number
    )
    return used.to_dict()


@app.post("/events")
async def events(request: Request) -> Response:
    try:
        event = receiver.receive(request.headers, await request.body())
    except SignatureInvalid:
        return Response(status_code=401)
    await asyncio.to_thread(keep, event)
    return Response(status_code=204)


@app.exception_handler(QuanmaError)
async def failed(request: Request, error: QuanmaError) -> JSONResponse:
    if isinstance(error, RequestRefused):
        return JSONResponse({"code": error.code}, 409)
    again = isinstance(error, TryAgain | NotSent | OutcomeUnknown)  # the caller asks again, under the same number
    return JSONResponse({"code": type(error).__name__}, 503 if again else 500)
