"""Sensitive fields: RSA-OAEP with SHA-1, Base64. No busifavor field is one; paths reached by `chain` may have some.

Source: documented. The sender names the key in the header Wechatpay-Serial.
"""

from __future__ import annotations

import base64
import binascii

from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.hashes import SHA1

from ..errors import RequestInvalid, SignatureInvalid
from .keys import PrivateKey, PublicKey

PLAINTEXT_BYTES_MAX = 214
"""At 2048 bits."""
_PADDING = OAEP(mgf=MGF1(SHA1()), algorithm=SHA1(), label=None)  # The platform's choice.


def encrypt(key: PublicKey, text: str) -> str:
    """Return the field as it goes on the wire; an empty text stays empty.

    Raises:
        RequestInvalid: it is longer than 214 bytes.
    """
    plain = text.encode()
    if len(plain) > PLAINTEXT_BYTES_MAX:
        raise RequestInvalid(
            f"a sensitive field has {len(plain)} bytes, at most {PLAINTEXT_BYTES_MAX} can be encrypted"
        )
    return base64.b64encode(key.encrypt(plain, _PADDING)).decode() if plain else ""


def decrypt(key: PrivateKey, field: str) -> str:
    """Return the text of a field.

    Raises:
        SignatureInvalid: it was encrypted for another key, or changed.
    """
    if not field:
        return ""
    try:
        return key.decrypt(base64.b64decode(field, validate=True), _PADDING).decode()
    except (ValueError, binascii.Error) as cause:
        raise SignatureInvalid("a sensitive field does not open: it was encrypted for another key") from cause
