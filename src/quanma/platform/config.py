"""The platform's side of a world: platform.toml."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from ..errors import Misconfigured
from ..settings import environment
from ..settings.files import no_file, read, read_toml, refuse_open
from ..settings.keys import api_key_problem, is_brand_id, is_mchid
from ..settings.shape import path_or_shape, shape
from .pool.contract import STOCKS_PER_MERCHANT


class MerchantEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A merchant whose requests are believed. Several certificates: a rotation, all valid at once."""

    mchid: str
    apiv3_key: str
    certificates: list[str]
    apiv2_key: str | None = None

    def __repr__(self) -> str:
        return f"<MerchantEntry {self.mchid}>"


class BrandEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A brand whose own calls of 商品券 are believed. Nothing of it is a merchant's: it has its own key here too."""

    brand_id: str
    brand_key: str
    """品牌API密钥: its events are sealed with it."""
    certificates: list[str]
    public_key_id: str
    """The one key that signs its answers and events."""
    public_key_private: str
    granted: list[str] = []
    """The service providers, by mchid, that may call for it."""

    def __repr__(self) -> str:
        return f"<BrandEntry {self.brand_id}>"


class SigningKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A signing key that came later: a certificate's, or a public key's. `quanma platform rotate-key` adds them."""

    private: str
    certificate: str | None = None
    public_key_id: str | None = None
    active_from: str | None = None
    """From when on it signs what nobody asked for by name, so that merchants have it by then. Absent: at once."""


class ProductCouponStock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A 商品券 stock that takes uploads. The platform has no call of ours to create one, so it is declared."""

    mchid: str
    """The service provider that uploads."""
    brand_id: str
    product_coupon_id: str
    stock_id: str
    available_begin_time: str
    available_end_time: str
    max_count: Annotated[int, msgspec.Meta(ge=1, le=100_000_000)] = 100_000_000


class PlatformConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """platform.toml. Paths are relative to it. Signing keys: a public key's, and a certificate's."""

    public_key_id: str
    public_key_private: str
    certificate: str
    certificate_private: str
    merchants: list[MerchantEntry]
    brands: list[BrandEntry] = []
    newer_keys: list[SigningKey] = []
    """The latest that is active stands for its kind; all of them sign when they are asked for."""
    host: str = "127.0.0.1"
    port: int = 8460
    database: str = "sqlite:///quanma.db"
    accept_lost_failover: bool = False
    """Serve a PostgreSQL of several hosts though no standby is synchronous: a failover may lose what was given out, and
    stops the draws until `quanma reconcile` then."""
    allow_private_callbacks: bool = False
    refused_callback_networks: list[str] = []
    """Events are never posted there, public or not."""
    callback_retry_seconds: Annotated[int, msgspec.Meta(ge=1)] = 60
    callback_attempts_max: Annotated[int, msgspec.Meta(ge=1)] = 11
    """An event is posted every so many seconds, so many times in all. Source: 60 s and 11 are documented."""
    requests_per_second: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """Of one merchant. Absent: no limit."""
    stocks_per_merchant: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = STOCKS_PER_MERCHANT
    stocks_per_merchant_per_hour: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many stocks a merchant may create, in all and in an hour. Absent: no limit of an hour."""
    refuse_replays: bool = False
    """Refuse a request whose nonce its merchant used within the last 600 s."""
    paused_product_stocks: list[str] = []
    """Stocks of 商品券 that are PAUSED: they give nothing out. Beside a brand's own pages, no call pauses one."""
    product_coupon_audit_seconds: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How long a new product coupon, and a new stock of one, is AUDITING."""
    product_coupon_wants_callback: bool = True
    """Refuse to create a product coupon before a callback address is set. Source: documented."""
    product_coupon_stocks: list[ProductCouponStock] = []
    log_format: Literal["text", "json"] = "text"
    strict_nonce: bool = False
    """Refuse a nonce that is not 16 to 32 letters and digits. No form is documented."""
    explain: bool = False
    """Tell a caller which check of its signature failed: to develop against, and on a loopback address only."""
    warmup_seconds: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How long a new stock answers STATEMENT_CREATING to uploads."""

    def __repr__(self) -> str:
        return f"<PlatformConfig of {len(self.merchants)} merchants>"

    def refused_networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """Raises Misconfigured: one is no network."""
        return tuple(_network(number, text) for number, text in enumerate(self.refused_callback_networks))


def _network(number: int, text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise Misconfigured(
            f"refused_callback_networks[{number}] of platform.toml is no network: write it like 168.63.129.16/32 or "
            "2001:db8::/32, with no bit set behind the length"
        ) from None


def load(path: Path) -> PlatformConfig:
    """Read and check platform.toml. No message repeats a value of it.

    Raises:
        Misconfigured: the file is missing, unreadable, open to others, or has a wrong or unknown setting; or a variable
            of the environment is nearly a setting.
    """
    environment.check()
    refuse_open(path, "settings", _PRIVATE_COPY)
    _refuse_no_file(path, "settings")
    try:
        document = read_toml(path)
    except FileNotFoundError:
        document = None
    if document is None:
        raise Misconfigured(f"there is no {path_or_shape(path)}: make a world with `quanma init DIR`")
    try:
        config = msgspec.convert(document, PlatformConfig)
    except msgspec.ValidationError as problem:
        # Of a wrong word the message has the word.
        reason = re.sub(r"(Invalid enum value) .*( - at )", r"\1\2", str(problem), flags=re.DOTALL)
    else:
        _check(config, path)
        return config
    raise Misconfigured(f"{path} can't be read: {reason}{_misplaced(reason)}")


def _misplaced(reason: str) -> str:
    """In TOML, a line below `[[merchants]]` belongs to that merchant, also one that was added at the file's end."""
    found = re.search(r"unknown field `(\w+)` - at `\$\.(\w+)\[", reason)
    if found is None or found[1] not in PlatformConfig.__struct_fields__:
        return ""
    return f": {found[1]} is a setting of the platform, and stands below a [[{found[2]}]]: move it above the first one"


def _check(config: PlatformConfig, path: Path) -> None:
    if not 0 <= config.port <= 65535:
        raise Misconfigured(f"{path}: port is not between 0 and 65535")
    if not _HOST.fullmatch(config.host):
        raise Misconfigured(f"{path}: host is no name and no address: it is {shape(config.host)}")
    named = {"public_key_id": config.public_key_id}
    named |= {f"newer_keys[{n}].public_key_id": key.public_key_id or "-" for n, key in enumerate(config.newer_keys)}
    for setting, name in named.items():
        if not _KEY_NAME.fullmatch(name):  # It goes into a header.
            raise Misconfigured(f"{path}: {setting} is not a name of letters, digits, _ and -: it is {shape(name)}")
    for number, merchant in enumerate(config.merchants):
        if not is_mchid(merchant.mchid):
            raise Misconfigured(
                f"{path}: merchants[{number}].mchid is not 1 to 32 digits: it is {shape(merchant.mchid)}"
            )
        for setting in ("apiv3_key", "apiv2_key"):
            if (key := getattr(merchant, setting)) is not None and (problem := api_key_problem(key)) is not None:
                raise Misconfigured(f"{path}: {setting} of merchant {merchant.mchid} {problem}")
    for number, brand in enumerate(config.brands):
        if not is_brand_id(brand.brand_id):
            raise Misconfigured(
                f"{path}: brands[{number}].brand_id is not 1 to 20 digits: it is {shape(brand.brand_id)}"
            )
        if (problem := api_key_problem(brand.brand_key)) is not None:
            raise Misconfigured(f"{path}: brands[{number}].brand_key {problem}")
        if not _KEY_NAME.fullmatch(brand.public_key_id):
            raise Misconfigured(
                f"{path}: brands[{number}].public_key_id is not a name of letters, digits, _ and -: it is "
                f"{shape(brand.public_key_id)}"
            )
        if set(brand.granted) - {merchant.mchid for merchant in config.merchants}:
            raise Misconfigured(f"{path}: brands[{number}].granted has one that is no merchant of this file: add it")
    names = [*named.values(), *(brand.public_key_id for brand in config.brands)]
    if len({brand.brand_id for brand in config.brands}) != len(config.brands) or len(
        {name for name in names if name != "-"}
    ) != len([name for name in names if name != "-"]):
        raise Misconfigured(f"{path} has a brand or a public_key_id twice")
    mchids = [merchant.mchid for merchant in config.merchants]
    if len(set(mchids)) != len(mchids):
        raise Misconfigured(f"{path} has a merchant twice")
    config.refused_networks()


def files_of(settings: PlatformConfig, folder: Path) -> list[Path]:
    """The files that the settings name: keys and certificates."""
    names = [settings.public_key_private, settings.certificate_private, settings.certificate]
    for newer in settings.newer_keys:
        names += [newer.private, *([newer.certificate] if newer.certificate is not None else [])]
    for merchant in settings.merchants:
        names += merchant.certificates
    for brand in settings.brands:
        names += [brand.public_key_private, *brand.certificates]
    return [folder / name for name in names]


def read_private(folder: Path, name: str, setting: str) -> bytes:
    """Read a key file. Raises Misconfigured: missing, unreadable, or open to others. `setting`: where it is named."""
    if os.path.exists(folder / name):
        refuse_open(folder / name, setting, _PRIVATE_COPY)
    return read_public(folder, name, setting)


def read_public(folder: Path, name: str, setting: str) -> bytes:
    """Read a certificate. Raises Misconfigured: missing or unreadable. `setting`: where it is named."""
    if not os.path.exists(folder / name):
        raise no_file(name, setting, folder, "correct it in platform.toml, where a path beside it is wanted")
    _refuse_no_file(folder / name, setting)
    return read(folder / name, setting)


def _refuse_no_file(path: Path, setting: str) -> None:
    """Raises Misconfigured: it is a pipe or a device. It is read again and again, and may not make anyone wait."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return  # Whoever reads it says why it can't be read.
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise Misconfigured(f"{setting}: {path_or_shape(path)} is no file: put a file there")


_HOST = re.compile(r"[0-9A-Za-z_.:-]{1,253}")
_KEY_NAME = re.compile(r"[0-9A-Za-z_-]{1,128}")
_PRIVATE_COPY = "make a private copy before the start: install -m 600"
