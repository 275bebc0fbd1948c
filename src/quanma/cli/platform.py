"""`quanma serve`."""

from __future__ import annotations

from pathlib import Path

import click

from ..platform import server


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
    default=1,
    show_default=True,
    help="Processes that share the address. A SQLite pool is served by one.",
)
def serve(config_path: Path, database: str | None, host: str | None, port: int | None, workers: int) -> None:
    """Serve the platform, until SIGTERM or Ctrl-C."""
    server.serve(config_path, database=database, host=host, port=port, workers=workers)
