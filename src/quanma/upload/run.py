"""An upload from beginning to end: look at the stock, plan, send, and account for every row.

What the command line, the demo and programs call. It prints nothing and asks nobody: what happens is told to `Events`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..client import config as settings
from ..client.client import AsyncWechatpay
from ..errors import PlanRefused, RequestInvalid, StoreUnavailable
from . import prepare
from .ledger import Ledger, Totals
from .plan import Planned
from .prepare import Limits, Objection
from .source import PLAIN, Reading, Source, open_sources
from .target import BUSIFAVOR, StockFacts, Target
from .uploader import CONCURRENCY, ONE_ATTEMPT, Ending, Progress, Result, Uploader

Settings = settings.Merchant | str | os.PathLike[str] | None
"""A merchant's settings, or the quanma.toml that holds them; None: as `config.load` finds them."""


class Options(NamedTuple):
    """What is asked of an upload."""

    stock_id: str
    """As the target names a stock."""
    target: Target = BUSIFAVOR
    reading: Reading = PLAIN
    limits: Limits = Limits()
    ledger: Path | None = None
    """None: `FILE.STOCK.quanma` beside the first input."""
    resume: bool = False
    """Go on with the ledger that is there, or begin where there is none."""
    restart: bool = False
    """Begin anew in place of the ledger that is there: what it sent stays sent."""
    concurrency: int = CONCURRENCY
    rate: float | None = None
    """Requests a second at the most; None: what the target documents, else it is found out."""
    first_rate: float | None = None
    """Requests a second to begin with, where the platform is known; None: a few, or what the ledger learned."""
    command: str = ""
    """What resumes it, as a shell reads it, for those who look at the ledger."""


class Sending:
    """An upload that is being sent, for whoever may want to stop it."""

    def __init__(self, uploader: Uploader, running: asyncio.Task[Result]) -> None:
        self._uploader = uploader
        self._running = running
        self.dropped = False
        """Whether what was under way was dropped."""

    def stop(self) -> bool:
        """Send nothing new, and finish what is under way. Asked again, drop that too: it is unknown until a resume.

        Returns whether this was the first time. Call it in the upload's event loop.
        """
        first = not self._uploader.stopping
        if first:
            self._uploader.stop()
        else:
            self.dropped = True
            self._running.cancel()
        return first


class Events:
    """What an upload tells while it goes on. Override what you want to hear of; an error raised here ends it."""

    def stock(self, facts: StockFacts, lines: Sequence[str]) -> None:
        """The platform told of the stock; `lines` says it in words. Nothing was opened yet."""

    def read(self, rows: int) -> None:
        """So many rows are read."""

    def planned(self, planned: Planned, too_many: str | None) -> None:
        """Everything is read, nothing sent. `too_many`: a warning, if the stock has not so much room."""

    def confirm(self, objection: Objection, planned: Planned) -> bool:
        """Whether to send a plan that somebody may still allow, like one with many rejected rows. No, by default."""
        return False

    def sending(self, sending: Sending) -> None:
        """The first batch goes out now."""

    def progress(self, progress: Progress) -> None:
        """Where it stands, twice a second and at the end."""

    def ended(self, ledger: Ledger, result: Result) -> None:
        """Nothing is sent any more. The ledger is still open, to write a report of it."""


class Uploaded(NamedTuple):
    """How an upload ended."""

    ending: Ending
    reason: str
    """Why it ended before it was finished; empty otherwise."""
    totals: Totals
    ledger: Path | None
    """None: there was no row, and no ledger is kept."""


async def upload(
    sources: Sequence[Source | str], options: Options, config: Settings = None, events: Events | None = None
) -> Uploaded:
    """Upload files of codes into a stock. A text among `sources` is the name of a file, opened as `reading` says.

    With `ending` FINISHED every row is stored, existed, a duplicate or rejected; else resume it, and nothing is lost.

    Raises:
        RequestInvalid: `stock_id` names no stock of the target, or the stock takes no uploads.
        PlanRefused: too many rows are rejected, there is none, or there are warnings and none is allowed.
        LedgerRefused: a ledger is there and neither `resume` nor `restart` is asked for; or it is of other inputs.
        LedgerBusy: another process runs this upload.
        SourceUnreadable: an input can't be read to its end. Nothing was sent.
        StoreUnavailable: the ledger can't be written: free the disk, and resume.
        QuanmaError: the stock can't be asked for; as the client's calls.
    """
    events = events or Events()
    merchant = config if isinstance(config, settings.Merchant) else settings.load(config)
    target, stock_id = options.target, options.stock_id
    target.check_stock_form(stock_id)
    opened = _opened(sources, options.reading)
    if not opened:
        raise RequestInvalid("there is nothing to upload: name a file")
    first = sources[0] if isinstance(sources[0], str) else sources[0].name
    path = options.ledger or prepare.default_ledger(first, stock_id)
    async with AsyncWechatpay(merchant) as client:
        facts = await checked_stock(client, target, stock_id, events)
    with _ledger(path, options, merchant.mchid) as ledger:
        if ledger.planned:
            prepare.check_unchanged(ledger, opened, options.reading)
        else:
            _plan(ledger, opened, options, facts, events)
        if options.first_rate is not None and ledger.learned_rate is None:
            ledger.spent(0.0, options.first_rate)
        async with AsyncWechatpay(merchant, patience=ONE_ATTEMPT) as client:
            result = await _send(ledger, client, options, events)
        events.ended(ledger, result)
        kept = bool(result.totals.rows)
        if not kept:
            ledger.discard()
    return Uploaded(result.ending, result.reason, result.totals, path if kept else None)


def upload_sync(
    sources: Sequence[Source | str], options: Options, config: Settings = None, events: Events | None = None
) -> Uploaded:
    """As `upload`, for a program without an event loop."""
    return asyncio.run(upload(sources, options, config, events))


async def checked_stock(client: AsyncWechatpay, target: Target, stock_id: str, events: Events) -> StockFacts:
    """Ask for the stock, tell of it, and return it. Raises RequestInvalid: it takes no uploads."""
    facts = await target.show(client, stock_id)
    room = prepare.check_stock(target, facts)
    events.stock(facts, room.lines)
    if room.refusal:
        raise RequestInvalid(room.refusal)
    return facts


def _opened(sources: Sequence[Source | str], reading: Reading) -> list[Source]:
    opened: list[Source] = []
    for source in sources:
        opened += open_sources(source, reading) if isinstance(source, str) else [source]
    return opened


def _ledger(path: Path, options: Options, mchid: str) -> Ledger:
    about = {"target": options.target.name, "mchid": mchid, "stock_id": options.stock_id}
    if options.resume:
        return Ledger.resume(path, **about)
    return Ledger.create(path, **about, restart=options.restart)


def _plan(ledger: Ledger, sources: Sequence[Source], options: Options, facts: StockFacts, events: Events) -> None:
    """Read everything and write the plan; or leave nothing behind."""

    def check(planned: Planned) -> None:
        events.planned(planned, prepare.check_room(facts, planned.distinct))
        refused = prepare.objection(planned, options.limits)
        if refused is not None and not (refused.ask and events.confirm(refused, planned)):
            raise PlanRefused(refused.reason)

    try:
        prepare.make_plan(
            ledger,
            options.target,
            sources,
            options.reading,
            command=options.command,
            check=check,
            progress=events.read,
        )
    except StoreUnavailable:
        raise
    except BaseException:
        # Else the corrected file would find a ledger, and need `restart`.
        if not options.resume:
            ledger.discard()
        raise


async def _send(ledger: Ledger, client: AsyncWechatpay, options: Options, events: Events) -> Result:
    uploader = Uploader(
        ledger,
        options.target,
        client,
        concurrency=options.concurrency,
        rate_max=options.rate or options.target.rate_max,
        progress=events.progress,
    )
    running = asyncio.create_task(uploader.run())
    sending = Sending(uploader, running)
    try:
        events.sending(sending)
        return await running
    except asyncio.CancelledError:
        if not sending.dropped:
            raise  # It is the task of the whole that was cancelled.
        return Result(Ending.STOPPED, ledger.totals(), "")
    finally:
        running.cancel()
