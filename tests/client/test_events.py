"""Receiving events: any framework's headers, what is believed, what is refused, and which came before."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from email import message_from_string, policy
from http.client import parse_headers
from io import BytesIO
from pathlib import Path
from typing import Any
from wsgiref.headers import Headers

import msgspec
import pytest

import quanma.events
from quanma.client.events import BODY_BYTES_MAX, Event, Receiver, Seen
from quanma.errors import ClockSkewed, KeyUnknown, Misconfigured, NotAsReceived, SignatureInvalid
from quanma.events import CouponSent
from quanma.wire import sealed, signature
from tests.support.deliveries import APIV3_KEY, KEY, NOW, SENT, event_body, receiver, signing_headers
from tests.support.every import every, every_row
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


@every_row(
    "spelt",
    [
        dict,
        lambda signed: {name.lower(): value for name, value in signed.items()},
        lambda signed: {name.upper(): value for name, value in signed.items()},
        lambda signed: list(signed.items()),
        lambda signed: iter(signed.items()),
        lambda signed: [(name.lower().encode(), value.encode()) for name, value in signed.items()],
        lambda signed: Headers(list(signed.items())),
        lambda signed: Headers(list(signed.items())).items(),
        lambda signed: parse_headers(BytesIO("".join(f"{n}: {v}\r\n" for n, v in signed.items()).encode() + b"\r\n")),
        lambda signed: message_from_string("".join(f"{n}: {v}\n" for n, v in signed.items()), policy=policy.HTTP),
        lambda signed: {name: [value] for name, value in signed.items()},
        lambda signed: {name.lower().encode(): (value.encode(),) for name, value in signed.items()},
        wsgi,
        lambda signed: wsgi(signed).items(),
    ],
    ids=[
        "mapping",
        "lower case",
        "Django",
        "pairs",
        "iterator",
        "ASGI",
        "wsgiref",
        "wsgiref's items",
        "http.server",
        "email",
        "multiValueHeaders",
        "tuples of bytes",
        "WSGI environ",
        "WSGI items",
    ],
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


@every_row("name", ["Serial", "Nonce", "Timestamp", "Signature"])
def test_every_flipped_bit_of_a_signing_header_is_refused(name: str) -> None:
    value = SIGNED[f"Wechatpay-{name}"].encode()
    accepted = [
        bit for bit in range(len(value) * 8) if believed({**SIGNED, f"Wechatpay-{name}": flip(value, bit)}, BODY)
    ]
    assert accepted == []


@every_row("name", ["Serial", "Nonce", "Timestamp", "Signature"])
def test_a_signing_header_that_is_missing_or_stands_twice_is_refused(name: str) -> None:
    missing = {other: value for other, value in SIGNED.items() if other != f"Wechatpay-{name}"}
    twice = [*SIGNED.items(), (f"wechatpay_{name.lower()}", SIGNED[f"Wechatpay-{name}"])]
    assert not believed(missing, BODY)
    assert not believed(twice, BODY)


def test_a_probe_is_refused() -> None:
    probe = {**SIGNED, "Wechatpay-Signature": "WECHATPAY/SIGNTEST/" + SIGNED["Wechatpay-Signature"]}
    with pytest.raises(SignatureInvalid, match="WECHATPAY/SIGNTEST/ probe"):
        receiver().receive(probe, BODY)


@every_row("age", [-300, 0, 300])
def test_an_event_within_300_s_is_believed(age: int) -> None:
    assert receiver(now=NOW + age).receive(SIGNED, BODY).event_type == "COUPON.SEND"


@every_row(("age", "side"), [(301, "301 s behind ours"), (-301, "301 s ahead of ours")])
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


def test_the_content_of_another_type_is_plain_and_can_be_written() -> None:
    text = b'{"a":{"b":["\\ud800","\\ud83d\\ude00","\\\\ud800"]},"c":1,"c":1}'
    body = event_body(text, event_type="TRANSACTION.SUCCESS")
    content = receiver().receive(signing_headers(body), body).content
    assert content == {"a": {"b": ["\ufffd", "\U0001f600", "\\ud800"]}, "c": 1}
    assert isinstance(content, dict)
    assert [type(content), type(content["a"])] == [dict, dict]


def test_the_attach_info_of_a_coupon_is_plain_and_can_be_written() -> None:
    body = event_body(json.dumps({**SENT, "attach_info": {"a": {"b": "\ud800"}}}).encode())
    content = receiver().receive(signing_headers(body), body).content
    assert isinstance(content, CouponSent)
    assert content.attach_info is not None
    assert content.attach_info == {"a": {"b": "\ufffd"}}
    assert type(content.attach_info["a"]) is dict


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


@every_row(
    ("body", "reason"),
    [
        (b"", "signed but not what it should be"),
        (b"{}", "has no resource"),
        (b'{"resource":{}}', "has no ciphertext that can be read"),
        (b"\xff", "signed but not what it should be"),
        (b'{"id":' + b"[" * 100_000, "signed but not what it should be"),
        (event_body(algorithm="AEAD_SM4_GCM"), "sealed with 'AEAD_SM4_GCM', not AEAD_AES_256_GCM"),
        (event_body(nonce=""), "has no nonce that can be read"),
        (event_body(nonce="short"), "does not open"),
        (event_body(ciphertext="not Base64!"), "does not open"),
        (event_body(ciphertext="券"), "does not open"),
        (event_body(associated_data="another"), "does not open"),
        (event_body(b"{}"), "has no coupon_code that can be read"),
        (event_body({**SENT, "stock_id": None}), "has no stock_id that can be read"),
        (event_body({**SENT, "stock_id": ""}), "has no stock_id that can be read"),
        (event_body({**SENT, "stock_id": 9.5}), "has no stock_id that can be read"),
        (event_body({**SENT, "stock_id": True}), "has no stock_id that can be read"),
        (event_body({**SENT, "coupon_code": ["A1"]}), "has no coupon_code that can be read"),
        (event_body({**SENT, "coupon_code": "A\ud800"}), "has no coupon_code that can be read"),
        (event_body(b'{"stock_id":"1","coupon_code":"A\xff"}'), "has no coupon_code that can be read"),
        (event_body(b'{"stock_id":"1","coupon_code":"A1","coupon_code":"B2"}'), "two different values of coupon_code"),
        (event_body()[:-2] + b',"nonce":"000000000000"}}', "two different values of nonce"),
        (event_body(b"\xff"), "signed but not what it should be"),
        (event_body(b'{"amount":1,"amount":2}', event_type="X"), "a name stands twice, with different values"),
        (event_body(b"[]", event_type="X"), "not a JSON object"),
        (event_body(b'{"x":' + b"[" * 100_000, event_type="X"), "signed but not what it should be"),
        (b" " * (BODY_BYTES_MAX + 1), "longer than 1048576 bytes"),
    ],
    ids=lambda value: repr(value)[-40:],
)
def test_what_is_signed_and_no_event_is_refused_and_not_raised_otherwise(body: bytes, reason: str) -> None:
    with pytest.raises(SignatureInvalid, match=reason) as refused:
        receiver().receive(signing_headers(body), body)
    assert "98065001" not in str(refused.value)


@every_row(
    "envelope",
    [
        *({name: None} for name in ("id", "create_time", "resource_type", "summary", "original_type", "algorithm")),
        *({name: 7} for name in ("create_time", "resource_type", "summary", "original_type", "algorithm")),
        *({name: {}} for name in ("id", "create_time", "resource_type", "summary", "original_type", "algorithm")),
        {"event_type": None},
    ],
    ids=str,
)
def test_an_envelope_that_opens_is_read_whatever_its_side_fields_hold(envelope: dict[str, Any]) -> None:
    body = event_body(**envelope)
    event = receiver().receive(signing_headers(body), body)
    assert isinstance(event.content, CouponSent)
    assert (event.event_type, event.content.coupon_code) == ("COUPON.SEND", "AB/C 1")
    assert event.id


SIDE_FIELDS = [
    *("event_type", "send_time", "send_channel", "send_merchant", "openid", "unionid", "act_id", "attach_info")
]


@every(itertools.product(SIDE_FIELDS, [None, "", "{}", 7, 7.5, True, [], {}, [{"a": 1}], "\ud800", "absent"]), repr)
def test_stock_and_code_suffice_whatever_a_side_field_holds(case: tuple[str, Any]) -> None:
    name, value = case
    sent = {**SENT, name: value}
    if value == "absent":
        del sent[name]
    body = event_body(sent)
    content = receiver().receive(signing_headers(body), body).content
    assert isinstance(content, CouponSent)
    assert (content.stock_id, content.coupon_code) == ("98065001", "AB/C 1")
    assert {other: getattr(content, other) for other in SIDE_FIELDS if other != name} == {
        other: SENT.get(other) for other in SIDE_FIELDS if other != name
    }
    msgspec.json.encode(content)


@every_row(
    ("value", "read"),
    [('{"transaction_id": "42"}', {"transaction_id": "42"}), ("", None), ("text", None), ("[1]", None), (None, None)],
)
def test_attach_info_is_an_object_also_if_it_was_written_as_text(value: Any, read: dict[str, Any] | None) -> None:
    body = event_body({**SENT, "attach_info": value})
    content = receiver().receive(signing_headers(body), body).content
    assert isinstance(content, CouponSent)
    assert content.attach_info == read


def test_a_stock_id_that_is_a_number_is_read_as_its_digits() -> None:
    body = event_body({**SENT, "stock_id": 98065001, "send_merchant": 1900000001})
    content = receiver().receive(signing_headers(body), body).content
    assert isinstance(content, CouponSent)
    assert (content.stock_id, content.send_merchant) == ("98065001", "1900000001")


def test_associated_data_that_is_null_is_empty() -> None:
    sealed_empty = sealed.seal(APIV3_KEY, "3ed86f6a0c2f", "", json.dumps(SENT).encode())
    body = event_body(associated_data=None, ciphertext=sealed_empty)
    assert receiver().receive(signing_headers(body), body).event_type == "COUPON.SEND"


@every_row(
    "text",
    [
        json.dumps(SENT, ensure_ascii=False).replace("1900000001", "商户").encode("gbk"),
        b"\xef\xbb\xbf" + json.dumps(SENT).encode(),
        json.dumps({**SENT, "x": float("nan")}).encode(),
        json.dumps(SENT).replace("1900000001", "1\n2").encode(),
        json.dumps(SENT)[:-1].encode() + b',"act_id":"1","act_id":"2"}',
    ],
    ids=["GBK", "a BOM", "NaN", "a bare line end", "a side field twice"],
)
def test_json_that_readers_differ_about_is_read_where_stock_and_code_are_plain(text: bytes) -> None:
    body = event_body(text)
    content = receiver().receive(signing_headers(body), body).content
    assert isinstance(content, CouponSent)
    assert (content.stock_id, content.coupon_code) == ("98065001", "AB/C 1")


def test_events_without_an_id_are_known_by_their_content() -> None:
    same, other = ({**SENT, "coupon_code": "A1"}, {**SENT, "coupon_code": "B2"})
    bodies = [event_body(content, id=None) for content in (same, same, other)]
    first, again, another = [receiver().receive(signing_headers(body), body).id for body in bodies]
    assert first == again != another
    assert "A1" not in first


@every_row("nonce", ["5e2c4c2b-3f1e-4e6e-9f1f-2b2f5d1d", "A" * 9, "a+b/c=", "9" * 128])
def test_the_nonce_of_an_event_is_any_visible_text(nonce: str) -> None:
    made = signature.sign(KEY, signature.answer_message(str(NOW), nonce, BODY))
    headers = {**SIGNED, "Wechatpay-Nonce": nonce, "Wechatpay-Signature": made}
    assert receiver().receive(headers, BODY).event_type == "COUPON.SEND"


@every_row("nonce", ["", " ", "a b", "a\nb", "9" * 129, "券"])
def test_a_nonce_that_could_be_read_in_two_ways_is_refused(nonce: str) -> None:
    made = signature.sign(KEY, signature.answer_message(str(NOW), nonce, BODY))
    with pytest.raises(SignatureInvalid, match="the nonce is not"):
        receiver().receive({**SIGNED, "Wechatpay-Nonce": nonce, "Wechatpay-Signature": made}, BODY)


@every_row("body", [bytearray(BODY), memoryview(BODY)])
def test_a_body_of_bytes_in_any_form_is_taken(body: Any) -> None:
    assert receiver().receive(SIGNED, body).event_type == "COUPON.SEND"


@every_row(
    ("body", "reason"),
    [
        (BODY.decode(), "the body is text, and the signature is over bytes"),
        (json.loads(BODY), "the body is parsed, and the signature is over bytes"),
        (None, "the body is a NoneType"),
        (BytesIO(BODY), "the body is a BytesIO"),
        ([BODY], "the body is a list"),
    ],
    ids=["text", "parsed", "None", "file", "list"],
)
def test_a_body_that_is_not_raw_is_said_to_be_so(body: Any, reason: str) -> None:
    with pytest.raises(NotAsReceived, match=reason) as refused:
        receiver().receive(SIGNED, body)
    assert "AB/C 1" not in str(refused.value)


@every_row(
    "headers",
    [None, 7, "Wechatpay-Nonce: x", b"x", list(SIGNED), [("a",)], [("a", "b", "c")], [1, 2], [(1, "a")], {1: "a"}],
    ids=repr,
)
def test_headers_that_are_none_are_said_to_be_so(headers: Any) -> None:
    with pytest.raises(NotAsReceived, match="give a mapping, an object with items"):
        receiver().receive(headers, BODY)


def test_a_receiver_is_not_made_with_what_can_not_be_an_apiv3_key() -> None:
    with pytest.raises(Misconfigured, match="apiv3_key has 5 bytes, not 32") as refused:
        receiver(apiv3_key="sesam")
    assert "sesam" not in str(refused.value)


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
