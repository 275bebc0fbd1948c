"""Keys: reading PEM, making new ones, and a ring of verification keys of both kinds.

A platform signs with a certificate's key or with a public key (微信支付公钥). Either is named by one text,
a certificate serial or `PUB_KEY_ID_…`, and they are looked up alike.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
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

from ..errors import KeyUnknown, Misconfigured
from ..settings.shape import shape
from . import signature
from .keytext import Block, blocks

if TYPE_CHECKING:
    # Loaded where it is used: it takes longer than all else here, and few read certificates.
    from cryptography import x509

PrivateKey = RSAPrivateKey
PublicKey = RSAPublicKey
KEY_BITS = 2048
PUBLIC_KEY_PREFIX = "PUB_KEY_ID_"
_SERIAL = re.compile(r"[0-9A-Fa-f]+")


class VerificationKey(NamedTuple):
    """A key to verify with. A certificate's has dates, a public key's has none."""

    key: PublicKey
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

    def __init__(self, keys: Mapping[str, PublicKey | VerificationKey]) -> None:
        self._keys: dict[str, tuple[str, VerificationKey]] = {}
        self.has_certificates = False
        self.add(keys)

    @classmethod
    def from_pem(cls, pems: Mapping[str, bytes]) -> KeyRing:
        """Raises Misconfigured: a PEM can't be read, or a certificate has another serial than its name."""
        return cls({name: load_dated_key(name, pem) for name, pem in pems.items()})

    def __bool__(self) -> bool:
        """Whether it has any key."""
        return bool(self._keys)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self._keys.values()]

    def knows(self, name: str) -> bool:
        return same_key(name) in self._keys

    def key(self, name: str) -> PublicKey:
        return self._keys[same_key(name)][1].key

    def add(self, keys: Mapping[str, PublicKey | VerificationKey]) -> None:
        """Add keys. Those that are there stay."""
        new: dict[str, tuple[str, VerificationKey]] = {}
        for name, key in keys.items():
            new.setdefault(same_key(name), (name, key if isinstance(key, VerificationKey) else VerificationKey(key)))
        self._keys = {**new, **self._keys}
        self.has_certificates = any(not name.startswith(PUBLIC_KEY_PREFIX) for name in self.names)

    def with_more(self, keys: Mapping[str, PublicKey | VerificationKey]) -> KeyRing:
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
        signed = signature.parse_answer(headers)
        signature.check_form(signed.timestamp, signed.nonce)
        held = self._keys.get(same_key(signed.serial))
        if held is None:
            names = ", ".join(self.names) or "none"
            raise KeyUnknown(
                f"it is signed with key {signed.serial[:64]!r}, which is not in platform_keys; they hold {names}"
            )
        message = signature.answer_message(signed.timestamp, signed.nonce, body)
        signature.check_signature(held[1].key, signed.signature, message)
        # Last: only a signer that is believed can tell that a clock is wrong.
        signature.check_clock(signed.timestamp, now)


def _unix(moment: datetime.datetime | None) -> float:
    return moment.timestamp() if moment is not None else float("-inf")


def same_key(name: str) -> str:
    """What two names of one key have in common: a serial's number, in hexadecimal; a public key's name as it is."""
    return name.lstrip("0").upper() or "0" if _SERIAL.fullmatch(name) else name


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
    if not skip_check and len(_SOUND) < _SOUND_MAX:
        _SOUND.add(digest)
    return key


_SOUND = set[bytes]()
"""Digests of keys whose numbers were checked in this process: that takes 30 ms, and programs make several clients."""
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
    """Return a public key or certificate as PEM: the text itself, or one that says the same. Raises as `from_pem`."""
    key = load_dated_key(name, content)
    text = content.decode("utf-8", "replace")
    if text.lstrip().startswith("-----BEGIN") and "�" not in text and "\n" not in text:
        return text
    certificate = _certificate(content)
    if certificate is not None:
        return certificate.public_bytes(Encoding.PEM).decode()
    return key.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def load_verification_key(name: str, content: bytes) -> RSAPublicKey:
    """Read a public key or a certificate. Raises Misconfigured as `KeyRing.from_pem`."""
    return load_dated_key(name, content).key


def load_dated_key(name: str, content: bytes) -> VerificationKey:
    """Read a public key, or a certificate with its dates, in any form of `keytext`. Raises as `KeyRing.from_pem`."""
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


def certificate_facts(pem: bytes, name: str) -> CertificateFacts:
    """Raises Misconfigured: not a certificate. `name` is for the message."""
    certificate = _certificate(pem)
    if certificate is None:
        raise Misconfigured(f"{name} is not the PEM of a certificate: it is {shape(pem)}")
    return CertificateFacts(serial_of(certificate), certificate.not_valid_before_utc, certificate.not_valid_after_utc)
