"""`quanma init` and `quanma serve`."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from ..platform import server, world
from ..storage.paths import command


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--port", default=8460, show_default=True, help="Port of the platform.")
@click.option(
    "--mchid",
    "mchids",
    multiple=True,
    help=f"Merchant number; may be repeated. [default: {world.MCHID_DEFAULT}]",
)
def init(folder: Path, port: int, mchids: tuple[str, ...]) -> None:
    """Make a whole local world in DIR: the platform's settings and keys, and each merchant's."""
    wanted = mchids or (world.MCHID_DEFAULT,)
    world.make_world(folder, port=port, mchids=wanted, now=datetime.datetime.now(datetime.UTC))
    click.echo(f"made {folder}", err=True)
    click.echo(f"  serve it:  {command(['quanma', 'serve', '--config', folder / 'platform.toml'])}", err=True)
    for mchid in wanted:
        settings = command([folder / "merchants" / mchid / "quanma.toml"])
        click.echo(f"  call it:   export QUANMA_CONFIG={settings}", err=True)


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
