"""With a frozen clock, the same seed and the same requests: the same bytes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from quanma.api.stocks import CreateStock
from quanma.client.config import Merchant
from quanma.errors import SignatureInvalid
from quanma.testing import Delivery, Sandbox
from quanma.wire.keys import PublicKey, load_verification_key
from quanma.wire.signature import KeyRing
from tests.support.callbacks import CallbackServer
from tests.support.platform import new_stock
from tests.support.sources import sources

NOW = "2026-11-24T00:00:00+08:00"
BUSIFAVOR = "/v3/marketing/busifavor"


def answer(sandbox: Sandbox, verb: str, path: str, body: str = "") -> tuple[str, bytes]:
    """Head and body, as they came."""
    connection = HTTPConnection("127.0.0.1", int(sandbox.url.rpartition(":")[2]), timeout=30)
    connection.request(
        verb, f"/_sandbox/as/1900000001{path}", body.encode() or None, {"Content-Type": "application/json"}
    )
    came = connection.getresponse()
    said = f"{came.status} {came.getheaders()}", came.read()
    connection.close()
    return said


def story(sandbox: Sandbox, stock: CreateStock, coupons: int = 5) -> list[tuple[str, bytes]]:
    said = [answer(sandbox, "POST", f"{BUSIFAVOR}/stocks", stock.to_json())]
    stock_id = said[0][1].decode().split('"stock_id":"')[1].split('"')[0]
    codes = ",".join(f'"CODE{number}"' for number in range(20))
    upload = f'{{"coupon_code_list":[{codes}],"upload_request_no":"u-1"}}'
    said.append(answer(sandbox, "POST", f"{BUSIFAVOR}/stocks/{stock_id}/couponcodes", upload))
    said += drawn(sandbox, stock_id, coupons)
    if coupons == 1:
        return said
    said.append(answer(sandbox, "GET", "/v3/certificates?explain=1"))
    said.append(answer(sandbox, "GET", "/v3/certificates"))
    return said


def drawn(sandbox: Sandbox, stock_id: str, count: int) -> list[tuple[str, bytes]]:
    return [
        answer(
            sandbox,
            "POST",
            f"{BUSIFAVOR}/coupons/send",
            f'{{"stock_id":"{stock_id}","openid":"user-{number}","appid":"wx233544546545989","out_request_no":"o-{number}"}}',
        )
        for number in range(count)
    ]


def frozen_stock(sandbox: Sandbox) -> CreateStock:
    sandbox.clock.freeze(NOW)
    return new_stock(
        "stock-1",
        coupon_use_rule={
            "coupon_available_time": {
                "available_begin_time": "2026-11-23T00:00:00+08:00",
                "available_end_time": "2027-05-01T00:00:00+08:00",
            },
            "use_method": "OFF_LINE",
            "fixed_normal_coupon": {"discount_amount": 100, "transaction_minimum": 1000},
        },
    )


def test_the_same_seed_and_requests_have_the_same_bytes(sandbox: Sandbox) -> None:
    first = story(sandbox, frozen_stock(sandbox))
    sandbox.reset()
    assert story(sandbox, frozen_stock(sandbox)) == first
    assert first[2][0].startswith("200")


def test_a_restored_snapshot_goes_on_with_the_same_bytes(sandbox: Sandbox) -> None:
    stock = frozen_stock(sandbox)
    stock_id = story(sandbox, stock)[0][1].decode().split('"stock_id":"')[1].split('"')[0]
    sandbox.snapshot("here")
    first = drawn(sandbox, stock_id, 12)
    sandbox.restore("here")
    assert drawn(sandbox, stock_id, 12) == first


@pytest.fixture(scope="module")
def receiver() -> Iterator[str]:
    server = CallbackServer(lambda headers, body: 204)
    yield server.url
    server.close()


def delivered(sandbox: Sandbox, receiver: str) -> list[Delivery]:
    stock = frozen_stock(sandbox)
    answer(sandbox, "POST", f"{BUSIFAVOR}/callbacks", f'{{"mchid":"1900000001","notify_url":"{receiver}"}}')
    story(sandbox, stock, coupons=1)
    return sandbox.callbacks.wait(count=1, status=204)


def test_events_have_the_same_bytes_too(sandbox: Sandbox, receiver: str) -> None:
    first = delivered(sandbox, receiver)
    sandbox.reset()
    again = delivered(sandbox, receiver)
    assert first == again
    assert len(first) == 1


@pytest.mark.parametrize("kind", ["duplicate", "late", "forged", "unknown_serial", "probe"])
def test_an_event_is_sent_again_in_each_way(sandbox: Sandbox, receiver: str, kind: str) -> None:
    (first,) = delivered(sandbox, receiver)
    (again,) = sandbox.callbacks.send(first.id, kind=kind)
    assert (again.kind, again.status, again.event, again.body) == (kind, 204, first.event, first.body)
    ring = KeyRing(load_keys(sandbox.merchant))
    believed = not isinstance(verified(ring, again, sandbox.clock()), SignatureInvalid)
    assert believed == (kind == "duplicate")


def load_keys(merchant: Merchant) -> dict[str, PublicKey]:
    return {name: load_verification_key(name, pem.encode()) for name, pem in merchant.platform_keys.items()}


def verified(ring: KeyRing, delivery: Delivery, now: float) -> SignatureInvalid | None:
    try:
        ring.verify(list(delivery.headers.items()), delivery.body.encode(), now)
    except SignatureInvalid as problem:
        return problem
    return None


def test_only_the_sandbox_lets_chance_be_foreseen() -> None:
    naming = {
        module
        for module, source in sources().items()
        for node in source.nodes
        if isinstance(node, ast.Attribute | ast.Name) and getattr(node, "attr", getattr(node, "id", "")) == "foresee"
    }
    assert naming == {"sandbox.app"}
