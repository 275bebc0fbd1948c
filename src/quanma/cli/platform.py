"""`quanma init` and `quanma serve`."""

from __future__ import annotations

import datetime
import shlex
from pathlib import Path

import click

from ..platform import server, world
from . import live


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--port", default=8460, show_default=True, help="Port of the platform.")
@click.option(
    "--mchid",
    "mchids",
    multiple=True,
    help=f"Merchant number; may be repeated. [default: {world.MCHID_DEFAULT}]",
)
@click.option("--live", "is_live", is_flag=True, help="Write a template of a real merchant's settings instead.")
def init(folder: Path, port: int, mchids: tuple[str, ...], is_live: bool) -> None:
    """Make a whole local world in DIR: the platform's settings and keys, and each merchant's.

    With --live: a commented quanma.toml for the real WeChat Pay, to be filled in. No keys are made.
    """
    if is_live:
        file = live.write(folder, mchids[0] if mchids else None)
        click.echo(f"made {file}: fill it in, and put apiclient_key.pem and pub_key.pem beside it", err=True)
        click.echo(f"  then:  export QUANMA_CONFIG={shlex.quote(str(file.resolve()))}; quanma status", err=True)
        return
    wanted = mchids or (world.MCHID_DEFAULT,)
    world.make_world(folder, port=port, mchids=wanted, now=datetime.datetime.now(datetime.UTC))
    live.ignore_all(folder)
    click.echo(f"made {folder}", err=True)
    click.echo(f"  serve it:  quanma serve --config {shlex.quote(str(folder / 'platform.toml'))}", err=True)
    for mchid in wanted:
        settings = (folder / "merchants" / mchid / "quanma.toml").resolve()
        click.echo(f"  call it:   export QUANMA_CONFIG={shlex.quote(str(settings))}", err=True)


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
