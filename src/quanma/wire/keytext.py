"""Keys and certificates in whatever form they were pasted, mounted or saved.

A key that went through an environment variable, an .env file, a word processor or another SDK's settings often is no
PEM any more: it has no header lines, stands in one line or in quotes, after a BOM or `Bag Attributes`, has dashes that
an editor made longer, line ends that are a backslash and an n, or is the Base64 of the whole file, or DER. What it says
is still plain in each of these: Base64 has no quote and no backslash of its own.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..settings.shape import DASHES, INVISIBLE, from_base64, is_der, is_p12

HEADERLESS_MIN = 100
"""Characters. A shorter text may be a file's name; the shortest RSA key has more."""


class Block(NamedTuple):
    """One thing of a PEM. `label`: what its header line says, empty where there is none."""

    label: str
    der: bytes

    @property
    def is_encrypted(self) -> bool:
        return "ENCRYPTED" in self.label


def blocks(content: bytes) -> list[Block]:
    """What stands in a text or file, in its order; empty: nothing that could be a key or a certificate."""
    if is_der(content):
        return [] if is_p12(content) else [Block("", content)]
    text = _plain(content)
    found = [block for match in _ARMOUR.finditer(text) if (block := _armoured(match[1], match[2])) is not None]
    if found or "BEGIN " in text:
        return found
    if len(text) < HEADERLESS_MIN or (inner := from_base64(text)) is None or is_p12(inner):
        return []
    # The Base64 of a whole file, once.
    if b"BEGIN " in inner:
        text = _plain(inner)
        return [block for match in _ARMOUR.finditer(text) if (block := _armoured(match[1], match[2])) is not None]
    return [Block("", inner)] if is_der(inner) else []


_DASH = f"[{DASHES}]"
_ARMOUR = re.compile(
    rf"{_DASH}+\s*BEGIN ([A-Z0-9][A-Z0-9 ]{{0,40}}?)\s*{_DASH}+(.{{0,20000}}?){_DASH}+\s*END \1\s*{_DASH}", re.DOTALL
)
_HEADER = re.compile(r"^[A-Za-z][A-Za-z0-9-]*: .*$", re.MULTILINE)


def _plain(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = content.decode("utf-16", "replace")
    elif b"\0" in content[:4]:
        text = content.decode("utf-16-be" if content[:1] == b"\0" else "utf-16-le", "replace")
    else:
        text = content.decode("utf-8", "replace")
    text = re.sub(rf"[{INVISIBLE}]", "", text).replace("\xa0", " ").replace("\u3000", " ")
    return re.sub(r"\\+r", "", re.sub(r"(\\+r)?\\+n", "\n", text))


def _armoured(label: str, body: str) -> Block | None:
    if any("ENCRYPTED" in header for header in _HEADER.findall(body)) or "Proc-Type" in body:
        label = f"ENCRYPTED {label}"
        return Block(label, b"")
    der = from_base64(_HEADER.sub("", body))
    return Block(label, der) if der else None
