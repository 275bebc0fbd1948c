"""`quanma doctor`: what is wrong with settings, keys, clock and network, and how to mend it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from ..client.exchange import Clocks
from ..doctor import bundle as bundles
from ..doctor import telling
from ..doctor.check import Status
from ..doctor.examine import CHECKS, GROUPS, Result, examine
from ..doctor.subject import Subject
from .connection import config_option
from .language import said
from .main import DONE, FAILED
from .nearby import closest, question
from .speaking import tell

CLOCKS = Clocks(time.time, time.monotonic)


@click.command()
@click.argument("words", metavar="[CHECK]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for programs.")
@click.option("--strict", is_flag=True, help="A warning counts as a failure.")
@click.option("--callback", metavar="URL", help="Look at this callback address too: a probe is posted to it.")
@click.option("--report", "as_report", is_flag=True, help="Print Markdown for an issue, without secrets.")
@click.option(
    "--bundle",
    metavar="FILE.zip",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a file for whoever helps: versions, shapes of settings, results, the log; no secrets.",
)
@click.option("--list", "is_list", is_flag=True, help="List the checks.")
@click.option("-v", "--verbose", is_flag=True, help="Show the checks that passed, too.")
@config_option
def doctor(
    words: Sequence[str],
    as_json: bool,
    strict: bool,
    callback: str | None,
    as_report: bool,
    bundle: Path | None,
    is_list: bool,
    verbose: bool,
    config: Path | None,
) -> int:
    """Find what is wrong with settings, keys, the clock and the way to the platform, and how to mend it.

    CHECK is a group, like clock or keys, or one check, like keys.pair; without it all are run. Nothing is changed
    at the platform, and no secret is shown. Exit status: 0 no check failed · 1 one did.
    """
    if is_list:
        for check in CHECKS:
            click.echo(f"{check.id:<22}{said(check.what)}")
        return DONE
    if as_json + as_report + (bundle is not None and as_report) > 1:
        raise click.UsageError("--json, --report and --bundle exclude each other")
    for word in words:
        if word not in {*GROUPS, *(check.id for check in CHECKS)}:
            near = closest(word, [*GROUPS, *(check.id for check in CHECKS)])
            raise click.UsageError(
                f"no check {word!r}{question(near, 'quanma doctor')}; `quanma doctor --list` lists them"
            )
    with bundles.LastLines() as log:
        subject = Subject(config, CLOCKS, callback=callback)
        try:
            results = examine(subject, words)
        finally:
            subject.close()
    told = telling.report(results, strict=strict)
    if bundle is not None:
        bundles.write_bundle(bundle, told, subject, list(log.lines))
    redacted = telling.Redactor(subject)
    if as_json:
        click.echo(redacted(telling.as_json(told)))
    elif as_report:
        click.echo(telling.as_markdown(told, subject))
    else:
        for line in _lines(results, verbose=verbose or bool(words)):
            click.echo(redacted(line))
        tell(_closing(results))
        if bundle is not None:
            tell(f"  wrote {bundle}: look into it, then hand it on")
        elif not told.ok:
            tell(f"  next: {_next(results)}")
    return DONE if told.ok else FAILED


_SIGNS = {Status.PASS: "✓", Status.WARN: "!", Status.FAIL: "✗", Status.SKIP: "–"}
_WORST = (Status.FAIL, Status.WARN, Status.PASS, Status.SKIP)


def _lines(results: Sequence[Result], *, verbose: bool) -> Iterator[str]:
    """A line for each group; below it what did not pass, and how to mend it."""
    for group in GROUPS:
        members = [one for one in results if one.id.partition(".")[0] == group]
        if not members:
            continue
        worst = next(status for status in _WORST if any(one.status == status for one in members))
        yield f"{_SIGNS[worst]} {_word(worst)}  {group}"
        for one in members:
            if one.status == Status.PASS and not verbose:
                continue
            yield f"    {_SIGNS[one.status]} {_word(one.status)}  {one.id}  {said(one.what)}"
            if one.detail:
                yield f"        {said(one.detail)}"
            if one.fix:
                yield from _mend(one.fix)


def _word(status: Status) -> str:
    return {Status.PASS: said("pass"), Status.WARN: said("warn"), Status.FAIL: said("fail"), Status.SKIP: said("skip")}[
        status
    ]


def _mend(fix: str) -> Iterator[str]:
    first, *more = said(fix).split("\n")
    yield f"        {said('mend:')} {first}"
    yield from (f"              {line}" for line in more)


def _closing(results: Sequence[Result]) -> str:
    counts = [sum(one.status == status for one in results) for status in Status]
    passed, warned, failed, skipped = counts
    return f"{len(results)} checks: {passed:d} passed, {warned:d} warned, {failed:d} failed, {skipped:d} skipped"


def _next(results: Sequence[Result]) -> str:
    groups = dict.fromkeys(one.id.partition(".")[0] for one in results if one.status in (Status.FAIL, Status.WARN))
    return f"mend these, then `quanma doctor {' '.join(groups)}`"
