"""The client on either library: the same calls over real sockets, sync and async. One can be left for the other."""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from quanma import AsyncWechatpay, Wechatpay
from quanma.client import config
from quanma.client.network import AsyncPyreqwestTransport, PyreqwestTransport
from quanma.client.stdlib_transport import AsyncStdlibTransport, StdlibTransport
from quanma.errors import RequestInvalid, ResourceNotExists
from tests.support.platform import APPID, Served, merchant_config, new_stock

pytestmark = pytest.mark.slow

TRANSPORTS: dict[str, Callable[[], Any]] = {
    "sync, pyreqwest": lambda: PyreqwestTransport(None),
    "sync, stdlib": lambda: StdlibTransport(None),
    "async, pyreqwest": lambda: AsyncPyreqwestTransport(None),
    "async, stdlib": lambda: AsyncStdlibTransport(None),
}
PICTURE = bytes(range(256)) * 40


class Calling:
    """One client, sync or async, whose calls are awaited either way."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def __call__(self, call: Callable[..., Any], *arguments: Any, **fields: Any) -> Any:
        if inspect.isawaitable(answer := call(*arguments, **fields)):
            return await answer
        return answer


@asynccontextmanager
async def calling(transport: Any, world: Path, url: str) -> AsyncGenerator[Calling]:
    merchant = config.load(merchant_config(world), base_url=url)
    if inspect.iscoroutinefunction(transport.send):
        async with AsyncWechatpay(merchant, transport=transport) as client:
            yield Calling(client)
    else:
        with Wechatpay(merchant, transport=transport) as client:
            yield Calling(client)


Story = Callable[[Calling], Any]


def on_each(story: Story) -> Any:
    """A test of a story, once for each transport."""

    @pytest.mark.parametrize("make", TRANSPORTS.values(), ids=TRANSPORTS)
    def test(served: Served, make: Callable[[], Any]) -> None:
        async def told() -> None:
            async with calling(make(), served.world, served.url) as call:
                await story(call)

        asyncio.run(told())

    test.__doc__ = story.__doc__
    return test


async def create(call: Calling) -> str:
    stock = new_stock(secrets.token_hex(8))
    fields = {name: value for name in stock.__struct_fields__ if (value := getattr(stock, name)) is not None}
    created = await call(call.client.v3.marketing.busifavor.stocks.post, **fields)
    return str(created.stock_id)


@on_each
async def test_codes_are_uploaded_listed_and_drawn(call: Calling) -> None:
    stock_id = await create(call)
    busifavor = call.client.v3.marketing.busifavor
    codes = busifavor.stocks[stock_id].couponcodes
    first = await call(codes.post, coupon_code_list=["A1", "A/2"], upload_request_no="n1")
    again = await call(codes.post, {"coupon_code_list": ["A1", "A/2"], "upload_request_no": "n1"})
    listed = await call(codes.get, limit=5)
    one = await call(codes._coupon_code_.get, coupon_code="A/2")
    drawn = await call(
        busifavor.coupons.send.post, openid="user-1", appid=APPID, stock_id=stock_id, out_request_no="draw-1"
    )
    assert first.success_codes == ["A1", "A/2"]
    assert again == first
    assert listed.total_count == 2
    assert one.code_information.code == "A/2"
    assert drawn.send_coupon_result.coupon_code in ("A1", "A/2")


@on_each
async def test_a_refusal_comes_with_its_request_id_and_its_signature_checked(call: Calling) -> None:
    with pytest.raises(ResourceNotExists) as refused:
        await call(call.client.v3.marketing.busifavor.stocks["404"].get)
    assert refused.value.verified
    assert refused.value.request_id


@on_each
async def test_an_answer_is_told_whole(call: Calling) -> None:
    stock_id = await create(call)
    answer = await call(call.client.v3.marketing.busifavor.stocks[stock_id].get.raw)
    assert (answer.status_code, answer.data.stock_id) == (200, stock_id)
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


@on_each
async def test_a_path_that_is_not_declared_is_called(call: Calling) -> None:
    stock_id = await create(call)
    chain = call.client.chain("v3/marketing/busifavor/stocks/{stock_id}/couponcodes")
    body = {"coupon_code_list": ["A/1"], "upload_request_no": "n1"}
    assert (await call(chain.post, body, stock_id=stock_id))["success_codes"] == ["A/1"]
    assert (await call(chain.get, stock_id=stock_id, limit=5))["total_count"] == 1


@on_each
async def test_a_picture_and_a_long_list_go_through(call: Calling) -> None:
    stock_id = await create(call)
    uploaded = await call(call.client.v3.marketing.favor.media.image_upload.post, file=PICTURE, filename="coffee.png")
    codes = [f"LONG{number:028}" for number in range(200)]
    answer = await call(
        call.client.v3.marketing.busifavor.stocks[stock_id].couponcodes.post,
        coupon_code_list=codes,
        upload_request_no="n1",
    )
    assert uploaded.media_url
    assert answer.success_codes == codes


@on_each
async def test_what_breaks_its_declaration_is_not_sent(call: Calling) -> None:
    with pytest.raises(RequestInvalid):
        await call(call.client.v3.marketing.busifavor.stocks[""].couponcodes.post, coupon_code_list=["A1"])
