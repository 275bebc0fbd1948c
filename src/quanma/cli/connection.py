"""What commands that call the platform share: its settings, a number of ours, and whether it is one for try-outs."""

from __future__ import annotations

import secrets
from pathlib import Path
from urllib.parse import urlsplit

import click

from ..client.client import Wechatpay
from ..errors import QuanmaError
from .speaking import tell

config_option = click.option(
    "--config", type=click.Path(path_type=Path), help="The merchant's quanma.toml. [default: QUANMA_CONFIG]"
)

TRY_OPENID = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"
TRY_APPID = "wx233544546545989"


def new_number(word: str) -> str:
    """A number for a request of ours, not used before; 32 characters at most, as the shortest field takes."""
    return f"{word}-{secrets.token_hex(8)}"


def is_for_tries(wxpay: Wechatpay) -> bool:
    """Whether the platform is one on this machine: there, a user and an appid may be made up."""
    return (urlsplit(wxpay.merchant.base_url).hostname or "") in ("localhost", "127.0.0.1", "::1")


def for_a_try(wxpay: Wechatpay, option: str, given: str | None, made_up: str) -> str:
    """Return what was given, else what is made up for a platform on this machine.

    Raises:
        UsageError: it was not given, and the platform is a real one.
    """
    if given is None and not is_for_tries(wxpay):
        raise click.UsageError(f"{option} is missing: only for a platform on this machine one is made up")
    return given or made_up


def name_number(error: QuanmaError, option: str, number: str) -> None:
    """Say under which number to send again, where the request may have been executed."""
    if error.may_have_executed:
        tell(f"quanma: to ask again under the same number, add {option} {number}", err=True)
