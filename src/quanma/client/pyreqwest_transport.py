"""The network by pyreqwest: one library for the sync and the async client.

It has a deadline for the whole call (others time each read, so a peer that drips bytes holds them for ever) and a known
place for the size limit. It runs a thread of its own, so it can't be used in a child of a process that used it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from pyreqwest.client import Client, ClientBuilder, SyncClient, SyncClientBuilder
from pyreqwest.client.types import TlsVersion
from pyreqwest.exceptions import DetailedPyreqwestError, PyreqwestError, RequestTimeoutError
from pyreqwest.proxy import ProxyBuilder

from ..errors import Misconfigured, NoAnswer, NotSent, QuanmaError
from .transport import CONNECT_SECONDS, HEADER_CANT_BE_SENT, IDLE_SECONDS, Reply, Request, grow, too_late

TLS_MIN: TlsVersion = "TLSv1.2"


class PyreqwestTransport:
    """For the sync client.

    Raises RuntimeError when it is made in a child of a process that used pyreqwest.
    """

    def __init__(self, proxy: str | None = None) -> None:
        self._client: SyncClient = _configured(SyncClientBuilder(), proxy).build()

    def send(self, request: Request, timeout_seconds: float) -> Reply:
        try:
            with _prepared(self._client, request, timeout_seconds) as response:
                body = bytearray()
                while chunk := response.body_reader.read_chunk():
                    grow(body, memoryview(chunk))
                return Reply(response.status, list(response.headers.items()), bytes(body))
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
                body = bytearray()
                while chunk := await response.body_reader.read_chunk():
                    grow(body, memoryview(chunk))
                return Reply(response.status, list(response.headers.items()), bytes(body))
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
