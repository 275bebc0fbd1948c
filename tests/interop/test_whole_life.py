"""Every operation, played by a foreign client, unmodified, against `quanma serve`: what docs/*/interop.md tell.

`make generate` writes that table from a run of this file; an ordinary run compares with it.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path
from queue import Queue
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
import pytest
from wechatpayv3 import WeChatPay, WeChatPayType

from quanma.api.couponcodes import CouponCodeNode
from quanma.events import CouponSent, Receiver
from tests.interop.merchant import CODES, OPENID, MerchantFiles, merchant_files, now_rfc3339
from tests.interop.test_node_client import NODE, WITHOUT_NODE, config, run
from tests.support.answered import ANSWERED
from tests.support.platform import APPID, MCHID, Served, merchant_config, new_stock, served
from tools.interop_table import RESULTS, TABLES, Played, columns

pytestmark = [pytest.mark.both_back_ends, pytest.mark.interop, pytest.mark.slow]

PRODUCT = {"brand_id": "120344", "product_coupon_id": "1000000013", "stock_id": "1000000013001"}
# A dot of one pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Delivery(NamedTuple):
    headers: dict[str, str]
    body: bytes


class Mailbox:
    """A callback address that takes every event as it came."""

    def __init__(self) -> None:
        self.deliveries: Queue[Delivery] = Queue()
        deliveries = self.deliveries

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                deliveries.put(Delivery(dict(self.headers.items()), body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/events"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    yield box
    box.close()


@pytest.fixture
def shop(world: Path, database: str) -> Iterator[Served]:
    """A platform with a 商品券 stock, that posts events to this machine too."""
    path = world / "platform.toml"
    product = "".join(f'{name} = "{value}"\n' for name, value in PRODUCT.items())
    path.write_text(
        f"allow_private_callbacks = true\n{path.read_text()}\n[[product_coupon_stocks]]\n"
        f'mchid = "{MCHID}"\n{product}'
        'available_begin_time = "2026-01-01T00:00:00+08:00"\navailable_end_time = "2026-12-31T23:59:59+08:00"\n'
    )
    with served(world, "--database", database) as running:
        yield running


@pytest.mark.skipif(bool(WITHOUT_NODE), reason=f"no Node client: {WITHOUT_NODE}")
def test_the_node_client_plays_every_operation_by_its_path(shop: Served, mailbox: Mailbox) -> None:
    picture = shop.world / "logo.png"
    picture.write_bytes(PNG)
    told = run(
        "life.mjs",
        config(shop, "public key"),
        notify_url=mailbox.url,
        picture=str(picture),
        product=PRODUCT,
        stock=msgspec.to_builtins(new_stock("a whole life of Node's", max_coupons=100)),
        use_time=now_rfc3339(),
    )["answered"]
    played = [Played(operation_of(one["method"], one["path"]), one["status"]) for one in told]
    assert {one.operation for one in played} == {f"{operation.verb} {operation.path}" for operation in ANSWERED}
    assert all(one.status in (200, 204) for one in played)
    data = {one["path"].partition("?")[0].removeprefix("/v3/"): one["data"] for one in told}
    assert data["security/echo"] == {"echo_message": "券"}
    assert data["marketing/busifavor/product-coupons/pre-send"]["token"]
    # Two coupons were given out, and the merchant was told of both; of one twice, perhaps.
    receiver = Receiver.from_config(merchant_config(shop.world))
    told_of: set[str] = set()
    while len(told_of) < 2:
        event = receiver.receive(*mailbox.deliveries.get(timeout=20))
        assert isinstance(event.content, CouponSent)
        told_of.add(event.content.coupon_code)
    assert told_of == {
        data["marketing/busifavor/coupons/send"]["send_coupon_result"]["coupon_code"],
        data["marketing/busifavor/product-coupons/send"]["coupon_code"],
    }
    package = json.loads((NODE / "package.json").read_text())
    compare("wechatpay-axios-plugin", package["dependencies"]["wechatpay-axios-plugin"], played)


@pytest.mark.skipif(bool(WITHOUT_NODE), reason=f"no Node client: {WITHOUT_NODE}")
def test_wechatpay_node_v3_plays_every_operation_but_the_one_that_it_signs_wrongly(
    shop: Served, mailbox: Mailbox
) -> None:
    picture = shop.world / "logo.png"
    picture.write_bytes(PNG)
    files = merchant_files(shop.world)
    steps = run(
        "lifepay.mjs",
        config(shop, "certificate"),
        certificate=str(files.private_key.parent / "apiclient_cert.pem"),
        notify_url=mailbox.url,
        picture=str(picture),
        product=PRODUCT,
        stock=msgspec.to_builtins(new_stock("a whole life of Pay's", max_coupons=100)),
        use_time=now_rfc3339(),
    )
    assert steps["certificates"] == [[files.certificate_serial_no]]
    assert steps["opened"] == ["13800138000"]
    told = steps["answered"]
    played = [Played(operation_of(one["method"], one["path"]), one["status"]) for one in told]
    assert {one.operation for one in played} == {f"{operation.verb} {operation.path}" for operation in ANSWERED}
    # It leaves the last line out of what it signs, if a request has no body and is no GET.
    deleted = f"{CouponCodeNode.delete.verb} {CouponCodeNode.delete.path}"
    assert all(one.status == 401 if one.operation == deleted else one.status in (200, 204) for one in played)
    shown = [one["data"]["code_information"]["code"] for one in told if "code_information" in (one["data"] or {})]
    assert shown == list(CODES)
    package = json.loads((NODE / "package.json").read_text())
    compare("wechatpay-node-v3", package["dependencies"]["wechatpay-node-v3"], played)


def test_the_python_client_plays_its_seventeen_operations(shop: Served, mailbox: Mailbox) -> None:
    heard = Heard()
    foreign = client(shop, logger=heard.logger)
    use_time = now_rfc3339()
    stock_fields = msgspec.to_builtins(new_stock("a whole life of Python's", max_coupons=100))

    answered(foreign.marketing_busifavor_callback_update(notify_url=mailbox.url))
    assert answered(foreign.marketing_busifavor_callback_query())["notify_url"] == mailbox.url
    stock_id = answered(foreign.marketing_busifavor_stock_create(**stock_fields))["stock_id"]
    status, _ = foreign.marketing_busifavor_stock_modify(stock_id, "python-modify-1", comment="活动使用")
    assert status == 204
    budget = foreign.marketing_busifavor_stock_budget(
        stock_id, "python-budget-1", target_max_coupons=200, current_max_coupons=100
    )
    assert answered(budget)["max_coupons"] == 200
    stock = answered(foreign.marketing_busifavor_stock_query(stock_id))
    assert (stock["comment"], stock["stock_send_rule"]["max_coupons"]) == ("活动使用", 200)
    uploaded = foreign.marketing_busifavor_couponcode_upload(stock_id, "python-upload-1", list(CODES))
    assert answered(uploaded)["success_codes"] == list(CODES)

    with shop.wechatpay() as wxpay:  # It has no function that gives a coupon out.
        sent = wxpay.v3.marketing.busifavor.coupons.send.post(
            stock_id=stock_id, openid=OPENID, appid=APPID, out_request_no="python-send-1"
        )
    coupon_code = sent.send_coupon_result.coupon_code
    listed = answered(foreign.marketing_busifavor_user_coupon(OPENID, stock_id=stock_id, creator_merchant=MCHID))
    assert [coupon["coupon_code"] for coupon in listed["data"]] == [coupon_code]
    order = {"stock_id": stock_id, "coupon_code": coupon_code, "out_trade_no": "MCH_102233445"}
    answered(foreign.marketing_busifavor_coupon_associate(**order, out_request_no="python-associate-1"))
    answered(foreign.marketing_busifavor_coupon_disassociate(**order, out_request_no="python-disassociate-1"))
    answered(foreign.marketing_busifavor_coupon_use(coupon_code, use_time, "python-use-1", stock_id))
    assert state(foreign, coupon_code) == "USED"
    subsidy = foreign.marketing_busifavor_subsidy_pay(
        stock_id=stock_id,
        coupon_code=coupon_code,
        transaction_id="4200000913202101152566792388",
        payer_merchant=MCHID,
        payee_merchant=MCHID,
        amount=100,
        description="20210115DESCRIPTION",
        out_subsidy_no="python-subsidy-1",
    )
    receipt_id = answered(subsidy)["subsidy_receipt_id"]
    assert answered(foreign.marketing_busifavor_subsidy_query(receipt_id))["amount"] == 100
    answered(foreign.marketing_busifavor_coupon_return(coupon_code, stock_id, "python-return-1"))
    assert state(foreign, coupon_code) == "SENDED"
    answered(foreign.marketing_busifavor_coupon_deactivate(coupon_code, stock_id, "python-deactivate-1", "用错了"))
    assert state(foreign, coupon_code) == "DEACTIVATED"
    card = foreign.marketing_card_send("pIJMr5MMiIkO_93VtPyIiEk2DZ4w", OPENID, "python-card-1", use_time)
    assert answered(card)["card_code"]

    played = heard.played()
    assert len({one.operation for one in played}) == 17
    picture = shop.world / "logo.png"
    picture.write_bytes(PNG)
    # Its Content-Type names no boundary, so there are no parts to find what was signed in.
    status, refusal = foreign.marketing_image_upload(str(picture))
    assert (status, json.loads(refusal)["code"]) == (401, "SIGN_ERROR")
    compare("wechatpayv3", version("wechatpayv3"), heard.played())


def test_the_python_client_opens_our_callback(shop: Served, mailbox: Mailbox) -> None:
    with shop.wechatpay() as wxpay:
        busifavor = wxpay.v3.marketing.busifavor
        busifavor.callbacks.post(notify_url=mailbox.url)
        stock_id = busifavor.stocks.post(
            msgspec.to_builtins(new_stock("with events", notify_config={"notify_appid": APPID}))
        ).stock_id
        busifavor.stocks[stock_id].couponcodes.post(coupon_code_list=["ABC9588200"], upload_request_no="1")
        busifavor.coupons.send.post(stock_id=stock_id, openid=OPENID, appid=APPID, out_request_no="1")
    delivery = mailbox.deliveries.get(timeout=20)
    foreign = client(shop)
    # As Flask hands headers over, FastAPI, and Django.
    as_django = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in delivery.headers.items()}
    for headers in ({name.title(): value for name, value in delivery.headers.items()}, delivery.headers, as_django):
        event: Any = foreign.callback(headers, delivery.body)
        assert event["event_type"] == "COUPON.SEND"
        assert event["resource"]["event_type"] == "EVENT_TYPE_BUSICOUPON_SEND"
        assert event["resource"]["coupon_code"] == "ABC9588200"
        assert event["resource"]["stock_id"] == stock_id
        assert event["resource"]["openid"] == OPENID
    forged = delivery.body.replace(b"COUPON.SEND", b"COUPON.SENT")
    assert foreign.callback(delivery.headers, forged) is None


class Heard:
    """What wechatpayv3 asked and was answered, as it tells its own logger."""

    def __init__(self) -> None:
        self.logger = logging.getLogger("wechatpayv3 heard")
        self.logger.setLevel(logging.DEBUG)
        self.logger.propagate = False
        self._told: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: self._told.append(record.getMessage())  # type: ignore[method-assign]
        self.logger.handlers = [handler]

    def played(self) -> list[Played]:
        def told(what: str) -> list[str]:
            return [line.removeprefix(what) for line in self._told if line.startswith(what)]

        asked = zip(told("Request type: "), told("Request url: "), strict=True)
        return [
            Played(operation_of(verb, re.sub(r"^http://[^/]+", "", url)), int(status))
            for (verb, url), status in zip(asked, told("Response status code: "), strict=True)
        ]


def operation_of(verb: str, target: str) -> str:
    """Which declared operation a request was: the one without a variable first, where two paths fit."""
    path = target.partition("?")[0]
    fitting = [
        operation
        for operation in ANSWERED
        if operation.verb == verb and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", operation.path), path)
    ]
    found = min(fitting, key=lambda operation: operation.path.count("{"))
    return f"{found.verb} {found.path}"


def compare(client_name: str, client_version: str, played: list[Played]) -> None:
    """With the table in the docs; or write results down for the one that is being made."""
    if results := os.environ.get(RESULTS):
        with Path(results).open("a") as file:
            file.write(json.dumps({"client": client_name, "version": client_version, "played": played}) + "\n")
    else:
        for page in TABLES:
            told = columns(page.read_text("utf-8"))[f"`{client_name}` {client_version}"]
            assert told == dict(played), f"{page.name}: run `make generate`"


def client(shop: Served, **options: Any) -> WeChatPay:
    files: MerchantFiles = merchant_files(shop.world)
    foreign = WeChatPay(
        WeChatPayType.MINIPROG,
        mchid=MCHID,
        private_key=files.private_key.read_text(),
        cert_serial_no=files.serial_no,
        appid=APPID,
        apiv3_key=files.apiv3_key,
        public_key=files.public_key.read_text(),
        public_key_id=files.public_key_id,
        timeout=(5, 20),
        **options,
    )
    foreign._core._gate_way = shop.url
    return foreign


def state(foreign: WeChatPay, coupon_code: str) -> Any:
    # It puts a path variable in as it stands, so a slash has to be escaped by its user.
    return answered(foreign.marketing_busifavor_coupon_detail(quote(coupon_code, safe=""), OPENID))["coupon_state"]


def answered(answer: tuple[int, str]) -> Any:
    status, body = answer
    assert status == 200, body
    return json.loads(body)
