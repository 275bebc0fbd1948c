"""Events of 商品券 out of the outbox: under the provider's or the brand's own key, opened by our own receiver."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from quanma.api.productcoupon.events import ProductCouponSent
from quanma.client import config
from quanma.client.events import Receiver
from quanma.platform.coupons.draws import Issue
from quanma.platform.coupons.product.changes import Caller, Rules
from quanma.platform.coupons.product.objects import CHANGES
from quanma.platform.keys.environment import make_environment
from quanma.wire.keys import load_ring
from tests.contract.driver import NOW
from tests.support.delivering import Delivering
from tests.support.platform import APPID, MCHID
from tests.support.postgres import Databases
from tests.support.productcoupons import new_single

BRAND_ID = "120344"
PROVIDER, BRAND = Caller(MCHID, BRAND_ID), Caller(f"brand:{BRAND_ID}", BRAND_ID)

pytestmark = pytest.mark.both_back_ends


@pytest.fixture
def delivering(tmp_path: Path, back_end: str, request: pytest.FixtureRequest) -> Iterator[Delivering]:
    world = tmp_path / "world"
    make_environment(world, port=8460, mchids=[MCHID], brands=[BRAND_ID], now=datetime.datetime.now(datetime.UTC))
    databases: Databases | None = None if back_end == "sqlite" else request.getfixturevalue("databases")
    url = databases.fresh() if databases else None
    with contextlib.closing(Delivering(world, url)) as running:
        yield running
    if databases and url:
        databases.drop(url)


def send(delivering: Delivering, caller: Caller) -> Any:
    """Send a coupon of a new product coupon. Its events go to an address of their own."""
    pool, run = delivering.pool, delivering.platform.run
    address = f"http://127.0.0.1:{delivering.port}/product"
    run(pool.set_callback(f"product-coupon/{caller.mchid}", f"product-coupon/{caller.mchid}", address, NOW))
    change = CHANGES[0]
    body = {**new_single("WECHATPAY"), "out_request_no": "create_1"}
    made = run(pool.change_product(caller, change, msgspec.convert(body, change.called.request), NOW, Rules()))
    product = caller.product(made.product_coupon_id)
    issue = Issue(made.stock.stock_id, "oUser1", APPID, "send_1", None, caller.mchid, "API", "", product)
    return run(pool.give(caller, [issue], NOW)).held[0].coupon


def receiver(delivering: Delivering, brand: bool) -> Receiver:
    if brand:
        settings = config.load_brand(delivering.world / "brands" / BRAND_ID / "quanma.toml")
        assert settings is not None
        ring = load_ring({name: pem.encode() for name, pem in settings.platform_keys.items()})
        return Receiver(ring, settings.brand_key or "", lambda: delivering.now)
    return delivering.receiver(delivering.now)


@pytest.mark.parametrize("who", ["provider", "brand"])
def test_the_event_is_sealed_for_who_made_the_stock_and_for_nobody_else(delivering: Delivering, who: str) -> None:
    caller, by_brand = (BRAND, True) if who == "brand" else (PROVIDER, False)
    coupon = send(delivering, caller)

    assert delivering.deliver() == 1

    (posted,) = delivering.posted
    event = receiver(delivering, by_brand).receive(posted.headers, posted.body)
    content = event.content
    assert isinstance(content, ProductCouponSent)
    assert posted.path == "/product"
    assert event.event_type == ("PRODUCT_COUPON.SEND" if by_brand else "PRODUCT_COUPON_SP.SEND")
    assert (content.coupon_code, content.stock_id, content.openid) == (coupon.coupon_code, coupon.stock_id, "oUser1")
    assert content.brand_id == (None if by_brand else BRAND_ID)
    resource = json.loads(posted.body)["resource"]
    assert resource["associated_data"] == ("product_coupon" if by_brand else "product_coupon_sp")
    headers = {name.lower(): value for name, value in posted.headers}
    scheme = "WECHATPAY-BRAND-SHA256-RSA2048" if by_brand else "WECHATPAY2-SHA256-RSA2048"
    assert headers["wechatpay-signature-type"] == scheme


def test_both_products_of_a_provider_have_their_own_address(delivering: Delivering) -> None:
    send(delivering, PROVIDER)
    delivering.send(delivering.stock())

    assert delivering.deliver() == 2

    assert sorted((one.path, json.loads(one.body)["event_type"]) for one in delivering.posted) == [
        ("/notify", "COUPON.SEND"),
        ("/product", "PRODUCT_COUPON_SP.SEND"),
    ]
    assert delivering.deliver() == 0
