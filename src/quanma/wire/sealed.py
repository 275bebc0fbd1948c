"""AES-256-GCM envelopes, with the APIv3 key: certificates, and the contents of callbacks.

The nonce is twelve characters of text, used as they stand. Whoever seals must never use a nonce twice under a key:
`nonce_from` spells a counter, and the counter is kept in the pool's store.
"""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..errors import Misconfigured, SignatureInvalid

ALGORITHM = "AEAD_AES_256_GCM"
KEY_BYTES = 32
NONCE_CHARACTERS = 12


def nonce_from(counter: int) -> str:
    """Spell a counter as a nonce: twelve hexadecimal digits, so 2**48 of them under one key."""
    nonce = f"{counter:012x}"
    if len(nonce) != NONCE_CHARACTERS:
        raise Misconfigured("all nonces under this APIv3 key are used up: change the key")
    return nonce


def nonce_floor(now: int) -> int:
    """Where a counter must at least stand after a start at this Unix time, so that a restored older copy repeats none.

    65,536 for each second since 2025: no platform seals so many, so the time alone is ahead of every counter, and the
    2**48 last until the year 2161.
    """
    return max(0, now - _FIRST_SECOND) << 16


_FIRST_SECOND = 1_735_689_600


def seal(apiv3_key: str, nonce: str, associated_data: str, plaintext: bytes) -> str:
    """Return the ciphertext and its tag, in Base64."""
    return base64.b64encode(_cipher(apiv3_key).encrypt(nonce.encode(), plaintext, associated_data.encode())).decode()


def unseal(apiv3_key: str, nonce: str, associated_data: str, ciphertext: str) -> bytes:
    """Return the plaintext.

    Raises:
        SignatureInvalid: another key sealed it, or it was changed.
    """
    try:
        sealed = base64.b64decode(ciphertext, validate=True)
        return _cipher(apiv3_key).decrypt(nonce.encode(), sealed, associated_data.encode())
    except (InvalidTag, binascii.Error, ValueError) as cause:
        raise SignatureInvalid(
            "the envelope does not open: it was sealed with another APIv3 key, or it was changed"
        ) from cause


def check_key(apiv3_key: str) -> None:
    """Raises Misconfigured: it can't be an APIv3 key. The message holds nothing of it."""
    _cipher(apiv3_key)


def _cipher(apiv3_key: str) -> AESGCM:
    key = apiv3_key.encode()
    if len(key) != KEY_BYTES:
        raise Misconfigured(f"apiv3_key has {len(key)} bytes, not {KEY_BYTES}")
    return AESGCM(key)
