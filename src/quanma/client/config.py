"""Settings of a merchant, of a brand, or of both, and their order: argument, then environment, then TOML file.

They are checked when they are read. No message repeats a value: it says its shape.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from ..errors import Misconfigured, SettingsAbsent
from ..settings import addresses, environment
from ..settings.files import no_file, read, read_toml, refuse_open
from ..settings.keys import api_key_problem, is_brand_id, is_mchid, is_serial
from ..settings.shape import path_or_shape, shape
from ..wire import keys, signature
from .claims import H5_PAGE

BASE_URL = "https://api.mch.weixin.qq.com"
FALLBACK_URL = "https://api2.mch.weixin.qq.com"
DEFAULT_FILE = "quanma.toml"
_OF_WECHAT_PAY = ".mch.weixin.qq.com"
_PUBLIC_KEY_ID = re.compile(rf"{signature.PUBLIC_KEY_PREFIX}[0-9A-Za-z]{{1,64}}")
TEXT_INSTEAD = "give the key's text in QUANMA_PRIVATE_KEY"
_HEADERS = "keep the secrets out of it and give them as QUANMA_APIV3_KEY, QUANMA_APIV2_KEY and QUANMA_PRIVATE_KEY"


class Merchant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[merchant]` table. Keys are PEM texts here; in a file they are paths relative to it, or PEM.

    Whoever makes one has it checked. Addresses are in their one form afterwards.
    """

    mchid: str
    serial_no: str
    private_key: str
    apiv3_key: str | None = None
    apiv2_key: str | None = None
    base_url: str = BASE_URL
    fallback_url: str | None = None
    h5_url: str | None = None
    """The claim page, where the one that belongs to `base_url` is not it."""
    proxy: str | None = None
    platform_keys: dict[str, str] = {}
    deadline_seconds: float | None = None
    """How long a call may take in all, repeats included. Absent, like the next two: as `Patience` has it."""
    attempt_seconds: float | None = None
    attempts_max: int | None = None

    def __post_init__(self) -> None:
        """Raises Misconfigured: a setting can't be right. The message begins with its name."""
        if not is_mchid(self.mchid):
            raise Misconfigured(f"mchid is not a merchant number, 1 to 32 digits: it is {shape(self.mchid)}")
        if not is_serial(self.serial_no):
            raise Misconfigured(
                "serial_no is not a certificate's serial, at most 40 hexadecimal digits: it is "
                f"{shape(self.serial_no)}: `openssl x509 -noout -serial -in apiclient_cert.pem` prints it"
            )
        for setting in ("apiv3_key", "apiv2_key"):
            if (key := getattr(self, setting)) is not None and (problem := api_key_problem(key)) is not None:
                raise Misconfigured(f"{setting} {problem}")
        for setting, read_address in _ADDRESSES.items():
            if (text := getattr(self, setting)) is None:
                continue
            address = read_address(text)
            if isinstance(address, addresses.Wrong):
                raise Misconfigured(f"{setting} {address.reason}")
            msgspec.structs.force_setattr(self, setting, address)
        for setting in ("deadline_seconds", "attempt_seconds", "attempts_max"):
            if (value := getattr(self, setting)) is not None and not 0 < value < float("inf"):
                raise Misconfigured(f"{setting} is {value}: it is a number above 0")
        for name in self.platform_keys:
            if not is_serial(name) and not _PUBLIC_KEY_ID.fullmatch(name):
                raise Misconfigured(
                    f"platform_keys: a name in it is neither PUB_KEY_ID_… nor a certificate's serial in hexadecimal "
                    f"digits without colons: it is {shape(name)}"
                )

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host, and the one to try when it does not answer."""
        return _hosts(self.base_url, self.fallback_url)

    @property
    def h5_page(self) -> str:
        """The claim page: what is set, else that of the platform which `base_url` names."""
        if self.h5_url is not None:
            return self.h5_url
        if f".{addresses.host_of(self.base_url)}".endswith(_OF_WECHAT_PAY):
            return H5_PAGE
        return self.base_url + urlsplit(H5_PAGE).path

    def __repr__(self) -> str:
        return f"<Merchant {self.mchid}>"


class Brand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[brand]` table: a brand's own calls of 商品券. All of it is from the brand platform, nothing the merchant's.

    Whoever makes one has it checked, as a Merchant.
    """

    brand_id: str
    serial_no: str
    """Of the brand API certificate."""
    private_key: str
    brand_key: str | None = None
    """品牌API密钥, which opens the brand's events."""
    base_url: str = BASE_URL
    fallback_url: str | None = None
    proxy: str | None = None
    """Of a client that has no merchant."""
    platform_keys: dict[str, str] = {}

    def __post_init__(self) -> None:
        """Raises Misconfigured: a setting can't be right. The message begins with its name."""
        if not is_brand_id(self.brand_id):
            raise Misconfigured(f"brand_id is not a brand's number, 1 to 20 digits: it is {shape(self.brand_id)}")
        if not is_serial(self.serial_no):
            raise Misconfigured(
                "serial_no is not a certificate's serial, at most 40 hexadecimal digits: it is "
                f"{shape(self.serial_no)}: `openssl x509 -noout -serial -in apiclient_cert.pem` prints it"
            )
        if self.brand_key is not None and (problem := api_key_problem(self.brand_key)) is not None:
            raise Misconfigured(f"brand_key {problem}")
        for setting in ("base_url", "fallback_url", "proxy"):
            if (text := getattr(self, setting)) is None:
                continue
            address = _ADDRESSES[setting](text)
            if isinstance(address, addresses.Wrong):
                raise Misconfigured(f"{setting} {address.reason}")
            msgspec.structs.force_setattr(self, setting, address)
        for name in self.platform_keys:
            if not _PUBLIC_KEY_ID.fullmatch(name):
                raise Misconfigured(
                    "platform_keys: a name in it is not PUB_KEY_ID_…, and a brand has no other kind of key: it is "
                    f"{shape(name)}"
                )

    @property
    def hosts(self) -> tuple[str, ...]:
        """As a merchant's."""
        return _hosts(self.base_url, self.fallback_url)

    def __repr__(self) -> str:
        return f"<Brand {self.brand_id}>"


class Settings(NamedTuple):
    """What a client has: a merchant's section, a brand's, or both. The path of a call says which signs it."""

    merchant: Merchant | None
    brand: Brand | None

    @property
    def proxy(self) -> str | None:
        return next((section.proxy for section in self if section is not None and section.proxy is not None), None)


def _hosts(base_url: str, fallback_url: str | None) -> tuple[str, ...]:
    """The host, and the one to try when it does not answer: what is set, else the other of the platform's own."""
    others = {BASE_URL: FALLBACK_URL, FALLBACK_URL: BASE_URL}
    return tuple(url for url in (base_url, fallback_url or others.get(base_url)) if url)


_ADDRESSES: Mapping[str, Callable[[str], str | addresses.Wrong]] = {
    "base_url": addresses.origin,
    "fallback_url": addresses.origin,
    "h5_url": addresses.page,
    "proxy": addresses.proxy,
}


_NUMBERS: Mapping[str, type[float] | type[int]] = {
    "deadline_seconds": float,
    "attempt_seconds": float,
    "attempts_max": int,
}


def load(path: str | os.PathLike[str] | None = None, **arguments: Any) -> Merchant:
    """Return the merchant's settings.

    Each setting is taken from `arguments`, else from `QUANMA_<NAME>` in the environment, else from the file `path`,
    else `$QUANMA_CONFIG`, else `./quanma.toml` if it is there. `QUANMA_PLATFORM_KEYS` is `name=path;name=path`.

    Raises:
        SettingsAbsent: there are none, or a file of them is not there.
        Misconfigured: a setting is missing, unknown, of the wrong type or can't be right; a key file can't be read, or
            others can; a variable of the environment is nearly a setting.
    """
    environment.check()
    file = file_of(path)
    table = _table(file) if file else {}
    given = {name: value for name, value in arguments.items() if value is not None}
    settings, folders, from_environment = gather(file, table, given)
    try:
        return _told(msgspec.convert(with_keys(settings, folders), Merchant), given)
    except msgspec.ValidationError as problem:
        reason = str(problem)
    except Misconfigured as problem:
        named = re.match(r"[a-z0-9_]*", str(problem))
        if not named or named[0] not in from_environment or named[0] in given:
            raise
        raise type(problem)(f"{problem} (it is set in QUANMA_{named[0].upper()})") from None
    missing = [name for name in ("mchid", "serial_no", "private_key") if name not in settings]
    if missing and "missing required" in reason:
        reason = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    if file:
        raise Misconfigured(f"merchant settings in {path_or_shape(file)}: {reason}")
    kind = SettingsAbsent if missing else Misconfigured
    raise kind(
        f"merchant settings: {reason}, and no file is given: QUANMA_CONFIG is not set, and there is no {DEFAULT_FILE} "
        "here: name one with --config or in QUANMA_CONFIG; `quanma init DIR` makes a local world, `quanma init --live "
        "DIR` a template for a real merchant"
    )


def load_both(path: str | os.PathLike[str] | None = None, **arguments: Any) -> Settings:
    """Return the settings of a merchant, of a brand, or of both: those that there are.

    The merchant's as `load`. The brand's are the `[brand]` table of the same file, and before it `QUANMA_BRAND_ID`,
    `QUANMA_BRAND_SERIAL_NO`, `QUANMA_BRAND_PRIVATE_KEY`, `QUANMA_BRAND_KEY`, `QUANMA_BRAND_BASE_URL`,
    `QUANMA_BRAND_PLATFORM_KEYS`; `brand` may be given as an argument, a mapping or a Brand.

    Raises:
        SettingsAbsent, Misconfigured: as `load`.
    """
    given = arguments.pop("brand", None)
    brand = given if isinstance(given, Brand) else load_brand(path, **(given or {}))
    if brand is not None and not _has_merchant(path, arguments):
        return Settings(None, brand)
    return Settings(load(path, **arguments), brand)


def load_brand(path: str | os.PathLike[str] | None = None, **arguments: Any) -> Brand | None:
    """Return the brand's settings, or None if there are none at all. Raises Misconfigured as `load`."""
    environment.check()
    file = file_of(path)
    table = _section(file, "brand") if file else {}
    from_environment = _brand_environment()
    given = {name: value for name, value in arguments.items() if value is not None}
    settings = table | from_environment | given
    if not settings:
        return None
    beside = file.parent if file else Path()
    folders = {name: beside if name not in from_environment | given else Path() for name in settings}
    try:
        return msgspec.convert(with_keys(settings, folders), Brand)
    except msgspec.ValidationError as problem:
        reason = str(problem)
    except Misconfigured as problem:
        raise type(problem)(f"brand settings: {problem}") from None
    missing = [name for name in ("brand_id", "serial_no", "private_key") if name not in settings]
    if missing and "missing required" in reason:
        reason = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    if file:
        raise Misconfigured(f"brand settings in {path_or_shape(file)}: {reason}")
    raise Misconfigured(f"brand settings: {reason}")


def _has_merchant(path: str | os.PathLike[str] | None, arguments: Mapping[str, Any]) -> bool:
    file = file_of(path)
    own = ("mchid", "serial_no", "private_key")
    return (
        bool(file and _section(file, "merchant"))
        or any(arguments.get(name) is not None for name in own)
        or any(os.environ.get(f"QUANMA_{name.upper()}") for name in own)
    )


def _section(path: Path, name: str) -> dict[str, Any]:
    """A table of the file, empty if it is not there."""
    try:
        document = read_toml(path)
    except FileNotFoundError:
        document = None
    table = (document or {}).get(name, {})
    if not isinstance(table, dict):
        raise Misconfigured(f"{path}: {name} is no table: write [{name}]")
    private_key = table.get("private_key")
    if "brand_key" in table or (isinstance(private_key, str) and keys.is_key_text(private_key)):
        refuse_open(path, "settings", "keep the secrets out of it and give them as QUANMA_BRAND_KEY and so on")
    return table


BRAND_VARIABLES = {
    "brand_id": "QUANMA_BRAND_ID",
    "serial_no": "QUANMA_BRAND_SERIAL_NO",
    "private_key": "QUANMA_BRAND_PRIVATE_KEY",
    "brand_key": "QUANMA_BRAND_KEY",
    "base_url": "QUANMA_BRAND_BASE_URL",
    "platform_keys": "QUANMA_BRAND_PLATFORM_KEYS",
}


def _brand_environment() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, variable in BRAND_VARIABLES.items():
        if value := os.environ.get(variable):
            found[field] = _named_paths(variable, value) if field == "platform_keys" else value
    return found


def sections_of(path: str | os.PathLike[str] | None) -> list[str]:
    """Which sections are given at all, in a file or the environment. A file that can't be read has none."""
    file = file_of(path)
    try:
        document = read_toml(file) if file else {}
    except (FileNotFoundError, Misconfigured):
        document = {}
    variables = {
        "merchant": [f"QUANMA_{name}" for name in ("MCHID", "SERIAL_NO", "PRIVATE_KEY")],
        "brand": list(BRAND_VARIABLES.values()),
    }
    return [name for name in variables if name in document or any(map(os.environ.get, variables[name]))]


def _named_paths(variable: str, value: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in value.split(";") if pair]
    if not all(name and path for name, _, path in pairs):
        raise Misconfigured(f"{variable} is not name=path;name=path")
    return {name.strip(): path for name, _, path in pairs}


class OpenAddress(UserWarning):
    """An address is http:// and not of this machine."""


def _told(merchant: Merchant, given: Mapping[str, Any]) -> Merchant:
    """Warn of what is allowed and may be a mistake. What a program gave as an argument is its own word."""
    for setting in {"base_url", "fallback_url", "h5_url"} - given.keys():
        if (address := getattr(merchant, setting)) is not None and addresses.is_open(address):
            warnings.warn(
                f"{setting} begins with http:// and is not of this machine: users, codes and signatures can be read on "
                "the way; write https://",
                OpenAddress,
                stacklevel=3,
            )
    return merchant


def file_of(path: str | os.PathLike[str] | None) -> Path | None:
    """The file of the settings: the one that is given, else `$QUANMA_CONFIG`, else `./quanma.toml` if it is there."""
    file = path or os.environ.get("QUANMA_CONFIG") or (DEFAULT_FILE if Path(DEFAULT_FILE).exists() else None)
    return Path(file) if file else None


class Gathered(NamedTuple):
    """Settings as they were given, not checked yet."""

    settings: dict[str, Any]
    folders: dict[str, Path]
    """What a path in each is relative to."""
    from_environment: frozenset[str]


def gather(
    file: Path | None, table: Mapping[str, Any], arguments: Mapping[str, Any], *, section: str = "merchant"
) -> Gathered:
    """The settings of a section: of a file's table, under those of the environment, under `arguments`.

    Raises:
        Misconfigured: a variable of the environment can't be read.
    """
    from_environment = _environment() if section == "merchant" else _brand_environment()
    settings = {**table, **from_environment, **arguments}
    beside = file.parent if file else Path()
    elsewhere = from_environment.keys() | arguments.keys()
    folders = {name: beside if name not in elsewhere else Path() for name in settings}
    return Gathered(settings, folders, frozenset(from_environment))


def _table(path: Path) -> dict[str, Any]:
    table = read_table(path)
    refuse_open_table(path, table)
    return table


def read_table(path: Path, name: str = "merchant") -> dict[str, Any]:
    """Read a section of a file. Raises Misconfigured: the file is not there, can't be read, or has none."""
    try:
        document = read_toml(path)
    except FileNotFoundError:
        document = None
    if document is None:
        raise SettingsAbsent(
            f"there is no {path_or_shape(path)}: make one with `quanma init DIR`, or name another with --config"
        )
    table = document.get(name)
    if not isinstance(table, dict):
        if name == "brand":
            raise Misconfigured(f"{path}: {name} is no table: write [{name}]")
        if "brand" in document:
            raise Misconfigured(f"{path} has a [brand] section and no [merchant] section, and this needs one: add it")
        raise Misconfigured(f"{path} has no [merchant] table: is it a merchant's quanma.toml?")
    return table


def refuse_open_table(path: Path, table: Mapping[str, Any]) -> None:
    """Raises Misconfigured: others can read a file that holds secrets."""
    private_key = table.get("private_key")
    if {"apiv3_key", "apiv2_key", "brand_key"} & table.keys() or (
        isinstance(private_key, str) and keys.is_key_text(private_key)
    ):
        refuse_open(path, "settings", _HEADERS)


def _environment() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in Merchant.__struct_fields__:
        value = os.environ.get(f"QUANMA_{field.upper()}")
        if not value:
            continue
        if field == "platform_keys":
            found[field] = _named_paths("QUANMA_PLATFORM_KEYS", value)
        elif field in _NUMBERS:
            if (number := _number(_NUMBERS[field], value)) is None:
                raise Misconfigured(f"{field} is no number: it is {shape(value)} (it is set in QUANMA_{field.upper()})")
            found[field] = number
        else:
            found[field] = value
    return found


def _number(kind: type[float] | type[int], text: str) -> float | int | None:
    try:
        return kind(text)
    except ValueError:  # It holds the text, which may be a key: no error of ours may refer to it.
        return None


def with_keys(settings: Mapping[str, Any], folders: Mapping[str, Path]) -> dict[str, Any]:
    """The settings with their keys read. What is of a wrong type is left to be told.

    Raises:
        Misconfigured: a key can't be read, or others can read the private one.
    """
    read_in = dict(settings)
    private_key, platform_keys = settings.get("private_key"), settings.get("platform_keys")
    own: keys.PublicKey | None = None
    if isinstance(private_key, str):
        content = _content(
            private_key,
            "private_key",
            folders["private_key"],
            "give apiclient_key.pem, as a path or as its text",
            secret=True,
        )
        read_in["private_key"] = keys.private_pem(content, "private_key")
        own = keys.own_public_key(read_in["private_key"])
    if isinstance(platform_keys, dict):
        wanted = "give the platform's public key or certificate, as a path or as its text"
        read_in["platform_keys"] = {
            name: _verifying(name, value, folders["platform_keys"], wanted, own) if isinstance(value, str) else value
            for name, value in platform_keys.items()
        }
    return read_in


def _verifying(name: str, value: str, folder: Path, wanted: str, own: keys.PublicKey | None) -> str:
    if not is_serial(name) and not _PUBLIC_KEY_ID.fullmatch(name):
        return value  # Told as a wrong name.
    setting = f"platform_keys.{name}"
    pem = keys.verification_pem(name, _content(value, setting, folder, wanted, secret=False))
    if own is not None and keys.load_verification_key(name, pem.encode()).public_numbers() == own.public_numbers():
        raise Misconfigured(
            f"{setting} is the merchant's own certificate or public key, and the platform's is wanted: download it "
            "from the merchant platform, or leave it out to have the platform's certificates fetched"
        )
    return pem


def _content(value: str, setting: str, folder: Path, wanted: str, *, secret: bool) -> bytes:
    """A key's text: the value itself, or the file that it names."""
    if not value.strip():
        raise Misconfigured(f"{setting} is {'empty' if not value else shape(value)}: {wanted}")
    if keys.is_key_text(value):
        return value.encode("utf-8", "replace")
    path = folder / value
    if not os.path.exists(path):
        raise no_file(value, setting, folder, wanted)
    if secret:
        refuse_open(path, setting, TEXT_INSTEAD)
    return read(path, setting)
