"""Events of 商品券: a provider's and a brand's, each opened with its own key, and typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from quanma.client import config
from quanma.client.events import Receiver, Seen
from quanma.errors import EventUnreadable, KeyUnknown, Misconfigured, SignatureInvalid
from quanma.events import ProductCouponSent
from quanma.wire import sealed, signature
from quanma.wire.keys import load_private_key, load_ring, make_private_key, public_pem
from quanma.wire.signature import KeyRing
from tests.support.every import every_row

NOW, NONCE = 1_700_000_000, "a" * 32
PROVIDER_KEY, BRAND_KEY = "p" * 32, "b" * 32
OURS, BRANDS = load_private_key(make_private_key(), "ours"), load_private_key(make_private_key(), "brands")
PROVIDER_NAME, BRAND_NAME = "PUB_KEY_ID_01", "PUB_KEY_ID_02"
SENT: dict[str, Any] = {
    "coupon_code": "Code_1",
    "product_coupon_id": "1000000013",
    "stock_id": "1000000013001",
    "appid": "wx233544546545989",
    "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    "receive_time": "2025-01-01T00:00+08:00",
    "send_request_no": "SEND_0001",
    "send_channel": "OF_TOMORROW",
    "valid_begin_time": "2025-01-01T00:00:00+08:00",
    "valid_end_time": "2025-02-01T00:00:00+08:00",
    "brand_id": "120344",
    "new": {"a": 1},
}


def ring(name: str, key: Any) -> KeyRing:
    return load_ring({name: public_pem(key)})


def receiver() -> Receiver:
    return Receiver(ring(PROVIDER_NAME, OURS), PROVIDER_KEY, lambda: NOW, brand=(ring(BRAND_NAME, BRANDS), BRAND_KEY))


def delivered(
    event_type: str, *, brand: bool = False, content: dict[str, Any] = SENT, key: str | None = None
) -> tuple[dict[str, str], bytes]:
    """As the platform posts it: a provider's associated data has 17 bytes."""
    associated = "product_coupon" if brand else "product_coupon_sp"
    resource = {
        "original_type": "coupon",
        "algorithm": "AEAD_AES_256_GCM",
        "nonce": "fdasflkja484",
        "associated_data": associated,
        "ciphertext": sealed.seal(
            key or (BRAND_KEY if brand else PROVIDER_KEY), "fdasflkja484", associated, msgspec.json.encode(content)
        ),
    }
    body = json.dumps(
        {
            "id": "EV-1",
            "create_time": "2025-01-01T00:00:00+08:00",
            "resource_type": "encrypt-resource",
            "event_type": event_type,
            "summary": "商品券领券通知",
            "resource": resource,
        }
    ).encode()
    message = signature.answer_message(str(NOW), NONCE, body)
    return {
        "Wechatpay-Timestamp": str(NOW),
        "Wechatpay-Nonce": NONCE,
        "Wechatpay-Serial": BRAND_NAME if brand else PROVIDER_NAME,
        "Wechatpay-Signature": signature.sign(BRANDS if brand else OURS, message),
        "Wechatpay-Signature-Type": signature.BRAND_SCHEME if brand else signature.SCHEME,
    }, body


@every_row(("event_type", "brand"), [("PRODUCT_COUPON_SP.SEND", False), ("PRODUCT_COUPON.SEND", True)])
def test_a_send_is_opened_with_the_callers_own_key_and_typed(event_type: str, brand: bool) -> None:
    event = receiver().receive(*delivered(event_type, brand=brand))
    assert event.event_type == event_type
    assert isinstance(event.content, ProductCouponSent)
    assert event.content.to_dict() == {name: value for name, value in SENT.items() if name != "new"}


@every_row("event_type", ["PRODUCT_COUPON.USE", "PRODUCT_COUPON.RETURN", "PRODUCT_COUPON_SP.IMAGE_GENERATION"])
def test_another_event_is_a_plain_object_if_it_comes(event_type: str) -> None:
    assert receiver().receive(*delivered(event_type, brand=True)).content == SENT


def test_a_brand_alone_needs_no_merchant() -> None:
    alone = Receiver(ring(BRAND_NAME, BRANDS), BRAND_KEY, lambda: NOW)
    assert alone.receive(*delivered("PRODUCT_COUPON.SEND", brand=True)).id == "EV-1"
    with pytest.raises(KeyUnknown):
        alone.receive(*delivered("PRODUCT_COUPON_SP.SEND"))


def test_a_brands_event_does_not_open_with_the_providers_key() -> None:
    with pytest.raises(SignatureInvalid, match="does not open"):
        receiver().receive(*delivered("PRODUCT_COUPON.SEND", brand=True, key=PROVIDER_KEY))


@every_row("field", ["coupon_code", "product_coupon_id", "stock_id"])
def test_a_send_that_lacks_what_confirming_needs_is_unreadable(field: str) -> None:
    without = {name: value for name, value in SENT.items() if name != field}
    with pytest.raises(EventUnreadable, match=f"no {field}"):
        receiver().receive(*delivered("PRODUCT_COUPON.SEND", brand=True, content=without))


def test_two_ids_of_one_send_are_the_same_event() -> None:
    event, seen = receiver().receive(*delivered("PRODUCT_COUPON_SP.SEND")), Seen()
    seen.add(event)
    assert seen.known(event._replace(id="EV-2"))


def test_a_receiver_is_made_of_a_brands_settings_and_says_which_key_is_missing(tmp_path: Path) -> None:
    (tmp_path / "pub_key.pem").write_bytes(public_pem(BRANDS))
    key = tmp_path / "apiclient_key.pem"
    key.write_bytes(make_private_key())
    key.chmod(0o600)
    file = tmp_path / "quanma.toml"
    lines = ["[brand]", 'brand_id = "120344"', 'serial_no = "3493DE0D"', 'private_key = "apiclient_key.pem"']
    keys = ["[brand.platform_keys]", f'"{BRAND_NAME}" = "pub_key.pem"']
    file.write_text("\n".join([*lines, *keys]))
    with pytest.raises(Misconfigured, match=r"brand_key, and \[brand\] has none: add it"):
        Receiver.from_config(file)
    file.write_text("\n".join([*lines, f'brand_key = "{BRAND_KEY}"', *keys]))
    file.chmod(0o600)
    assert BRAND_NAME in repr(Receiver.from_config(file))
    assert config.load_both(file).merchant is None
