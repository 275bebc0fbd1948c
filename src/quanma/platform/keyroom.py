"""The platform's own keys, which sign its answers, and the merchants', which it believes."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import Misconfigured, SignatureInvalid
from ..wire import keys, signature
from ..wire.times import unix_seconds
from . import config


class Certificate(NamedTuple):
    """A platform certificate, to be handed out sealed."""

    pem: bytes
    facts: keys.CertificateFacts


class Merchant(NamedTuple):
    mchid: str
    apiv3_key: str
    verifying: Mapping[str, keys.PublicKey]
    """By certificate serial, as `keys.same_key` has it: leading zeros and case make no other."""
    apiv2_key: str | None = None

    def __repr__(self) -> str:
        return f"<Merchant {self.mchid}>"


class DefaultKey(NamedTuple):
    """A public key that signs what nobody asked for by name, from a moment on (Unix seconds)."""

    name: str
    active_from: int


class KeyRoom:
    """Signs answers and verifies requests."""

    def __init__(
        self,
        signing: Mapping[str, keys.PrivateKey],
        default_keys: Sequence[DefaultKey],
        certificates: Sequence[Certificate],
        merchants: Mapping[str, Merchant],
    ) -> None:
        """`default_keys`: the earliest first; the first is active from the beginning."""
        self._signing = signing
        self._default_keys = default_keys
        self.certificates = certificates
        self._merchants = merchants
        self._nobody = _nobodys_key()

    @classmethod
    def load(cls, settings: config.PlatformConfig, folder: Path) -> KeyRoom:
        """Raises Misconfigured: a key or certificate is missing, unreadable, unsafe or not what it is named."""
        first = {
            "certificate": config.NewerKey(private=settings.certificate_private, certificate=settings.certificate),
            "public_key": config.NewerKey(private=settings.public_key_private, public_key_id=settings.public_key_id),
        }
        newer = {f"newer_keys[{number}].": entry for number, entry in enumerate(settings.newer_keys)}
        signing: dict[str, keys.PrivateKey] = {}
        certificates: list[Certificate] = []
        default_keys: list[DefaultKey] = []
        for where, entry in (first | newer).items():
            setting = f"{where}private" if where in newer else f"{where}_private"
            private = keys.load_private_key(config.read_private(folder, entry.private, setting), entry.private)
            if entry.certificate is not None:
                named = f"{where}certificate" if where in newer else where
                certificate = _certificate(folder, entry.certificate, named, entry.private, private)
                certificates.append(certificate)
                signing[certificate.facts.serial_no] = private
            elif entry.public_key_id is not None:
                signing[entry.public_key_id] = private
                default_keys.append(DefaultKey(entry.public_key_id, _active_from(entry)))
            else:
                raise Misconfigured(f"the newer key {entry.private} has neither a certificate nor a public_key_id")
        merchants = {entry.mchid: _merchant(entry, folder) for entry in settings.merchants}
        return cls(signing, default_keys, certificates, merchants)

    def become(self, other: KeyRoom) -> None:
        """Take another one's keys from here on: the settings have changed."""
        self._signing, self._default_keys = other._signing, other._default_keys
        self.certificates, self._merchants = other.certificates, other._merchants

    def merchant(self, mchid: str) -> Merchant:
        return self._merchants[mchid]

    def known(self, mchid: str) -> Merchant | None:
        return self._merchants.get(mchid)

    def named(self, authorizations: Sequence[str]) -> str:
        """Return the merchant that a request says it is from, with a certificate of its own; "" for anybody else.

        Nothing is verified yet.
        """
        fields, _ = _parsed(authorizations)
        merchant = self._merchants.get(fields.mchid)
        serial = fields.serial_no.upper()
        known = merchant is not None and any(serial == one.upper() for one in merchant.verifying)
        return fields.mchid if known else ""

    def nonce_and_time(self, authorizations: Sequence[str]) -> tuple[str, int]:
        """Return the nonce of a request that was verified, and when it says it was signed (Unix seconds)."""
        fields, _ = _parsed(authorizations)
        return fields.nonce_str, int(fields.timestamp)

    def sign(self, wanted: str | None, timestamp: str, body: bytes, nonce: str | None = None) -> list[tuple[str, str]]:
        """Return the headers that sign an answer, with the key that was asked for, else the public key.

        `nonce`: 32 random characters, for whoever has some at hand.
        """
        name = self.signer(wanted, int(timestamp))
        nonce = nonce or secrets.token_hex(16)
        message = signature.answer_message(timestamp, nonce, body)
        return [
            ("Wechatpay-Nonce", nonce),
            ("Wechatpay-Timestamp", timestamp),
            ("Wechatpay-Signature", signature.sign(self._signing[name], message)),
            ("Wechatpay-Serial", name),
            ("Wechatpay-Signature-Type", signature.SCHEME),
        ]

    def signer(self, wanted: str | None, now: int) -> str:
        """Return the name of the key that signs an answer."""
        if wanted is None:
            return self._default(now)
        if wanted in self._signing:
            return wanted
        # Named with other zeros or in other case than here: it answers by the name that it has here.
        same = keys.same_key(wanted)
        return next((name for name in self._signing if keys.same_key(name) == same), None) or self._default(now)

    def _default(self, now: int) -> str:
        active = [key.name for key in self._default_keys if key.active_from <= now]
        return active[-1] if active else self._default_keys[0].name

    def verify(self, method: str, target: str, authorizations: Sequence[str], body: bytes, now: float) -> Merchant:
        """Return the merchant that signed the request.

        Raises:
            SignatureInvalid: it does not hold; the message says why. Every cause takes the same work.
        """
        fields, reason = _parsed(authorizations)
        merchant = self._merchants.get(fields.mchid)
        key = merchant.verifying.get(keys.same_key(fields.serial_no)) if merchant else None
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


def _certificate(folder: Path, name: str, setting: str, private_name: str, private: keys.PrivateKey) -> Certificate:
    pem = config.read_public(folder, name, setting)
    facts = keys.certificate_facts(pem, name)
    certified = keys.load_verification_key(facts.serial_no, pem)
    if private.public_key().public_numbers() != certified.public_numbers():
        raise Misconfigured(f"{private_name} is not the key of {name}")
    return Certificate(pem, facts)


def _active_from(entry: config.NewerKey) -> int:
    try:
        return unix_seconds(entry.active_from) if entry.active_from is not None else 0
    except ValueError:
        pass  # It repeats what was given.
    raise Misconfigured(f"the newer key {entry.private}: active_from is not a time like 2026-11-24T00:00:00+08:00")


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
        pem = config.read_public(folder, name, f"certificates of merchant {entry.mchid}")
        serial = keys.certificate_facts(pem, name).serial_no
        keyring[keys.same_key(serial)] = keys.load_verification_key(serial, pem)
    return Merchant(entry.mchid, entry.apiv3_key, keyring, entry.apiv2_key)
