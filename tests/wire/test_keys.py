"""A ring of verification keys of both kinds: what it believes, and why it refuses."""

from __future__ import annotations

import base64
import datetime
import json
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from quanma.errors import ClockSkewed, Misconfigured, SignatureInvalid
from quanma.wire import keys, signature
from quanma.wire.signature import KeyRing
from tests.support.every import every_row

PUBLISHED: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text("utf-8"))[
    "sha256_rsa2048_sign"
]
LOADED = load_der_private_key(base64.b64decode(PUBLISHED["private_key_pkcs8_der_base64"]), None)
PRIVATE_PEM = LOADED.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
CERTIFICATE_PEM = PUBLISHED["certificate_pem"].encode()
KEY = keys.load_private_key(PRIVATE_PEM, "the published key")
PUBLIC_PEM = keys.public_pem(KEY)
SERIAL = "F5765756002FDD77"
PUBLIC_KEY_ID = "PUB_KEY_ID_0119000000012026112400000000000000"
RING = keys.load_ring({SERIAL: CERTIFICATE_PEM, PUBLIC_KEY_ID: PUBLIC_PEM})
NOW = 1554208460.0
BODY = b'{"stock_id":"98065001"}'


def answer(serial: str = SERIAL, body: bytes = BODY, timestamp: str = "1554208460") -> list[tuple[str, str]]:
    """The headers that sign an answer."""
    nonce = "593BEC0C930BF1AFEB40B4A08C8FB242"
    return [
        ("Wechatpay-Serial", serial),
        ("Wechatpay-Nonce", nonce),
        ("Wechatpay-Timestamp", timestamp),
        ("Wechatpay-Signature", signature.sign(KEY, signature.answer_message(timestamp, nonce, body))),
    ]


@every_row("serial", [SERIAL, PUBLIC_KEY_ID])
def test_a_certificate_and_a_public_key_are_believed_side_by_side(serial: str) -> None:
    RING.verify(answer(serial), BODY, NOW)


def test_an_answer_without_a_body_is_believed() -> None:
    RING.verify(answer(body=b""), b"", NOW)


def test_the_names_of_the_headers_may_be_in_any_case() -> None:
    RING.verify([(name.upper(), value) for name, value in answer()], BODY, NOW)


def test_every_flipped_bit_of_a_signed_answer_is_refused() -> None:
    signed = answer()
    accepted = [bit for bit in range(len(BODY) * 8) if believed(signed, flip(BODY, bit))]
    for name, value in signed:
        others = [header for header in signed if header[0] != name]
        for bit in range(len(value) * 8):
            changed = flip(value.encode(), bit).decode("latin-1")
            same_serial = name == "Wechatpay-Serial" and changed.upper() == value  # A number, in small letters.
            accepted += [bit] if believed([*others, (name, changed)], BODY) and not same_serial else []
    assert accepted == []


def flip(text: bytes, bit: int) -> bytes:
    changed = bytearray(text)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def believed(headers: list[tuple[str, str]], body: bytes) -> bool:
    try:
        RING.verify(headers, body, NOW)
    except SignatureInvalid:
        return False
    return True


@every_row(
    ("headers", "reason"),
    [
        ([], "the answer is not signed: it has no wechatpay-serial"),
        (answer()[:3], "the answer is not signed: it has no wechatpay-signature"),
        ([*answer(), ("wechatpay-nonce", "A" * 32)], "the header wechatpay-nonce stands twice"),
        (answer("ABC"), f"signed with key 'ABC', which is not in platform_keys; they hold {SERIAL}, {PUBLIC_KEY_ID}"),
        (answer(f"{SERIAL}0"), "which is not in platform_keys"),
        (answer("PUB_KEY_ID_券"), "signed with key 'PUB_KEY_ID_券', which is not in platform_keys"),
        (answer(timestamp="1554208461000"), "the timestamp is not ten digits"),
        (answer(body=b"another"), "the body was changed after signing"),
        ([*answer()[:3], ("Wechatpay-Signature", "WECHATPAY/SIGNTEST/abc")], "a WECHATPAY/SIGNTEST/ probe"),
    ],
)
def test_each_failure_of_an_answer_has_its_own_reason(headers: list[tuple[str, str]], reason: str) -> None:
    with pytest.raises(SignatureInvalid, match=re.escape(reason)):
        RING.verify(headers, BODY, NOW)


def test_a_ring_without_keys_says_that_it_holds_none() -> None:
    with pytest.raises(SignatureInvalid, match="they hold none"):
        KeyRing({}).verify(answer(), BODY, NOW)


@every_row(("now", "side"), [(NOW + 301, "301 s behind ours"), (NOW - 301, "301 s ahead of ours")])
def test_an_answer_from_a_wrong_clock_says_by_how_much(now: float, side: str) -> None:
    with pytest.raises(ClockSkewed, match=side):
        RING.verify(answer(), BODY, now)


def test_only_a_signature_that_holds_can_say_that_a_clock_is_wrong() -> None:
    with pytest.raises(SignatureInvalid) as refused:
        RING.verify(answer(body=b"another"), BODY, NOW + 301)
    assert not isinstance(refused.value, ClockSkewed)


@every_row(
    ("names", "preferred"),
    [((SERIAL, PUBLIC_KEY_ID), PUBLIC_KEY_ID), ((SERIAL,), SERIAL), ((), None)],
)
def test_the_public_key_is_asked_for_before_a_certificate(names: tuple[str, ...], preferred: str | None) -> None:
    assert KeyRing(dict.fromkeys(names, KEY.public_key())).preferred() == preferred


EC_KEY = ec.generate_private_key(ec.SECP256R1())


@every_row(
    ("name", "pem", "reason"),
    [
        ("ABC", CERTIFICATE_PEM, f"the certificate given for ABC has serial {SERIAL}: name it so"),
        (SERIAL, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "is not the PEM of a public key"),
        (PUBLIC_KEY_ID, b"", f"the key of {PUBLIC_KEY_ID} is not the PEM of a public key or certificate"),
        (PUBLIC_KEY_ID, PRIVATE_PEM, "is not the PEM of a public key or certificate"),
        (
            PUBLIC_KEY_ID,
            EC_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "is not an RSA key",
        ),
    ],
)
def test_a_verification_key_that_is_none_is_refused_by_name(name: str, pem: bytes, reason: str) -> None:
    with pytest.raises(Misconfigured, match=re.escape(reason)):
        keys.load_ring({name: pem})


@every_row(
    ("pem", "reason"),
    [
        (b"", "private_key is not the PEM of an unencrypted private key"),
        (CERTIFICATE_PEM, "private_key is not the PEM of an unencrypted private key"),
        (
            LOADED.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
            "private_key is not the PEM of an unencrypted private key",
        ),
        (EC_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "private_key is not an RSA key"),
    ],
)
def test_a_private_key_that_is_none_is_refused_by_name(pem: bytes, reason: str) -> None:
    with pytest.raises(Misconfigured, match=reason) as refused:
        keys.load_private_key(pem, "private_key")
    assert "MII" not in str(refused.value)


def test_a_made_certificate_carries_its_serial_its_key_and_five_years() -> None:
    now = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)
    made = keys.make_certified("merchant 1900000001", now)
    facts = keys.certificate_facts(made.certificate, "apiclient_cert.pem")
    assert facts.serial_no == made.serial_no
    assert facts.effective_at == now - datetime.timedelta(days=1)
    assert facts.expire_at == now + datetime.timedelta(days=1825)
    private_key = keys.load_private_key(made.private_key, "apiclient_key.pem")
    assert keys.load_verification_key(made.serial_no, made.certificate) == private_key.public_key()


def test_what_is_no_certificate_has_no_facts() -> None:
    with pytest.raises(Misconfigured, match=r"platform_cert\.pem is not the PEM of a certificate"):
        keys.certificate_facts(PUBLIC_PEM, "platform_cert.pem")


def test_a_key_whose_numbers_do_not_fit_is_refused_however_often_it_comes() -> None:
    der = bytearray(base64.b64decode(PUBLISHED["private_key_pkcs8_der_base64"]))
    der[200] ^= 1  # In the modulus.
    for _ in range(2):
        # To say what it is, it is read without that check: that must not pass for one.
        with pytest.raises(Misconfigured, match="private_key is not the PEM of an unencrypted private key"):
            keys.load_private_key(bytes(der), "private_key")


def test_a_key_is_the_same_at_its_second_reading() -> None:
    again = keys.load_private_key(PRIVATE_PEM, "the published key")
    assert again.private_numbers() == KEY.private_numbers()
