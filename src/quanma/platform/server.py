"""`quanma serve`: settings, keys, pool and application put together, and served."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import Misconfigured
from ..serving import logs, server
from ..serving.acceptor import ConnectionCounts
from ..serving.servicemanager import NOBODY, ServiceManager
from ..serving.supervisor import CAN_FORK, run_workers
from . import config
from .app import App
from .coupons.product.changes import Rules
from .handlers import HANDLERS
from .keys.keystore import KeyStore
from .keys.reload import Reload, tell_warnings
from .notify.notifier import Notifier
from .observe.metrics import Figures, Metrics
from .pool import open_pool
from .pool.contract import Retries
from .visit import ProductRules

WAY_OUT = "name another with --host and --port, and as base_url in each merchant's quanma.toml"
"""Who calls the platform must follow it, or asks whoever has taken its place."""


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
    if workers > 1 and not CAN_FORK:
        raise Misconfigured(f"--workers {workers}: this system has no fork, so one process serves: leave --workers out")
    keystore = KeyStore.load(settings, folder)
    reload = Reload(config_path, keystore)
    retries = Retries(settings.callback_retry_seconds, settings.callback_attempts_max)
    private_callbacks = settings.allow_private_callbacks
    refused_networks = settings.refused_networks()
    requests_per_second = settings.requests_per_second
    stocks_per_hour = settings.stocks_per_merchant_per_hour

    def work(place: int, ready: Callable[[], None]) -> None:
        reload.look()  # A worker that replaces another must not know older keys than the rest.
        pool = open_pool(
            url,
            folder,
            warmup_seconds=settings.warmup_seconds,
            retries=retries,
            stocks_per_merchant=settings.stocks_per_merchant,
            accept_lost_failover=settings.accept_lost_failover,
        )
        metrics = Metrics(figures, place)
        app = App(
            HANDLERS,
            pool,
            keystore,
            requests_per_second=requests_per_second / workers if requests_per_second else None,
            stocks_per_hour=stocks_per_hour / workers if stocks_per_hour else None,
            refuse_replays=settings.refuse_replays,
            private_callbacks=private_callbacks,
            explain=settings.explain,
            refused_networks=refused_networks,
            product_stocks=settings.product_coupon_stocks,
            product_rules=ProductRules(
                Rules(settings.product_coupon_audit_seconds),
                frozenset(settings.paused_product_stocks),
                settings.product_coupon_wants_callback,
            ),
            beside=[
                Notifier(
                    pool,
                    keystore,
                    allow_private=private_callbacks,
                    refused_networks=refused_networks,
                    retry_seconds=retries.seconds,
                    count=metrics.count_event,
                ),
                reload,
            ],
            metrics=metrics,
            settings_as_of=lambda: reload.as_of,
        )
        place_of_several = (counts, place) if counts else None
        told = NOBODY if counts else manager  # Of several, the parent tells it.
        server.run(app, listening, lambda _: ready(), place=place_of_several, manager=told)

    # Before the workers begin: they share its memory, and what one counted is not lost with it.
    figures = Figures(workers)
    counts = ConnectionCounts(workers) if workers > 1 else None
    manager = ServiceManager()
    with server.bind(host or settings.host, settings.port if port is None else port, way_out=WAY_OUT) as listening:
        if settings.explain:
            _refuse_strangers(listening)
        logs.begin(settings.log_format)
        tell_warnings(keystore, time.time())
        if counts is None:
            work(0, lambda: server.announce(listening))
        else:
            counting = counts

            def ended(place: int, pid: int) -> None:
                counting.leave(place)
                figures.worker_ended(place)

            run_workers(
                workers,
                work,
                ready=lambda: server.announce(listening),
                stopping=listening.close,
                ended=ended,
                manager=manager,
                silent_seconds=figures.silent_seconds,
            )


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
