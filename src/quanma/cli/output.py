"""What a person or a script sees of an upload: progress and notes on standard error, the result on standard output."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from ..storage import paths
from ..upload.ledger import Totals
from ..upload.uploader import Progress as Sent
from .language import said
from .speaking import tell

if TYPE_CHECKING:
    from rich.status import Status

READING_SECONDS = 0.5
"""What is read sooner has no display."""
PLAIN_SECONDS = 10.0
"""Between two lines, where standard error is not a terminal."""


def say(line: str) -> None:
    tell(line, err=True)


def result(stock_id: str, totals: Totals, ledger: Path | None, *, as_json: bool) -> None:
    """Print the sums: one JSON object, or lines that add up. `ledger`: None where none was kept."""
    if as_json:
        fields = {
            "stock_id": stock_id,
            "rows": totals.rows,
            "stored": totals.stored,
            "existed": totals.existed,
            "duplicate": totals.duplicate,
            "rejected": totals.rejected,
            "pending": totals.pending,
            "requests": totals.requests,
            "retries": totals.retries,
            "seconds": round(totals.seconds, 3),
            "ledger": paths.shown(ledger) if ledger is not None else None,
        }
        click.echo(msgspec.json.encode(fields).decode())
        return
    tell(f"stock {stock_id}: {totals.rows - totals.pending:,} of {totals.rows:,} rows accounted for")
    tell(
        f"  stored {totals.stored:,}   existed {totals.existed:,}   duplicate {totals.duplicate:,}   "
        f"rejected {totals.rejected:,}   pending {totals.pending:,}"
    )
    tell(
        f"  {totals.requests:,} requests, {totals.retries:,} of them retries, in {duration(totals.seconds)}"
        + (f"; ledger {paths.shown(ledger)}" if ledger is not None else "")
    )


@contextlib.contextmanager
def reading() -> Generator[Callable[[int], None], None, None]:
    """Show the rows read so far."""
    if not sys.stderr.isatty():
        yield lambda rows: None
        return
    began = time.monotonic()
    status: Status | None = None
    with contextlib.ExitStack() as display:

        def show(rows: int) -> None:
            nonlocal status
            if status is None and time.monotonic() - began >= READING_SECONDS:
                # Here, and below: it takes as long to import as a small file to read.
                from rich.console import Console

                status = display.enter_context(Console(stderr=True).status(said("reading")))
            if status is not None:
                status.update(said(f"reading: {rows:,} rows"))

        yield show


@contextlib.contextmanager
def sending() -> Generator[Callable[[Sent], None], None, None]:
    """Show an upload while it runs: a display on a terminal, a line now and then elsewhere."""
    if not sys.stderr.isatty():
        yield _plain_lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.percentage:>3.0f} %"),
        BarColumn(bar_width=12),
        TextColumn("{task.description}"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=Console(stderr=True)) as display:
        task = display.add_task("")

        def show(sent: Sent) -> None:
            done = sent.totals.rows - sent.totals.pending
            display.update(task, total=sent.totals.rows, completed=done, description=said(_line(sent)))

        yield show


def _plain_lines() -> Callable[[Sent], None]:
    last = float("-inf")

    def show(sent: Sent) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= PLAIN_SECONDS:
            last = now
            say(f"{sent.totals.rows - sent.totals.pending:,}/{sent.totals.rows:,} rows   {_line(sent)}")

    return show


def _line(sent: Sent) -> str:
    totals = sent.totals
    ceiling = f" of {sent.ceiling:.1f}" if sent.ceiling else ""
    waiting = "" if sent.state == "sending" else f"   {sent.state}"
    return (
        f"stored {totals.stored:,} existed {totals.existed:,} rejected {totals.rejected:,} "
        f"retries {totals.retries:,}  {sent.rate:.1f}{ceiling} req/s{waiting}"
    )


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
