"""`quanma serve`."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import AddressRefused, Misconfigured
from ..platform import server
from ..serving import servicemanager
from .nextstep import show

SETTINGS = 78
"""The exit status that tells a service manager not to start it again: a setting, or a key, must be corrected first.

Without a service manager it is 1, as for any error. Source: EX_CONFIG of sysexits.h.
"""


@click.command()
@click.option(
    "--config",
    "config_path",
    required=True,
    type=click.Path(path_type=Path),
    help="platform.toml of the world.",
)
@click.option(
    "--database",
    envvar="QUANMA_DATABASE",
    help="Database URL. [default: QUANMA_DATABASE, or the setting in platform.toml]",
)
@click.option("--host", help="Address to listen on. [default: the setting in platform.toml]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    envvar="QUANMA_WORKERS",
    default=1,
    help="Processes that share the address. A SQLite pool is served by one. [default: QUANMA_WORKERS, or 1]",
)
def serve(config_path: Path, database: str | None, host: str | None, port: int | None, workers: int) -> int:
    """Serve the platform, until SIGTERM or Ctrl-C."""
    try:
        server.serve(config_path, database=database, host=host, port=port, workers=workers)
    except AddressRefused:
        raise  # It may be free at the next start.
    except Misconfigured as problem:
        if not servicemanager.asks():
            raise
        show(problem)
        return SETTINGS
    return 0
