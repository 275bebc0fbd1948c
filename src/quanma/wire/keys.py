"""Keys: reading them, of both kinds, and making new ones.

A platform signs with a certificate's key or with a public key (微信支付公钥). Either is named by one text,
a certificate serial or `PUB_KEY_ID_…`; `signature.KeyRing` looks both up alike.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
)

from ..errors import Misconfigured
from ..settings.shape import shape
from .keytext import Block, blocks
from .signature import KeyRing, VerificationKey, same_key

if TYPE_CHECKING:
    # Loaded where it is used: it takes longer than all else here, and few read certificates.
    from cryptography import x509

PrivateKey = RSAPrivateKey
PublicKey = RSAPublicKey
KEY_BITS = 2048


def private_pem(content: bytes, name: str) -> str:
    """Return a private key as PEM: the text itself, or one that says the same where it came in another form.

    Its numbers are not checked: that takes a tenth of a second, and `load_private_key` does it.

    Raises:
        Misconfigured: no unencrypted RSA key. The message says what it looks like, and nothing of what it holds.
    """
    key = _private_key(content, name, skip_check=True)
    if content.startswith(b"-----BEGIN"):
        try:
            load_pem_private_key(content, password=None, unsafe_skip_rsa_key_validation=True)
            return content.decode()
        except (ValueError, TypeError, UnsupportedAlgorithm):
            pass
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def load_private_key(content: bytes, name: str) -> RSAPrivateKey:
    """Read an unencrypted RSA key, in any form of `keytext`. `name` is for the message.

    Raises:
        Misconfigured: it is none. The message says what it looks like, and nothing of what it holds.
    """
    return _private_key(content, name, skip_check=False)


def own_public_key(private_pem: str) -> PublicKey:
    """The public key of a private one that `private_pem` returned."""
    return _private_key(private_pem.encode(), "private_key", skip_check=True).public_key()


def _private_key(content: bytes, name: str, *, skip_check: bool) -> RSAPrivateKey:
    found = blocks(content)
    keys = [key for block in found if (key := _private(block, skip_check=skip_check)) is not None]
    for key in keys:
        if isinstance(key, RSAPrivateKey):
            return key
    if keys:
        raise Misconfigured(f"{name} is not an RSA key")
    raise Misconfigured(f"{name} is not the PEM of an unencrypted private key: {_why_no_private_key(content, found)}")


def _private(block: Block, *, skip_check: bool) -> object | None:
    if block.is_encrypted:
        return None
    digest = sha256(block.der).digest()
    try:
        key = load_der_private_key(
            block.der, password=None, unsafe_skip_rsa_key_validation=skip_check or digest in _SOUND
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if not skip_check:
        _is_sound(digest)
    return key


def _is_sound(digest: bytes) -> None:
    if len(_SOUND) < _SOUND_MAX:
        _SOUND.add(digest)


_SOUND = set[bytes]()
"""Digests of keys that this process checked or made: to check one takes 30 ms, and programs make several clients."""
_SOUND_MAX = 1000


def _why_no_private_key(content: bytes, found: Sequence[Block]) -> str:
    looks = f"it is {shape(content)}"
    if shape(content).startswith(("a .p12", "the Base64 of a .p12")):
        return f"{looks}: take the key out with openssl pkcs12 -nodes -nocerts, its password is the mchid"
    if any(block.is_encrypted or _is_encrypted(block) for block in found):
        return f"{looks}, encrypted: take the password off with openssl pkey"
    if any(_public(block) is not None for block in found):
        return f"{looks}: a certificate or a public key, and the private key is another file, apiclient_key.pem"
    return f"{looks}: give the whole content of apiclient_key.pem"


def _is_encrypted(block: Block) -> bool:
    try:
        load_der_private_key(block.der, password=None)
    except TypeError:
        return True
    except (ValueError, UnsupportedAlgorithm):
        return False
    return False


def verification_pem(name: str, content: bytes) -> str:
    """Return a public key or certificate as PEM: the text itself, or one that says the same. Raises as `load_ring`."""
    key = load_dated_key(name, content)
    text = content.decode("utf-8", "replace")
    if text.lstrip().startswith("-----BEGIN") and "�" not in text and "\n" not in text:
        return text
    certificate = _certificate(content)
    if certificate is not None:
        return certificate.public_bytes(Encoding.PEM).decode()
    return key.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def load_ring(pems: Mapping[str, bytes]) -> KeyRing:
    """Raises Misconfigured: a PEM can't be read, or a certificate has another serial than its name."""
    return KeyRing({name: load_dated_key(name, pem) for name, pem in pems.items()})


def load_verification_key(name: str, content: bytes) -> RSAPublicKey:
    """Read a public key or a certificate. Raises Misconfigured as `load_ring`."""
    return load_dated_key(name, content).key


def load_dated_key(name: str, content: bytes) -> VerificationKey:
    """Read a public key, or a certificate with its dates, in any form of `keytext`. Raises as `load_ring`."""
    certificate = _certificate(content)
    if certificate is not None:
        serial = serial_of(certificate)
        if same_key(serial) != same_key(name):
            raise Misconfigured(f"the certificate given for {name} has serial {serial}: name it so")
        try:
            key: object = certificate.public_key()
            effective_at, expire_at = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        except (ValueError, UnsupportedAlgorithm):
            raise Misconfigured(f"the certificate given for {name} has no key, or no dates, that can be read") from None
        if isinstance(key, RSAPublicKey):
            return VerificationKey(key, effective_at, expire_at)
    else:
        key = next((key for block in blocks(content) if (key := _public(block)) is not None), None)
    if key is None:
        raise Misconfigured(f"the key of {name} is not the PEM of a public key or certificate: it is {shape(content)}")
    if not isinstance(key, RSAPublicKey):
        raise Misconfigured(f"the key of {name} is not an RSA key")
    return VerificationKey(key)


def _public(block: Block) -> object | None:
    """The public key of a public key, or of a certificate."""
    for load in (load_der_public_key, lambda der: _load_certificate(der).public_key()):
        try:
            return load(block.der)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
    return None


def _load_certificate(der: bytes) -> x509.Certificate:
    from cryptography.x509 import load_der_x509_certificate

    return load_der_x509_certificate(der)


def _certificate(content: bytes) -> x509.Certificate | None:
    """The first certificate in a text or file."""
    for block in blocks(content):
        if block.label in ("", "CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"):
            try:
                return _load_certificate(block.der)
            except ValueError:
                continue
    return None


def is_key_text(text: str) -> bool:
    """Whether a setting's value is meant as a key's text, and not as a path."""
    return "BEGIN " in text or bool(blocks(text.encode("utf-8", "replace")))


def serial_of(certificate: x509.Certificate) -> str:
    """A certificate's serial as openssl prints it: whole bytes, so it may begin with 0."""
    digits = f"{certificate.serial_number:X}"
    return digits if len(digits) % 2 == 0 else f"0{digits}"


class Certified(NamedTuple):
    """A new private key with its certificate, as PEM, and the certificate's serial."""

    private_key: bytes
    certificate: bytes
    serial_no: str


def make_private_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    _is_sound(sha256(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())).digest())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(private_key: RSAPrivateKey) -> bytes:
    return private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def make_certified(common_name: str, now: datetime.datetime) -> Certified:
    """Make a key and a self-signed certificate for it, valid for five years from yesterday."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

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
    common_name: str
    """Of its subject, and whose name it is that issued it; empty: it has none."""
    issuer: str
    key: PublicKey | None
    """None: its key is not RSA."""


def certificate_facts(pem: bytes, name: str) -> CertificateFacts:
    """Raises Misconfigured: not a certificate. `name` is for the message."""
    from cryptography.x509.oid import NameOID

    certificate = _certificate(pem)
    if certificate is None:
        raise Misconfigured(f"{name} is not the PEM of a certificate: it is {shape(pem)}")
    return CertificateFacts(
        serial_of(certificate),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        _named(certificate.subject, NameOID.COMMON_NAME),
        _named(certificate.issuer, NameOID.ORGANIZATION_NAME) or _named(certificate.issuer, NameOID.COMMON_NAME),
        key if isinstance(key := certificate.public_key(), RSAPublicKey) else None,
    )


def _named(name: x509.Name, attribute: x509.ObjectIdentifier) -> str:
    """The first text of this attribute, as far as a message shows it."""
    found = (one.value for one in name.get_attributes_for_oid(attribute) if isinstance(one.value, str))
    return next(found, "")[:80]
