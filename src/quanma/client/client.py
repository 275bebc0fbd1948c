"""The two clients: each moves an exchange over its own kind of transport, and decides nothing."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable
from concurrent import futures
from typing import Any, Never, Self, TypeVar

from ..api.operation import Answer, Async, Operation, Sync, Whole
from ..api.tree import V3
from ..errors import ClientClosed, Misconfigured, QuanmaError
from ..wire import codec, sensitive
from ..wire.keys import KeyRing, load_private_key
from . import config
from .certificates import Certificates
from .chain import Chain
from .claims import Claims
from .exchange import Clocks, Failed, Identity, Join, Patience, Send, Talk, exchange
from .network import AsyncHttpTransport, HttpTransport
from .transport import AsyncTransport, Reply, Transport

Resp = TypeVar("Resp")


class _Client:
    """What both clients are made from."""

    def __init__(self, merchant: config.Merchant, patience: Patience, clocks: Clocks) -> None:
        self.merchant = merchant
        self._patience = patience
        self._clocks = clocks
        self._closed = False
        ring = KeyRing.from_pem({name: pem.encode() for name, pem in merchant.platform_keys.items()})
        self._certificates = Certificates(ring, merchant.apiv3_key, clocks.steady)
        self._identity = Identity(
            merchant.mchid,
            merchant.serial_no,
            load_private_key(merchant.private_key.encode(), "private_key"),
            ring,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.merchant.mchid} at {self.merchant.base_url}>"

    def __reduce__(self) -> Never:
        raise TypeError(f"{self!r} holds keys and connections and can't be pickled: make one where it is used")

    def _talk(self, operation: Operation[..., Any, Any, Resp], parts: codec.Parts) -> Talk[Resp]:
        hosts = operation.hosts or self.merchant.hosts
        return exchange(self._identity, hosts, self._patience, self._clocks, operation, parts, self._certificates)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise ClientClosed(f"{self!r} is closed, so nothing was sent: make a new client, or close this one later")

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

    def decrypt(self, field: str) -> str:
        """Return the text of a sensitive field. Raises SignatureInvalid: it was encrypted for another key."""
        return sensitive.decrypt(self._identity.private_key, field)


_PATIENCE = Patience()
_CLOCKS = Clocks(time.time, time.monotonic)


class Wechatpay(_Client):
    """The WeChat Pay APIv3 client. Thread-safe; make one and keep it.

    Every call ends within `deadline_seconds` (30 by default), repeats included, and raises an error of
    `quanma.errors` whose class says what to do next. An answer is returned only if its signature held.
    """

    def __init__(
        self,
        merchant: config.Merchant,
        *,
        patience: Patience = _PATIENCE,
        clocks: Clocks = _CLOCKS,
        transport: Transport | None = None,
    ) -> None:
        super().__init__(merchant, patience, clocks)
        self._transport = transport or HttpTransport(merchant.proxy)
        self.v3: V3[Sync, Whole] = V3(self)

    @classmethod
    def from_config(
        cls, path: str | os.PathLike[str] | None = None, *, patience: Patience = _PATIENCE, **settings: Any
    ) -> Self:
        """Make a client from a quanma.toml; `settings` and the environment come first, see `config.load`."""
        return cls(config.load(path, **settings), patience=patience)

    def send(self, operation: Operation[..., Any, Any, Resp], request: Any) -> Answer[Resp]:
        """Send a declared operation's request struct and return the whole answer. The chain calls this."""
        return self._move(operation, codec.encode_request(operation, request))

    def chain(self, path: str, *, host: str | None = None) -> Chain[Any]:
        """Return a path that is not declared, to call `get`, `post`, … on. Untyped. `host`: if it lives elsewhere.

        Raises:
            RequestInvalid: it is no path below v3, or no host.
        """
        return Chain(path, lambda operation, parts: self._move(operation, parts).data, host)

    def chain_raw(self, path: str, *, host: str | None = None) -> Chain[Answer[Any]]:
        """As `chain`, returning the whole answer."""
        return Chain(path, self._move, host)

    def _move(self, operation: Operation[..., Any, Any, Resp], parts: codec.Parts) -> Answer[Resp]:
        self._refuse_closed()
        talk = self._talk(operation, parts)
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
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class AsyncWechatpay(_Client):
    """The WeChat Pay APIv3 client whose calls are awaited. Promises as `Wechatpay`."""

    def __init__(
        self,
        merchant: config.Merchant,
        *,
        patience: Patience = _PATIENCE,
        clocks: Clocks = _CLOCKS,
        transport: AsyncTransport | None = None,
    ) -> None:
        super().__init__(merchant, patience, clocks)
        self._transport = transport or AsyncHttpTransport(merchant.proxy)
        self.v3: V3[Async, Whole] = V3(self)

    @classmethod
    def from_config(
        cls, path: str | os.PathLike[str] | None = None, *, patience: Patience = _PATIENCE, **settings: Any
    ) -> Self:
        """Make a client from a quanma.toml; `settings` and the environment come first, see `config.load`."""
        return cls(config.load(path, **settings), patience=patience)

    async def send(self, operation: Operation[..., Any, Any, Resp], request: Any) -> Answer[Resp]:
        """Send a declared operation's request struct and return the whole answer. The chain calls this."""
        return await self._move(operation, codec.encode_request(operation, request))

    def chain(self, path: str, *, host: str | None = None) -> Chain[Awaitable[Any]]:
        """Return a path that is not declared, to call `get`, `post`, … on. Untyped. `host`: if it lives elsewhere.

        Raises:
            RequestInvalid: it is no path below v3, or no host.
        """
        return Chain(path, self._moved_data, host)

    def chain_raw(self, path: str, *, host: str | None = None) -> Chain[Awaitable[Answer[Any]]]:
        """As `chain`, returning the whole answer."""
        return Chain(path, self._move, host)

    async def _moved_data(self, operation: Operation[..., Any, Any, Any], parts: codec.Parts) -> Any:
        return (await self._move(operation, parts)).data

    async def _move(self, operation: Operation[..., Any, Any, Resp], parts: codec.Parts) -> Answer[Resp]:
        self._refuse_closed()
        talk = self._talk(operation, parts)
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
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()


async def _end_of(step: Join) -> None:
    ended = asyncio.wrap_future(step.over)
    try:
        await asyncio.wait([ended], timeout=step.seconds)
    finally:
        ended.cancel()
