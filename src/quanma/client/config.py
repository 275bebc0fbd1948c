"""Settings of one merchant and their order: argument, then environment, then TOML file."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from ..errors import Misconfigured

BASE_URL = "https://api.mch.weixin.qq.com"
FALLBACK_URL = "https://api2.mch.weixin.qq.com"
DEFAULT_FILE = "quanma.toml"
_ORIGIN = re.compile(r"https?://[^/?#\s@]+/?")


class Merchant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[merchant]` table. Keys are PEM texts here; in a file they are paths relative to it, or PEM."""

    mchid: str
    serial_no: str
    private_key: str
    apiv3_key: str | None = None
    apiv2_key: str | None = None
    base_url: str = BASE_URL
    fallback_url: str | None = None
    proxy: str | None = None
    platform_keys: dict[str, str] = {}

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host, and the one to try when it does not answer: what is set, else api2 beside the platform's own."""
        fallback = self.fallback_url or (FALLBACK_URL if self.base_url == BASE_URL else None)
        return tuple(url.rstrip("/") for url in (self.base_url, fallback) if url)

    def __repr__(self) -> str:
        return f"<Merchant {self.mchid}>"


def load(path: str | os.PathLike[str] | None = None, **arguments: Any) -> Merchant:
    """Return the merchant's settings.

    Each setting is taken from `arguments`, else from `QUANMA_<NAME>` in the environment, else from the file `path`,
    else `$QUANMA_CONFIG`, else `./quanma.toml` if it is there. `QUANMA_PLATFORM_KEYS` is `name=path;name=path`.

    Raises:
        Misconfigured: a setting is missing, unknown or of the wrong type; a key file can't be read, or others can.
    """
    file = path or os.environ.get("QUANMA_CONFIG") or (DEFAULT_FILE if Path(DEFAULT_FILE).exists() else None)
    table = _table(Path(file)) if file else {}
    settings = table | _environment() | {name: value for name, value in arguments.items() if value is not None}
    try:
        merchant = msgspec.convert(settings, Merchant)
    except msgspec.ValidationError as problem:
        if file:
            raise Misconfigured(f"merchant settings in {file}: {problem}") from None
        raise Misconfigured(
            f"merchant settings: {problem}, and no file is given: name one with --config or in QUANMA_CONFIG"
        ) from None
    for name, url in (("base_url", merchant.base_url), ("fallback_url", merchant.fallback_url)):
        if url is not None and not _ORIGIN.fullmatch(url):
            raise Misconfigured(f"{name} {url!r} is not http(s)://host[:port]")
    return msgspec.structs.replace(
        merchant,
        private_key=_pem(merchant.private_key, "private_key", secret=True),
        platform_keys={
            name: _pem(value, f"platform_keys.{name}", secret=False) for name, value in merchant.platform_keys.items()
        },
    )


def refuse_open(path: Path, what: str) -> None:
    """Raises Misconfigured: others than the owner may read or write a file that holds secrets."""
    if (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077:
        raise Misconfigured(f"{what} {path} has mode {mode:04o}, so others can read it: chmod 600 {path}")


def _table(path: Path) -> dict[str, Any]:
    """Read a file's settings, its relative paths made relative to where we are."""
    try:
        text = path.read_bytes().decode()
        document = tomllib.loads(text)
    except FileNotFoundError:
        raise Misconfigured(
            f"there is no {path}: make one with `quanma init DIR`, or name another with --config"
        ) from None
    except (OSError, ValueError) as problem:
        raise Misconfigured(f"{path} can't be read: {problem}") from None
    table = document.get("merchant")
    if not isinstance(table, dict):
        raise Misconfigured(f"{path} has no [merchant] table: is it a merchant's quanma.toml?")
    if {"apiv3_key", "apiv2_key"} & table.keys() or _is_pem(str(table.get("private_key"))):
        refuse_open(path, "settings")
    return table | {name: _beside(path, table[name]) for name in ("private_key", "platform_keys") if name in table}


def _beside(file: Path, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _beside(file, entry) for name, entry in value.items()}
    return str(file.parent / value) if isinstance(value, str) and not _is_pem(value) else value


def _environment() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in Merchant.__struct_fields__:
        value = os.environ.get(f"QUANMA_{field.upper()}")
        if not value:
            continue
        if field == "platform_keys":
            pairs = [pair.partition("=") for pair in value.split(";") if pair]
            if not all(name and path for name, _, path in pairs):
                raise Misconfigured("QUANMA_PLATFORM_KEYS is not name=path;name=path")
            found[field] = {name: path for name, _, path in pairs}
        else:
            found[field] = value
    return found


def _pem(value: str, setting: str, *, secret: bool) -> str:
    if _is_pem(value):
        return value
    path = Path(value)
    try:
        if secret:
            refuse_open(path, setting)
        return path.read_text()
    except (OSError, ValueError) as problem:
        raise Misconfigured(f"{setting}: {path} can't be read: {problem}") from None


def _is_pem(value: str) -> bool:
    return value.lstrip().startswith("-----BEGIN")
