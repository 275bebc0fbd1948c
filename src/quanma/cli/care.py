"""`quanma migrate`, `backup`, `reconcile`, `export`, `import`: what is done beside serving a platform."""

from __future__ import annotations

import time
from pathlib import Path

import click

from ..platform import config
from ..platform.pool import care, house, issued_codes
from ..platform.pool.standing import Standing

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
    done = care.migrate(*database_of(config_path, database), distributed=distributed)
    for step in done:
        click.echo(f"  {step}", err=True)
    click.echo(f"{len(done)} steps applied" if done else "nothing to do: the tables are this version's", err=True)


@click.command()
@_config
@_database
@click.argument("to", metavar="TO", type=click.Path(path_type=Path, dir_okay=False))
def backup(config_path: Path, database: str | None, to: Path) -> None:
    """Copy a SQLite pool to the file TO while it is served: verified, private, and fenced where it is served."""
    size = care.backup(*database_of(config_path, database), to, int(time.time()))
    click.echo(f"wrote {to}: {size:,} bytes, every row of it verified", err=True)
    click.echo(
        "  served, it gives nothing out until `quanma reconcile` has been told what was given out since", err=True
    )


@click.command()
@_config
@_database
@click.option(
    "--issued",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="CSV of codes that were given out since the copy was made: stock_id,coupon_code[,…].",
)
@click.option("--nothing-issued", is_flag=True, help="Nothing was given out since the copy was made.")
def reconcile(config_path: Path, database: str | None, issued: Path | None, nothing_issued: bool) -> int:
    """Show whether the pool is fenced, and lift the fence: say what was given out that this copy does not know.

    A SQLite pool must be stopped. Exit status 1 while it is fenced.
    """
    if issued is not None and nothing_issued:
        raise click.UsageError("--issued and --nothing-issued exclude each other")
    url, folder = database_of(config_path, database)
    standing = care.standing(url, folder)
    _show(standing)
    if standing.fenced is None:
        click.echo("not fenced: there is nothing to reconcile")
        return 0
    if issued is None and not nothing_issued:
        click.echo("  next: find out which codes were given out since: the merchants' events and orders tell. Then")
        click.echo("        quanma reconcile --issued FILE      takes them out and lifts the fence")
        click.echo("        quanma reconcile --nothing-issued   lifts it on your word")
        return 1
    codes = issued_codes.read_issued(issued) if issued is not None else []
    done = care.reconcile(url, folder, codes, int(time.time()))
    if issued is not None:
        for line in done.known:
            click.echo(f"  {issued}, line {line}: given out before the copy was made: left as it is")
        for line in done.unknown:
            click.echo(f"  {issued}, line {line}: this copy does not hold the code: it will be no new one")
        click.echo(
            f"{len(codes):,} codes read: {done.taken_out:,} taken out of the pool, {len(done.known):,} known as given "
            f"out, {len(done.unknown):,} not held"
        )
    click.echo("the fence is lifted: the pool gives out codes again")
    return 0


@click.command()
@_config
@_database
@click.argument("to", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
def export(config_path: Path, database: str | None, to: Path) -> None:
    """Write all that a stopped pool holds to FILE, to import it elsewhere; the pool itself is fenced from then on."""
    sums = care.export(*database_of(config_path, database), to, int(time.time()))
    _show_sums(sums)
    click.echo(f"wrote {to}: {to.stat().st_size:,} bytes; the pool is fenced: it lives where this is imported")


@click.command("import")
@_config
@_database
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def import_(config_path: Path, database: str | None, source: Path) -> int:
    """Fill an empty pool with what `quanma export` wrote to FILE, and compare the sums of both."""
    sums, different = care.take_in(*database_of(config_path, database), source)
    _show_sums(sums)
    for line in different:
        click.echo(f"DIFFERENT: {line}")
    if different:
        click.echo("nothing was imported: the pool is as empty as before")
        return 1
    click.echo("imported: the sums of both are the same")
    return 0


def _show_sums(sums: list[house.Sum]) -> None:
    click.echo(f"  {'':<16}{'records':>14}{'codes':>14}  checksum")
    for kind, records, codes, checksum in house.by_kind(sums):
        in_them = f"{codes:,}" if codes else ""
        click.echo(f"  {kind:<16}{records:>14,}{in_them:>14}  {checksum}")


def _show(standing: Standing) -> None:
    def when(at: str | None) -> str:
        return "none" if at is None else f"the last at {at}"

    if standing.fenced is not None:
        click.echo(f"FENCED, nothing is given out: {standing.fenced}")
    if standing.missing is not None:
        click.echo(f"  missing    {standing.missing}")
    click.echo(f"  stocks     {standing.stocks:,}")
    uploads = when(standing.last_upload_at)
    click.echo(f"  codes      {standing.codes:,}, of them {standing.available:,} free; uploads: {uploads}")
    click.echo(f"  coupons    {standing.coupons:,}; {when(standing.last_coupon_at)}")
