"""What is examined: settings as they were given, and what the checks have made of them so far.

Each check reads what it needs by itself, so that one wrong setting hides no other.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from ..client import config
from ..client.exchange import Clocks
from ..client.network import HttpTransport
from ..client.transport import Reply, Transport
from ..errors import Misconfigured
from ..settings import addresses
from ..wire import keys, signature
from .check import LeftOut

_GOOD: Mapping[str, Mapping[str, Any]] = {
    "merchant": {"mchid": "1", "serial_no": "1", "private_key": "-"},
    "brand": {"brand_id": "1", "serial_no": "1", "private_key": "-"},
}
"""Stand for the other settings of a section while one is looked at: these are never wrong."""


class Subject:
    """Who is examined. `connect` makes a transport for a proxy's address, or for None."""

    def __init__(
        self,
        file: str | os.PathLike[str] | None,
        clocks: Clocks,
        *,
        section: str = "merchant",
        callback: str | None = None,
        connect: Callable[[str | None], Transport] = HttpTransport,
    ) -> None:
        self.asked_for = file
        self.section = section
        self.kind: type[config.Merchant | config.Brand] = config.Merchant if section == "merchant" else config.Brand
        self.own_number = "mchid" if section == "merchant" else "brand_id"
        """What the section names itself by."""
        self.clocks = clocks
        self.callback = callback
        self._connect = connect
        self.file: Path | None = None
        self.table: dict[str, Any] = {}
        self.given = config.Gathered({}, {}, frozenset())
        self.listed: Reply | None = None
        """The platform's answer to GET /v3/certificates."""
        self.sent_at = self.took = 0.0
        self._making = threading.RLock()
        self._ring: signature.KeyRing | None = None
        self._transports: dict[str | None, Transport] = {}

    @cached_property
    def brand(self) -> Subject:
        """The same file's brand."""
        return Subject(self.asked_for, self.clocks, section="brand", connect=self._connect)

    # What was given.

    def value(self, setting: str) -> Any:
        """Raises LeftOut: it was not given."""
        if self.given.settings.get(setting) is None:
            raise LeftOut(f"there is no {setting}")
        return self.given.settings[setting]

    def text(self, setting: str) -> str:
        """Raises LeftOut: it was not given, or is no text."""
        if not isinstance(value := self.value(setting), str):
            raise LeftOut(f"{setting} is no text")
        return value

    def problem(self, setting: str) -> str | None:
        """Why this one setting can't be right, whatever the others are. None: it can, or was not given."""
        value = self.given.settings.get(setting)
        if value is None or setting in ("private_key", "platform_keys"):
            return None
        try:
            msgspec.convert({**_GOOD[self.section], setting: value}, self.kind)
        except (msgspec.ValidationError, Misconfigured) as problem:
            return str(problem)
        return None

    def where(self, setting: str) -> str:
        """The place where a setting is to be corrected."""
        if setting in self.given.from_environment or self.file is None:
            variable = f"QUANMA_{setting.upper()}"
            return variable if self.section == "merchant" else config.BRAND_VARIABLES.get(setting, variable)
        return f"{setting} in {self.file.name}"

    def good(self, setting: str) -> str:
        """A setting's text that can be right. Raises LeftOut: there is none."""
        text = self.text(setting)
        if self.problem(setting) is not None:
            raise LeftOut(f"{setting} can't be right")
        return text

    # Keys.

    @cached_property
    def private_pem(self) -> str:
        """Raises LeftOut: there is none. Misconfigured: it can't be read."""
        value = self.text("private_key")
        return str(config.with_keys({"private_key": value}, self.given.folders)["private_key"])

    @property
    def private_key(self) -> keys.PrivateKey:
        """Raises LeftOut: it can't be read; another check says why."""
        try:
            return keys.load_private_key(self.private_pem.encode(), "private_key")
        except Misconfigured:
            raise LeftOut("private_key can't be read") from None

    @property
    def key_folder(self) -> Path | None:
        """The folder of the private key's file; None: it is given as a text."""
        value = self.text("private_key")
        return None if keys.is_key_text(value) else (self.given.folders["private_key"] / value).parent

    def platform_pems(self) -> dict[str, str]:
        """The platform's keys that can be read."""
        found: dict[str, str] = {}
        for name in self.platform_names:
            if not isinstance(pem := self.platform_pem(name), Misconfigured):
                found[name] = pem
        return found

    def platform_pem(self, name: str) -> str | Misconfigured:
        """One of the platform's keys as PEM, or why it can't be used."""
        wanted: dict[str, Any] = {"platform_keys": {name: self.given.settings["platform_keys"][name]}}
        try:
            msgspec.convert({**_GOOD[self.section], "platform_keys": {name: ""}}, self.kind)  # The name alone.
            with contextlib.suppress(LeftOut, Misconfigured):
                wanted["private_key"] = self.private_pem
            read = config.with_keys(wanted, {"private_key": Path(), **self.given.folders})
            return str(msgspec.convert(read["platform_keys"], dict[str, str])[name])
        except Misconfigured as problem:
            return problem
        except msgspec.ValidationError:
            return Misconfigured("platform_keys: a key in it is no text: give a path, or its PEM")

    @property
    def platform_names(self) -> list[str]:
        given = self.given.settings.get("platform_keys")
        return [name for name in given if isinstance(name, str)] if isinstance(given, dict) else []

    @property
    def ring(self) -> signature.KeyRing:
        """The platform's keys, as far as they can be read. What is fetched is added."""
        with self._making:
            if self._ring is None:
                self._ring = keys.load_ring({name: pem.encode() for name, pem in self.platform_pems().items()})
            return self._ring

    # The way to the platform.

    @property
    def hosts(self) -> tuple[str, ...]:
        """Raises LeftOut: an address can't be right."""
        chosen = {name: self.good(name) for name in ("base_url", "fallback_url") if self.given.settings.get(name)}
        return msgspec.convert({**_GOOD[self.section], **chosen}, self.kind).hosts

    @property
    def is_wechat_pays(self) -> bool:
        """Whether WeChat Pay itself is called, and no platform or gateway of one's own."""
        try:
            host = addresses.host_of(self.hosts[0])
        except LeftOut:
            return True
        return f".{host}".endswith((".mch.weixin.qq.com", ".wechatpay.cn"))

    def transport(self, *, proxied: bool = True) -> Transport:
        """Requests to the platform go through the proxy of the settings, those to one's own addresses do not."""
        proxy = self.good("proxy") if proxied and self.given.settings.get("proxy") else None
        with self._making:
            if proxy not in self._transports:
                self._transports[proxy] = self._connect(proxy)
            return self._transports[proxy]

    def close(self) -> None:
        for transport in self._transports.values():
            transport.close()
