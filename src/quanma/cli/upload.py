"""`quanma upload`, `upload-status`, `report`: parse, call, show, and say in the exit status how it ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import click

from .. import signals
from ..client import config as settings
from ..client.client import AsyncWechatpay
from ..errors import Misconfigured, RequestInvalid, StoreUnavailable
from ..upload import prepare, report
from ..upload import verify as comparing
from ..upload.ledger import Ledger
from ..upload.plan import Duplicate, Planned, PlannedBatch, Rejected, plan
from ..upload.source import Source, open_query, open_source
from ..upload.target import BUSIFAVOR, TARGETS, StockFacts, Target
from ..upload.uploader import CONCURRENCY, ONE_ATTEMPT, Ending, Result, Uploader
from . import output
from .main import DONE, FAILED, INTERRUPTED, REJECTED, UNFINISHED


class Wishes(NamedTuple):
    """What the command line asked for."""

    target: Target
    stock_id: str
    column: str | None
    trim: bool
    ledger: Path
    resume: bool
    restart: bool
    concurrency: int
    rate: float | None
    json: bool


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1)
@click.option("--stock", "stock_id", required=True, help="The stock to upload into: its stock_id.")
@click.option(
    "--target",
    "target_name",
    type=click.Choice(list(TARGETS)),
    default=BUSIFAVOR.name,
    show_default=True,
    help="商家券, or 商品券 as service provider: --stock BRAND_ID/PRODUCT_COUPON_ID/STOCK_ID.",
)
@click.option("--column", help="The column with the codes, by name or number from 1.")
@click.option("--trim", is_flag=True, help="Take blanks off both ends of each code. Nothing else is ever changed.")
@click.option("--sql", nargs=2, metavar="URL QUERY", help="Take the codes from a query: sqlite:///… or postgresql://…")
@click.option("--ledger", type=click.Path(path_type=Path), help="The ledger. [default: FILE.STOCK.quanma]")
@click.option("--resume", is_flag=True, help="Go on with an upload that stopped.")
@click.option("--restart", is_flag=True, help="Forget the ledger and begin anew.")
@click.option(
    "--concurrency", type=click.IntRange(1, 64), default=CONCURRENCY, show_default=True, help="Requests at once."
)
@click.option("--rate", type=click.FloatRange(0.01), help="Requests a second at the most. [default: found out]")
@click.option("--dry-run", is_flag=True, help="Read and check everything, send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.option("--config", type=click.Path(path_type=Path), help="The merchant's quanma.toml.")
def upload(
    files: tuple[str, ...],
    stock_id: str,
    target_name: str,
    column: str | None,
    trim: bool,
    sql: tuple[str, str] | None,
    ledger: Path | None,
    resume: bool,
    restart: bool,
    concurrency: int,
    rate: float | None,
    dry_run: bool,
    as_json: bool,
    config: Path | None,
) -> int:
    """Upload files of codes (- for standard input) into a stock, 200 a request, every row accounted for.

    If it stops, for whatever reason, run the same command with --resume.
    """
    if resume and restart:
        raise click.UsageError("--resume and --restart exclude each other")
    target = TARGETS[target_name]
    target.check_stock_form(stock_id)
    if not files and sql is None:
        raise click.UsageError("name a FILE, or - for standard input, or --sql URL QUERY")
    sources: list[Source] = [open_source(name, column=column, trim=trim) for name in files]
    if sql is not None:
        sources.append(open_query(*sql, column=column, trim=trim))
    first = files[0] if files else "query"
    path = ledger or prepare.default_ledger(first, stock_id)
    wishes = Wishes(target, stock_id, column, trim, path, resume, restart, concurrency, rate, as_json)
    merchant = settings.load(config)
    for source in sources:
        for note in source.notes:
            output.say(f"{source.name}: {note}")
    if dry_run:
        return asyncio.run(_dry_run(sources, wishes, merchant))
    return asyncio.run(_upload(sources, wishes, merchant))


@click.command("upload-status")
@click.argument("ledger", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print it as one JSON object.")
def upload_status(ledger: Path, as_json: bool) -> None:
    """Show where an upload stands, while it runs or after."""
    with Ledger.look(ledger) as looked:
        totals = looked.totals()
        output.result(looked.stock_id, totals, ledger, as_json=as_json)
        if totals.batches_open and not as_json:
            names = " ".join(source.name for source in looked.inputs.sources)
            click.echo(f"  {totals.batches_open:,} batches to go")
            click.echo(f"  if it is not running: quanma upload {names} --stock {looked.stock_id} --resume")
        elif totals.rejected and not as_json:
            click.echo(f"  next: see the rejected rows with  quanma report {ledger} --out DIR")


@click.command("report")
@click.argument("ledger", type=click.Path(path_type=Path))
@click.option(
    "--out", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write to."
)
def report_command(ledger: Path, folder: Path) -> None:
    """Write what became of every row: report.csv, and files of the rejected and the pending rows, if there are any."""
    with Ledger.look(ledger) as looked:
        written = report.write(looked, folder)
    click.echo(f"{written.report}: every row")
    if written.retry_exist:
        click.echo(f"  {written.retry_exist:,} are stored on the evidence of exist_codes after an unanswered attempt")
    if written.rejected:
        click.echo(f"{written.rejected}: correct these rows, then upload the file")
    if written.leftover:
        click.echo(f"{written.leftover}: codes that are not settled yet")


@click.command()
@click.argument("ledger", type=click.Path(path_type=Path))
@click.option(
    "--combined", type=click.Path(path_type=Path), help="Write a line for every code: its mark, and the code."
)
@click.option("--config", type=click.Path(path_type=Path), help="The merchant's quanma.toml.")
def verify(ledger: Path, combined: Path | None, config: Path | None) -> int:
    """Compare an upload's ledger with the platform. Nothing is changed.

    Marks: = mine and there · * mine, in a user's hands · + mine, not there · - there, not mine · ? not settled yet.
    Exit status: 0 everything of mine is there · 1 something is missing · 4 not the whole list could be compared.
    """
    merchant = settings.load(config)
    with contextlib.ExitStack() as opened:
        looked = opened.enter_context(Ledger.look(ledger))
        written = opened.enter_context(_combined(combined)) if combined else None

        def mark(sign: str, code: str) -> None:
            if written is not None:
                written.write(f"{sign} {code}\n")

        compared = asyncio.run(_compare(looked, merchant, ledger.resolve().parent, mark))
    counts = compared.counts
    click.echo(
        f"by the ledger {counts.mine:,} codes are in the stock, {counts.pending:,} are not settled; "
        f"the stock says that it holds {counts.there or 0:,}"
    )
    if compared.marks is None:
        click.echo("the list of codes is not open here: only the counts were compared")
        return UNFINISHED if compared.agrees else FAILED
    for sign, count in compared.marks.items():
        click.echo(f"  {sign} {count:>12,}  {comparing.MEANING[sign]}")
    if not compared.complete:
        click.echo("not complete: codes came or went while the list was read, or a page is missing: verify again")
        return UNFINISHED
    return DONE if compared.agrees else FAILED


def _combined(path: Path) -> IO[str]:
    try:
        return report.private(path, links=False)
    except OSError as problem:
        raise Misconfigured(f"{path} can't be written: {problem.strerror}: name another with --combined") from None


async def _compare(
    ledger: Ledger, merchant: settings.Merchant, folder: Path, mark: Callable[[str, str], None]
) -> comparing.Compared:
    async with AsyncWechatpay(merchant) as client:
        return await comparing.compare(ledger, TARGETS[ledger.target], client, folder, mark)


async def _dry_run(sources: Sequence[Source], wishes: Wishes, merchant: settings.Merchant) -> int:
    async with AsyncWechatpay(merchant) as client:
        facts = await _checked_stock(client, wishes.target, wishes.stock_id)
    folder = wishes.ledger.resolve().parent
    with output.reading() as progress:
        planned = plan(sources, wishes.target.rule, wishes.target.batch_codes_max, _Nobody(), folder, progress)
    _say_planned(planned, facts)
    requests = -(-planned.distinct // wishes.target.batch_codes_max)
    output.say(f"would send {planned.distinct:,} codes in {requests:,} request{'s' if requests != 1 else ''}:")
    for rate in (1, 5, 20, 100) if requests else ():
        output.say(f"  at {rate:>3} requests/s: {output.duration(requests / rate)}")
    return REJECTED if planned.rejected else DONE


async def _upload(sources: Sequence[Source], wishes: Wishes, merchant: settings.Merchant) -> int:
    target = wishes.target
    async with AsyncWechatpay(merchant) as client:
        facts = await _checked_stock(client, target, wishes.stock_id)
    try:
        with _opened(wishes, merchant) as ledger:
            if ledger.planned:
                prepare.check_unchanged(ledger, sources, column=wishes.column, trim=wishes.trim)
            else:
                with output.reading() as progress:
                    planned = prepare.make_plan(
                        ledger, target, sources, column=wishes.column, trim=wishes.trim, progress=progress
                    )
                _say_planned(planned, facts)
            async with AsyncWechatpay(merchant, patience=ONE_ATTEMPT) as client:
                result = await _send(ledger, target, client, wishes)
            output.result(wishes.stock_id, result.totals, wishes.ledger, as_json=wishes.json)
            return _ended(ledger, result)
    except StoreUnavailable as problem:
        output.say(f"stopped: {problem}")
        return UNFINISHED


def _opened(wishes: Wishes, merchant: settings.Merchant) -> Ledger:
    about = {"target": wishes.target.name, "mchid": merchant.mchid, "stock_id": wishes.stock_id}
    if wishes.resume:
        return Ledger.resume(wishes.ledger, **about)
    return Ledger.create(wishes.ledger, **about, restart=wishes.restart)


async def _checked_stock(client: AsyncWechatpay, target: Target, stock_id: str) -> StockFacts:
    facts = await target.show(client, stock_id)
    room = prepare.check_stock(target, facts)
    for line in room.lines:
        output.say(line)
    if room.refusal:
        raise RequestInvalid(room.refusal)
    return facts


def _say_planned(planned: Planned, facts: StockFacts) -> None:
    output.say(
        f"{planned.rows:,} rows: {planned.distinct:,} codes to send, {planned.duplicate:,} repeat an earlier row, "
        f"{planned.rejected:,} rejected"
    )
    for reason in planned.reasons:
        output.say(f"  rejected: {reason}")
    if planned.rejected > len(planned.reasons):
        output.say(f"  … and {planned.rejected - len(planned.reasons):,} more, all of them in the report")
    for warning in planned.warnings:
        output.say(f"  warning: {warning}")
    if planned.warned > len(planned.warnings):
        output.say(f"  … and {planned.warned - len(planned.warnings):,} more with outer blanks")
    if too_many := prepare.check_room(facts, planned.distinct):
        output.say(f"  warning: {too_many}")


async def _send(ledger: Ledger, target: Target, client: AsyncWechatpay, wishes: Wishes) -> Result:
    with output.sending() as progress:
        uploader = Uploader(
            ledger,
            target,
            client,
            concurrency=wishes.concurrency,
            rate_max=wishes.rate or target.rate_max,
            progress=progress,
        )
        running = asyncio.ensure_future(uploader.run())

        def interrupt() -> None:
            if uploader.stopping:
                running.cancel()
            else:
                output.say("stopping: what is under way is finished first; Ctrl-C again stops at once")
                uploader.stop()

        signals.on_ending(asyncio.get_running_loop(), interrupt)
        try:
            return await running
        except asyncio.CancelledError:
            return Result(Ending.STOPPED, ledger.totals(), "")


def _ended(ledger: Ledger, result: Result) -> int:
    if result.ending is Ending.FINISHED:
        if result.totals.rejected:
            output.say(f"  next: see the rejected rows with  quanma report {ledger.path} --out DIR")
            return REJECTED
        return DONE
    if result.ending is Ending.FULL:
        folder = ledger.path.with_name(ledger.path.name + ".report")
        written = report.write(ledger, folder)
        output.say(f"stopped: {result.ending.value}: {result.reason}")
        output.say(f"  next: raise max_coupons and resume, or upload {written.leftover} into another stock")
        return UNFINISHED
    output.say(f"stopped: {result.ending.value}" + (f": {result.reason}" if result.reason else ""))
    output.say("  next: the same command with --resume")
    return INTERRUPTED if result.ending is Ending.STOPPED else UNFINISHED


class _Nobody:
    """Keeps nothing: for a dry run."""

    def keep_batches(self, batches: Sequence[PlannedBatch]) -> None: ...
    def keep_duplicates(self, rows: Sequence[Duplicate]) -> None: ...
    def keep_rejected(self, rows: Sequence[Rejected]) -> None: ...
