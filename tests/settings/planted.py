"""Secrets in every form in which they get into a setting, and all that is said when they are read."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

PASSWORD = "S3same/0pen#n0w"
API_KEY = "Geheim0123456789Geheim0123456789"
PIECE = 10
"""As many characters of a secret, in a row, are too many."""


def readable_forms(pem: str) -> dict[str, str]:
    """A private key's PEM as it is found in the field, each of which is plain in what it says."""
    lines = pem.strip().splitlines()
    body = "".join(lines[1:-1])
    return {
        "to the letter": pem,
        "without header lines": body,
        "without header lines, in lines": "\n".join(lines[1:-1]),
        "in quotes": f'"{pem}"',
        "in single quotes": f"'{pem.strip()}'",
        "after a BOM": "\ufeff" + pem,
        "after Bag Attributes": "Bag Attributes\n    localKeyID: 01 02\nKey Attributes: <No Attributes>\n" + pem,
        "with typographic dashes": pem.replace("-----", "—–"),
        "with one long dash": pem.replace("-----", "—"),
        "with escaped line ends": pem.replace("\n", "\\n"),
        "with line ends escaped twice": pem.replace("\n", "\\\\n"),
        "with escaped CRLF": pem.replace("\n", "\\r\\n"),
        "in one line": pem.replace("\n", ""),
        "in one line with spaces": pem.replace("\n", " "),
        "with CRLF": pem.replace("\n", "\r\n"),
        "indented": "\n".join(f"    {line}" for line in lines),
        "Base64 of the file": base64.b64encode(pem.encode()).decode(),
        "Base64 of the file in lines": base64.encodebytes(pem.encode()).decode(),
        "with text before and after": f"this is my key:\n{pem}\nkeep it well\n",
        "without header lines, in quotes, with a line end": f'"{body}"\n',
        "in typographic quotes": f"“{pem}”",
        "with zero-width spaces": pem.replace("BEGIN", "\u200bBEGIN"),
        "URL-safe Base64": body.replace("+", "-").replace("/", "_"),
        "labelled as nothing known": pem.replace("PRIVATE KEY", "MY KEY"),
        "labelled as the older form": pem.replace("PRIVATE KEY", "RSA PRIVATE KEY"),
        "the older form": key_of(pem).private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        ).decode(),
    }  # fmt: skip


def unreadable_forms(pem: str) -> dict[str, str]:
    """What is no key any more, with as much of it as there is."""
    body = "".join(pem.strip().splitlines()[1:-1])
    return {
        "half of it": pem[: len(pem) // 2],
        "its end": pem[len(pem) // 2 :],
        "half without header lines": body[: len(body) // 2],
        "without its END line": pem[: pem.index("-----END")],
        "with a letter that is none": pem.replace(body[70], "券"),
        "turned round": body[::-1],
        "encrypted": key_of(pem).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"sesame")
        ).decode(),
        "encrypted, the older form": key_of(pem).private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"sesame")
        ).decode(),
        "Base64 of a .p12": base64.b64encode(p12(pem)).decode(),
        "as a file's name": f"{body}.pem",
        "with a slash at its end": f"{body}/",
        "twice": body + body,
        "with a NUL": body[:200] + "\0" + body[200:],
        "an APIv3 key": API_KEY,
        "a password in an address": f"https://user:{PASSWORD}@127.0.0.1",
    }  # fmt: skip


def files(pem: str) -> dict[str, bytes]:
    """Contents of a key file that are not a PEM in UTF-8; `refused` ones have that word in their names."""
    der = key_of(pem).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return {
        "DER": der,
        "DER of the older form": key_of(pem).private_bytes(
            Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        ),
        "UTF-16": pem.encode("utf-16"),
        "UTF-16 without a BOM": pem.encode("utf-16-le"),
        "UTF-8 with a BOM": pem.encode("utf-8-sig"),
        "refused: a .p12": p12(pem),
        "refused: half of DER": der[: len(der) // 2],
        "refused: GBK around half of it": "密钥".encode("gbk") + pem[:300].encode(),
        "refused: empty": b"",
        "refused: a line end": b"\n",
    }


def p12(pem: str) -> bytes:
    return pkcs12.serialize_key_and_certificates(b"key", key_of(pem), None, None, NoEncryption())


def addresses() -> dict[str, str]:
    """Addresses with a password that can't be right, and neither shall be shown."""
    return {
        "user and password": f"https://user:{PASSWORD}@127.0.0.1",
        "escaped": "https://user:S3same%2F0pen%23n0w@127.0.0.1/path",
        "no scheme": f"user:{PASSWORD}@127.0.0.1:3128",
        "another scheme": f"ftp://user:{PASSWORD}@127.0.0.1",
        "port 99999": "http://user:S3sameopenn0w@127.0.0.1:99999",
        "port no number": f"http://user:{PASSWORD}",
        "an open bracket": f"http://user:{PASSWORD}@[::1",
        "an open bracket and port": "http://user:S3sameopenn0w@[::1:8460",
        "no address in brackets": "http://[S3sameopenn0w]:80",
        "a digit before the slash": "http://user:12/S3sameopenn0w@127.0.0.1",
        "a digit before the hash": "http://user:12#S3sameopenn0w@127.0.0.1",
        "a digit before the question mark": "http://user:12?S3sameopenn0w@127.0.0.1",
        "a backslash": "http://user:12\\S3sameopenn0w@127.0.0.1",
        "a line end": "http://user:S3sameopenn0w@127.0.0.1\n",
        "a space": "http://user:S3same openn0w@127.0.0.1",
        "a tab": "http://user:S3same\topenn0w@127.0.0.1",
        "a letter that unfolds": "http://user:S3sameopenn0w℀@127.0.0.1",
        "only the password": "S3sameopenn0w",
        "a key": API_KEY,
        "a query": "http://127.0.0.1?key=S3sameopenn0w",
        "a host that is none": "http://S3same!openn0w",
        "an IPv4 that is none": "http://user:S3sameopenn0w@256.1.1.1",
        "no host": "http://user:S3sameopenn0w@",
    }


def pieces(pem: str) -> Iterator[str]:
    """Parts of the secrets, none of which may be said."""
    body = "".join(pem.strip().splitlines()[1:-1])
    for secret in (body, body[::-1], base64.b64encode(pem.encode()).decode()[40:], API_KEY):
        yield from (
            secret[start : start + PIECE] for start in range(40 if secret is body else 0, len(secret) - PIECE, PIECE)
        )
    yield from ("S3same", "0pen", "openn0w", "Geheim0123")


def said(call: Callable[[], object]) -> str:
    """All that is said in a call: what it prints and warns, its error with those behind it, and the traceback."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            print(repr(call()))
        except (Exception, SystemExit) as error:
            behind: BaseException | None = error
            while behind is not None:
                print(repr(behind), behind, [str(value) for value in vars(behind).values()])
                print("".join(traceback.format_exception(behind)))
                behind = behind.__cause__ or behind.__context__
    return out.getvalue() + "".join(str(one.message) for one in told)


def clean(text: str, pem: str) -> str:
    """The text, if no piece of a secret is in it."""
    held = [piece for piece in pieces(pem) if piece in text]
    assert held == [], f"{len(held)} pieces of secrets are in what was said"
    return text


def key_of(pem: str) -> RSAPrivateKey:
    key = load_pem_private_key(pem.encode(), None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, RSAPrivateKey)
    return key


def toml(document: dict[str, Any]) -> str:
    """A document as TOML: tables of plain values, lists of them, and one table inside another."""
    plain = {name: value for name, value in document.items() if not isinstance(value, dict) and not _tables(value)}
    lines = [f"{json.dumps(name, ensure_ascii=False)} = {_inline(value)}" for name, value in plain.items()]
    for name, value in document.items():
        tables = [(f"[{name}]", value)] if isinstance(value, dict) else []
        tables += [(f"[[{name}]]", table) for table in value] if _tables(value) else []
        for heading, table in tables:
            lines += [
                heading,
                *(f"{json.dumps(key, ensure_ascii=False)} = {_inline(one)}" for key, one in table.items()),
            ]
    return "\n".join(lines) + "\n"


def _tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_inline(name)} = {_inline(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(one) for one in value) + "]"
    return json.dumps(value, ensure_ascii=False)
