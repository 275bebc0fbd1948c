"""The seam to the network: one request out, one whole answer back, within a time and a size.

pyreqwest is behind it: one library for the sync and the async client, with a deadline for the whole call (others
time each read, so a peer that drips bytes holds them for ever) and a known place for the size limit.
Another `Transport` may stand here; the tests put our own platform behind it, without a network.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
from datetime import timedelta
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from pyreqwest.client import Client, ClientBuilder, SyncClient, SyncClientBuilder
from pyreqwest.client.types import TlsVersion
from pyreqwest.exceptions import DetailedPyreqwestError, PyreqwestError, RequestTimeoutError
from pyreqwest.proxy import ProxyBuilder

from ..errors import NoAnswer, NotSent, QuanmaError

ANSWER_BYTES_MAX = 4 * 1024 * 1024
"""A page of 1000 codes with users and times is under 1 MiB."""
IDLE_SECONDS = 6
"""Connections rest shorter than the platform keeps them, 8 s (reported), so a request never meets a closing one."""
CONNECT_SECONDS = 5
LEAVE_SECONDS_MAX = 1.0
TLS_MIN: TlsVersion = "TLSv1.2"


class Reply(NamedTuple):
    status_code: int
    headers: list[tuple[str, str]]
    body: bytes


class Request(NamedTuple):
    verb: str
    url: str
    headers: dict[str, str]
    body: bytes


class Transport(Protocol):
    """Sends one request.

    Raises:
        NotSent: no connection was made, so nothing was executed.
        NoAnswer: anything else went wrong: it may have been executed.
    """

    def send(self, request: Request, timeout_seconds: float) -> Reply: ...
    def close(self) -> None: ...


class AsyncTransport(Protocol):
    """As `Transport`, awaited."""

    async def send(self, request: Request, timeout_seconds: float) -> Reply: ...
    async def close(self) -> None: ...


class HttpTransport:
    """The network, for the sync client."""

    def __init__(self, proxy: str | None = None) -> None:
        self._client: SyncClient = _configured(SyncClientBuilder(), proxy).build()

    def send(self, request: Request, timeout_seconds: float) -> Reply:
        try:
            with _prepared(self._client, request, timeout_seconds) as response:
                body = bytearray()
                while chunk := response.body_reader.read_chunk():
                    _grow(body, chunk)
                return Reply(response.status, list(response.headers.items()), bytes(body))
        except PyreqwestError as cause:
            raise _failure(cause, request, timeout_seconds) from cause

    def close(self) -> None:
        self._client.close()


class AsyncHttpTransport:
    """The network, for the async client."""

    def __init__(self, proxy: str | None = None) -> None:
        self._client: Client = _configured(ClientBuilder(), proxy).build()

    async def send(self, request: Request, timeout_seconds: float) -> Reply:
        try:
            async with _prepared(self._client, request, timeout_seconds) as response:
                body = bytearray()
                while chunk := await response.body_reader.read_chunk():
                    _grow(body, chunk)
                return Reply(response.status, list(response.headers.items()), bytes(body))
        except PyreqwestError as cause:
            raise _failure(cause, request, timeout_seconds) from cause

    async def close(self) -> None:
        await self._client.close()


@atexit.register
def _let_threads_leave() -> None:
    """Wait for pyreqwest's thread to leave the interpreter before it ends: one that is inside would abort the process.

    The thread hands an async answer over by waking the loop, and may still be on its way back from that when the
    program is done. Waiting lets it go; it takes a thousandth of a second.
    """
    ends_at = time.monotonic() + LEAVE_SECONDS_MAX
    ours = {thread.ident for thread in threading.enumerate()}
    while True:
        time.sleep(0.005)
        if sys._current_frames().keys() <= ours or time.monotonic() > ends_at:
            return


def _configured(builder: Any, proxy: str | None) -> Any:
    # No redirects: a signed request is for one address. No compression: an answer's size is what came over the wire.
    builder = builder.follow_redirects(False).referer(False)
    builder = builder.gzip(False).brotli(False).zstd(False).deflate(False)
    builder = builder.pool_idle_timeout(timedelta(seconds=IDLE_SECONDS))
    builder = builder.connect_timeout(timedelta(seconds=CONNECT_SECONDS)).min_tls_version(TLS_MIN)
    return builder.proxy(ProxyBuilder.all(proxy)) if proxy else builder


def _prepared(client: Any, request: Request, timeout_seconds: float) -> Any:
    builder = client.request(request.verb, request.url).headers(request.headers)
    if request.body:
        builder = builder.body_bytes(request.body)
    return builder.timeout(timedelta(seconds=timeout_seconds)).build_streamed()


def _grow(body: bytearray, chunk: Any) -> None:
    if len(body) + len(chunk) > ANSWER_BYTES_MAX:
        raise NoAnswer(f"the answer is longer than {ANSWER_BYTES_MAX} bytes and was dropped")
    body += memoryview(chunk)


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
        return NoAnswer(f"no complete answer within {timeout_seconds:.1f} s")
    # The first message is left out: it repeats the address, and an address may hold a code or an openid.
    return NoAnswer(
        f"the connection broke before a complete answer: {messages[-1] if len(messages) > 1 else error.message}"
    )
