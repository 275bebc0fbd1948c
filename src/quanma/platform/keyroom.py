"""The platform's own keys, which sign its answers, and the merchants', which it believes."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import Misconfigured, SignatureInvalid
from ..wire import keys, signature
from . import config


class Certificate(NamedTuple):
    """A platform certificate, to be handed out sealed."""

    pem: bytes
    facts: keys.CertificateFacts


class Merchant(NamedTuple):
    mchid: str
    apiv3_key: str
    verifying: Mapping[str, keys.PublicKey]
    """By certificate serial."""


class KeyRoom:
    """Signs answers and verifies requests."""

    def __init__(
        self,
        signing: Mapping[str, keys.PrivateKey],
        default_key: str,
        certificates: Sequence[Certificate],
        merchants: Mapping[str, Merchant],
    ) -> None:
        self._signing = signing
        self._default_key = default_key
        self.certificates = certificates
        self._merchants = merchants
        self._nobody = _nobodys_key()

    @classmethod
    def load(cls, settings: config.PlatformConfig, folder: Path) -> KeyRoom:
        """Raises Misconfigured: a key or certificate is missing, unreadable, unsafe or not what it is named."""
        certificate_pem = config.read_public(folder, settings.certificate)
        facts = keys.certificate_facts(certificate_pem, settings.certificate)
        names = {
            facts.serial_no: settings.certificate_private,
            settings.public_key_id: settings.public_key_private,
        }
        signing = {
            serial: keys.load_private_key(config.read_private(folder, name), name) for serial, name in names.items()
        }
        certified = keys.load_verification_key(facts.serial_no, certificate_pem)
        if signing[facts.serial_no].public_key().public_numbers() != certified.public_numbers():
            raise Misconfigured(f"{settings.certificate_private} is not the key of {settings.certificate}")
        merchants = {entry.mchid: _merchant(entry, folder) for entry in settings.merchants}
        return cls(signing, settings.public_key_id, [Certificate(certificate_pem, facts)], merchants)

    def merchant(self, mchid: str) -> Merchant:
        return self._merchants[mchid]

    def sign(self, wanted: str | None, timestamp: str, body: bytes) -> list[tuple[str, str]]:
        """Return the headers that sign an answer, with the key that was asked for, else the public key."""
        name = wanted if wanted is not None and wanted in self._signing else self._default_key
        nonce = secrets.token_hex(16)
        message = signature.answer_message(timestamp, nonce, body)
        return [
            ("Wechatpay-Nonce", nonce),
            ("Wechatpay-Timestamp", timestamp),
            ("Wechatpay-Signature", signature.sign(self._signing[name], message)),
            ("Wechatpay-Serial", name),
            ("Wechatpay-Signature-Type", signature.SCHEME),
        ]

    def verify(self, method: str, target: str, authorizations: Sequence[str], body: bytes, now: float) -> Merchant:
        """Return the merchant that signed the request.

        Raises:
            SignatureInvalid: it does not hold; the message says why. Every cause takes the same work.
        """
        fields, reason = _parsed(authorizations)
        merchant = self._merchants.get(fields.mchid)
        key = merchant.verifying.get(fields.serial_no) if merchant else None
        if merchant is None:
            reason = reason or f"merchant {fields.mchid[:32]!r} is not known here: add it to platform.toml"
        elif key is None:
            held = ", ".join(merchant.verifying)
            reason = reason or (
                f"商户证书序列号有误: merchant {merchant.mchid} has no certificate with serial "
                f"{fields.serial_no[:64]!r}; it has {held}"
            )
        message = signature.request_message(method, target, fields.timestamp, fields.nonce_str, body)
        try:
            signature.check_signature(key or self._nobody, fields.signature, message)
        except SignatureInvalid as problem:
            reason = reason or f"错误的签名，导致验签失败: {problem}"
        try:
            signature.check_clock(fields.timestamp, now)
        except SignatureInvalid as problem:
            reason = reason or str(problem)
        if reason or merchant is None:
            raise SignatureInvalid(reason or "unknown")
        return merchant


@functools.cache
def _nobodys_key() -> keys.PublicKey:
    """Whoever is unknown is verified all the same, with a key that nobody holds: the time taken tells nothing."""
    return keys.load_private_key(keys.make_private_key(), "nobody").public_key()


# Stands in for what could not be read, so that the rest of the work is done all the same.
_UNREADABLE = signature.Authorization("", "", "0" * 16, "0000000000", "A" * 342 + "==")


def _parsed(authorizations: Sequence[str]) -> tuple[signature.Authorization, str | None]:
    try:
        if len(authorizations) != 1:
            raise SignatureInvalid(f"the request has {len(authorizations)} Authorization headers, not one")
        fields = signature.parse_authorization(authorizations[0])
        signature.check_form(fields.timestamp, fields.nonce_str)
    except SignatureInvalid as problem:
        return _UNREADABLE, str(problem)
    return fields, None


def _merchant(entry: config.MerchantEntry, folder: Path) -> Merchant:
    keyring: dict[str, keys.PublicKey] = {}
    for name in entry.certificates:
        pem = config.read_public(folder, name)
        serial = keys.certificate_facts(pem, name).serial_no
        keyring[serial] = keys.load_verification_key(serial, pem)
    if len(entry.apiv3_key.encode()) != 32:
        raise Misconfigured(f"merchant {entry.mchid}: apiv3_key has {len(entry.apiv3_key.encode())} bytes, not 32")
    return Merchant(entry.mchid, entry.apiv3_key, keyring)
