"""The two clients: each moves an exchange over its own kind of transport, and decides nothing."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent import futures
from typing import TYPE_CHECKING, Any, NamedTuple, Never, Self, TypeVar

from ..api.operation import Answer, Async, Operation, Sync, Whole
from ..api.productcoupon.tree import Brand
from ..api.tree import V3
from ..errors import ClientClosed, Misconfigured, QuanmaError, RequestInvalid, SettingsAbsent
from ..wire import codec, sensitive, signature
from ..wire.keys import load_private_key, load_ring
from . import config, paysign
from .attempts import Watch
from .certificates import Certificates
from .chain import Chain
from .claims import Claims
from .exchange import Clocks, Failed, Identity, Join, Patience, Send, Talk, exchange, signed_request
from .network import AsyncHttpTransport, HttpTransport
from .paysign import Channel
from .sensitivefields import encrypted
from .transport import AsyncTransport, Reply, Transport

Resp = TypeVar("Resp")
_TARGET = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?|\\-]*")
"""What is sent as it stands, by curl too."""


Later = Callable[[], config.Merchant | config.Settings]
"""Reads the settings when they are needed: raises Misconfigured then, if they are not there yet."""


class _Client:
    """What both clients are made from.

    Settings that were not there when it was made are read at its first use; what is made of them comes into being then.
    """

    merchant: config.Merchant
    """The settings in use. To ask for them reads them."""
    _hosts: tuple[str, ...]
    _identity: Identity
    _certificates: Certificates
    _brand: _BrandSide
    _patience: Patience

    def __init__(
        self,
        merchant: config.Merchant | config.Settings | Later,
        patience: Patience | None,
        clocks: Clocks,
        watch: Watch | None,
    ) -> None:
        self._clocks = clocks
        self._watch = watch
        self._closed = False
        self._given_patience = patience
        self._reading = threading.Lock()
        self._later: Later | None = None
        if isinstance(merchant, config.Merchant | config.Settings):
            self._settle(_both(merchant))
        else:
            self._later = merchant

    def _settle(self, settings: config.Settings) -> None:
        """Make what a call needs of the settings."""
        merchant, brand = settings
        self._patience = self._given_patience or (Patience() if merchant is None else _patience_of(merchant))
        if brand is not None:
            self._brand = _BrandSide(_identity(brand, brand.brand_id, signature.BRAND_SCHEME), brand.hosts)
        if merchant is not None:
            self._identity = _identity(merchant, merchant.mchid, signature.SCHEME)
            self._certificates = Certificates(self._identity.ring, merchant.apiv3_key, self._clocks.steady)
            self._hosts = merchant.hosts
            self.merchant = merchant

    def read_settings(self) -> None:
        """Read the settings now, if they were not there when the client was made. Any call does it, and `with`.

        Raises:
            Misconfigured: as `config.load`.
        """
        with self._reading:
            if self._later is not None:
                self._settle(_both(self._later()))
                self._later = None

    if not TYPE_CHECKING:  # For names that come with the settings, when they were not there at first.

        def __getattr__(self, name: str) -> Any:
            if name not in ("merchant", "_hosts", "_identity", "_certificates", "_brand", "_patience", "_transport"):
                raise AttributeError(
                    f"{type(self).__name__} has no {name!r}; calls begin with v3, with brand, or chain(path)"
                )
            self.read_settings()
            if name not in self.__dict__:
                section, whose = ("brand", "a brand's own") if name == "_brand" else ("merchant", "a merchant's")
                raise Misconfigured(f"this is {whose} call, and the settings have no [{section}] section: add it")
            return object.__getattribute__(self, name)

    def __repr__(self) -> str:
        if self._later is not None:
            return f"<{type(self).__name__}, its settings not read yet>"
        own = self.__dict__
        who = [f"{own['merchant'].mchid} at {own['merchant'].base_url}"] if "merchant" in own else []
        who += [f"brand {own['_brand'].identity.mchid} at {own['_brand'].hosts[0]}"] if "_brand" in own else []
        return f"<{type(self).__name__} {', '.join(who)}>"

    def __reduce__(self) -> Never:
        raise TypeError(f"{self!r} holds keys and connections and can't be pickled: make one where it is used")

    def _talk(
        self, operation: Operation[..., Any, Any, Resp], parts: codec.Parts, number: str | None = None
    ) -> Talk[Resp]:
        identity, hosts, certificates = self._side(parts.target)
        return exchange(
            identity,
            operation.hosts or hosts,
            self._patience,
            self._clocks,
            operation,
            parts,
            certificates,
            number,
            self._watch,
        )

    def _side(self, target: str) -> tuple[Identity, tuple[str, ...], Certificates | None]:
        """Who signs, and where it goes: the path says so. A brand has no platform certificates.

        Raises:
            Misconfigured: the settings have no section for it.
        """
        if signature.scheme_of(target) == signature.BRAND_SCHEME:
            return self._brand.identity, self._brand.hosts, None
        return self._identity, self._hosts, self._certificates

    def _refuse_closed(self) -> None:
        if self._closed:
            raise ClientClosed(f"{self!r} is closed, so nothing was sent: make a new client, or close this one later")

    def signed_headers(self, method: str, target: str, body: bytes = b"") -> dict[str, str]:
        """Return the headers that sign a request which something else sends, as curl does. They hold for 300 s.

        `target`: path and query as they go on the wire; `body`: its bytes as they are sent. Nothing is sent here.

        Raises:
            RequestInvalid: it is no target that goes on the wire as it stands.
        """
        if not _TARGET.fullmatch(target):
            raise RequestInvalid(
                "the path begins with /, and what is no letter, digit or sign of a URL in it is written as %E5%88%B8"
            )
        now = self._clocks.wall()
        parts = codec.Parts(method.upper(), target, body)
        return signed_request(self._identity, self._hosts[0], parts, now, self._identity.ring.preferred(now)).headers

    def pay_sign(self, *, appid: str, prepay_id: str, channel: Channel = "jsapi") -> dict[str, str]:
        """调起支付. Return what opens WeChat Pay for an order: for JSAPI and mini-programs, or an app.

        Raises:
            RequestInvalid: appid or prepay_id can't be one; the channel is none of jsapi, mini_program, app.
        """
        timestamp, nonce = str(int(self._clocks.wall())), secrets.token_hex(16)
        key, mchid = self._identity.private_key, self._identity.mchid
        return paysign.pay_sign(
            key, mchid, appid=appid, prepay_id=prepay_id, channel=channel, timestamp=timestamp, nonce=nonce
        )

    @property
    def claims(self) -> Claims:
        """Claims by users outside the API: the H5 page, the mini-program plug-in, JSAPI.

        With another platform than WeChat Pay, the H5 page is that platform's, or the setting's h5_url.
        """
        return Claims(self.merchant.mchid, self.merchant.apiv2_key, self.merchant.h5_page)

    def encrypt(self, text: str) -> tuple[str, str]:
        """Return a sensitive field for a path reached by `chain`, and the key's name, for its Wechatpay-Serial.

        Raises:
            Misconfigured: there are no platform_keys.
            RequestInvalid: it is longer than 214 bytes.
        """
        name = self._identity.ring.preferred(self._clocks.wall())
        if name is None:
            raise Misconfigured("there are no platform_keys to encrypt with: add one to quanma.toml")
        return sensitive.encrypt(self._identity.ring.key(name), text), name

    def _encrypting(self, names: Sequence[str]) -> Callable[[Any], Any]:
        if isinstance(names, str):
            raise RequestInvalid("sensitive is a list of names, not one text")
        return lambda body: encrypted(body, names, lambda text: self.encrypt(text)[0])

    def decrypt(self, field: str) -> str:
        """Return the text of a sensitive field. Raises SignatureInvalid: it was encrypted for another key."""
        return sensitive.decrypt(self._identity.private_key, field)


class _BrandSide(NamedTuple):
    identity: Identity
    hosts: tuple[str, ...]


def _both(settings: config.Merchant | config.Settings) -> config.Settings:
    return config.Settings(settings, None) if isinstance(settings, config.Merchant) else settings


def _identity(section: config.Merchant | config.Brand, name: str, scheme: str) -> Identity:
    ring = load_ring({key: pem.encode() for key, pem in section.platform_keys.items()})
    private_key = load_private_key(section.private_key.encode(), "private_key")
    return Identity(name, section.serial_no, private_key, ring, scheme)


_CLOCKS = Clocks(time.time, time.monotonic)


def _patience_of(merchant: config.Merchant) -> Patience:
    wanted = {name: value for name in Patience._fields if (value := getattr(merchant, name)) is not None}
    return Patience(**wanted)


def _found(path: str | os.PathLike[str] | None, settings: dict[str, Any]) -> config.Settings | Later:
    """The settings, or how to read them later where there are none yet: on a machine that builds, or migrates.

    Raises:
        Misconfigured: what is there can't be right. That does not wait.
    """
    try:
        return config.load_both(path, **settings)
    except SettingsAbsent:
        return lambda: config.load_both(path, **settings)


def _number(operation: Operation[..., Any, Any, Any], request: Any) -> str | None:
    return None if operation.number is None else getattr(request, operation.number)


class Wechatpay(_Client):
    """The WeChat Pay APIv3 client. Thread-safe; make one and keep it.

    Every call ends within `deadline_seconds` (30 by default), repeats included, and raises an error of
    `quanma.errors` whose class says what to do next. An answer is returned only if its signature held.
    """

    def __init__(
        self,
        merchant: config.Merchant | config.Settings | Later,
        *,
        patience: Patience | None = None,
        clocks: Clocks = _CLOCKS,
        transport: Transport | None = None,
        on_attempt: Watch | None = None,
    ) -> None:
        self._given_transport = transport
        super().__init__(merchant, patience, clocks, on_attempt)
        self.v3: V3[Sync, Whole] = V3(self)
        self.brand: Brand[Sync, Whole] = Brand(self)

    def _settle(self, settings: config.Settings) -> None:
        super()._settle(settings)
        self._transport: Transport = self._given_transport or HttpTransport(settings.proxy)

    @classmethod
    def from_config(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        patience: Patience | None = None,
        on_attempt: Watch | None = None,
        **settings: Any,
    ) -> Self:
        """Make a client from a quanma.toml; `settings` and the environment come first, see `config.load`.

        Where there are no settings yet, or a file of them is not there, they are read at the first use, so a client
        may stand at the top of a module. `with` reads them at once. `on_attempt` is told of each try of each call.

        Raises:
            Misconfigured: a setting that is there can't be right.
        """
        return cls(_found(path, settings), patience=patience, on_attempt=on_attempt)

    def send(self, operation: Operation[..., Any, Any, Resp], request: Any) -> Answer[Resp]:
        """Send a declared operation's request struct and return the whole answer. The chain calls this."""
        return self._move(operation, codec.encode_request(operation, request), _number(operation, request))

    def chain(self, path: str, *, host: str | None = None, sensitive: Sequence[str] = ()) -> Chain[Any]:
        """Return a path that is not declared, to call `get`, `post`, … on. Untyped. `host`: if it lives elsewhere.

        `sensitive` names the fields of the body to encrypt, like `payee.user_name`.

        Raises:
            RequestInvalid: it is no path below v3 or brand, or no host.
        """
        call = lambda operation, parts: self._move(operation, parts).data  # noqa: E731
        return Chain(path, call, host, self._encrypting(sensitive))

    def chain_raw(self, path: str, *, host: str | None = None, sensitive: Sequence[str] = ()) -> Chain[Answer[Any]]:
        """As `chain`, returning the whole answer."""
        return Chain(path, self._move, host, self._encrypting(sensitive))

    def _move(
        self, operation: Operation[..., Any, Any, Resp], parts: codec.Parts, number: str | None = None
    ) -> Answer[Resp]:
        self._refuse_closed()
        talk = self._talk(operation, parts, number)
        reply: Reply | Failed | None = None
        try:
            while True:
                step, reply = talk.send(reply), None
                if isinstance(step, Send):
                    try:
                        self._refuse_closed()
                        reply = self._transport.send(step.request, step.timeout_seconds)
                    except QuanmaError as error:
                        reply = Failed(error)
                elif isinstance(step, Join):
                    futures.wait([step.over], step.seconds)
                else:
                    time.sleep(step.seconds)
        except StopIteration as over:
            answer: Answer[Resp] = over.value
            return answer
        finally:
            talk.close()  # After Ctrl-C too: others may wait for what this call was fetching.

    def close(self) -> None:
        """Close its connections. Calls after it end at once in `ClientClosed`."""
        self._closed = True
        if self._later is None:
            self._transport.close()

    def __enter__(self) -> Self:
        self.read_settings()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class AsyncWechatpay(_Client):
    """The WeChat Pay APIv3 client whose calls are awaited. Promises as `Wechatpay`."""

    def __init__(
        self,
        merchant: config.Merchant | config.Settings | Later,
        *,
        patience: Patience | None = None,
        clocks: Clocks = _CLOCKS,
        transport: AsyncTransport | None = None,
        on_attempt: Watch | None = None,
    ) -> None:
        self._given_transport = transport
        super().__init__(merchant, patience, clocks, on_attempt)
        self.v3: V3[Async, Whole] = V3(self)
        self.brand: Brand[Async, Whole] = Brand(self)

    def _settle(self, settings: config.Settings) -> None:
        super()._settle(settings)
        self._transport: AsyncTransport = self._given_transport or AsyncHttpTransport(settings.proxy)

    @classmethod
    def from_config(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        patience: Patience | None = None,
        on_attempt: Watch | None = None,
        **settings: Any,
    ) -> Self:
        """Make a client from a quanma.toml; `settings` and the environment come first, see `config.load`.

        Where there are no settings yet, or a file of them is not there, they are read at the first use, so a client
        may stand at the top of a module. `with` reads them at once. `on_attempt` is told of each try of each call.

        Raises:
            Misconfigured: a setting that is there can't be right.
        """
        return cls(_found(path, settings), patience=patience, on_attempt=on_attempt)

    def send(self, operation: Operation[..., Any, Any, Resp], request: Any) -> Coroutine[Any, Any, Answer[Resp]]:
        """Send a declared operation's request struct and return the whole answer, awaited. The chain calls this.

        A request that breaks its limits is refused here, and not when it is awaited.
        """
        return self._move(operation, codec.encode_request(operation, request), _number(operation, request))

    def chain(self, path: str, *, host: str | None = None, sensitive: Sequence[str] = ()) -> Chain[Awaitable[Any]]:
        """Return a path that is not declared, to call `get`, `post`, … on. Untyped. `host`: if it lives elsewhere.

        `sensitive` names the fields of the body to encrypt, like `payee.user_name`.

        Raises:
            RequestInvalid: it is no path below v3 or brand, or no host.
        """
        return Chain(path, self._moved_data, host, self._encrypting(sensitive))

    def chain_raw(
        self, path: str, *, host: str | None = None, sensitive: Sequence[str] = ()
    ) -> Chain[Awaitable[Answer[Any]]]:
        """As `chain`, returning the whole answer."""
        return Chain(path, self._move, host, self._encrypting(sensitive))

    async def _moved_data(self, operation: Operation[..., Any, Any, Any], parts: codec.Parts) -> Any:
        return (await self._move(operation, parts)).data

    async def _move(
        self, operation: Operation[..., Any, Any, Resp], parts: codec.Parts, number: str | None = None
    ) -> Answer[Resp]:
        self._refuse_closed()
        talk = self._talk(operation, parts, number)
        reply: Reply | Failed | None = None
        try:
            while True:
                step, reply = talk.send(reply), None
                if isinstance(step, Send):
                    try:
                        self._refuse_closed()
                        reply = await self._transport.send(step.request, step.timeout_seconds)
                    except QuanmaError as error:
                        reply = Failed(error)
                elif isinstance(step, Join):
                    await _end_of(step)
                else:
                    await asyncio.sleep(step.seconds)
        except StopIteration as over:
            answer: Answer[Resp] = over.value
            return answer
        finally:
            talk.close()  # After a cancellation too: others may wait for what this call was fetching.

    async def close(self) -> None:
        """Close its connections. Calls after it end at once in `ClientClosed`."""
        self._closed = True
        if self._later is None:
            await self._transport.close()

    async def __aenter__(self) -> Self:
        self.read_settings()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()


async def _end_of(step: Join) -> None:
    ended = asyncio.wrap_future(step.over)
    try:
        await asyncio.wait([ended], timeout=step.seconds)
    finally:
        ended.cancel()
