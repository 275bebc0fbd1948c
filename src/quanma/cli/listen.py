"""`quanma listen`: receive events, check them, print them, and keep a ledger of which user got which code."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import IO

import click
import msgspec

from ..client.events import BODY_BYTES_MAX, Event, Receiver
from ..client.receiving import AsgiReceiver
from ..errors import Misconfigured
from ..serving import server
from ..serving.asgi import Behind
from ..serving.servicemanager import ServiceManager
from ..storage import private

WAY_OUT = "name another with --host and --port, and with `quanma api callbacks.post`"
"""Or the platform goes on posting to whoever has the place."""


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8470, show_default=True, help="Port to listen on.")
@click.option(
    "--ledger", type=click.Path(path_type=Path), help="JSON lines to append to: each event, once it is on disk."
)
@click.option("--config", type=click.Path(path_type=Path), help="The merchant's quanma.toml.")
def listen(host: str, port: int, ledger: Path | None, config: Path | None) -> None:
    """Receive events, verify and open them, and print each as a line of JSON. An event is answered once it is kept."""
    receiver = Receiver.from_config(config)
    kept = _open(ledger) if ledger else None

    async def keep(event: Event) -> None:
        line = msgspec.json.encode(
            {"id": event.id, "event_type": event.event_type, "create_time": event.create_time, "content": event.content}
        ).decode()
        if kept is not None:
            await asyncio.to_thread(_append, kept, line)
        print(line, flush=True)

    with server.bind(host, port, way_out=WAY_OUT) as listening:
        server.run(Behind(AsgiReceiver(receiver, keep), BODY_BYTES_MAX), listening, manager=ServiceManager())


def _open(path: Path) -> IO[str]:
    try:
        return open(private.keep(path, "users and codes", append=True), "a", encoding="utf-8")
    except private.NotPrivate as problem:
        raise Misconfigured(f"{path} {problem.why}") from None
    except OSError as problem:
        raise Misconfigured(f"{path} can't be opened: {problem.strerror}: name another with --ledger") from None


def _append(kept: IO[str], line: str) -> None:
    kept.write(line + "\n")
    kept.flush()
    os.fsync(kept.fileno())
