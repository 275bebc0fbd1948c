"""What a message may say of a setting's value: its shape, never the value itself.

A value that is wrong may be a secret in the wrong place: a private key where a path is wanted, a password in an
address. So no message repeats one. What is said is what whoever wrote it needs to see the mistake: how long it is, what
it looks like, and what is odd at its ends.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import unicodedata
from pathlib import Path

DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
"""What an editor makes of a hyphen."""
QUOTES = "\"'`\u2018\u2019\u201c\u201d\uff02\uff07"
INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060\u00ad"


def shape(value: object) -> str:
    """Say what a value looks like: "33 characters, ends in a line feed", "a .p12 file, 2,642 bytes"."""
    if isinstance(value, bytes):
        return _of_bytes(value)
    if not isinstance(value, str):
        return {"bool": "true or false", "dict": "a table", "list": "a list"}.get(type(value).__name__, "a number")
    if not value:
        return "empty"
    said = [_kind(value), f"{len(value):,} character{'s' if len(value) > 1 else ''}", *_oddities(value)]
    return ", ".join(part for part in said if part)


def path_or_shape(value: str | os.PathLike[str]) -> str:
    """A path as a message may show it: one that is there, or that has the look of a file's name; else its shape."""
    text = os.fspath(value)
    if os.path.exists(text) or (_FILE_NAME.fullmatch(text) and all(len(part) <= 64 for part in Path(text).parts)):
        return text
    return f"({shape(text)})"


def is_p12(content: bytes) -> bool:
    """A PKCS#12 file is a sequence that begins with its version, 3."""
    return is_der(content) and content[2 + max(0, content[1] - 0x80) :].startswith(b"\x02\x01\x03")


def is_der(content: bytes) -> bool:
    """Whether these bytes begin as DER does: a sequence, longer than 127 bytes. Text never does."""
    return len(content) > 4 and content[0] == 0x30 and content[1] in (0x80, 0x81, 0x82, 0x83)


def from_base64(text: str) -> bytes | None:
    """The bytes of Base64 in either alphabet, with or without its padding, line ends and quotes; None: it is none."""
    packed = re.sub(rf"[\s{QUOTES}{INVISIBLE}\\]", "", text).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


_FILE_NAME = re.compile(r"[^\x00-\x1f]{1,250}\.(pem|key|crt|cer|cert|der|p12|pfx|txt|toml)", re.IGNORECASE)
_BEGIN = re.compile(rf"[{DASHES}]\s*BEGIN ([A-Z0-9 ]{{1,40}}?)\s*[{DASHES}]")
_LABELS = {
    "PRIVATE KEY": "a private key",
    "RSA PRIVATE KEY": "a private key",
    "EC PRIVATE KEY": "a private key that is not RSA",
    "DSA PRIVATE KEY": "a private key that is not RSA",
    "ENCRYPTED PRIVATE KEY": "an encrypted private key",
    "OPENSSH PRIVATE KEY": "an OpenSSH key",
    "PUBLIC KEY": "a public key",
    "RSA PUBLIC KEY": "a public key",
    "CERTIFICATE": "a certificate",
    "CERTIFICATE REQUEST": "a certificate request",
}
_MAGIC = {
    b"PK\x03\x04": "a .zip file",
    b"\xfe\xed\xfe\xed": "a Java keystore",
    b"SQLite format 3": "an SQLite file",
}


def _of_bytes(content: bytes) -> str:
    size = f"{len(content):,} bytes"
    if is_p12(content):
        return f"a .p12 file, {size}"
    if is_der(content):
        return f"DER, {size}"
    for magic, kind in _MAGIC.items():
        if content.startswith(magic):
            return f"{kind}, {size}"
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return f"text in UTF-16: {shape(content.decode('utf-16', 'replace'))}"
    try:
        return shape(content.decode())
    except UnicodeDecodeError:
        return f"{size} that are no text in UTF-8"


def _kind(text: str) -> str:
    if begins := _BEGIN.search(text):
        kind = f"the PEM of {_LABELS.get(begins[1], 'something else')}"
        return kind if re.search(rf"[{DASHES}]\s*END ", text) else f"{kind} without its END line"
    if len(text) >= 100 and (content := from_base64(text)):
        if is_p12(content):
            return "the Base64 of a .p12 file"
        if is_der(content):
            return "a PEM without header lines"
        if b"BEGIN " in content[:200]:
            return "the Base64 of a PEM"
    if "://" in text:
        return "an address"
    if text.startswith("PUB_KEY_ID_"):
        return "the name of a public key"
    if re.fullmatch(r"([0-9A-Fa-f]{2}:)+[0-9A-Fa-f]{2}", text):
        return "hexadecimal digits with colons"
    return "a decimal number" if len(text) > 40 and text.isdecimal() else ""


def _oddities(text: str) -> list[str]:
    said = [f"begins with {name}" for name in [_name(text[0])] if name]
    said += [f"ends in {name}" for name in [_name(text[-1])] if name and len(text) > 1]
    inner = text.strip()
    if re.search(r"[\r\n]", inner) and not _BEGIN.search(text):
        said.append("has several lines")
    elif re.search(r"\s", inner) and not _BEGIN.search(text):
        said.append("has a space in it")
    if any(unicodedata.east_asian_width(character) == "F" for character in inner):
        said.append("has full-width characters")
    elif not inner.isascii() and not _name(text[0]) and not _name(text[-1]):
        said.append("has characters that are not ASCII")
    return said


def _name(character: str) -> str:
    if character in QUOTES:
        return "a quote"
    named = {"\n": "a line feed", "\r": "a carriage return", "\t": "a tab", " ": "a space", "\ufeff": "a BOM"}
    named |= {"\u3000": "a full-width space", "\xa0": "a no-break space"}
    if character in named:
        return named[character]
    unseen = character in INVISIBLE or unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp")
    return "an invisible character" if unseen else ""
