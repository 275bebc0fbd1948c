"""The network, for both clients: pyreqwest, or the standard library where pyreqwest can't run.

pyreqwest has a deadline for the whole call (others time each read, so a peer that drips bytes holds them for ever) and
a known place for the size limit. It runs a thread of its own, so it refuses to start in a child of a process that used
it, and the standard library stands in there.

Nothing is opened before the first request, so a client may be made first and its process forked afterwards.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from pyreqwest.client import Client, ClientBuilder, SyncClient, SyncClientBuilder
from pyreqwest.client.types import TlsVersion
from pyreqwest.exceptions import DetailedPyreqwestError, PyreqwestError, RequestTimeoutError
from pyreqwest.proxy import ProxyBuilder

from ..errors import Misconfigured, NoAnswer, NotSent, QuanmaError
from .process import PerProcess, busy, interruptibly
from .transport import (
    ANSWER_BYTES_MAX,
    CONNECT_SECONDS,
    HEADER_CANT_BE_SENT,
    IDLE_SECONDS,
    AsyncTransport,
    Reply,
    Request,
    Transport,
    too_late,
    too_long,
)

GRACE_SECONDS = 0.5
"""A transport ends by its time; one that does not is left so much later."""
LEAVE_SECONDS_MAX = 1.0
TLS_MIN: TlsVersion = "TLSv1.2"


class HttpTransport:
    """For the sync client."""

    def __init__(self, proxy: str | None = None) -> None:
        if proxy is not None:
            check_proxy(proxy)
        self._here = PerProcess(partial(_transport, proxy))

    def send(self, request: Request, timeout_seconds: float) -> Reply:
        transport = self._here.get()
        if threading.current_thread() is not threading.main_thread():
            return transport.send(request, timeout_seconds)
        try:
            return interruptibly(partial(transport.send, request, timeout_seconds), timeout_seconds + GRACE_SECONDS)
        except QuanmaError:
            raise
        except BaseException as problem:  # Ctrl-C, or whatever a signal handler raises; or the transport is late.
            _abandoned.get().append(transport)
            if isinstance(problem, TimeoutError):
                raise too_late(timeout_seconds) from problem
            raise

    def close(self) -> None:
        if (transport := self._here.made()) is not None:
            transport.close()


class AsyncHttpTransport:
    """For the async client."""

    def __init__(self, proxy: str | None = None) -> None:
        if proxy is not None:
            check_proxy(proxy)
        self._here = PerProcess(partial(_async_transport, proxy))

    async def send(self, request: Request, timeout_seconds: float) -> Reply:
        return await self._here.get().send(request, timeout_seconds)

    async def close(self) -> None:
        if (transport := self._here.made()) is not None:
            await transport.close()


def _transport(proxy: str | None) -> Transport:
    try:
        return PyreqwestTransport(proxy)
    except RuntimeError:  # A process before the fork has used it.
        from .stdlib_transport import StdlibTransport  # Loaded where it is needed, hardly ever.

        return StdlibTransport(proxy)


def _async_transport(proxy: str | None) -> AsyncTransport:
    try:
        return AsyncPyreqwestTransport(proxy)
    except RuntimeError:
        from .stdlib_transport import AsyncStdlibTransport

        return AsyncStdlibTransport(proxy)


class PyreqwestTransport:
    """For the sync client.

    Raises RuntimeError when it is made in a child of a process that used pyreqwest.
    """

    def __init__(self, proxy: str | None = None) -> None:
        self._client: SyncClient = _configured(SyncClientBuilder(), proxy).build()

    def send(self, request: Request, timeout_seconds: float) -> Reply:
        try:
            with _prepared(self._client, request, timeout_seconds) as response:
                # One more than there may be, to see whether it is longer. None: it is empty.
                body = response.body_reader.read(ANSWER_BYTES_MAX + 1)
                if body is not None and len(body) > ANSWER_BYTES_MAX:
                    raise too_long()
                return Reply(response.status, list(response.headers.items()), bytes(body or b""))
        except PyreqwestError as cause:
            raise _failure(cause, request, timeout_seconds) from cause

    def close(self) -> None:
        self._client.close()


class AsyncPyreqwestTransport:
    """For the async client. Raises as `PyreqwestTransport`."""

    def __init__(self, proxy: str | None = None) -> None:
        self._client: Client = _configured(ClientBuilder(), proxy).build()

    async def send(self, request: Request, timeout_seconds: float) -> Reply:
        try:
            async with _prepared(self._client, request, timeout_seconds) as response:
                # One more than there may be, to see whether it is longer. None: it is empty.
                body = await response.body_reader.read(ANSWER_BYTES_MAX + 1)
                if body is not None and len(body) > ANSWER_BYTES_MAX:
                    raise too_long()
                return Reply(response.status, list(response.headers.items()), bytes(body or b""))
        except PyreqwestError as cause:
            raise _failure(cause, request, timeout_seconds) from cause

    async def close(self) -> None:
        await self._client.close()


def check_proxy(proxy: str) -> None:
    """Raises Misconfigured: not the address of a proxy."""
    try:
        ProxyBuilder.all(proxy)
    except ValueError as problem:
        # The address is not repeated: it may hold a password.
        raise Misconfigured(f"proxy is not an address like http://proxy.example:3128: {problem}") from None


def _configured(builder: Any, proxy: str | None) -> Any:
    # No redirects: a signed request is for one address. No compression: an answer's size is what came over the wire.
    builder = builder.follow_redirects(False).referer(False)
    builder = builder.gzip(False).brotli(False).zstd(False).deflate(False)
    builder = builder.pool_idle_timeout(timedelta(seconds=IDLE_SECONDS))
    builder = builder.connect_timeout(timedelta(seconds=CONNECT_SECONDS)).min_tls_version(TLS_MIN)
    return builder.proxy(ProxyBuilder.all(proxy)) if proxy else builder


def _prepared(client: Any, request: Request, timeout_seconds: float) -> Any:
    try:
        builder = client.request(request.verb, request.url).headers(request.headers)
    except ValueError:
        raise Misconfigured(HEADER_CANT_BE_SENT) from None
    if request.body:
        builder = builder.body_bytes(request.body)
    return builder.timeout(timedelta(seconds=timeout_seconds)).build_streamed()


def _failure(error: PyreqwestError, request: Request, timeout_seconds: float) -> QuanmaError:
    """Only a failure to connect is known to have sent nothing.

    The class does not tell: pyreqwest calls a connection closed before the answer a ConnectError too. The cause does.
    """
    causes = error.details["causes"] if isinstance(error, DetailedPyreqwestError) else None
    messages = [cause["message"] for cause in causes or []]
    if "client error (Connect)" in messages:
        # The host alone: the rest of the address may hold a code or an openid.
        return NotSent(
            f"no connection to {urlsplit(request.url).netloc}: {messages[-1]}: check base_url, and the proxy"
        )
    if isinstance(error, RequestTimeoutError):
        return too_late(timeout_seconds)
    # The first message is left out: it repeats the address, and an address may hold a code or an openid.
    return NoAnswer(
        f"the connection broke before a complete answer: {messages[-1] if len(messages) > 1 else error.message}"
    )


_abandoned: PerProcess[list[Transport]] = PerProcess(list)
"""Those with a request under way that nobody waits for any more, after Ctrl-C."""


@atexit.register
def _let_threads_leave() -> None:
    """Wait for pyreqwest's threads to leave the interpreter before it ends: one that is inside would abort the process.

    Its own hands an async answer over by waking the loop, and may still be on its way back from that when the program
    is done; ours may wait in it for an answer that nobody wants. Both leave within some thousandths of a second.
    """
    ends_at = time.monotonic() + LEAVE_SECONDS_MAX
    for transport in _abandoned.get():
        transport.close()
    known = {thread.ident for thread in threading.enumerate()}
    while True:
        time.sleep(0.005)
        if (sys._current_frames().keys() <= known and not busy()) or time.monotonic() > ends_at:
            return
