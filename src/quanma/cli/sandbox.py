"""`quanma sandbox`: the platform for integration tests; `quanma sandbox env`: its credentials."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from ..client import config as merchants
from ..errors import Misconfigured
from ..sandbox import credentials, server, world
from ..sandbox.app import SandboxApp
from ..serving import logs
from .speaking import tell

FOLDER = ".quanma"
PORT = 8460
folder_option = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=FOLDER,
    show_default=True,
    help="Folder of the world. It is made on first use; its keys are kept.",
)


@click.group(invoke_without_command=True)
@folder_option
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Another address needs --control-token.")
@click.option("--control-token", envvar="QUANMA_SANDBOX_TOKEN", help="Every control request must carry it then.")
@click.option("--allow-host", "hosts", multiple=True, help="A name by which the sandbox is called; may be repeated.")
@click.option("--clock", metavar="TIME", help="Begin with the clock frozen at a time like 2026-11-24T00:00:00+08:00.")
@click.option("--random-seed", "seed", type=int, help="Let all chance follow from it, for the same answers each time.")
@click.pass_context
def sandbox(
    ctx: click.Context,
    folder: Path,
    port: int,
    host: str,
    control_token: str | None,
    hosts: tuple[str, ...],
    clock: str | None,
    seed: int | None,
) -> None:
    """Serve a platform to test an integration against, with faults, a clock and a journal under /_sandbox/."""
    if ctx.invoked_subcommand is not None:
        return
    server.serve(
        folder,
        host=host,
        port=port,
        token=control_token,
        allowed_hosts=hosts,
        frozen_at=None if clock is None else _moment(clock),
        seed=seed,
        ready=_welcome,
    )


@sandbox.command("env")
@folder_option
@click.option("--format", "form", type=click.Choice(credentials.FORMATS), default="env", show_default=True)
@click.option("--mchid", help="Merchant number. [default: the first of the world]")
def env(folder: Path, form: str, mchid: str | None) -> None:
    """Print the credentials of a sandbox: for `eval` in a shell, as JSON or as TOML."""
    world.check_folder(folder)
    found = sorted((folder / "merchants").glob("*/quanma.toml"))
    named = {file.parent.name: file for file in found}
    if mchid is not None and mchid not in named:
        raise Misconfigured(f"merchant {mchid} is not in {folder}: it has {', '.join(named)}")
    merchant = merchants.load(named[mchid] if mchid else found[0])
    click.echo(credentials.written(credentials.of(merchant), form), nl=False)


def _welcome(app: SandboxApp, url: str) -> None:
    logs.say(f"listening on {url}")
    mchid = app.world.mchids[0]
    file = app.world.merchant_file(mchid).resolve()
    folder = app.world.folder
    for line in (
        f"merchant {mchid}, its settings and keys: {file}",
        f"seed of chance: {app.seed}",
        f"try it: curl {url}/_sandbox/as/{mchid}/v3/certificates",
        f'in Python: Wechatpay.from_config("{file}", base_url="{url}")',
        f'in a shell: eval "$(quanma sandbox env --dir {folder})"',
        f"faults, clock and journal: {url}/_sandbox/",
    ):
        tell(line, err=True)


def _moment(text: str) -> float:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise click.UsageError("--clock is no time with its offset: write it like 2026-11-24T00:00:00+08:00")
    return at.timestamp()
