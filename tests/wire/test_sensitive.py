"""Sensitive fields: what was encrypted opens with its key alone."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.hashes import SHA1
from hypothesis import given, settings
from hypothesis import strategies as st

from quanma.errors import RequestInvalid, SignatureInvalid
from quanma.wire import keys
from quanma.wire.sensitive import decrypt, encrypt
from tests.support.every import every_row

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text("utf-8"))
DER = base64.b64decode(VECTORS["sha256_rsa2048_sign"]["private_key_pkcs8_der_base64"])
PEM = keys.private_pem(DER, "the published key").encode()
KEY = keys.load_private_key(PEM, "the published key")
OTHER = keys.load_private_key(keys.make_private_key(), "another key")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=53))
@settings(deadline=None, max_examples=30)
def test_what_was_encrypted_opens(text: str) -> None:
    assert decrypt(KEY, encrypt(KEY.public_key(), text)) == text


def test_a_field_is_oaep_with_sha1_as_the_platform_has_it() -> None:
    padding = OAEP(mgf=MGF1(SHA1()), algorithm=SHA1(), label=None)
    assert KEY.decrypt(base64.b64decode(encrypt(KEY.public_key(), "张三")), padding) == "张三".encode()


def test_an_empty_field_stays_empty() -> None:
    assert encrypt(KEY.public_key(), "") == ""
    assert decrypt(KEY, "") == ""


def test_the_same_text_is_never_the_same_field() -> None:
    assert encrypt(KEY.public_key(), "张三") != encrypt(KEY.public_key(), "张三")


def test_214_bytes_fit_and_one_more_is_refused() -> None:
    assert decrypt(KEY, encrypt(KEY.public_key(), "a" * 214)) == "a" * 214
    with pytest.raises(RequestInvalid, match="has 215 bytes, at most 214 can be encrypted") as refused:
        encrypt(KEY.public_key(), "券" * 71 + "ab")
    assert "券" not in str(refused.value)


@every_row(
    "field",
    ["AAAA", "not Base64!", "券", encrypt(KEY.public_key(), "张三")[:-4], encrypt(OTHER.public_key(), "张三")],
    ids=["short", "no base64", "no ascii", "cut", "another key"],
)
def test_a_field_that_does_not_open_says_so(field: str) -> None:
    with pytest.raises(SignatureInvalid, match="a sensitive field does not open"):
        decrypt(KEY, field)


def test_a_field_that_is_no_text_says_so() -> None:
    padding = OAEP(mgf=MGF1(SHA1()), algorithm=SHA1(), label=None)
    field = base64.b64encode(KEY.public_key().encrypt(b"\xff", padding)).decode()
    with pytest.raises(SignatureInvalid, match="a sensitive field does not open"):
        decrypt(KEY, field)
