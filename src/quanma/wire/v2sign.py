"""The V2 rule of signing: HMAC-SHA256 with the merchant's V2 key, for the parameters of a claim. Source: documented."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from ..errors import Misconfigured

KEY_CHARACTERS = 32


def string_to_sign(parameters: Mapping[str, str]) -> str:
    """Non-empty parameters but `sign`, sorted by name in ASCII order, with raw values: what goes before the key."""
    return "&".join(f"{name}={parameters[name]}" for name in sorted(parameters) if parameters[name] and name != "sign")


def sign(apiv2_key: str, parameters: Mapping[str, str]) -> str:
    """Return the signature, in capital hexadecimal digits.

    Raises:
        Misconfigured: the key is not 32 characters. It is the V2 key, not the APIv3 key.
    """
    if len(apiv2_key) != KEY_CHARACTERS:
        raise Misconfigured(f"apiv2_key has {len(apiv2_key)} characters, not {KEY_CHARACTERS}; it is not the APIv3 key")
    text = f"{string_to_sign(parameters)}&key={apiv2_key}"
    return hmac.new(apiv2_key.encode(), text.encode(), hashlib.sha256).hexdigest().upper()


def holds(apiv2_key: str, parameters: Mapping[str, str]) -> bool:
    """Whether the parameters' `sign` is theirs."""
    # As bytes: of texts, only ASCII can be compared, and a stranger sends any.
    return hmac.compare_digest(sign(apiv2_key, parameters).encode(), parameters.get("sign", "").encode())
