"""`quanma upload`, `upload-status`, `report`: parse, call, show, and say in the exit status how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import click

from .. import signals
from ..client import config as settings
from ..client.client import AsyncWechatpay
from ..errors import LedgerRefused, Misconfigured, PlanRefused, StoreUnavailable
from ..storage import paths
from ..upload import prepare, report, run
from ..upload import verify as comparing
from ..upload.ledger import Ledger, Totals
from ..upload.plan import Planned
from ..upload.prepare import Objection
from ..upload.source import Reading, Source, open_query, open_sources
from ..upload.source.content import PIPE, STANDARD_INPUT, name_of
from ..upload.target import BUSIFAVOR, TARGETS, StockFacts, Target
from ..upload.uploader import CONCURRENCY, Ending, Progress, Result
from . import output
from .language import said
from .main import DONE, FAILED, INTERRUPTED, REJECTED, UNFINISHED
from .reading import limit_options, limits_of, reading_of, reading_options, report_option, say_planned
from .speaking import tell


class Wishes(NamedTuple):
    """What the command line asked for."""

    options: run.Options
    ledger: Path
    report: Path | None
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
@reading_options
@click.option("--sql", nargs=2, metavar="URL QUERY", help="Take the codes from a query: sqlite:///… or postgresql://…")
@limit_options
@click.option("--ledger", type=click.Path(path_type=Path), help="The ledger. [default: FILE.STOCK.quanma]")
@click.option("--resume", is_flag=True, help="Go on with an upload that stopped.")
@click.option("--restart", is_flag=True, help="Forget the ledger and begin anew.")
@click.option(
    "--concurrency", type=click.IntRange(1, 64), default=CONCURRENCY, show_default=True, help="Requests at once."
)
@click.option("--rate", type=click.FloatRange(0.01), help="Requests a second at the most. [default: found out]")
@click.option("--dry-run", is_flag=True, help="Read and check everything, send nothing.")
@report_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.option("--config", type=click.Path(path_type=Path), help="The merchant's quanma.toml.")
def upload(
    files: tuple[str, ...],
    stock_id: str,
    target_name: str,
    sql: tuple[str, str] | None,
    ledger: Path | None,
    resume: bool,
    restart: bool,
    concurrency: int,
    rate: float | None,
    dry_run: bool,
    report_folder: Path | None,
    as_json: bool,
    config: Path | None,
    **options: Any,
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
    reading, limits = reading_of(options), limits_of(options)
    sources: list[Source] = []
    for name in files:
        sources += open_sources(name, reading)
    if sql is not None:
        sources.append(open_query(*sql, reading))
    first = files[0] if files else "query"
    path = ledger or prepare.default_ledger(first, stock_id)
    named = ledger or (path if name_of(first) == PIPE else None)
    again = _command(files, stock_id, target, reading, sql and (sources[-1].name, sql[1]), named, config)
    asked = run.Options(
        stock_id,
        target,
        reading,
        limits,
        ledger=path,
        resume=resume,
        restart=restart,
        concurrency=concurrency,
        rate=rate,
        command=again,
    )
    wishes = Wishes(asked, path, report_folder, as_json)
    merchant = settings.load(config)
    for source in sources:
        for note in source.notes:
            output.say(f"{source.name}: {note}")
    if dry_run:
        return asyncio.run(_dry_run(sources, wishes, merchant))
    return asyncio.run(_upload(sources, wishes, merchant))


def _command(
    files: Sequence[str],
    stock_id: str,
    target: Target,
    reading: Reading,
    sql: tuple[str, str] | None,
    ledger: Path | None,
    config: Path | None,
) -> str:
    """The command that resumes this upload. What a pipe gave is in the ledger, and nothing is read from it again."""
    given_once = [name_of(name) in (STANDARD_INPUT, PIPE) for name in files]
    words: list[Path | str] = ["quanma", "upload"]
    for name, once in zip(files, given_once, strict=True):
        words.append("-" if once else f"./{name}" if name.startswith("-") else name)
    words += ["--stock", stock_id]
    words += ["--target", target.name] if target is not BUSIFAVOR else []
    words += ["--sql", *sql] if sql else []
    words += prepare.options(reading)
    words += ["--ledger", ledger] if ledger else []
    words += ["--config", config] if config else []
    return paths.command([*words, "--resume"]) + (" < /dev/null" if any(given_once) else "")


@click.command("upload-status")
@click.argument("ledger", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print it as one JSON object.")
def upload_status(ledger: Path, as_json: bool) -> None:
    """Show where an upload stands, while it runs or after."""
    with Ledger.look(ledger) as looked:
        totals = looked.totals()
        output.result(looked.stock_id, totals, ledger, as_json=as_json)
        if totals.batches_open and not as_json:
            inputs = looked.inputs
            names = [source.name for source in inputs.sources]
            again = paths.command(["quanma", "upload", *names, "--stock", looked.stock_id, "--resume"])
            tell(f"  {totals.batches_open:,} batches to go")
            tell(f"  if it is not running: {inputs.command or again}")
        elif totals.rejected and not as_json:
            tell(f"  next: {_see_rejected(ledger)}")


@click.command("report")
@click.argument("ledger", type=click.Path(path_type=Path))
@click.option(
    "--out", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write to."
)
@click.option("--xlsx", is_flag=True, help="The report as a workbook too, with codes as text.")
def report_command(ledger: Path, folder: Path, xlsx: bool) -> None:
    """Write what became of every row: report.csv, and files of the rejected and the pending rows, if there are any."""
    with Ledger.look(ledger) as looked:
        written = report.write(looked, folder, xlsx=xlsx, said=said)
    _say_written(written, tell)


def _say_written(written: report.Written, say: Callable[[str], None]) -> None:
    say(f"{paths.shown(written.report)}: every row")
    if written.report_xlsx:
        say(f"{paths.shown(written.report_xlsx)}: the same, for a spreadsheet program")
    if written.retry_exist:
        say(f"  {written.retry_exist:,} are stored on the evidence of exist_codes after an unanswered attempt")
    if written.rejected and written.rejected_xlsx:
        say(
            f"{paths.shown(written.rejected_xlsx)}: the rejected rows; write each right code into column 改正, then "
            "upload the file"
        )
        say(f"{paths.shown(written.rejected)}: the same for programs, with the field corrected")
    if written.leftover:
        say(f"{paths.shown(written.leftover)}: codes that are not settled yet")


def _see_rejected(ledger: Path) -> str:
    return f"see the rejected rows with  {paths.command(['quanma', 'report', ledger])} --out DIR"


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
    tell(
        f"by the ledger {counts.mine:,} codes are in the stock, {counts.pending:,} are not settled; "
        f"the stock says that it holds {counts.there or 0:,}"
    )
    if compared.marks is None:
        tell("the list of codes is not open here: only the counts were compared")
        return UNFINISHED if compared.agrees else FAILED
    for sign, count in compared.marks.items():
        click.echo(f"  {sign} {count:>12,}  {said(comparing.MEANING[sign])}")
    if not compared.complete:
        tell("not complete: codes came or went while the list was read, or a page is missing: verify again")
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
    asked = wishes.options
    async with AsyncWechatpay(merchant) as client:
        facts = await run.checked_stock(client, asked.target, asked.stock_id, _Shown(wishes, contextlib.ExitStack()))
    folder = wishes.ledger.absolute().parent
    if not folder.is_dir():
        raise LedgerRefused(f"{paths.shown(wishes.ledger)} can't be made: no such folder: make it, or name another")
    with output.reading() as progress:
        if wishes.report is None:
            planned = prepare.look_only(asked.target, sources, asked.reading, folder, progress)
        else:
            planned, written = _reported(sources, wishes, wishes.report, progress)
            _say_written(written, output.say)
    say_planned(planned, codes=True)
    _say_room(prepare.check_room(facts, planned.distinct))
    if not os.access(folder, os.W_OK):
        output.say(f"  warning: {paths.shown(folder)} can't be written: the upload needs --ledger with another place")
    refused = prepare.objection(planned, asked.limits)
    if refused is not None:
        output.say(f"an upload would stop before the first request: {refused.reason}")
        if not refused.ask:
            return REJECTED
    requests = -(-planned.distinct // asked.target.batch_codes_max)
    output.say(f"would send {planned.distinct:,} codes in {requests:,} request{'s' if requests != 1 else ''}:")
    for rate in (1, 5, 20, 100) if requests else ():
        output.say(f"  at {rate:>3} requests/s: {output.duration(requests / rate)}")
    return REJECTED if planned.rejected or refused else DONE


def _reported(
    sources: Sequence[Source], wishes: Wishes, folder: Path, progress: Callable[[int], None]
) -> tuple[Planned, report.Written]:
    """Plan in a ledger that is thrown away, and write the report of it."""
    asked = wishes.options
    with tempfile.TemporaryDirectory(prefix="quanma-") as name:
        path = Path(name) / "dry-run.quanma"
        with Ledger.create(path, target=asked.target.name, mchid="", stock_id=asked.stock_id) as ledger:
            planned = prepare.make_plan(ledger, asked.target, sources, asked.reading, progress=progress)
            return planned, report.write(ledger, folder, leftover=False, said=said)


async def _upload(sources: Sequence[Source], wishes: Wishes, merchant: settings.Merchant) -> int:
    with contextlib.ExitStack() as displays:
        shown = _Shown(wishes, displays)
        try:
            await run.upload(sources, wishes.options, merchant, shown)
        except PlanRefused as problem:
            output.say(f"stopped before the first request: {problem}")
            if wishes.json and shown.plan is not None:
                output.result(wishes.options.stock_id, _unsent(shown.plan), None, as_json=True)
            return REJECTED
        except StoreUnavailable as problem:
            output.say(f"stopped: {problem}")
            return UNFINISHED
    return shown.status


class _Shown(run.Events):
    """What a person or a script sees of an upload, in its order."""

    def __init__(self, wishes: Wishes, displays: contextlib.ExitStack) -> None:
        self.plan: Planned | None = None
        self.status = FAILED
        self._wishes = wishes
        self._displays = displays
        """At most one is open: the one above is closed before the next line."""
        self._read: Callable[[int], None] | None = None
        self._progress: Callable[[Progress], None] | None = None

    def stock(self, facts: StockFacts, lines: Sequence[str]) -> None:
        for line in lines:
            output.say(line)

    def read(self, rows: int) -> None:
        if self._read is None:
            self._read = self._displays.enter_context(output.reading())
        self._read(rows)

    def planned(self, planned: Planned, too_many: str | None) -> None:
        self._displays.close()  # Else it would be drawn over the question.
        self.plan = planned
        say_planned(planned, codes=False)
        _say_room(too_many)

    def confirm(self, objection: Objection, planned: Planned) -> bool:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise PlanRefused(
                f"{objection.reason}: see them with --dry-run --report DIR and correct the file, or say how many are "
                "right with --max-rejected"
            )
        if not click.confirm(said(f"{objection.reason}. Send the other {planned.distinct:,} codes?"), err=True):
            raise PlanRefused("nothing was sent")
        return True

    def sending(self, sending: run.Sending) -> None:
        self._progress = self._displays.enter_context(output.sending())

        def interrupt() -> None:
            if sending.stop():
                output.say("stopping: what is under way is finished first; Ctrl-C again stops at once")

        signals.on_ending(asyncio.get_running_loop(), interrupt)

    def progress(self, progress: Progress) -> None:
        if self._progress is not None:
            self._progress(progress)

    def ended(self, ledger: Ledger, result: Result) -> None:
        self._displays.close()
        wishes = self._wishes
        if wishes.report is not None:
            _say_written(report.write(ledger, wishes.report, said=said), output.say)
        kept = ledger.path if result.totals.rows else None
        output.result(wishes.options.stock_id, result.totals, kept, as_json=wishes.json)
        self.status = _ended(ledger, result)


def _unsent(planned: Planned) -> Totals:
    return Totals(planned.rows, 0, 0, planned.duplicate, planned.rejected, planned.distinct, 0, 0, 0.0, 0)


def _say_room(too_many: str | None) -> None:
    if too_many:
        output.say(f"  warning: {too_many}")


def _ended(ledger: Ledger, result: Result) -> int:
    if result.ending is Ending.FINISHED:
        if result.totals.rejected:
            output.say(f"  next: {_see_rejected(ledger.path)}")
            return REJECTED
        return DONE
    if result.ending is Ending.FULL:
        folder = ledger.path.with_name(ledger.path.name + ".report")
        written = report.write(ledger, folder, said=said)
        output.say(f"stopped: {result.ending.value}: {result.reason}")
        leftover = paths.command([written.leftover or folder])
        output.say(f"  next: raise max_coupons and resume, or upload {leftover} into another stock")
        return UNFINISHED
    output.say(f"stopped: {result.ending.value}" + (f": {result.reason}" if result.reason else ""))
    output.say("  next: the same command with --resume")
    return INTERRUPTED if result.ending is Ending.STOPPED else UNFINISHED
