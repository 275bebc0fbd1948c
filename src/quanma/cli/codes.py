"""`quanma codes generate` and `quanma codes check`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from ..storage import private
from ..upload import codes as making
from ..upload.plan import sorted_block
from ..upload.source import open_source
from ..upload.target import TARGETS
from .codelist import list_codes
from .main import DONE, REJECTED
from .nearby import NearGroup

EXAMPLES = 5


@click.group(cls=NearGroup)
def codes() -> None:
    """Make codes, check a file of codes against every target, or list those of a stock."""


codes.add_command(list_codes)


@codes.command()
@click.argument("count", metavar="N", type=click.IntRange(1))
@click.option("--length", default=making.LENGTH_DEFAULT, show_default=True, help="Characters of a code, 6 to 20.")
@click.option("--prefix", default="", help="Letters and digits that every code begins with.")
@click.option("--check-digit", "check", is_flag=True, help="End each code with a check character (Luhn mod 32).")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write, mode 0600. [default: stdout]"
)
def generate(count: int, length: int, prefix: str, check: bool, out: Path | None) -> None:
    """Make N different, unguessable codes, legal for every target, one a line."""
    made = making.generate(count, length=length, check=check, prefix=prefix)
    if out is None:
        for code in made:
            click.echo(code)
        return
    try:
        with open(private.make(out), "w", encoding="utf-8") as file:
            file.writelines(f"{code}\n" for code in made)
    except OSError as problem:
        raise click.ClickException(f"{out} can't be written: {problem.strerror}: name a new file") from None
    click.echo(f"{out}: {count:,} codes", err=True)


@codes.command()
@click.argument("file")
@click.option("--column", help="The column with the codes, by name or number from 1.")
@click.option("--trim", is_flag=True, help="Take blanks off both ends of each code.")
def check(file: str, column: str | None, trim: bool) -> int:
    """Say which codes of a FILE each target would take, and why not."""
    source = open_source(file, column=column, trim=trim)
    for note in source.notes:
        click.echo(f"{source.name}: {note}", err=True)
    rows = 0
    refused: Counter[str] = Counter()
    examples: dict[str, list[str]] = {name: [] for name in TARGETS}
    for block in source.blocks():
        rows += len(block.codes)
        for name, target in TARGETS.items():
            bad = sorted_block(block, 0, target.rule).rejected
            refused[name] += len(bad)
            room = EXAMPLES - len(examples[name])
            examples[name] += [f"row {one.row}: {one.reason}" for one in bad[:room]]
    for name, target in TARGETS.items():
        click.echo(f"{name} ({target.about}): takes {rows - refused[name]:,} of {rows:,} rows")
        for example in examples[name]:
            click.echo(f"  {example}")
    return DONE if not any(refused.values()) else REJECTED
