"""The form of what both sides name merchants and keys by, and of the two API keys."""

from __future__ import annotations

import re

from .shape import shape

API_KEY_CHARACTERS = 32
"""Of the APIv3 key and of the V2 key (documented)."""
_MCHID = re.compile(r"[0-9]{1,32}")
_BRAND_ID = re.compile(r"[0-9]{1,20}")
_SERIAL = re.compile(r"0{0,24}[0-9A-Fa-f]{1,40}")
"""20 bytes at most (RFC 5280), and some programs write zeros before them. In decimal, most are longer."""
_API_KEY = re.compile(r"[0-9A-Za-z]{32}")
"""Letters and digits: the merchant platform takes no others (documented)."""


def is_mchid(text: str) -> bool:
    return _MCHID.fullmatch(text) is not None


def is_brand_id(text: str) -> bool:
    return _BRAND_ID.fullmatch(text) is not None


def is_serial(text: str) -> bool:
    return _SERIAL.fullmatch(text) is not None


def api_key_problem(text: str) -> str | None:
    """Why this is no APIv3 or V2 key, or None."""
    if _API_KEY.fullmatch(text):
        return None
    return f"is not {API_KEY_CHARACTERS} letters and digits: it is {shape(text)}"
