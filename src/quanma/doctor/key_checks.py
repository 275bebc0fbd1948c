"""Checks of keys and certificates, as far as files tell: which belong together, and until when they hold."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

from ..errors import Misconfigured
from ..settings import files
from ..settings.shape import path_or_shape
from ..wire import keys, signature
from .check import Check, LeftOut, Outcome, failed, passed, skipped, warned
from .settings_checks import of_brand
from .subject import Subject

CERTIFICATE = "apiclient_cert.pem"
"""What the certificate tool calls it. It lies beside the private key."""
EXPIRES_SOON_DAYS = 30
"""Our choice: a new certificate takes an administrator some days."""
_CERTIFICATES = "商户平台 → 账户中心 → API安全 → 商户API证书"
_BRAND_KEYS = "品牌经营平台 → 账户中心 → API安全"
_PUBLIC_KEY = "商户平台 → 账户中心 → API安全 → 微信支付公钥"
_PLATFORM_CERTIFICATE = "商户平台 → 账户中心 → API安全 → 平台证书"


def _private_key(subject: Subject) -> Outcome:
    try:
        key = keys.load_private_key(subject.private_pem.encode(), "private_key")
    except Misconfigured as problem:
        return failed(str(problem), f"{_certificates(subject)}: apiclient_key.pem")
    if key.key_size != keys.KEY_BITS:
        return failed(
            f"private_key has {key.key_size} bits, and the platform takes {keys.KEY_BITS}",
            f"{_certificates(subject)}: 申请新证书",
        )
    return passed(f"RSA, {key.key_size} bits")


def _serial_no(subject: Subject) -> Outcome:
    serial_no = subject.text("serial_no")
    if (problem := subject.problem("serial_no")) is not None:
        return failed(problem, f"openssl x509 -noout -serial -in {CERTIFICATE}")
    if signature.same_key(serial_no) in map(signature.same_key, subject.platform_pems()):
        return failed(
            "serial_no is the serial of the platform's certificate, and the merchant's is wanted",
            f"openssl x509 -noout -serial -in {CERTIFICATE}",
        )
    return passed(serial_no)


class _Certificate:
    """The merchant's certificate, beside its key, and how the two and `serial_no` go together."""

    def __init__(self, subject: Subject) -> None:
        """Raises LeftOut: there is no certificate, or nothing to compare it with."""
        folders = [folder for folder in (subject.key_folder, subject.file and subject.file.parent) if folder]
        path = next((folder / CERTIFICATE for folder in folders if (folder / CERTIFICATE).is_file()), None)
        if path is None:
            raise LeftOut(f"there is no {CERTIFICATE} beside the private key, so nothing to compare it with")
        self.path: Path = path
        try:
            self.facts = keys.certificate_facts(files.read(path, CERTIFICATE), CERTIFICATE)
        except (Misconfigured, FileNotFoundError, ValueError):
            raise LeftOut(f"{path_or_shape(path)} is no certificate that can be read") from None
        key = self.facts.key
        self.has_key = key is not None and key.public_numbers() == subject.private_key.public_key().public_numbers()
        self.has_serial = signature.same_key(self.facts.serial_no) == signature.same_key(subject.good("serial_no"))
        if not self.has_key and not self.has_serial:
            raise LeftOut(f"{path} is another certificate than the one in use")


def _pair(subject: Subject) -> Outcome:
    certificate = _Certificate(subject)
    if not certificate.has_key:
        return failed(
            f"private_key does not belong to {certificate.path}, whose serial serial_no has",
            "put the apiclient_key.pem that was made with this certificate in its place; if it is lost: "
            f"{_certificates(subject)}: 更换证书",
        )
    return passed(f"the key of {certificate.path}")


def _serial(subject: Subject) -> Outcome:
    certificate = _Certificate(subject)
    if not certificate.has_serial:
        return failed(
            f"serial_no is not that of {certificate.path}, to which private_key belongs",
            f'serial_no = "{certificate.facts.serial_no}"',
        )
    return passed(f"the serial of {certificate.path}")


def _owner(subject: Subject) -> Outcome:
    """A merchant's certificate names its mchid (reported, not documented)."""
    certificate = _Certificate(subject)
    named = re.fullmatch(r"(?:merchant )?([0-9]{8,10})", certificate.facts.common_name)
    if named is None:
        return skipped(f"{certificate.path} names no merchant")
    if named[1] != subject.good("mchid"):
        return failed(
            f"{certificate.path} is the certificate of merchant {named[1]}, and mchid is another",
            f'mchid = "{named[1]}"',
        )
    return passed(f"it names merchant {named[1]}")


def _expiry(subject: Subject) -> Outcome:
    certificate = _Certificate(subject)
    now = _now(subject)
    left = certificate.facts.expire_at - now
    since, until = (str(one.date()) for one in (certificate.facts.effective_at, certificate.facts.expire_at))
    if left <= datetime.timedelta():
        return failed(f"{certificate.path} expired on {until}", f"{_certificates(subject)}: 更换证书")
    if certificate.facts.effective_at > now:
        return failed(
            f"{certificate.path} is valid from {since} on only",
            "set this machine's clock: sudo timedatectl set-ntp true",
        )
    if left < datetime.timedelta(days=EXPIRES_SOON_DAYS):
        return warned(
            f"{certificate.path} expires on {until}, in {left.days} days", f"{_certificates(subject)}: 更换证书"
        )
    return passed(f"valid until {until}")


def _platform_keys(subject: Subject) -> Outcome:
    names = subject.platform_names
    if not names:
        if not isinstance(subject.given.settings.get("platform_keys", {}), dict):
            return failed(
                "platform_keys is no table: it holds a name and a file for each key",
                f'[merchant.platform_keys]\n"PUB_KEY_ID_…" = "pub_key.pem"   # {_PUBLIC_KEY}',
            )
        if subject.section == "brand":
            return failed(
                "there is no key to verify answers with, and a brand has no certificates to fetch",
                f'[brand.platform_keys]\n"PUB_KEY_ID_…" = "pub_key.pem"   # {_BRAND_KEYS}: 微信支付公钥',
            )
        if subject.given.settings.get("apiv3_key") is None:
            return failed(
                "there is no key to verify answers with, and no apiv3_key to fetch the platform's certificates with",
                f'[merchant.platform_keys]\n"PUB_KEY_ID_…" = "pub_key.pem"   # {_PUBLIC_KEY}',
            )
        return passed("none: the platform's certificates are fetched")
    for name in names:
        if isinstance(problem := subject.platform_pem(name), Misconfigured):
            return failed(str(problem), _mend(subject, name, str(problem)))
    for name in names:
        dated = keys.load_dated_key(name, subject.platform_pems()[name].encode())
        if dated.expire_at is None and not name.startswith(signature.PUBLIC_KEY_PREFIX):
            return warned(
                f"{name} names a certificate, and what stands there is a public key: the two kinds are mixed up",
                f"{_PUBLIC_KEY}: 公钥ID; {_PLATFORM_CERTIFICATE}",
            )
    return passed(", ".join(names))


def _certificates(subject: Subject) -> str:
    """Where certificates are looked after."""
    return f"{_BRAND_KEYS} → 品牌API证书" if subject.section == "brand" else _CERTIFICATES


def _mend(subject: Subject, name: str, problem: str) -> str:
    if subject.section == "brand":
        return f"{_BRAND_KEYS} → 微信支付公钥"
    if found := re.search(r"has serial ([0-9A-F]+): name it so", problem):
        if name.startswith(signature.PUBLIC_KEY_PREFIX):
            return f'"{found[1]}" = …, for it is a certificate; the public key of {name}: {_PUBLIC_KEY}'
        return f'"{found[1]}" = …'
    return _PUBLIC_KEY if name.startswith(signature.PUBLIC_KEY_PREFIX) else _PLATFORM_CERTIFICATE


def _platform_dates(subject: Subject) -> Outcome:
    """A public key does not expire, a certificate does."""
    now = _now(subject)
    dated = {name: keys.load_dated_key(name, pem.encode()) for name, pem in subject.platform_pems().items()}
    if not dated:
        return skipped("none is set")
    over = [name for name, key in dated.items() if not key.is_valid(now.timestamp())]
    if not over:
        return passed()
    until = str(dated[over[0]].expire_at)[:10]
    when = f"the platform's certificate {over[0]} is not valid now: until {until}"
    mend = f"{_PUBLIC_KEY}; or take it out, and it is fetched"
    return failed(when, mend) if len(over) == len(dated) else warned(when, mend)


def _now(subject: Subject) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(subject.clocks.wall(), datetime.UTC)


_BRAND_PAIR = ("brand.private_key", "brand.serial_no")
BRAND_CHECKS = (
    Check("brand.private_key", "the brand's private key can be read", of_brand(_private_key), ("brand.modes",)),
    Check("brand.serial_no", "the form of the brand's serial_no", of_brand(_serial_no), ("brand.file",)),
    Check("brand.pair", "the brand's private key and its certificate are one pair", of_brand(_pair), _BRAND_PAIR),
    Check("brand.serial", "serial_no is the brand's certificate's", of_brand(_serial), _BRAND_PAIR),
    Check("brand.expiry", "the brand's certificate is valid", of_brand(_expiry), _BRAND_PAIR),
    Check("brand.platform_keys", "the brand's public key of WeChat Pay", of_brand(_platform_keys), ("brand.file",)),
)
_PAIR = ("keys.private_key", "keys.serial_no")
CHECKS = (
    Check("keys.private_key", "the private key can be read", _private_key, ("settings.modes",)),
    Check("keys.serial_no", "the form of serial_no", _serial_no, ("settings.file",)),
    Check("keys.pair", "the private key and the certificate are one pair", _pair, _PAIR),
    Check("keys.serial", "serial_no is the certificate's", _serial, _PAIR),
    Check("keys.owner", "the certificate is this merchant's", _owner, (*_PAIR, "settings.mchid")),
    Check("keys.expiry", "the certificate is valid", _expiry, _PAIR),
    Check("platform-keys.form", "the platform's keys can be read", _platform_keys, ("settings.file",)),
    Check("platform-keys.dates", "the platform's certificates are valid", _platform_dates, ("platform-keys.form",)),
)
