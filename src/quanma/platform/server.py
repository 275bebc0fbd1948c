"""The platform on a socket: `quanma serve`, from its start to its clean end."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from ..errors import Misconfigured
from . import config, logs
from .app import App
from .doorway import Counts, Doorway
from .handlers import HANDLERS
from .http import Application
from .keyroom import KeyRoom
from .keywatch import KeyWatch, tell_warnings
from .metrics import Figures, Metrics
from .notifier import Notifier
from .pool import open_pool
from .pool.contract import Retries
from .serving import Serving
from .workers import run_workers

log = logging.getLogger(__name__)

DRAIN_SECONDS = 10.0
DRAIN_IDLE_SECONDS = 1.0
"""How long an open connection may still bring a request while the platform ends: one was perhaps on its way."""
FORCE_SECONDS = 2.0
"""How long after the drain the rest may take to end: the notifier, the pool, the loop and its threads."""
COLLECT_EVERY = 20_000
"""Objects made between two looks for cycles. A request makes few, and hardly any in cycles."""


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
    _refuse_known_hashes()
    settings = config.load(config_path)
    folder = config_path.resolve().parent
    url = database or settings.database
    if workers > 1 and url.startswith("sqlite:"):
        raise Misconfigured(f"--workers {workers}: a SQLite pool is served by one process")
    keyroom = KeyRoom.load(settings, folder)
    keywatch = KeyWatch(config_path, keyroom)
    retries = Retries(settings.callback_retry_seconds, settings.callback_attempts_max)
    private_callbacks = settings.allow_private_callbacks
    refused_networks = settings.refused_networks()
    requests_per_second = settings.requests_per_second
    stocks_per_hour = settings.stocks_per_merchant_per_hour

    def work(place: int, ready: Callable[[], None]) -> None:
        keywatch.look()  # A worker that replaces another must not know older keys than the rest.
        pool = open_pool(
            url,
            folder,
            warmup_seconds=settings.warmup_seconds,
            retries=retries,
            stocks_per_merchant=settings.stocks_per_merchant,
            accept_lost_failover=settings.accept_lost_failover,
        )
        app = App(
            HANDLERS,
            pool,
            keyroom,
            requests_per_second=requests_per_second / workers if requests_per_second else None,
            stocks_per_hour=stocks_per_hour / workers if stocks_per_hour else None,
            refuse_replays=settings.refuse_replays,
            private_callbacks=private_callbacks,
            explain=settings.explain,
            refused_networks=refused_networks,
            product_stocks=settings.product_coupon_stocks,
            beside=[
                Notifier(
                    pool,
                    keyroom,
                    allow_private=private_callbacks,
                    refused_networks=refused_networks,
                    retry_seconds=retries.seconds,
                ),
                keywatch,
            ],
            metrics=Metrics(figures, place),
            settings_as_of=lambda: keywatch.as_of,
        )
        run(app, listening, lambda _: ready(), place=(counts, place) if counts else None)

    # Before the workers begin: they share its memory, and what one counted is not lost with it.
    figures = Figures(workers)
    counts = Counts(workers) if workers > 1 else None
    with bind(host or settings.host, settings.port if port is None else port) as listening:
        if settings.explain:
            _refuse_strangers(listening)
        logs.begin(settings.log_format)
        tell_warnings(keyroom, time.time())
        if counts is None:
            work(0, lambda: announce(listening))
        else:
            counting = counts

            def ended(place: int, pid: int) -> None:
                counting.leave(place)
                figures.worker_ended(place)

            run_workers(workers, work, ready=lambda: announce(listening), stopping=listening.close, ended=ended)


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


def _refuse_known_hashes() -> None:
    """Raises Misconfigured: the hashes of Python's tables are known, so a merchant could choose texts that collide."""
    seed = "" if sys.flags.ignore_environment else os.environ.get("PYTHONHASHSEED", "")
    if seed not in ("", "random"):
        raise Misconfigured(
            "PYTHONHASHSEED is set, so the order of the tables in memory could be foreseen, and one of them filled in "
            "a way that makes every look-up slow: unset it, or set it to random"
        )


def _refuse_strangers(listening: socket.socket) -> None:
    """Raises Misconfigured: others than this machine's could be told why a signature failed."""
    host = listening.getsockname()[0]
    if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        raise Misconfigured(
            f"explain = true tells callers why their signature failed, and {host} is not a loopback address: "
            "take the line out of platform.toml, or listen on 127.0.0.1"
        )


def announce(listening: socket.socket) -> None:
    """Say where the platform listens. Whoever started it waits for this line."""
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    logs.say(f"listening on http://{shown}:{port}")


def run(
    app: Application,
    listening: socket.socket,
    ready: Callable[[socket.socket], None] = announce,
    *,
    place: tuple[Counts, int] | None = None,
) -> None:
    """Serve an application on a socket until SIGTERM or SIGINT, within this platform's bounds.

    `ready` is called once it can answer. `place`: which of several processes on the socket this is.
    """
    # Each connection is a file: what the system lets a process raise by itself is raised.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    force = Force()
    try:
        uvloop.run(_run(app, listening, ready, place, force))
    finally:
        force.cancel()


class Force:
    """The end of this process, whatever in it does not end: what was acknowledged is durable, as at a kill -9."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def come_in(self, seconds: float) -> None:
        """Unless it is cancelled. A later call replaces an earlier one."""
        self.cancel()
        self._timer = threading.Timer(seconds, self._come)
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    @staticmethod
    def _come() -> None:
        log.warning("ended by force: something did not end by itself")
        os._exit(0)


async def _run(
    app: Application,
    listening: socket.socket,
    ready: Callable[[socket.socket], None],
    place: tuple[Counts, int] | None,
    force: Force,
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(logs.on_loop_error)
    stopping, hurrying = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        (hurrying if stopping.is_set() else stopping).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    serving = Serving(app)
    serving.start(loop)
    await app.start()
    # What is there now stays: looking through it again and again would cost more the larger the pool is.
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 20, 50)
    door = Doorway(serving, listening, *(place or (Counts(1), 0)))
    door.open()
    ready(listening)
    await stopping.wait()
    told_at = loop.time()
    force.come_in(DRAIN_SECONDS + FORCE_SECONDS)
    log.info("ending: no new connections are taken, what was asked is answered")
    app.drain()
    serving.drain()
    door.close()
    await _drained(serving, hurrying)
    if serving.under_way:
        log.warning("ending with %d requests unanswered", len(serving.under_way))
    serving.stop()
    force.come_in(max(FORCE_SECONDS, DRAIN_SECONDS - (loop.time() - told_at)))
    await app.stop()
    log.info("ended")


async def _drained(serving: Serving, hurrying: asyncio.Event) -> None:
    """Wait until every request that came is answered and every connection is closed, but not for ever."""
    began = serving.loop.time()
    while (waited := serving.loop.time() - began) < DRAIN_SECONDS and not hurrying.is_set():
        if not serving.connections and not serving.under_way:
            return
        if waited >= DRAIN_IDLE_SECONDS:
            serving.close_idle()
        await asyncio.sleep(0.02)
