"""APIv3 signatures: what is signed, how headers write it, which keys are believed, and one reason for each failure.

WECHATPAY2-SHA256-RSA2048 is RSA PKCS#1 v1.5 with SHA-256 over lines that each end in LF, the last one too.
The clock is an argument. Source: documented, but for the ±300 s and the forms of the fields, which are our choice.
No length of a nonce is documented: most SDKs send 32 letters and digits, others 9 to 13, or a UUID with its dashes.
"""

from __future__ import annotations

import binascii
import datetime
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from ..errors import ClockSkewed, KeyUnknown, SignatureInvalid

SCHEME = "WECHATPAY2-SHA256-RSA2048"
BRAND_SCHEME = "WECHATPAY-BRAND-SHA256-RSA2048"
"""A brand's own calls of 商品券: the same lines and the same algorithm, with `brand_id` where `mchid` stands."""
BRAND_PATHS = "/brand/"
"""Where a brand's own calls are. Source: documented; the path says which of the two schemes signs."""
_NAMED = {SCHEME: "mchid", BRAND_SCHEME: "brand_id"}
WINDOW_SECONDS = 300
PROBE = "WECHATPAY/SIGNTEST/"
PUBLIC_KEY_PREFIX = "PUB_KEY_ID_"

_SERIAL = re.compile(r"[0-9A-Fa-f]+")
_TIMESTAMP = re.compile(r"[0-9]{10}")
_NONCE = re.compile(r"[!#-~]{1,128}")
_STRICT_NONCE = re.compile(r"[0-9A-Za-z]{16,32}")
_FIELD = re.compile(r' ?(mchid|brand_id|serial_no|nonce_str|timestamp|signature)="([^"]*)"(?:,|\Z)')
_USUAL = re.compile(
    rf'({SCHEME} mchid|{BRAND_SCHEME} brand_id)="([^"]*)",'
    r'nonce_str="([^"]*)",timestamp="([^"]*)",serial_no="([^"]*)",signature="([^"]*)"'
)
"""As the official SDKs write it."""
_PADDING, _HASH = PKCS1v15(), SHA256()


class Authorization(NamedTuple):
    """The scheme and the five fields of a request's Authorization header."""

    mchid: str
    """In a brand's scheme it is the brand_id."""
    serial_no: str
    nonce_str: str
    timestamp: str
    signature: str
    scheme: str = SCHEME


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
        f'{fields.scheme} {_NAMED[fields.scheme]}="{fields.mchid}",nonce_str="{fields.nonce_str}",'
        f'timestamp="{fields.timestamp}",'
        f'serial_no="{fields.serial_no}",signature="{fields.signature}"'
    )


def parse_authorization(header: str) -> Authorization:
    """Read an Authorization header: one of the two schemes, each of its five fields once, in any order.

    Raises:
        SignatureInvalid: another scheme, or a field is missing, repeated or unknown.
    """
    if usual := _USUAL.fullmatch(header):
        begin, mchid, nonce_str, timestamp, serial_no, signature = usual.groups()
        return Authorization(mchid, serial_no, nonce_str, timestamp, signature, begin.partition(" ")[0])
    scheme, _, rest = header.partition(" ")
    if scheme not in _NAMED:
        raise SignatureInvalid(f"the Authorization scheme is {scheme[:40]!r}, not {SCHEME} or {BRAND_SCHEME}")
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
    wanted = {_NAMED[scheme], *Authorization._fields[1:5]}
    if missing := wanted - fields.keys():
        raise SignatureInvalid(f"the Authorization header has no {', '.join(sorted(missing))}")
    if fields.keys() - wanted:
        raise SignatureInvalid("the Authorization header has a part that is none of its five fields")
    return Authorization(
        fields[_NAMED[scheme]],
        fields["serial_no"],
        fields["nonce_str"],
        fields["timestamp"],
        fields["signature"],
        scheme,
    )


def scheme_of(target: str) -> str:
    """Which scheme signs a request to this path."""
    return BRAND_SCHEME if target.startswith(BRAND_PATHS) else SCHEME


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


class VerificationKey(NamedTuple):
    """A key to verify with. A certificate's has dates, a public key's has none."""

    key: RSAPublicKey
    effective_at: datetime.datetime | None = None
    expire_at: datetime.datetime | None = None

    def is_valid(self, now: float) -> bool:
        return (self.effective_at is None or self.effective_at.timestamp() <= now) and (
            self.expire_at is None or now < self.expire_at.timestamp()
        )


class KeyRing:
    """Verification keys by name, any number of both kinds at once.

    A certificate's serial is looked up as the number that it is: leading zeros and case make no other key. The name is
    kept as it was given, for that is what goes on the wire.
    """

    def __init__(self, keys: Mapping[str, RSAPublicKey | VerificationKey]) -> None:
        self._keys: dict[str, tuple[str, VerificationKey]] = {}
        self.has_certificates = False
        self.add(keys)

    def __bool__(self) -> bool:
        """Whether it has any key."""
        return bool(self._keys)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self._keys.values()]

    def knows(self, name: str) -> bool:
        return same_key(name) in self._keys

    def key(self, name: str) -> RSAPublicKey:
        return self._keys[same_key(name)][1].key

    def add(self, keys: Mapping[str, RSAPublicKey | VerificationKey]) -> None:
        """Add keys. Those that are there stay."""
        new: dict[str, tuple[str, VerificationKey]] = {}
        for name, key in keys.items():
            new.setdefault(same_key(name), (name, key if isinstance(key, VerificationKey) else VerificationKey(key)))
        self._keys = {**new, **self._keys}
        self.has_certificates = any(not name.startswith(PUBLIC_KEY_PREFIX) for name in self.names)

    def with_more(self, keys: Mapping[str, RSAPublicKey | VerificationKey]) -> KeyRing:
        """Return a ring with these keys too."""
        both = KeyRing(keys)
        both._keys = {**both._keys, **self._keys}
        both.has_certificates |= self.has_certificates
        return both

    def preferred(self, now: float | None = None) -> str | None:
        """The key to ask the platform for, and to encrypt with.

        A public key, which does not expire, before a certificate; of certificates the latest that is valid `now` (Unix
        seconds; not given: their dates don't count). Only where none is valid, the one that expires last.
        """
        for name, _ in self._keys.values():
            if name.startswith(PUBLIC_KEY_PREFIX):
                return name
        dated = list(self._keys.values())
        valid = [one for one in dated if now is None or one[1].is_valid(now)]
        if valid:
            return max(valid, key=lambda one: _unix(one[1].effective_at))[0]
        return max(dated, key=lambda one: _unix(one[1].expire_at), default=(None,))[0]

    def verify(self, headers: Iterable[tuple[str, str]], body: bytes, now: float) -> None:
        """Check an answer or a callback over the raw bytes received.

        Raises:
            SignatureInvalid: it does not hold; the message says which check failed.
        """
        signed = parse_answer(headers)
        check_form(signed.timestamp, signed.nonce)
        held = self._keys.get(same_key(signed.serial))
        if held is None:
            names = ", ".join(self.names) or "none"
            raise KeyUnknown(
                f"it is signed with key {signed.serial[:64]!r}, which is not in platform_keys; they hold {names}"
            )
        message = answer_message(signed.timestamp, signed.nonce, body)
        check_signature(held[1].key, signed.signature, message)
        # Last: only a signer that is believed can tell that a clock is wrong.
        check_clock(signed.timestamp, now)


def _unix(moment: datetime.datetime | None) -> float:
    return moment.timestamp() if moment is not None else float("-inf")


def same_key(name: str) -> str:
    """What two names of one key have in common: a serial's number, in hexadecimal; a public key's name as it is."""
    return name.lstrip("0").upper() or "0" if _SERIAL.fullmatch(name) else name
