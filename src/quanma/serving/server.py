"""An application on a socket: from its start to its clean end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import threading
from collections.abc import Callable

from .. import signals
from ..errors import AddressRefused
from . import logs, loops, openfiles
from .acceptor import ConnectionCounts, open_door
from .messages import Application
from .servicemanager import NOBODY, ServiceManager
from .shared import Serving

log = logging.getLogger(__name__)

DRAIN_SECONDS = 10.0
DRAIN_IDLE_SECONDS = 1.0
"""How long an open connection may still bring a request while the platform ends: one was perhaps on its way."""
FORCE_SECONDS = 2.0
"""How long after the drain the rest may take to end: the notifier, the pool, the loop and its threads."""
COLLECT_EVERY = 20_000
"""Objects made between two looks for cycles. A request makes few, and hardly any in cycles."""


def bind(host: str, port: int, *, way_out: str = "name another with --host and --port") -> socket.socket:
    """Raises AddressRefused: the address can't be listened on; `way_out` says what to do."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        # On Windows SO_REUSEADDR would let another process take our place.
        ours = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
        listening.setsockopt(socket.SOL_SOCKET, ours, 1)
        listening.bind((host, port))
    except OSError as problem:
        listening.close()
        raise AddressRefused(f"can't listen on {host}:{port}: {problem.strerror}: {way_out}") from None
    return listening


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
    place: tuple[ConnectionCounts, int] | None = None,
    manager: ServiceManager = NOBODY,
) -> None:
    """Serve an application on a socket until SIGTERM or SIGINT, within this platform's bounds.

    `ready` is called once it can answer. `place`: which of several processes on the socket this is. `manager` is told
    when it serves, as long as the loop turns, and when it ends.
    """
    openfiles.allow_as_many_as_possible()
    force = Force()
    try:
        loops.run(_run(app, listening, ready, place, force, manager))
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
    place: tuple[ConnectionCounts, int] | None,
    force: Force,
    manager: ServiceManager,
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(logs.on_loop_error)
    stopping, hurrying = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        (hurrying if stopping.is_set() else stopping).set()

    signals.on_ending(loop, stop)
    serving = Serving(app)
    serving.start(loop)
    await app.start()
    # What is there now stays: looking through it again and again would cost more the larger the pool is.
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 20, 50)
    door = await open_door(serving, listening, place)
    ready(listening)
    manager.ready()
    manager.beat_in(loop)
    await stopping.wait()
    manager.stopping()
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
