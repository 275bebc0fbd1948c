"""`quanma status`: which settings count here, whether the platform answers, and which uploads are in this folder."""

from __future__ import annotations

import os
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import click

from ..api.certificates import Certificates, ListCertificates
from ..client import config as settings
from ..client.client import Wechatpay
from ..client.exchange import Patience
from ..errors import PlatformError, QuanmaError
from ..settings import environment
from .connection import config_option
from .main import DONE, FAILED
from .nearby import question
from .nextstep import next_step
from .speaking import tell

QUICK = Patience(deadline_seconds=10, attempt_seconds=5, attempts_max=1)


@click.command()
@click.argument("ledger", required=False, metavar="")
@config_option
def status(ledger: str | None, config: Path | None) -> int:
    """Show which settings count here, whether the platform answers, and which uploads this folder has.

    Nothing is changed, and no secret is shown. Exit status: 0 the platform answers · 1 it does not, or a setting is
    wrong.
    """
    if ledger is not None:
        raise click.UsageError(f"an upload's status is another command{question([f'upload-status {ledger}'])}")
    for line in _uploads(Path()):
        tell(f"upload     {line}")
    merchant = settings.load(config)
    file = config or os.environ.get("QUANMA_CONFIG") or settings.DEFAULT_FILE
    tell(f"settings   {Path(file).resolve() if Path(file).exists() else 'from the environment'}")
    if variables := [f"QUANMA_{name}" for name in environment.MERCHANT if os.environ.get(f"QUANMA_{name}")]:
        tell(f"           and {', '.join(variables)}")
    tell(f"merchant   {merchant.mchid}, its certificate {merchant.serial_no}")
    tell(f"keys       {', '.join(merchant.platform_keys) or 'none: the platform’s certificates are fetched'}")
    for key, purpose in (("apiv3_key", "events can't be opened"), ("apiv2_key", "claims can't be signed")):
        if getattr(merchant, key) is None:
            tell(f"           no {key}: {purpose}")
    with Wechatpay(merchant, patience=QUICK) as wxpay:
        return _asked(wxpay)


def _asked(wxpay: Wechatpay) -> int:
    """One signed round trip: the lines of it, and the exit status."""
    began = time.monotonic()
    sent = time.time()
    try:
        answer = wxpay.send(Certificates.get, ListCertificates())
    except PlatformError as error:
        if error.verified and error.status_code == 404:  # A merchant with a public key only (reported).
            tell(f"platform   {wxpay.merchant.base_url}: answers, and its signature holds")
            return DONE
        return _failed(wxpay, error)
    except QuanmaError as error:
        return _failed(wxpay, error)
    took = time.monotonic() - began
    signer = answer.headers.get("wechatpay-serial", "")
    tell(f"platform   {wxpay.merchant.base_url}: answers in {took * 1000:.0f} ms, signed with {signer}")
    if (date := answer.headers.get("date")) is not None:
        off = sent + took / 2 - parsedate_to_datetime(date).timestamp()
        tell(
            f"clock      {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the platform's"
            if abs(off) >= 2
            else "clock      as the platform's"
        )
    return DONE


def _failed(wxpay: Wechatpay, error: QuanmaError) -> int:
    tell(f"platform   {wxpay.merchant.base_url}: {error}")
    if step := next_step(error):
        tell(f"  next: {step}")
    return FAILED


def _uploads(folder: Path) -> list[str]:
    """The ledgers in a folder, and what shows each."""
    return [f"{path.name}: `quanma upload-status {path.name}`" for path in sorted(folder.glob("*.quanma"))[:10]]
