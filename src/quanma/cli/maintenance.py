"""`quanma migrate`, `backup`, `reconcile`, `export`, `import`: what is done beside serving a platform."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click

from ..errors import masked
from ..platform import config
from ..platform.pool import backups, maintenance, reconcile_file, reconciling, transfer
from ..platform.pool.reconciling import Decision
from ..platform.pool.status import PoolStatus
from .language import said
from .speaking import tell

_config = click.option(
    "--config", "config_path", required=True, type=click.Path(path_type=Path), help="platform.toml of the world."
)
_database = click.option(
    "--database",
    envvar="QUANMA_DATABASE",
    help="Database URL. [default: QUANMA_DATABASE, or the setting in platform.toml]",
)


def database_of(config_path: Path, database: str | None) -> tuple[str, Path]:
    """The database URL, and the folder that a relative one is in."""
    return database or config.load(config_path).database, config_path.parent


@click.command()
@_config
@_database
@click.option("--distributed", is_flag=True, help="Spread the tables over a Citus cluster, by stock_id.")
def migrate(config_path: Path, database: str | None, distributed: bool) -> None:
    """Bring the database's tables up to this version, or make them in an empty one."""
    done = maintenance.migrate(*database_of(config_path, database), distributed=distributed)
    for step in done:
        tell(f"  {step}", err=True)
    tell(f"{len(done)} steps applied" if done else "nothing to do: the tables are this version's", err=True)


@click.command()
@_config
@_database
@click.argument("to", metavar="TO", type=click.Path(path_type=Path))
@click.option(
    "--keep",
    type=click.IntRange(1),
    metavar="N",
    help="With a folder: remove all but the latest N backups there that have a name by the time.",
)
def backup(config_path: Path, database: str | None, to: Path, keep: int | None) -> None:
    """Copy a SQLite pool to the file TO while it is served: verified, private, and fenced where it is served.

    Into a folder that is there, under a name by the time.
    """
    now = time.time()
    folder = to if to.is_dir() else None
    if folder is not None:
        to = folder / backups.dated(now)
    elif keep is not None:
        raise click.UsageError(f"--keep goes with a folder, and {to} is none")
    size = maintenance.backup(*database_of(config_path, database), to, int(now))
    tell(f"wrote {to}: {size:,} bytes, every row of it verified", err=True)
    if folder is not None and keep is not None:
        for name in backups.keep(folder, keep):
            tell(f"  removed {name}", err=True)
    tell("  served, it gives nothing out until `quanma reconcile` has been told what was given out since", err=True)


@click.command()
@_config
@_database
def fence(config_path: Path, database: str | None) -> None:
    """Let the pool give nothing out until `quanma reconcile`: say that a copy was put back, where it can't be known."""
    maintenance.fence(*database_of(config_path, database), int(time.time()))
    tell("the pool is fenced: it gives nothing out until `quanma reconcile` says so")


@click.command()
@_config
@_database
@click.option(
    "--issued",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File of codes that were given out since the copy was made: a table with the columns stock_id and "
    "coupon_code (批次号, 券码), or what `quanma listen` kept.",
)
@click.option("--nothing-issued", is_flag=True, help="Nothing was given out since the copy was made.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@click.option(
    "--accept-short",
    type=click.IntRange(min=0),
    metavar="N",
    help="Go on although N missing coupons are not accounted for: exactly so many.",
)
def reconcile(
    config_path: Path,
    database: str | None,
    issued: Path | None,
    nothing_issued: bool,
    dry_run: bool,
    accept_short: int | None,
) -> int:
    """Show whether the pool is fenced, and lift the fence: say what was given out that this copy does not know.

    Nothing is changed unless that accounts for the coupons that are known to be missing. A SQLite pool must be
    stopped. Exit status 1 while it is fenced, and for a file that is refused, in a dry run too.
    """
    if issued is not None and nothing_issued:
        raise click.UsageError("--issued and --nothing-issued exclude each other")
    if issued is None and not nothing_issued and (dry_run or accept_short is not None):
        raise click.UsageError("--dry-run and --accept-short go with --issued FILE or --nothing-issued")
    url, folder = database_of(config_path, database)
    # Before the pool is looked at: a file that can't be read is told alone.
    file = None if issued is None else reconcile_file.read_reconcile_file(issued)
    status = maintenance.status(url, folder)
    _show(status)
    if status.fenced is None and file is None:
        tell("not fenced: there is nothing to reconcile")
        return 0
    if file is None and not nothing_issued:
        tell("  next: find out which codes were given out since: the merchants' events and orders tell. Then")
        tell("        quanma reconcile --issued FILE      takes them out and lifts the fence")
        tell("        quanma reconcile --nothing-issued   lifts it on your word")
        return 1
    done = maintenance.reconcile(url, folder, file, int(time.time()), accept_short=accept_short, dry_run=dry_run)
    if file is not None:
        _show_read(file, done, dry_run=dry_run)
    still = "the pool stays fenced" if status.fenced is not None else "the pool is as it was"
    if done.refused:
        tell("REFUSED, nothing was changed:")
        for reason in done.refused:
            tell(f"  {reason}")
        tell(still)
        return 1
    for named in done.by_itself:
        told = f"{masked(named.coupon_code)} of stock {named.stock_id}"
        tell(f"  {told}: known here as given out since, though no line names it: taken out too")
    if dry_run:
        lifted = ", and the fence lifted" if status.fenced is not None else ""
        tell(f"dry run: {len(done.take_out):,} codes would be taken out{lifted}; nothing was changed, {still}")
        return 0
    if done.short:
        tell(f"{done.short:,} coupons that are missing were accepted as not accounted for")
    if status.fenced is None:
        tell("the pool was not fenced: it gives out codes as before, but for those that were taken out")
    else:
        tell("the fence is lifted: the pool gives out codes again")
    return 0


def _show_read(file: reconcile_file.ReconcileFile, done: Decision, *, dry_run: bool) -> None:
    def told(lines: Sequence[int], what: str) -> None:
        if lines:
            tell(f"  {file.name}, {reconciling.told_lines(lines)}: {what}")

    told(done.known, "given out before the copy was made: left as it is")
    told(done.absent, "this copy does not hold the code: it will be no new one")
    told(done.again, "taken out already, by an earlier line or an earlier reconcile")
    if file.left_out:
        tell(f"  {file.name}: {file.left_out:,} events of another kind were left aside")
    outcome = "free here" if done.refused or dry_run else "taken out of the pool"
    of_file = len(done.take_out) - sum((one.stock_id, one.coupon_code) in done.take_out for one in done.by_itself)
    rest = len(file.codes) - of_file - len(done.known) - len(done.absent) - len(done.again)
    others = (f", {len(done.again):,} again" if done.again else "") + (f", {rest:,} others" if rest else "")
    tell(
        f"{len(file.codes):,} codes read: {of_file:,} {outcome}, {len(done.known):,} known as given "
        f"out, {len(done.absent):,} not held{others}"
    )


@click.command()
@_config
@_database
@click.argument("to", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
def export(config_path: Path, database: str | None, to: Path) -> None:
    """Write all that a stopped pool holds to FILE, to import it elsewhere; the pool itself is fenced from then on."""
    sums = maintenance.export(*database_of(config_path, database), to, int(time.time()))
    _show_sums(sums)
    tell(f"wrote {to}: {to.stat().st_size:,} bytes; the pool is fenced: it lives where this is imported")
    tell("  if it is imported nowhere: quanma reconcile --nothing-issued   gives this pool back")


@click.command("import")
@_config
@_database
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def import_(config_path: Path, database: str | None, source: Path) -> int:
    """Fill an empty pool with what `quanma export` wrote to FILE, and compare the sums of both."""
    sums, different = maintenance.take_in(*database_of(config_path, database), source)
    _show_sums(sums)
    for line in different:
        tell(f"DIFFERENT: {line}")
    if different:
        tell("nothing was imported: the pool is as empty as before")
        return 1
    tell("imported: the sums of both are the same")
    return 0


def _show_sums(sums: list[transfer.Sum]) -> None:
    click.echo(f"  {'':<16}{said('records'):>14}{said('codes'):>14}  {said('checksum')}")
    for kind, records, codes, checksum in transfer.by_kind(sums):
        in_them = f"{codes:,}" if codes else ""
        click.echo(f"  {kind:<16}{records:>14,}{in_them:>14}  {checksum}")


def _show(status: PoolStatus) -> None:
    def when(at: str | None) -> str:
        return "none" if at is None else f"the last at {at}"

    if status.fenced is not None:
        tell(f"FENCED, nothing is given out: {status.fenced}")
    if (missing := status.lacking.told()) is not None:
        tell(f"  missing    {missing}")
    for stock in status.lacking.stocks:
        tell(f"    stock {stock.stock_id}: {stock.coupons:,}, of them {len(stock.named):,} known by name")
        for named in stock.named:
            number = f", out_request_no {named.out_request_no}" if named.out_request_no else ""
            tell(f"      {masked(named.coupon_code)}{number}")
    tell(f"  stocks     {status.stocks:,}")
    uploads = when(status.last_upload_at)
    tell(f"  codes      {status.codes:,}, of them {status.available:,} free; uploads: {uploads}")
    tell(f"  coupons    {status.coupons:,}; {when(status.last_coupon_at)}")
