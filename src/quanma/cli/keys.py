"""`quanma platform rotate-key`."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from ..platform.keys import rotation
from .nearby import NearGroup
from .speaking import tell


@click.group(cls=NearGroup)
def platform() -> None:
    """Look after a platform."""


@platform.command("rotate-key")
@click.option(
    "--config", "config_path", required=True, type=click.Path(path_type=Path), help="platform.toml of the world."
)
@click.option(
    "--kind",
    type=click.Choice(["certificate", "public-key"]),
    default="certificate",
    show_default=True,
    help="Clients fetch a new certificate; a new public key has to be given to the merchants.",
)
@click.option(
    "--after-hours",
    type=click.FloatRange(0),
    default=24.0,
    show_default=True,
    help="When a new public key signs what nobody asked for by name, callbacks too.",
)
def rotate_key(config_path: Path, kind: str, after_hours: float) -> None:
    """Add a signing key. A running platform takes it within seconds; the old ones go on as long as they are there."""
    now = datetime.datetime.now(datetime.UTC)
    if kind == "certificate":
        rotated = rotation.rotate_certificate(config_path, now)
    else:
        rotated = rotation.rotate_public_key(config_path, now, datetime.timedelta(hours=after_hours))
    click.echo(f"{rotated.name}: {rotated.verifying}")
    for settings in rotated.told:
        tell(f"  added to {settings}")
    if kind == "public-key":
        tell(f'  other merchants add to their [merchant.platform_keys]:  "{rotated.name}" = "FILE"')
