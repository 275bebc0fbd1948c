"""Receiving events: any framework's headers, what is believed, what is refused, and which came before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from wsgiref.headers import Headers

import pytest

import quanma.events
from quanma.client.events import BODY_BYTES_MAX, Event, Receiver, Seen
from quanma.errors import ClockSkewed, KeyUnknown, Misconfigured, SignatureInvalid
from quanma.events import CouponSent
from quanma.wire import sealed
from tests.support.deliveries import APIV3_KEY, NOW, SENT, event_body, receiver, signing_headers
from tests.support.platform import merchant_config

BODY = event_body()
SIGNED = signing_headers(BODY)


def test_an_event_is_verified_opened_and_typed() -> None:
    event = receiver().receive(SIGNED, BODY)
    assert event == Event(
        id="8b33f79f-8869-5ae5-b41b-3c0b59f957d0",
        event_type="COUPON.SEND",
        create_time="2019-12-12T16:54:38+08:00",
        content=CouponSent(
            event_type="EVENT_TYPE_BUSICOUPON_SEND",
            coupon_code="AB/C 1",
            stock_id="98065001",
            send_time="2019-12-05T09:42:29+08:00",
            send_channel="BUSICOUPON_SEND_CHANNEL_PAYGIFT",
            send_merchant="1900000001",
            openid="oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
            attach_info={"transaction_id": "4200000462220200226114599"},
        ),
    )


def wsgi(signed: dict[str, str]) -> dict[str, Any]:
    """A whole environ: not all of it is text, and not all of it a header. Django's request.META is one, too."""
    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in signed.items()}
    return {"REQUEST_METHOD": "POST", "wsgi.version": (1, 0), "wsgi.input": object(), "CONTENT_LENGTH": "9", **headers}


@pytest.mark.parametrize(
    "spelt",
    [
        dict,
        lambda signed: {name.lower(): value for name, value in signed.items()},
        lambda signed: {name.upper(): value for name, value in signed.items()},
        lambda signed: list(signed.items()),
        lambda signed: iter(signed.items()),
        lambda signed: [(name.lower().encode(), value.encode()) for name, value in signed.items()],
        lambda signed: Headers(list(signed.items())).items(),
        wsgi,
        lambda signed: wsgi(signed).items(),
    ],
    ids=["mapping", "lower case", "Django", "pairs", "iterator", "ASGI", "wsgiref", "WSGI environ", "WSGI items"],
)
def test_any_frameworks_headers_are_taken_as_they_come(spelt: Callable[[dict[str, str]], Any]) -> None:
    assert receiver().receive(spelt(SIGNED), BODY).event_type == "COUPON.SEND"


def believed(headers: Any, body: bytes) -> bool:
    try:
        receiver().receive(headers, body)
    except SignatureInvalid:
        return False
    return True


def flip(text: bytes, bit: int) -> bytes:
    changed = bytearray(text)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.slow
def test_every_flipped_bit_of_the_body_is_refused() -> None:
    assert [bit for bit in range(len(BODY) * 8) if believed(SIGNED, flip(BODY, bit))] == []


@pytest.mark.parametrize("name", ["Serial", "Nonce", "Timestamp", "Signature"])
def test_every_flipped_bit_of_a_signing_header_is_refused(name: str) -> None:
    value = SIGNED[f"Wechatpay-{name}"].encode()
    accepted = [
        bit for bit in range(len(value) * 8) if believed({**SIGNED, f"Wechatpay-{name}": flip(value, bit)}, BODY)
    ]
    assert accepted == []


@pytest.mark.parametrize("name", ["Serial", "Nonce", "Timestamp", "Signature"])
def test_a_signing_header_that_is_missing_or_stands_twice_is_refused(name: str) -> None:
    missing = {other: value for other, value in SIGNED.items() if other != f"Wechatpay-{name}"}
    twice = [*SIGNED.items(), (f"wechatpay_{name.lower()}", SIGNED[f"Wechatpay-{name}"])]
    assert not believed(missing, BODY)
    assert not believed(twice, BODY)


def test_a_probe_is_refused() -> None:
    probe = {**SIGNED, "Wechatpay-Signature": "WECHATPAY/SIGNTEST/" + SIGNED["Wechatpay-Signature"]}
    with pytest.raises(SignatureInvalid, match="WECHATPAY/SIGNTEST/ probe"):
        receiver().receive(probe, BODY)


@pytest.mark.parametrize("age", [-300, 0, 300])
def test_an_event_within_300_s_is_believed(age: int) -> None:
    assert receiver(now=NOW + age).receive(SIGNED, BODY).event_type == "COUPON.SEND"


@pytest.mark.parametrize(("age", "side"), [(301, "301 s behind ours"), (-301, "301 s ahead of ours")])
def test_an_older_or_a_future_event_is_refused(age: int, side: str) -> None:
    with pytest.raises(ClockSkewed, match=side):
        receiver(now=NOW + age).receive(SIGNED, BODY)


def test_a_key_that_is_not_held_is_named() -> None:
    with pytest.raises(KeyUnknown, match="5157F09EFDC096DE"):
        receiver().receive(signing_headers(BODY, serial="5157F09EFDC096DE"), BODY)


def test_another_apiv3_key_does_not_open_it() -> None:
    with pytest.raises(SignatureInvalid, match="sealed with another APIv3 key") as refused:
        receiver(apiv3_key="k" * 32).receive(SIGNED, BODY)
    assert "k" * 32 not in str(refused.value)


def test_an_event_of_another_type_is_plain_json() -> None:
    body = event_body({"future": [1, {"x": None}]}, event_type="COUPON.TOMORROW")
    event = receiver().receive(signing_headers(body), body)
    assert (event.event_type, event.content) == ("COUPON.TOMORROW", {"future": [1, {"x": None}]})


def test_fields_of_tomorrow_are_accepted() -> None:
    body = event_body({**SENT, "field_of_tomorrow": 1}, field_of_tomorrow={"x": 1})
    content = receiver().receive(signing_headers(body), body).content
    assert isinstance(content, CouponSent)
    assert content.coupon_code == "AB/C 1"


def test_an_envelope_without_associated_data_and_summary_opens() -> None:
    envelope = json.loads(event_body(ciphertext=""))
    del envelope["summary"], envelope["resource"]["associated_data"]
    envelope["resource"]["ciphertext"] = sealed.seal(APIV3_KEY, "3ed86f6a0c2f", "", json.dumps(SENT).encode())
    body = json.dumps(envelope).encode()
    assert receiver().receive(signing_headers(body), body).event_type == "COUPON.SEND"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "signed but not what it should be"),
        (b"{}", "missing required field `id`"),
        (b"\xff", "signed but not what it should be"),
        (b'{"id":' + b"[" * 100_000, "signed but not what it should be"),
        (event_body(algorithm="AEAD_SM4_GCM"), "sealed with 'AEAD_SM4_GCM', not AEAD_AES_256_GCM"),
        (event_body(nonce=""), "does not open"),
        (event_body(ciphertext="not Base64!"), "does not open"),
        (event_body(ciphertext="券"), "does not open"),
        (event_body(associated_data="another"), "does not open"),
        (event_body(b"{}"), "missing required field"),
        (event_body(b"\xff"), "signed but not what it should be"),
        (event_body(b"[]", event_type="X"), "Expected `object`"),
        (event_body(b'{"x":' + b"[" * 100_000, event_type="X"), "signed but not what it should be"),
        (b" " * (BODY_BYTES_MAX + 1), "longer than 1048576 bytes"),
    ],
    ids=lambda value: repr(value)[-40:],
)
def test_what_is_signed_and_no_event_is_refused_and_not_raised_otherwise(body: bytes, reason: str) -> None:
    with pytest.raises(SignatureInvalid, match=reason):
        receiver().receive(signing_headers(body), body)


def test_a_receiver_of_the_settings_holds_the_platforms_keys(world: Path) -> None:
    with pytest.raises(KeyUnknown, match=r"they hold PUB_KEY_ID_01001900000001[0-9]*, [0-9A-F]+$"):
        Receiver.from_config(merchant_config(world)).receive(SIGNED, BODY)


def test_settings_without_an_apiv3_key_are_refused(world: Path) -> None:
    config = merchant_config(world)
    config.write_text("\n".join(line for line in config.read_text().splitlines() if "apiv3_key" not in line))
    with pytest.raises(Misconfigured, match="events are sealed with apiv3_key, and the settings have none"):
        Receiver.from_config(config)


def coupon_event(number: int, code: str = "", stock_id: str = "98065001") -> Event:
    fields: dict[str, Any] = {**SENT, "coupon_code": code or f"A{number}", "stock_id": stock_id}
    return Event(f"id-{number}", "COUPON.SEND", "2019-12-12T16:54:38+08:00", CouponSent(**fields))


def test_an_event_is_known_once_it_was_added() -> None:
    seen = Seen()
    assert not seen.known(coupon_event(1))
    seen.add(coupon_event(1))
    assert seen.known(coupon_event(1))
    assert not seen.known(coupon_event(2))


def test_two_ids_may_tell_of_one_coupon() -> None:
    seen = Seen()
    seen.add(coupon_event(1, "A1"))
    assert seen.known(coupon_event(2, "A1"))
    assert not seen.known(coupon_event(3, "A1", stock_id="98065002"))


def test_an_event_of_another_type_is_known_by_its_id() -> None:
    seen = Seen()
    seen.add(Event("id-1", "X", "", {"a": 1}))
    assert seen.known(Event("id-1", "X", "", {"a": 2}))
    assert not seen.known(Event("id-2", "X", "", {"a": 1}))


def test_the_last_events_are_remembered_and_older_ones_forgotten() -> None:
    seen = Seen(size=3)
    for number in (1, 2, 3, 3, 4):
        seen.add(coupon_event(number))
    assert [number for number in (1, 2, 3, 4) if seen.known(coupon_event(number))] == [2, 3, 4]


def test_all_that_receives_is_in_one_public_module() -> None:
    assert {quanma.events.AsgiReceiver, quanma.events.WsgiReceiver, Receiver, Seen} <= {
        getattr(quanma.events, name) for name in quanma.events.__all__
    }
