"""One Python client, calling the stub. `python -m benchmarks.caller CLIENT`, set up by $INTEROP; prints its time."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvloop
from wechatpayv3 import WeChatPay, WeChatPayType

from quanma import AsyncWechatpay, Wechatpay

WARM_UP = 50


def main() -> None:
    settings = json.loads(os.environ["INTEROP"])
    if sys.argv[1] == "quanma.AsyncWechatpay":
        uvloop.run(_call_async(settings))
    else:
        call = _quanma(settings) if sys.argv[1] == "quanma.Wechatpay" else _wechatpayv3(settings)
        _call_on_threads(call, settings)


def _call_on_threads(call: Callable[[int], Any], settings: dict[str, Any]) -> None:
    with ThreadPoolExecutor(settings["in_flight"]) as threads:
        list(threads.map(call, range(WARM_UP)))
        began = time.perf_counter(), time.process_time()
        list(threads.map(call, range(WARM_UP, WARM_UP + settings["calls"])))
        _tell(*began)


async def _call_async(settings: dict[str, Any]) -> None:
    async with AsyncWechatpay.from_config(settings["config"], base_url=settings["base_url"]) as wxpay:
        upload = wxpay.v3.marketing.busifavor.stocks._stock_id_.couponcodes.post

        async def calls(numbers: Any) -> None:
            for number in numbers:
                answer = await upload(
                    stock_id=settings["stock_id"], coupon_code_list=settings["codes"], upload_request_no=str(number)
                )
                assert answer.success_count == len(settings["codes"])

        await calls(range(WARM_UP))
        began = time.perf_counter(), time.process_time()
        numbers = iter(range(WARM_UP, WARM_UP + settings["calls"]))
        await asyncio.gather(*(calls(numbers) for _ in range(settings["in_flight"])))
        _tell(*began)


def _quanma(settings: dict[str, Any]) -> Callable[[int], None]:
    wxpay = Wechatpay.from_config(settings["config"], base_url=settings["base_url"])
    upload = wxpay.v3.marketing.busifavor.stocks._stock_id_.couponcodes.post

    def call(number: int) -> None:
        answer = upload(
            stock_id=settings["stock_id"], coupon_code_list=settings["codes"], upload_request_no=str(number)
        )
        assert answer.success_count == len(settings["codes"])

    return call


def wechatpayv3(settings: dict[str, Any]) -> WeChatPay:
    """The foreign client as its users have it, but for the address."""
    ((public_key_id, public_key),) = settings["platform_keys"].items()
    foreign = WeChatPay(
        WeChatPayType.MINIPROG,
        mchid=settings["mchid"],
        private_key=Path(settings["private_key"]).read_text(),
        cert_serial_no=settings["serial_no"],
        appid="wx233544546545989",
        apiv3_key=settings["apiv3_key"],
        public_key=Path(public_key).read_text(),
        public_key_id=public_key_id,
        timeout=(5, 20),
    )
    foreign._core._gate_way = settings["base_url"]
    return foreign


def _wechatpayv3(settings: dict[str, Any]) -> Callable[[int], None]:
    foreign = wechatpayv3(settings)

    def call(number: int) -> None:
        status, body = foreign.marketing_busifavor_couponcode_upload(
            settings["stock_id"], str(number), settings["codes"]
        )
        assert status == 200
        assert json.loads(body)["success_count"] == len(settings["codes"])

    return call


def _tell(began: float, began_cpu: float) -> None:
    took = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - began_cpu}
    print(json.dumps({"step": "called", "data": took}))


if __name__ == "__main__":
    main()
