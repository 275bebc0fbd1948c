"""The platform's side of a world: platform.toml."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from ..errors import Misconfigured


class MerchantEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A merchant whose requests are believed. Several certificates: a rotation, all valid at once."""

    mchid: str
    apiv3_key: str
    certificates: list[str]
    apiv2_key: str | None = None


class NewerKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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
    newer_keys: list[NewerKey] = []
    """The latest that is active stands for its kind; all of them sign when they are asked for."""
    host: str = "127.0.0.1"
    port: int = 8460
    database: str = "sqlite:///quanma.db"
    allow_private_callbacks: bool = False
    callback_retry_seconds: Annotated[int, msgspec.Meta(ge=1)] = 60
    callback_attempts_max: Annotated[int, msgspec.Meta(ge=1)] = 11
    """An event is posted every so many seconds, so many times in all. Source: 60 s and 11 are documented."""
    requests_per_second: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """Of one merchant. Absent: no limit."""
    product_coupon_stocks: list[ProductCouponStock] = []
    log_format: Literal["text", "json"] = "text"
    strict_nonce: bool = False
    """Refuse a nonce that is not 16 to 32 letters and digits. No form is documented."""
    explain: bool = False
    """Tell a caller which check of its signature failed: to develop against, and on a loopback address only."""
    warmup_seconds: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How long a new stock answers STATEMENT_CREATING to uploads."""


def load(path: Path) -> PlatformConfig:
    """Raises Misconfigured: the file is missing, unreadable, open to others, or has a wrong or unknown setting."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        document = tomllib.loads(path.read_bytes().decode())
        config = msgspec.convert(document, PlatformConfig)
    except FileNotFoundError:
        raise Misconfigured(f"there is no {path}: make a world with `quanma init DIR`") from None
    except (OSError, ValueError) as problem:
        raise Misconfigured(f"{path} can't be read: {problem}") from None
    if mode & 0o077:
        raise Misconfigured(f"{path} holds keys and has mode {mode:04o}, so others can read it: chmod 600 {path}")
    mchids = [merchant.mchid for merchant in config.merchants]
    if len(set(mchids)) != len(mchids):
        raise Misconfigured(f"{path} has a merchant twice")
    return config


def read_private(folder: Path, name: str) -> bytes:
    """Read a key file. Raises Misconfigured: missing, unreadable, or open to others."""
    path = folder / name
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        content = path.read_bytes()
    except OSError as problem:
        raise Misconfigured(f"{path} can't be read: {problem.strerror}") from None
    if mode & 0o077:
        raise Misconfigured(f"{path} has mode {mode:04o}, so others can read the key: chmod 600 {path}")
    return content


def read_public(folder: Path, name: str) -> bytes:
    """Read a certificate. Raises Misconfigured: missing or unreadable."""
    try:
        return (folder / name).read_bytes()
    except OSError as problem:
        raise Misconfigured(f"{folder / name} can't be read: {problem.strerror}") from None
