"""`quanma init`: a local world, which needs the platform; or a template of real settings, which needs nothing."""

from __future__ import annotations

import datetime
import importlib
from pathlib import Path

import click

from ..extras import need
from ..storage.paths import command
from . import live

MCHID_DEFAULT = "1900000001"


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--port", default=8460, show_default=True, help="Port of the platform.")
@click.option(
    "--mchid",
    "mchids",
    multiple=True,
    help=f"Merchant number; may be repeated. [default: {MCHID_DEFAULT}]",
)
@click.option("--live", "is_live", is_flag=True, help="Write a template of a real merchant's settings instead.")
def init(folder: Path, port: int, mchids: tuple[str, ...], is_live: bool) -> None:
    """Make a whole local world in DIR: the platform's settings and keys, and each merchant's.

    With --live: a commented quanma.toml for the real WeChat Pay, to be filled in. No keys are made.
    """
    if is_live:
        file = live.write(folder, mchids[0] if mchids else None)
        click.echo(f"made {file}: fill it in, and put apiclient_key.pem and pub_key.pem beside it", err=True)
        click.echo(f"  then:  export QUANMA_CONFIG={command([file.resolve()])}; quanma status", err=True)
        return
    need("quanma init", "platform")
    environment = importlib.import_module("..platform.environment", __package__)
    wanted = mchids or (MCHID_DEFAULT,)
    environment.make_environment(folder, port=port, mchids=wanted, now=datetime.datetime.now(datetime.UTC))
    live.ignore_all(folder)
    click.echo(f"made {folder}", err=True)
    click.echo(f"  serve it:  {command(['quanma', 'serve', '--config', folder / 'platform.toml'])}", err=True)
    for mchid in wanted:
        settings = (folder / "merchants" / mchid / "quanma.toml").resolve()
        click.echo(f"  call it:   export QUANMA_CONFIG={command([settings])}", err=True)
