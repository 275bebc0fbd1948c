"""APIv3 signatures: what is signed, how it is written in a header, and one reason for each way it can fail.

WECHATPAY2-SHA256-RSA2048 is RSA PKCS#1 v1.5 with SHA-256 over lines that each end in LF, the last one too.
The clock is an argument. Source: documented, but for the ±300 s and the forms of the fields, which are our choice.
No length of a nonce is documented: most SDKs send 32 letters and digits, others 9 to 13, or a UUID with its dashes.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from ..errors import ClockSkewed, SignatureInvalid

SCHEME = "WECHATPAY2-SHA256-RSA2048"
WINDOW_SECONDS = 300
PROBE = "WECHATPAY/SIGNTEST/"

_TIMESTAMP = re.compile(r"[0-9]{10}")
_NONCE = re.compile(r"[!#-~]{1,128}")
_STRICT_NONCE = re.compile(r"[0-9A-Za-z]{16,32}")
_FIELD = re.compile(r' ?(mchid|serial_no|nonce_str|timestamp|signature)="([^"]*)"(?:,|\Z)')
_USUAL = re.compile(
    rf'{SCHEME} mchid="([^"]*)",nonce_str="([^"]*)",timestamp="([^"]*)",serial_no="([^"]*)",signature="([^"]*)"'
)
"""As the official SDKs write it."""
_PADDING, _HASH = PKCS1v15(), SHA256()


class Authorization(NamedTuple):
    """The five fields of a request's Authorization header."""

    mchid: str
    serial_no: str
    nonce_str: str
    timestamp: str
    signature: str


class AnswerSignature(NamedTuple):
    """The four headers that sign an answer or a callback."""

    serial: str
    nonce: str
    timestamp: str
    signature: str


_SIGNING_HEADERS = {f"wechatpay-{field}": field for field in AnswerSignature._fields}


def sign(key: RSAPrivateKey, message: bytes) -> str:
    return binascii.b2a_base64(key.sign(message, _PADDING, _HASH), newline=False).decode()


def request_message(method: str, target: str, timestamp: str, nonce: str, body: bytes) -> bytes:
    """The five lines a request signs. `target` is path and query as they go on the wire."""
    return f"{method}\n{target}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"


def answer_message(timestamp: str, nonce: str, body: bytes) -> bytes:
    """The three lines an answer or a callback signs. It names neither the request nor the status."""
    return f"{timestamp}\n{nonce}\n".encode() + body + b"\n"


def authorization(fields: Authorization) -> str:
    return (
        f'{SCHEME} mchid="{fields.mchid}",nonce_str="{fields.nonce_str}",timestamp="{fields.timestamp}",'
        f'serial_no="{fields.serial_no}",signature="{fields.signature}"'
    )


def parse_authorization(header: str) -> Authorization:
    """Read an Authorization header: our scheme, each of the five fields once, in any order.

    Raises:
        SignatureInvalid: another scheme, or a field is missing, repeated or unknown.
    """
    if usual := _USUAL.fullmatch(header):
        mchid, nonce_str, timestamp, serial_no, signature = usual.groups()
        return Authorization(mchid, serial_no, nonce_str, timestamp, signature)
    scheme, _, rest = header.partition(" ")
    if scheme != SCHEME:
        raise SignatureInvalid(f"the Authorization scheme is {scheme[:40]!r}, not {SCHEME}")
    fields: dict[str, str] = {}
    end = 0
    while True:
        field = _FIELD.match(rest, end)  # Not split at commas: a nonce may hold one.
        if field is None:
            raise SignatureInvalid("the Authorization header has a part that is none of its five fields")
        if field[1] in fields:
            raise SignatureInvalid(f"the Authorization header has {field[1]} twice")
        fields[field[1]] = field[2]
        end = field.end()
        if not field[0].endswith(","):
            break
    if missing := set(Authorization._fields) - fields.keys():
        raise SignatureInvalid(f"the Authorization header has no {', '.join(sorted(missing))}")
    return Authorization(**fields)


def parse_answer(headers: Iterable[tuple[str, str]]) -> AnswerSignature:
    """Read the four signing headers of an answer or a callback, each once, names in any case.

    Raises:
        SignatureInvalid: one is missing or repeated.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        if field := _SIGNING_HEADERS.get(name.lower()):
            if field in found:
                raise SignatureInvalid(f"the header {name} stands twice")
            found[field] = value
    if missing := [name for name, field in _SIGNING_HEADERS.items() if field not in found]:
        raise SignatureInvalid(f"the answer is not signed: it has no {', '.join(missing)}")
    return AnswerSignature(**found)


def check_form(timestamp: str, nonce: str, *, strict_nonce: bool = False) -> None:
    """Raises SignatureInvalid: a field is not in its one form."""
    if not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureInvalid("the timestamp is not ten digits of Unix seconds")
    if not _NONCE.fullmatch(nonce):
        raise SignatureInvalid("the nonce is not 1 to 128 visible ASCII characters without the quote")
    if strict_nonce and not _STRICT_NONCE.fullmatch(nonce):
        raise SignatureInvalid("the nonce is not 16 to 32 letters and digits, as strict_nonce asks for")


def check_clock(timestamp: str, now: float) -> None:
    """Raises ClockSkewed: the signer's clock and ours are more than 300 s apart."""
    ahead = int(timestamp) - int(now)
    if abs(ahead) > WINDOW_SECONDS:
        direction = "ahead of" if ahead > 0 else "behind"
        raise ClockSkewed(
            f"the signer's clock is {abs(ahead)} s {direction} ours, at most {WINDOW_SECONDS} s are allowed: "
            "set both clocks"
        )


def check_signature(key: RSAPublicKey, signature: str, message: bytes) -> None:
    """Raises SignatureInvalid: a probe, not canonical Base64, or not this key's signature of this message."""
    if signature.startswith(PROBE):
        raise SignatureInvalid(f"a {PROBE} probe: the platform sends wrong signatures on purpose, and they must fail")
    try:
        raw = binascii.a2b_base64(signature, strict_mode=True)
    except (binascii.Error, ValueError) as cause:
        raise SignatureInvalid("the signature is not Base64") from cause
    if binascii.b2a_base64(raw, newline=False).decode() != signature:
        raise SignatureInvalid("the signature is not canonical Base64")
    try:
        key.verify(raw, message, _PADDING, _HASH)
    except InvalidSignature as cause:
        raise SignatureInvalid(
            "the signature does not fit: the target, a header or the body was changed after signing, "
            "or another key signed it"
        ) from cause
