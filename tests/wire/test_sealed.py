"""AES-256-GCM envelopes: the published vector, what does not open, and nonces that never repeat."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanma.errors import Misconfigured, SignatureInvalid
from quanma.wire.sealed import nonce_from, seal, unseal
from tests.support.every import every_row

VECTOR: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text("utf-8"))["aead_aes_gcm"][0]
KEY = VECTOR["key"]


def test_the_published_envelope_opens() -> None:
    plaintext = unseal(KEY, VECTOR["nonce"], VECTOR["associated_data"], VECTOR["ciphertext_base64"])
    assert plaintext.decode() == VECTOR["plaintext"]


def test_the_published_envelope_is_made() -> None:
    sealed = seal(KEY, VECTOR["nonce"], VECTOR["associated_data"], VECTOR["plaintext"].encode())
    assert sealed == VECTOR["ciphertext_base64"]


@given(st.binary(), st.text(max_size=15))
@settings(deadline=None, max_examples=50)
def test_what_was_sealed_opens(plaintext: bytes, associated_data: str) -> None:
    assert (
        unseal(KEY, nonce_from(1), associated_data, seal(KEY, nonce_from(1), associated_data, plaintext)) == plaintext
    )


def test_every_flipped_bit_of_an_envelope_is_refused() -> None:
    raw = base64.b64decode(VECTOR["ciphertext_base64"])
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SignatureInvalid):
            unseal(KEY, VECTOR["nonce"], VECTOR["associated_data"], base64.b64encode(changed).decode())


@every_row(
    "change",
    [
        {"key": "k" * 32},
        {"nonce": "uluk4a9R25RX"},
        {"nonce": ""},
        {"associated_data": ""},
        {"associated_data": "associateddata"},
        {"ciphertext_base64": ""},
        {"ciphertext_base64": "AAAA"},
        {"ciphertext_base64": "not base64"},
        {"ciphertext_base64": "券"},
    ],
    ids=str,
)
def test_a_changed_envelope_does_not_open(change: dict[str, str]) -> None:
    envelope = VECTOR | change
    with pytest.raises(SignatureInvalid, match="sealed with another APIv3 key, or it was changed"):
        unseal(envelope["key"], envelope["nonce"], envelope["associated_data"], envelope["ciphertext_base64"])


def test_a_key_of_another_length_is_refused_and_not_shown() -> None:
    with pytest.raises(Misconfigured, match="apiv3_key has 31 bytes, not 32") as refused:
        unseal("s" * 31, VECTOR["nonce"], "", VECTOR["ciphertext_base64"])
    assert "sss" not in str(refused.value)


@every_row(("counter", "nonce"), [(0, "000000000000"), (255, "0000000000ff"), (2**48 - 1, "f" * 12)])
def test_a_counter_is_spelt_in_twelve_digits(counter: int, nonce: str) -> None:
    assert nonce_from(counter) == nonce


def test_a_used_up_counter_stops_and_does_not_start_again() -> None:
    with pytest.raises(Misconfigured, match="all nonces under this APIv3 key are used up: change the key"):
        nonce_from(2**48)
