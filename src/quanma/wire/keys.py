"""Keys: reading PEM, making new ones, and a ring of verification keys of both kinds.

A platform signs with a certificate's key or with a public key (微信支付公钥). Either is named by one text,
a certificate serial or `PUB_KEY_ID_…`, and they are looked up alike: the name is never parsed.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509.oid import NameOID

from ..errors import KeyUnknown, Misconfigured
from . import signature

PrivateKey = RSAPrivateKey
PublicKey = RSAPublicKey
KEY_BITS = 2048
PUBLIC_KEY_PREFIX = "PUB_KEY_ID_"
_SERIAL = re.compile(r"[0-9A-Fa-f]+")


class KeyRing:
    """Verification keys by name, any number of both kinds at once."""

    def __init__(self, keys: Mapping[str, RSAPublicKey]) -> None:
        self._keys = dict(keys)

    @classmethod
    def from_pem(cls, pems: Mapping[str, bytes]) -> KeyRing:
        """Raises Misconfigured: a PEM can't be read, or a certificate has another serial than its name."""
        return cls({name: load_verification_key(name, pem) for name, pem in pems.items()})

    @property
    def names(self) -> list[str]:
        return list(self._keys)

    def key(self, name: str) -> PublicKey:
        return self._keys[name]

    @property
    def has_certificates(self) -> bool:
        return any(not name.startswith(PUBLIC_KEY_PREFIX) for name in self._keys)

    def add(self, keys: Mapping[str, PublicKey]) -> None:
        """Add keys. Those that are there stay."""
        self._keys = {**keys, **self._keys}

    def with_more(self, keys: Mapping[str, PublicKey]) -> KeyRing:
        """Return a ring with these keys too."""
        return KeyRing({**keys, **self._keys})

    def preferred(self) -> str | None:
        """The key to ask the platform for: a public key, which does not expire, before a certificate."""
        return min(self._keys, key=lambda name: not name.startswith(PUBLIC_KEY_PREFIX), default=None)

    def verify(self, headers: Iterable[tuple[str, str]], body: bytes, now: float) -> None:
        """Check an answer or a callback over the raw bytes received.

        Raises:
            SignatureInvalid: it does not hold; the message says which check failed.
        """
        signed = signature.parse_answer(headers)
        signature.check_form(signed.timestamp, signed.nonce)
        key = self._keys.get(signed.serial)
        if key is None:
            held = ", ".join(self._keys) or "none"
            raise KeyUnknown(
                f"it is signed with key {signed.serial[:64]!r}, which is not in platform_keys; they hold {held}"
            )
        signature.check_signature(key, signed.signature, signature.answer_message(signed.timestamp, signed.nonce, body))
        # Last: only a signer that is believed can tell that a clock is wrong.
        signature.check_clock(signed.timestamp, now)


def load_private_key(pem: bytes, name: str) -> RSAPrivateKey:
    """Raises Misconfigured: not the PEM of an unencrypted RSA key. `name` is for the message."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as cause:
        raise Misconfigured(f"{name} is not the PEM of an unencrypted private key: {cause}") from None
    if not isinstance(key, RSAPrivateKey):
        raise Misconfigured(f"{name} is not an RSA key")
    return key


def load_verification_key(name: str, pem: bytes) -> RSAPublicKey:
    """Read a public key or a certificate. Raises Misconfigured as `KeyRing.from_pem`."""
    key: object
    try:
        if b"BEGIN CERTIFICATE" in pem:
            certificate = x509.load_pem_x509_certificate(pem)
            if (serial := serial_of(certificate)) != name:
                raise Misconfigured(f"the certificate given for {name} has serial {serial}: name it so")
            key = certificate.public_key()
        else:
            key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as cause:
        raise Misconfigured(f"the key of {name} is not the PEM of a public key or certificate: {cause}") from None
    if not isinstance(key, RSAPublicKey):
        raise Misconfigured(f"the key of {name} is not an RSA key")
    return key


def serial_key(name: str) -> str:
    """Return a key's name in the form in which names are compared: a serial as a number; any other as it is.

    Source: a serial that begins with 0 is written with it and without, and in small letters too (all seen).
    """
    return (name.lstrip("0").upper() or "0") if _SERIAL.fullmatch(name) else name


def serial_of(certificate: x509.Certificate) -> str:
    return f"{certificate.serial_number:X}"


class Certified(NamedTuple):
    """A new private key with its certificate, as PEM, and the certificate's serial."""

    private_key: bytes
    certificate: bytes
    serial_no: str


def make_private_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(private_key: RSAPrivateKey) -> bytes:
    return private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def make_certified(common_name: str, now: datetime.datetime) -> Certified:
    """Make a key and a self-signed certificate for it, valid for five years from yesterday."""
    pem = make_private_key()
    key = load_private_key(pem, common_name)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=5 * 365))
        .sign(key, SHA256())
    )
    return Certified(pem, certificate.public_bytes(Encoding.PEM), serial_of(certificate))


class CertificateFacts(NamedTuple):
    serial_no: str
    effective_at: datetime.datetime
    expire_at: datetime.datetime


def certificate_facts(pem: bytes, name: str) -> CertificateFacts:
    """Raises Misconfigured: not a certificate. `name` is for the message."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError as cause:
        raise Misconfigured(f"{name} is not the PEM of a certificate: {cause}") from None
    return CertificateFacts(serial_of(certificate), certificate.not_valid_before_utc, certificate.not_valid_after_utc)
