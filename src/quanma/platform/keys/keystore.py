"""The platform's own keys, which sign its answers, and the merchants', which it believes."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import Misconfigured, ParamError, SignatureInvalid
from ...wire import keys, sensitive, signature
from ...wire.times import unix_seconds
from .. import config
from ..chance import Chance
from .refusals import Cause, NotBelieved


class Certificate(NamedTuple):
    """A platform certificate, to be handed out sealed."""

    pem: bytes
    facts: keys.CertificateFacts


class BrandKey(NamedTuple):
    """The platform's key for one brand: the only one that signs for it."""

    name: str
    private: keys.PrivateKey


class Merchant(NamedTuple):
    """Who signs requests: a merchant, or a brand."""

    mchid: str
    """Of a brand: what stands for it where merchants have their number, see `brand_owner`."""
    apiv3_key: str
    """Of a brand: its brand key."""
    verifying: Mapping[str, keys.PublicKey]
    """By certificate serial, as `signature.same_key` has it: leading zeros and case make no other."""
    apiv2_key: str | None = None
    granted: frozenset[str] = frozenset()
    """Of a provider: the brand_ids that let it call for them."""
    brand_id: str | None = None
    brand_key: BrandKey | None = None

    def __repr__(self) -> str:
        return f"<Merchant {self.mchid}>"

    def key(self, serial_no: str) -> keys.PublicKey | None:
        """Of the certificate with this serial, in whatever spelling."""
        return self.verifying.get(serial_no) or self.verifying.get(signature.same_key(serial_no))


def brand_owner(brand_id: str) -> str:
    """What stands for a brand where merchants have their mchid: no mchid is spelt so."""
    return f"brand:{brand_id}"


class SensitiveFields(NamedTuple):
    """Opens single fields of a request, and seals those of its answer. Source: documented."""

    opening: keys.PrivateKey | None
    """Of the key that the request's Wechatpay-Serial names."""
    sealing: keys.PublicKey
    """Of the merchant's certificate that signed the request."""

    def opened(self, name: str, field: str) -> str:
        """Raises ParamError: no key of ours is named, or the field is not encrypted with it."""
        if self.opening is None:
            raise ParamError(
                f"{name} needs the header Wechatpay-Serial, with the name of the key that it is encrypted with"
            )
        try:
            return sensitive.decrypt(self.opening, field)
        except SignatureInvalid:
            raise ParamError(
                f"{name} can't be decrypted: encrypt it with the key that Wechatpay-Serial names, RSA-OAEP, SHA-1"
            ) from None

    def sealed(self, text: str) -> str:
        return sensitive.encrypt(self.sealing, text)


class Dated(NamedTuple):
    """A certificate, for whoever has to renew it."""

    what: str
    facts: keys.CertificateFacts

    def warning(self, now: float) -> str | None:
        begins, ends = self.facts.effective_at, self.facts.expire_at
        named = f"{self.what} {self.facts.serial_no}"
        if ends.timestamp() <= now:
            return f"{named} expired on {ends:%Y-%m-%d}: have it renewed; it is used all the same"
        if begins.timestamp() > now:
            return f"{named} is valid from {begins:%Y-%m-%d} on only: look at the clock; it is used all the same"
        if (left := ends.timestamp() - now) < WARN_BEFORE_SECONDS:
            return f"{named} expires on {ends:%Y-%m-%d}, in {int(left // 86400)} days: have it renewed"
        return None


class DefaultKey(NamedTuple):
    """A public key that signs what nobody asked for by name, from a moment on (Unix seconds)."""

    name: str
    active_from: int


WARN_BEFORE_SECONDS = 30 * 86400
_CHANCE = Chance("signatures")
_BRAND_ID = re.compile(rb'brand_id="([^"]*)"')
# Without a boundary in front: what begins with plain text is found four times as fast.
_MCHID, _SERIAL_NO = re.compile(rb'mchid="([^"]*)"'), re.compile(rb'serial_no="([^"]*)"')


class KeyStore:
    """Signs answers and verifies requests."""

    def __init__(
        self,
        signing: Mapping[str, keys.PrivateKey],
        default_keys: Sequence[DefaultKey],
        certificates: Sequence[Certificate],
        merchants: Mapping[str, Merchant],
        *,
        strict_nonce: bool = False,
        dated: Sequence[Dated] = (),
    ) -> None:
        """`default_keys`: the earliest first; the first is active from the beginning. `dated`: what will end.

        `strict_nonce`: take no nonce but one of 16 to 32 letters and digits.
        """
        self._signing = signing
        self._default_keys = default_keys
        self.certificates = certificates
        self._merchants = merchants
        self._strict_nonce = strict_nonce
        self._dated = dated
        self._nobody = _nobodys_key()

    @classmethod
    def load(cls, settings: config.PlatformConfig, folder: Path) -> KeyStore:
        """Raises Misconfigured: a key or certificate is missing, unreadable, unsafe, weak, shared by two, or not what
        it is named."""
        first = {
            "certificate": config.SigningKey(private=settings.certificate_private, certificate=settings.certificate),
            "public_key": config.SigningKey(private=settings.public_key_private, public_key_id=settings.public_key_id),
        }
        newer = {f"newer_keys[{number}].": entry for number, entry in enumerate(settings.newer_keys)}
        signing: dict[str, keys.PrivateKey] = {}
        certificates: list[Certificate] = []
        default_keys: list[DefaultKey] = []
        for where, entry in (first | newer).items():
            setting = f"{where}private" if where in newer else f"{where}_private"
            private = keys.load_private_key(config.read_private(folder, entry.private, setting), entry.private)
            _refuse_weak(private.public_key(), entry.private)
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
        dated = [Dated("the platform's certificate", one.facts) for one in certificates]
        owners = {_numbers(key.public_key()): "the platform" for key in signing.values()}
        merchants = {entry.mchid: _merchant(entry, folder, owners, dated) for entry in settings.merchants}
        for brand in settings.brands:
            merchants[brand_owner(brand.brand_id)] = _brand(brand, folder, owners, dated)
            for mchid in brand.granted:
                granted = merchants[mchid].granted | {brand.brand_id}
                merchants[mchid] = merchants[mchid]._replace(granted=granted)
        return cls(signing, default_keys, certificates, merchants, strict_nonce=settings.strict_nonce, dated=dated)

    def become(self, other: KeyStore) -> None:
        """Take another one's keys from here on: the settings have changed."""
        self._signing, self._default_keys = other._signing, other._default_keys
        self.certificates, self._merchants = other.certificates, other._merchants
        self._dated = other._dated

    def warnings(self, now: float) -> list[str]:
        """Say which certificates have ended, have not begun, or end soon. They count all the same."""
        return [said for one in self._dated if (said := one.warning(now)) is not None]

    @property
    def knows_brands(self) -> bool:
        return any(one.brand_id is not None for one in self._merchants.values())

    def merchant(self, mchid: str) -> Merchant:
        return self._merchants[mchid]

    def known(self, mchid: str) -> Merchant | None:
        return self._merchants.get(mchid)

    def named(self, authorization: bytes) -> str:
        """Return the merchant that a request says it is from, with a certificate of its own; "" for anybody else.

        Nothing is verified yet.
        """
        # Read with little work: it is asked before one request too many is refused.
        mchid, serial_no = _MCHID.search(authorization), _SERIAL_NO.search(authorization)
        merchant = self._merchants.get(mchid[1].decode("latin-1")) if mchid else self._brand_named(authorization)
        return merchant.mchid if merchant and serial_no and merchant.key(serial_no[1].decode("latin-1")) else ""

    def brand_named(self, authorizations: Sequence[str]) -> Merchant | None:
        """The brand that a request says it is from. Nothing is verified yet."""
        return self._brand_named(authorizations[0].encode("latin-1", "replace")) if authorizations else None

    def _brand_named(self, authorization: bytes) -> Merchant | None:
        brand_id = _BRAND_ID.search(authorization)
        return self._merchants.get(brand_owner(brand_id[1].decode("latin-1"))) if brand_id else None

    def nonce_and_time(self, authorizations: Sequence[str]) -> tuple[str, int]:
        """Return the nonce of a request that was verified, and when it says it was signed (Unix seconds)."""
        fields, _ = self._parsed(authorizations)
        return fields.nonce_str, int(fields.timestamp)

    def sign(
        self, wanted: str | None, timestamp: str, body: bytes, nonce: str | None = None, brand: Merchant | None = None
    ) -> list[tuple[str, str]]:
        """Return the headers that sign an answer, with the key that was asked for, else the public key.

        `nonce`: 32 random characters, for whoever has some at hand. `brand`: for whom it is; its own key signs then.
        """
        if brand is not None and brand.brand_key is not None:
            (name, private), scheme = brand.brand_key, signature.BRAND_SCHEME
        else:
            name, scheme = self.signer(wanted, int(timestamp)), signature.SCHEME
            private = self._signing[name]
        nonce = nonce or _CHANCE.token_hex(16)
        message = signature.answer_message(timestamp, nonce, body)
        return [
            ("Wechatpay-Nonce", nonce),
            ("Wechatpay-Timestamp", timestamp),
            ("Wechatpay-Signature", signature.sign(private, message)),
            ("Wechatpay-Serial", name),
            ("Wechatpay-Signature-Type", scheme),
        ]

    def signer(self, wanted: str | None, now: int) -> str:
        """Return the name of the key that signs an answer."""
        return self._named(wanted) or self._default(now)

    def sensitive_fields(
        self, merchant: Merchant, authorizations: Sequence[str], wanted: str | None
    ) -> SensitiveFields:
        """For a request that was verified. `wanted`: its Wechatpay-Serial."""
        name = self._named(wanted)
        signed_with = merchant.key(signature.parse_authorization(authorizations[0]).serial_no)
        assert signed_with is not None
        return SensitiveFields(self._signing[name] if name else None, signed_with)

    def _named(self, wanted: str | None) -> str | None:
        """The name of the signing key that was asked for, in whatever spelling of a serial."""
        if wanted is None or wanted in self._signing:
            return wanted
        same = signature.same_key(wanted)
        return next((name for name in self._signing if signature.same_key(name) == same), None)

    def _default(self, now: int) -> str:
        active = [key.name for key in self._default_keys if key.active_from <= now]
        return active[-1] if active else self._default_keys[0].name

    def verify(self, method: str, target: str, authorizations: Sequence[str], body: bytes, now: float) -> Merchant:
        """Return the merchant that signed the request.

        Raises:
            NotBelieved: it does not hold; the message says why. Every cause takes the same work.
        """
        fields, refused = self._parsed(authorizations)
        if (scheme := signature.scheme_of(target)) != fields.scheme:
            refused = refused or NotBelieved(
                Cause.FORM, f"this path takes the Authorization scheme {scheme}, and not {fields.scheme}"
            )
        brands = fields.scheme == signature.BRAND_SCHEME
        merchant = self._merchants.get(brand_owner(fields.mchid) if brands else fields.mchid)
        if merchant is not None and (merchant.brand_id is not None) != brands:
            merchant = None
        key = merchant.key(fields.serial_no) if merchant else None
        if merchant is None:
            refused = refused or NotBelieved(
                Cause.MERCHANT,
                f"{'brand' if brands else 'merchant'} {fields.mchid[:32]!r} is not known here: add it to platform.toml",
            )
        elif key is None:
            held = ", ".join(merchant.verifying)
            refused = refused or NotBelieved(
                Cause.SERIAL,
                f"商户证书序列号有误: merchant {merchant.mchid} has no certificate with serial "
                f"{fields.serial_no[:64]!r}; it has {held}",
            )
        message = signature.request_message(method, target, fields.timestamp, fields.nonce_str, body)
        try:
            signature.check_signature(key or self._nobody, fields.signature, message)
        except SignatureInvalid as problem:
            refused = refused or NotBelieved(Cause.SIGNATURE, f"错误的签名，导致验签失败: {problem}")
        try:
            signature.check_clock(fields.timestamp, now)
        except SignatureInvalid as problem:
            refused = refused or NotBelieved(Cause.CLOCK, str(problem))
        if merchant is None or refused is not None:
            raise refused or NotBelieved(Cause.MERCHANT, "unknown")
        return merchant

    def _parsed(self, authorizations: Sequence[str]) -> tuple[signature.Authorization, NotBelieved | None]:
        try:
            if len(authorizations) != 1:
                raise SignatureInvalid(f"the request has {len(authorizations)} Authorization headers, not one")
            fields = signature.parse_authorization(authorizations[0])
            signature.check_form(fields.timestamp, fields.nonce_str, strict_nonce=self._strict_nonce)
        except SignatureInvalid as problem:
            return _UNREADABLE, NotBelieved(Cause.FORM if authorizations else Cause.NO_AUTHORIZATION, str(problem))
        return fields, None


def _certificate(folder: Path, name: str, setting: str, private_name: str, private: keys.PrivateKey) -> Certificate:
    pem = config.read_public(folder, name, setting)
    facts = keys.certificate_facts(pem, name)
    certified = keys.load_verification_key(facts.serial_no, pem)
    if private.public_key().public_numbers() != certified.public_numbers():
        raise Misconfigured(f"{private_name} is not the key of {name}")
    return Certificate(pem, facts)


def _active_from(entry: config.SigningKey) -> int:
    try:
        return unix_seconds(entry.active_from) if entry.active_from is not None else 0
    except ValueError:
        pass  # It repeats what was given.
    raise Misconfigured(f"the newer key {entry.private}: active_from is not a time like 2026-11-24T00:00:00+08:00")


def _refuse_weak(key: keys.PublicKey, what: str) -> None:
    if key.key_size < keys.KEY_BITS:
        raise Misconfigured(
            f"{what} has {key.key_size} bits, and fewer than {keys.KEY_BITS} can be forged: have a new one issued"
        )


def _numbers(key: keys.PublicKey) -> int:
    return key.public_numbers().n


@functools.cache
def _nobodys_key() -> keys.PublicKey:
    """Whoever is unknown is verified all the same, with a key that nobody holds: the time taken tells nothing."""
    return keys.load_private_key(keys.make_private_key(), "nobody").public_key()


# Stands in for what could not be read, so that the rest of the work is done all the same.
_UNREADABLE = signature.Authorization("", "", "0" * 16, "0000000000", "A" * 342 + "==")


def _merchant(entry: config.MerchantEntry, folder: Path, owners: dict[int, str], dated: list[Dated]) -> Merchant:
    keyring = _keyring(f"merchant {entry.mchid}", entry.certificates, folder, owners, dated)
    return Merchant(entry.mchid, entry.apiv3_key, keyring, entry.apiv2_key)


def _brand(entry: config.BrandEntry, folder: Path, owners: dict[int, str], dated: list[Dated]) -> Merchant:
    setting = f"public_key_private of brand {entry.brand_id}"
    private = keys.load_private_key(config.read_private(folder, entry.public_key_private, setting), setting)
    _refuse_weak(private.public_key(), setting)
    if (owner := owners.setdefault(_numbers(private.public_key()), "the platform for one brand")) != (
        "the platform for one brand"
    ):
        raise Misconfigured(f"{setting} is a key of {owner} too: make another one")
    keyring = _keyring(f"brand {entry.brand_id}", entry.certificates, folder, owners, dated)
    return Merchant(
        brand_owner(entry.brand_id),
        entry.brand_key,
        keyring,
        brand_id=entry.brand_id,
        brand_key=BrandKey(entry.public_key_id, private),
    )


def _keyring(
    merchant: str, certificates: Sequence[str], folder: Path, owners: dict[int, str], dated: list[Dated]
) -> dict[str, keys.PublicKey]:
    """`owners`: whose each key is, by its modulus. This one's are added, and its certificates to `dated`."""
    keyring: dict[str, keys.PublicKey] = {}
    for name in certificates:
        setting = f"certificates of {merchant}"
        pem = config.read_public(folder, name, setting)
        facts = keys.certificate_facts(pem, name)
        key = keys.load_verification_key(facts.serial_no, pem)
        _refuse_weak(key, f"{setting}: the key of {name}")
        if (owner := owners.setdefault(_numbers(key), merchant)) != merchant:
            raise Misconfigured(
                f"{setting}: {name} has the same key as a certificate of {owner}, so that one could sign for the "
                f"other: have one of them issued anew"
            )
        same = keyring.setdefault(signature.same_key(facts.serial_no), key)
        if _numbers(same) != _numbers(key):
            raise Misconfigured(
                f"{setting}: two of them have the serial {facts.serial_no} and different keys: take out {name}"
            )
        dated.append(Dated(f"the certificate of {merchant}", facts))
    return keyring
