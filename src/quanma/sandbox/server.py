"""`quanma sandbox`: a world, its platform and the control endpoints, served on loopback."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import Misconfigured
from ..serving import logs, server
from . import world
from .app import SandboxApp
from .clock import Clock
from .guard import Guard

TOKEN_CHARACTERS_MIN = 8
WAY_OUT = "name another with --port"


def serve(
    folder: Path,
    *,
    host: str,
    port: int,
    token: str | None,
    allowed_hosts: Sequence[str],
    frozen_at: float | None,
    seed: int | None,
    ready: Callable[[SandboxApp, str], None],
) -> None:
    """Serve until SIGTERM or Ctrl-C. `ready` is told of the sandbox and its address once it can answer.

    With a `seed`, all chance follows from it: draws, nonces, numbers.

    Raises:
        Misconfigured: another address than a loopback one, without a token; a setting, or a key.
        StoreUnavailable: the pool can't be used.
    """
    check_reach(host, token)
    foreseen, seed = seed is not None, secrets.randbelow(2**32) if seed is None else seed
    with server.bind(host, port, way_out=WAY_OUT) as listening:
        url = address_of(listening)
        made = world.make(folder, listening.getsockname()[1])
        clock = Clock()
        if frozen_at is not None:
            clock.freeze(frozen_at)
        logs.begin("text")
        guard = Guard([*allowed_hosts, *([] if is_loopback(host) else [host])], token)
        app = SandboxApp(
            world.World(folder, clock), clock, guard=guard, seed=seed, foreseen=foreseen, base_url=lambda: url
        )
        if made:
            logs.say(f"made {folder}")
        server.run(app, listening, lambda _: ready(app, url))


def check_reach(host: str, token: str | None) -> None:
    """Raises Misconfigured: others than this machine could reach it, and no token keeps them out."""
    if token is not None and len(token) < TOKEN_CHARACTERS_MIN:
        raise Misconfigured(f"--control-token has fewer than {TOKEN_CHARACTERS_MIN} characters: take a longer one")
    if token is None and not is_loopback(host):
        raise Misconfigured(
            f"--host {host} is no loopback address, so others could reach the control endpoints: "
            "give --control-token TOKEN too, or listen on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def address_of(listening: socket.socket) -> str:
    """Where programs on this machine reach it."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(str(host), str(host))
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
