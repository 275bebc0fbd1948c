"""`quanma codes generate` and `quanma codes check`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from ..storage import private
from ..upload import codes as making
from ..upload import prepare
from ..upload.source import Block, Source, open_sources
from ..upload.survey import Survey
from ..upload.target import BUSIFAVOR, TARGETS
from . import output
from .codelist import list_codes
from .main import DONE, REJECTED
from .nearby import NearGroup
from .reading import limit_options, limits_of, reading_of, reading_options, say_planned
from .speaking import tell


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
    tell(f"{out}: {count:,} codes", err=True)


@codes.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@reading_options
@limit_options
def check(files: tuple[str, ...], **options: Any) -> int:
    """Say what an upload would say of FILEs, which codes each target would take, and why not the others.

    Nothing is sent, and no merchant is needed. Exit status: 0 an upload would take all of it; 3 it would not.
    """
    reading, limits = reading_of(options), limits_of(options)
    sources: list[Source] = []
    for file in files:
        sources += open_sources(file, reading)
    names = [source.name for source in sources]
    for source in sources:
        for note in source.notes:
            output.say(f"{source.name}: {note}")
    surveys = {name: Survey(names, target.rule, take_odd=reading.take_odd) for name, target in TARGETS.items()}

    def watch(input_no: int, block: Block) -> None:
        for survey in surveys.values():
            survey.add(input_no, block)

    with output.reading() as progress:
        planned = prepare.look_only(BUSIFAVOR, sources, reading, Path(tempfile.gettempdir()), progress, watch)
    say_planned(planned._replace(reasons=()), codes=True)
    for name, target in TARGETS.items():
        survey = surveys[name]
        tell(f"{name} ({target.about}): takes {survey.rows - survey.rejected:,} of {survey.rows:,} rows")
        for reason in survey.reasons():
            tell(f"  rejected: {reason}")
    refused = prepare.objection(planned, limits)
    if refused is not None:
        output.say(f"an upload would stop before the first request: {refused.reason}")
    return REJECTED if refused or any(survey.rejected for survey in surveys.values()) else DONE
