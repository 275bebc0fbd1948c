"""The platform on a socket: uvicorn with bounded heads, `quanma serve`."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..errors import Misconfigured
from . import config
from .app import App
from .handlers import HANDLERS
from .keyroom import KeyRoom
from .keywatch import KeyWatch
from .notifier import Notifier
from .pool import open_pool
from .pool.contract import Retries
from .productstocks import declare_stocks

FRAMING_BYTES_MAX = 32 * 1024
HEAD_SECONDS = 8.0
KEEP_ALIVE_SECONDS = 8
"""Source: the platform's keep-alive timeout, as seen in the field."""
DRAIN_SECONDS = 10


# All else uvicorn would drop or change on the way to the application: a fragment, a "?" with nothing behind it,
# a scheme and host in front, a byte that is not ASCII.
_TARGET = re.compile(rb"/[^?#\x00-\x20\x7f-\xff]*(\?[^#\x00-\x20\x7f-\xff]+)?")


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, with bounds on what is not body, its size and a head's time, and with one form of a request.

    A target is a path and perhaps a query; there are no trailers. Else what is verified would not be what was sent.
    """

    _framing_bytes = 0
    """Of the request that arrives: head, sizes of chunks, all that is not body."""
    _deadline: asyncio.TimerHandle | None = None
    _had_request = False
    _head_complete = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        if self._deadline is None and self._had_request and self.cycle.response_complete:
            self._await_head()
        self._framing_bytes += len(data)
        super().data_received(data)
        if self._framing_bytes > FRAMING_BYTES_MAX and not self.transport.is_closing():
            self.send_400_response("the request's head is too long")

    def on_message_begin(self) -> None:
        self._head_complete = False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_complete:
            raise ValueError("a trailer: it would stand among the headers that the signature is read from")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()  # pyright: ignore[reportOptionalMemberAccess]  # Not while it parses.
        if version not in ("1.0", "1.1"):
            raise ValueError("another version of HTTP")
        if not _TARGET.fullmatch(self.url):
            raise ValueError("a target that is not a path and a query: it would be verified in another form")
        self._forget()
        super().on_headers_complete()
        self._had_request = self._head_complete = True

    def on_body(self, body: bytes) -> None:
        self._framing_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._framing_bytes = 0
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._too_late)

    def _too_late(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def serve(
    config_path: Path,
    *,
    database: str | None = None,
    host: str | None = None,
    port: int | None = None,
    workers: int = 1,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was asked. Says `listening on …` when it can answer.

    Raises:
        Misconfigured: a setting, or a key.
        StoreUnavailable: the database can't be used safely.
    """
    settings = config.load(config_path)
    folder = config_path.resolve().parent
    url = database or settings.database
    if workers != 1:
        raise Misconfigured(f"--workers {workers}: a SQLite pool is served by one process")
    keyroom = KeyRoom.load(settings, folder)
    retries = Retries(settings.callback_retry_seconds, settings.callback_attempts_max)
    private_callbacks = settings.allow_private_callbacks
    with bind(host or settings.host, settings.port if port is None else port) as listening:
        pool = open_pool(url, folder, warmup_seconds=settings.warmup_seconds, retries=retries)
        asyncio.run(declare_stocks(pool, settings.product_coupon_stocks, int(time.time())))
        app = App(
            HANDLERS,
            pool,
            keyroom,
            requests_per_second=settings.requests_per_second,
            private_callbacks=private_callbacks,
            beside=[Notifier(pool, keyroom, allow_private=private_callbacks), KeyWatch(config_path, keyroom)],
        )
        run(app, listening)


def bind(host: str, port: int) -> socket.socket:
    """Raises Misconfigured: the address can't be listened on."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as problem:
        listening.close()
        raise Misconfigured(
            f"can't listen on {host}:{port}: {problem.strerror}: name another with --host and --port"
        ) from None
    return listening


def run(app: Any, listening: socket.socket) -> None:
    """Serve an ASGI application on a socket until SIGTERM or SIGINT, within this platform's bounds."""
    settings = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        loop="uvloop",
        lifespan="on",
        access_log=False,  # A path holds codes and openids.
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        backlog=1024,
    )
    server = _Announcing(settings, listening)
    server.run(sockets=[listening])


class _Announcing(uvicorn.Server):
    def __init__(self, settings: uvicorn.Config, listening: socket.socket) -> None:
        super().__init__(settings)
        self._listening = listening

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # uvicorn's own sends the signal again at the end; for us a stop that was asked for is a clean end.
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self._listening.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            print(f"listening on http://{shown}:{port}", file=sys.stderr, flush=True)
