"""Signatures: the published vectors, the one form of every field, one reason for each way to fail."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanma.errors import ClockSkewed, SignatureInvalid
from quanma.platform.keys.keystore import KeyStore, Merchant
from quanma.wire import keys, signature
from quanma.wire.signature import Authorization
from tests.support.every import every_row

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text("utf-8"))
PUBLISHED = VECTORS["sha256_rsa2048_sign"]
PEM = keys.private_pem(base64.b64decode(PUBLISHED["private_key_pkcs8_der_base64"]), "the published key").encode()
KEY = keys.load_private_key(PEM, "the published key")
NOW = 1554208460.0
SERIAL = "F5765756002FDD77"
NONCE = "593BEC0C930BF1AFEB40B4A08C8FB242"
TARGET = "/v3/marketing/busifavor/stocks/98065001/couponcodes"
BODY = b'{"coupon_code_list":["ABC9588200"],"upload_request_no":"n1"}'
MERCHANT = Merchant("1900000001", "k" * 32, {"F5765756002FDD77": KEY.public_key()})
KEYROOM = KeyStore({}, [], [], {"1900000001": MERCHANT})


def header(**changes: str) -> str:
    """The Authorization header of the request above; `changes` are made after signing."""
    message = signature.request_message("POST", TARGET, "1554208460", NONCE, BODY)
    fields = Authorization("1900000001", "F5765756002FDD77", NONCE, "1554208460", signature.sign(KEY, message))
    return signature.authorization(fields._replace(**changes))


def verify(authorization: str, target: str = TARGET, body: bytes = BODY, now: float = NOW) -> Merchant:
    return KEYROOM.verify("POST", target, [authorization], body, now)


def test_the_signed_request_is_believed() -> None:
    assert verify(header()) is MERCHANT


def test_the_published_signature_is_made_and_believed() -> None:
    message = PUBLISHED["message"].encode()
    assert signature.sign(KEY, message) == PUBLISHED["signature_base64"]
    signature.check_signature(KEY.public_key(), PUBLISHED["signature_base64"], message)


@every_row("change", PUBLISHED["must_fail"], ids=str)
def test_the_published_failures_fail(change: dict[str, str]) -> None:
    vector = PUBLISHED | change
    with pytest.raises(SignatureInvalid):
        signature.check_signature(KEY.public_key(), vector["signature_base64"], vector["message"].encode())


@every_row("case", VECTORS["request_sign_computed"]["cases"], ids=lambda case: case["message"][:20])
def test_a_request_of_each_verb_is_signed_as_computed(case: dict[str, str]) -> None:
    method, target, timestamp, nonce, rest = case["message"].split("\n", 4)
    message = signature.request_message(method, target, timestamp, nonce, rest[:-1].encode())
    assert signature.sign(KEY, message) == case["signature_base64"]


@every_row("case", VECTORS["authorization_layout"]["cases"], ids=lambda case: case["method"])
def test_a_message_has_five_lines_each_with_its_end(case: dict[str, str]) -> None:
    layout = VECTORS["authorization_layout"]
    message = signature.request_message(
        case["method"], case["canonical_url"], str(layout["timestamp"]), layout["nonce_str"], case["body"].encode()
    )
    assert message.decode() == case["message"]


def test_the_header_of_the_signing_guide_is_read() -> None:
    sample = VECTORS["authorization_parse_sample"]
    fields = signature.parse_authorization(sample["header"])
    assert fields.mchid == "1900009191"
    message = signature.request_message("GET", "/v3/certificates", fields.timestamp, fields.nonce_str, b"")
    assert message.decode() == sample["message"]


@every_row("order", ["mchid nonce_str timestamp", "timestamp mchid nonce_str"])
def test_the_order_of_the_fields_is_free(order: str) -> None:
    named = [f'{name}="1"' for name in [*order.split(), "serial_no", "signature"]]
    assert signature.parse_authorization(f"{signature.SCHEME} {','.join(named)}").nonce_str == "1"


@pytest.mark.slow
def test_every_flipped_bit_of_a_signed_request_is_refused() -> None:
    whole = f"{header()}\n{TARGET}\n".encode() + BODY
    accepted = []
    for bit in range(len(whole) * 8):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        authorization, _, rest = changed.decode("latin-1").partition("\n")
        target, _, body = rest.partition("\n")
        try:
            verify(authorization, target, body.encode("latin-1"))
        except SignatureInvalid:
            continue
        accepted.append(bytes(changed))
    # But for the case of the letters of the serial, which is not signed and counts as a number.
    assert {changed.lower() for changed in accepted} == {bytes(whole).lower()}
    assert len(accepted) == len("FFDD")
    assert all(SERIAL.lower() in changed.decode().lower() for changed in accepted)


@given(st.binary(max_size=80).filter(lambda body: body != BODY))
@settings(deadline=None, max_examples=50)
def test_any_other_body_is_refused(body: bytes) -> None:
    with pytest.raises(SignatureInvalid, match="changed after signing"):
        verify(header(), body=body)


def replaced(old: str, new: str) -> str:
    return header().replace(old, new)


@every_row(
    ("authorization", "reason"),
    [
        ("", "the Authorization scheme is '', not WECHATPAY2-SHA256-RSA2048"),
        (replaced("WECHATPAY2", "WECHATPAY3"), "the Authorization scheme is 'WECHATPAY3-SHA256-RSA2048'"),
        (replaced("WECHATPAY2", "wechatpay2"), "the Authorization scheme is"),
        (replaced('nonce_str="', 'nonce="'), "a part that is none of its five fields"),
        (replaced('mchid="1900000001"', "mchid=1900000001"), "a part that is none of its five fields"),
        (header() + ',brand_id="1"', "a part that is none of its five fields"),
        (header() + ",", "a part that is none of its five fields"),
        (header() + ',mchid="1900000001"', "has mchid twice"),
        (replaced('mchid="1900000001",', ""), "has no mchid"),
        (signature.SCHEME, "a part that is none of its five fields"),
        (header(mchid="1900000009"), "merchant '1900000009' is not known here"),
        (header(serial_no="ABC"), "has no certificate with serial 'ABC'; it has F5765756002FDD77"),
        (header(signature="WECHATPAY/SIGNTEST/" + "A" * 300), "a WECHATPAY/SIGNTEST/ probe"),
        (header(signature="not base64"), "the signature is not Base64"),
        (header(signature=""), "does not fit: the target, a header or the body was changed"),
        (header(nonce_str="593BEC0C930BF1AF"), "does not fit: the target, a header or the body was changed"),
    ],
)
def test_each_failure_has_its_own_reason(authorization: str, reason: str) -> None:
    with pytest.raises(SignatureInvalid, match=re.escape(reason)):
        verify(authorization)


@every_row("count", [0, 2])
def test_one_authorization_header_is_wanted(count: int) -> None:
    with pytest.raises(SignatureInvalid, match=f"{count} Authorization headers, not one"):
        KEYROOM.verify("POST", TARGET, [header()] * count, BODY, NOW)


@every_row(
    "timestamp",
    [
        "",
        "155420846",
        "15542084600",
        "1554208460 ",
        "+554208460",
        "155420846.0",
        "1554208460\n",
        "١٥٥٤٢٠٨٤٦٠",
        "1_54208460",
    ],
)
def test_a_timestamp_has_ten_ascii_digits_and_no_other_form(timestamp: str) -> None:
    with pytest.raises(SignatureInvalid, match="the timestamp is not ten digits"):
        signature.check_form(timestamp, NONCE)


@every_row("nonce", ["", "A" * 129, 'A"', "A B", "A\n", "\t", "A\x7f", "A" * 15 + "券", "A" * 15 + "é"])
def test_a_nonce_has_1_to_128_visible_ascii_characters_without_the_quote(nonce: str) -> None:
    with pytest.raises(SignatureInvalid, match="the nonce is not 1 to 128 visible ASCII characters"):
        signature.check_form("1554208460", nonce)


@every_row("nonce", ["a", "k3jq2mz9x", "0190b5a2-7c3e-7f00-8a1b-5c6d7e8f9a0b", "a,b=c\\!~", "~" * 128])
def test_a_nonce_of_a_common_client_is_taken(nonce: str) -> None:
    signature.check_form("1554208460", nonce)
    message = signature.request_message("POST", TARGET, "1554208460", nonce, BODY)
    fields = Authorization("1900000001", "F5765756002FDD77", nonce, "1554208460", signature.sign(KEY, message))
    assert verify(signature.authorization(fields)) is MERCHANT
    # In another order, too: it is not read in the usual way then.
    parts = [f'{name}="{value}"' for name, value in fields._asdict().items() if name != "scheme"]
    assert verify(f"{signature.SCHEME} {', '.join(reversed(parts))}") is MERCHANT


@every_row("nonce", ["A" * 15, "A" * 33, "A" * 15 + "-"])
def test_a_strict_platform_takes_16_to_32_letters_and_digits(nonce: str) -> None:
    with pytest.raises(SignatureInvalid, match="the nonce is not 16 to 32 letters and digits, as strict_nonce asks"):
        signature.check_form("1554208460", nonce, strict_nonce=True)
    signature.check_form("1554208460", "A" * 16, strict_nonce=True)
    signature.check_form("1554208460", "A" * 32, strict_nonce=True)
    strict = KeyStore({}, [], [], {"1900000001": MERCHANT}, strict_nonce=True)
    with pytest.raises(SignatureInvalid, match="strict_nonce"):
        strict.verify("POST", TARGET, [header(nonce_str=nonce)], BODY, NOW)


@every_row("serial_no", ["f5765756002fdd77", "F5765756002fdd77", "00F5765756002FDD77"])
def test_a_serial_is_a_number_however_it_is_written(serial_no: str) -> None:
    assert verify(header(serial_no=serial_no)) is MERCHANT


@every_row(
    ("name", "key"),
    [
        ("0ecd", "ECD"),
        ("ECD", "ECD"),
        ("000", "0"),
        ("PUB_KEY_ID_01", "PUB_KEY_ID_01"),
        ("pub_key_id_01", "pub_key_id_01"),
        ("", ""),
        ("１２", "１２"),
        ("0x1f", "0x1f"),
        ("1_2", "1_2"),
    ],
)
def test_only_a_serial_is_compared_as_a_number(name: str, key: str) -> None:
    assert signature.same_key(name) == key


def test_a_signature_has_one_spelling_in_base64() -> None:
    made = signature.sign(KEY, b"source")
    assert made.endswith("==")
    # The last character before the padding carries four bits that mean nothing: 15 other spellings of the same bytes.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    index = alphabet.index(made[-3])
    others = [made[:-3] + alphabet[index ^ low] + "==" for low in range(1, 16)]
    assert {base64.b64decode(other) for other in others} == {base64.b64decode(made)}
    for other in [*others, made + "\n", made[:-1], made[:-2], made + "=", " " + made, made.replace("/", "_") + "="]:
        with pytest.raises(SignatureInvalid, match=r"not (canonical )?Base64"):
            signature.check_signature(KEY.public_key(), other, b"source")


@every_row(
    ("now", "reason"),
    [
        (NOW + 301, "the signer's clock is 301 s behind ours, at most 300 s are allowed"),
        (NOW - 301, "the signer's clock is 301 s ahead of ours, at most 300 s are allowed"),
    ],
)
def test_a_request_301_seconds_away_is_refused_and_the_seconds_are_told(now: float, reason: str) -> None:
    with pytest.raises(SignatureInvalid, match=reason):
        verify(header(), now=now)


@every_row("now", [NOW + 300, NOW + 300.9, NOW - 300])
def test_a_request_300_seconds_away_is_taken(now: float) -> None:
    assert verify(header(), now=now) is MERCHANT


def test_a_wrong_clock_has_a_class_of_its_own() -> None:
    with pytest.raises(ClockSkewed):
        signature.check_clock("1554208460", NOW + 301)
