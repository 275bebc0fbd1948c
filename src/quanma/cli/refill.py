"""`quanma refill`: keeps a stock topped up from files of codes, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ..client.client import Wechatpay
from ..errors import LedgerRefused, Misconfigured
from ..upload import prepare, run
from ..upload.ledger import Ledger
from ..upload.uploader import Ending
from .connection import config_option
from .main import DONE, REJECTED, UNFINISHED
from .speaking import tell
from .watch import LOW, available_codes, forever


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--stock", "stock_id", required=True, help="The stock: its stock_id.")
@click.option("--below", type=click.IntRange(1), required=True, metavar="N", help="Fewer available codes are too few.")
@click.option("--every", type=click.FloatRange(1), metavar="SECONDS", help="Go on looking. Without it: once.")
@config_option
def refill(files: Sequence[str], stock_id: str, below: int, every: float | None, config: Path | None) -> int:
    """Upload the next FILE of codes when fewer than N are available, until there are enough.

    Each file is uploaded once: its ledger, FILE.STOCK.quanma beside it, tells. One that stopped is resumed.
    Exit status: 0 enough codes · 3 the files are used up and there are too few, or codes were rejected · 4 run it
    again: an upload is not finished.
    """
    if missing := [name for name in files if not Path(name).is_file()]:
        raise Misconfigured(f"there is no file {missing[0]}: name files of codes, like codes-*.txt")
    with Wechatpay.from_config(config) as wxpay:

        def look() -> int:
            return _top_up(wxpay, files, stock_id, below)

        return look() if every is None else forever(look, every)


def _top_up(wxpay: Wechatpay, files: Sequence[str], stock_id: str, below: int) -> int:
    """Returns the exit status."""
    status = DONE
    waiting = [name for name in files if not _is_done(name, stock_id)]
    while (available := available_codes(wxpay, stock_id)) < below:
        if not waiting:
            tell(f"stock {stock_id}: {available:,} codes are available, fewer than {below:,}")
            tell("no file is left: name more", err=True)
            return LOW
        name = waiting.pop(0)
        options = run.Options(stock_id, resume=prepare.default_ledger(name, stock_id).exists())
        ended = run.upload_sync([name], options, wxpay.merchant)
        totals = ended.totals
        tell(f"{name}: {totals.stored:,} codes stored, {totals.existed:,} there before, {totals.rejected:,} rejected")
        if ended.ending is not Ending.FINISHED:
            tell(f"quanma: not finished: {ended.reason}", err=True)
            return UNFINISHED
        if totals.rejected:
            status = REJECTED
    tell(f"stock {stock_id}: {available:,} codes are available")
    return status


def _is_done(name: str, stock_id: str) -> bool:
    """Whether a file was uploaded to its end."""
    try:
        with Ledger.look(prepare.default_ledger(name, stock_id)) as ledger:
            return ledger.planned and ledger.totals().batches_open == 0
    except LedgerRefused:
        return False  # There is none, or it stopped before its plan was whole.
