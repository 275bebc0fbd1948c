"""`quanma init`: a local world, which needs the platform; or a template of real settings, which needs nothing."""

from __future__ import annotations

import datetime
import importlib
from pathlib import Path

import click

from ..errors import Misconfigured
from ..extras import need
from ..storage.paths import command
from . import live, schemas
from .speaking import tell

MCHID_DEFAULT = "1900000001"
PORT_DEFAULT = 8460


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"Port of the platform. [default: {PORT_DEFAULT}, or the next that is free]",
)
@click.option(
    "--mchid",
    "mchids",
    multiple=True,
    help=f"Merchant number; may be repeated. [default: {MCHID_DEFAULT}]",
)
@click.option("--brand", "brands", multiple=True, metavar="ID", help="Brand number, for 商品券; may be repeated.")
@click.option("--live", "is_live", is_flag=True, help="Write a template of a real merchant's settings instead.")
def init(folder: Path, port: int | None, mchids: tuple[str, ...], brands: tuple[str, ...], is_live: bool) -> None:
    """Make a whole local world in DIR: the platform's settings and keys, and each merchant's and brand's.

    The first merchant is a service provider to whom each brand has granted 商品券.

    With --live: a commented quanma.toml for the real WeChat Pay, to be filled in. No keys are made.
    """
    if is_live:
        file = live.write(folder, mchids[0] if mchids else None)
        schemas.write({folder / live.SCHEMA: schemas.of_quanma_toml()})
        tell(f"made {file}: fill it in, and put apiclient_key.pem and pub_key.pem beside it", err=True)
        tell(f"  then:  export QUANMA_CONFIG={command([file.resolve()])}; quanma doctor", err=True)
        return
    need("quanma init", "platform")
    environment = importlib.import_module("..platform.keys.environment", __package__)
    wanted = mchids or (MCHID_DEFAULT,)
    chosen, remark = _port(port)
    environment.make_environment(
        folder, port=chosen, mchids=wanted, brands=brands, now=datetime.datetime.now(datetime.UTC)
    )
    live.ignore_all(folder)
    settings_of_platform = importlib.import_module("..platform.config", __package__).PlatformConfig
    schemas.write(
        {
            folder / "schemas/quanma.json": schemas.of_quanma_toml(),
            folder / "schemas/platform.json": schemas.of_file("platform.toml", settings_of_platform),
        }
    )
    tell(f"made {folder}", err=True)
    if remark:
        tell(f"  {remark}", err=True)
    tell(f"  serve it:  {command(['quanma', 'serve', '--config', folder / 'platform.toml'])}", err=True)
    homes = [folder / "merchants" / mchid for mchid in wanted] + [folder / "brands" / brand for brand in brands]
    for home in homes:
        settings = (home / "quanma.toml").resolve()
        tell(f"  call it:   export QUANMA_CONFIG={command([settings])}", err=True)


def _port(wanted: int | None) -> tuple[int, str]:
    """Return the platform's port, and what is to be said of it, if anything.

    Which ports are free is what it was a moment ago: `quanma serve` says so if one is not.
    """
    if wanted is not None:
        return wanted, f"port {wanted} is taken now: stop what listens there before `quanma serve`" * _is_taken(wanted)
    free = next((port for port in range(PORT_DEFAULT, 65536) if not _is_taken(port)), PORT_DEFAULT)
    return free, f"port {PORT_DEFAULT} is taken: the platform has {free}" if free != PORT_DEFAULT else ""


def _is_taken(port: int) -> bool:
    server = importlib.import_module("..serving.server", __package__)
    try:
        server.bind("127.0.0.1", port).close()
    except Misconfigured:
        return True
    return False
