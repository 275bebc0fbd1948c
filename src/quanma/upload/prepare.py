"""From inputs and a stock to a planned ledger: everything that happens before the first batch is sent."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from ..errors import LedgerRefused, StoreUnavailable
from ..storage import paths
from .ledger import Input, Inputs, Ledger
from .plan import Duplicate, Planned, PlannedBatch, plan
from .sorting import Rejected
from .source import PLAIN, Block, Reading, Source
from .source.content import PIPE, STANDARD_INPUT, name_of
from .target import StockFacts, Target


def default_ledger(first_input: str, stock_id: str) -> Path:
    """`FILE.STOCK.quanma` beside the first input; for standard input, or a pipe, in the current folder."""
    name = {STANDARD_INPUT: "stdin", PIPE: "pipe"}.get(name_of(first_input), first_input)
    return Path(f"{name}.{stock_id.replace('/', '-')}.quanma")


class Room(NamedTuple):
    """What a stock says before anything is sent: lines to show, and why it can't be used, if so."""

    lines: list[str]
    refusal: str | None


def check_stock(target: Target, facts: StockFacts) -> Room:
    """Decide in plain words whether a stock takes these uploads at all."""
    until = f", until {facts.ends_at}" if facts.ends_at else ""
    lines = [f"stock {facts.stock_id} ({facts.name}): {facts.mode}, {facts.state}{until}"]
    if facts.mode != target.upload_mode:
        return Room(
            lines,
            f"stock {facts.stock_id} has coupon_code_mode {facts.mode}, and only {target.upload_mode} takes codes; "
            "the mode can't be changed, create a new stock",
        )
    if facts.state in target.ended_states:
        return Room(lines, f"stock {facts.stock_id} is {facts.state} and takes no uploads any more: create a new stock")
    if facts.codes_max is not None and facts.code_total is not None:
        lines.append(f"  holds {facts.code_total:,} of at most {facts.codes_max:,} codes")
    return Room(lines, None)


def check_room(facts: StockFacts, distinct: int) -> str | None:
    """Warn when the stock is too small. Some of the codes may be in it already, so it is not refused."""
    if facts.codes_max is None or facts.code_total is None:
        return None
    room = facts.codes_max - facts.code_total
    if distinct <= room:
        return None
    return (
        f"{distinct:,} codes are more than the {room:,} that the stock has room for: "
        "raise max_coupons first, or the upload stops when it is full"
    )


def make_plan(
    ledger: Ledger,
    target: Target,
    sources: Sequence[Source],
    reading: Reading = PLAIN,
    *,
    command: str = "",
    check: Callable[[Planned], None] = lambda planned: None,
    progress: Callable[[int], None] = lambda rows: None,
) -> Planned:
    """Read the sources to their end and write the plan, all or nothing.

    `reading`: how they were opened. `command`: what resumes the upload. `check`: looks at the plan before it is
    written; where it raises, there is none.

    Raises:
        SourceUnreadable: an input can't be read row by row. The ledger holds no plan then.
        StoreUnavailable: the plan can't be written. Nor does it then.
    """
    folder = ledger.path.resolve().parent
    ledger.begin_plan()
    try:
        planned = plan(
            sources, target.rule, target.batch_codes_max, ledger, folder, progress, take_odd=reading.take_odd
        )
        check(planned)
        inputs = [Input(source.name, source.fingerprint()) for source in sources]
        ledger.end_plan(planned, Inputs.read(reading, inputs, command))
    except OSError as problem:
        ledger.drop_plan()
        raise StoreUnavailable(
            f"the plan can't be written in {paths.shown(folder)} ({problem.strerror}): free the disk, then --resume"
        ) from problem
    except BaseException:
        ledger.drop_plan()
        raise
    return planned


def look_only(
    target: Target,
    sources: Sequence[Source],
    reading: Reading,
    folder: Path,
    progress: Callable[[int], None] = lambda rows: None,
    watch: Callable[[int, Block], None] = lambda input_no, block: None,
) -> Planned:
    """Read the sources to their end and keep nothing; `watch` sees each block.

    Temporary files go to the folder; where it takes none, to $TMPDIR.

    Raises:
        SourceUnreadable: an input can't be read row by row.
        StoreUnavailable: there is no room for temporary files.
    """
    # A folder that is not there, or not ours, is no hindrance here: nothing is to stay in it.
    where = folder if os.access(folder, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    try:
        return plan(
            sources,
            target.rule,
            target.batch_codes_max,
            Nobody(),
            where,
            progress,
            take_odd=reading.take_odd,
            watch=watch,
        )
    except OSError as problem:
        raise StoreUnavailable(
            f"no temporary file can be written in {paths.shown(where)} ({problem.strerror}): free the disk, or set "
            "TMPDIR to another folder"
        ) from problem


class Nobody:
    """Keeps nothing of a plan."""

    def keep_batches(self, batches: Sequence[PlannedBatch]) -> None: ...
    def keep_duplicates(self, rows: Sequence[Duplicate]) -> None: ...
    def keep_rejected(self, rows: Sequence[Rejected]) -> None: ...


class Limits(NamedTuple):
    """What a file may be like and still be sent."""

    rejected_max: float = 0.01
    """Share of its rows."""
    strict: bool = False
    """No warning either."""
    empty: bool = False
    """It may have no code at all."""


class Objection(NamedTuple):
    """Why a plan is not to be sent as it is. `ask`: who is there may decide to go on."""

    reason: str
    ask: bool


def objection(planned: Planned, limits: Limits) -> Objection | None:
    """Decide whether a plan may be sent without a question."""
    if planned.empty and not limits.empty:
        return Objection(
            f"{planned.empty[0]}: look whether the export failed; a job that expects this says --allow-empty", ask=False
        )
    if planned.warnings and limits.strict:
        kinds = "a warning" if planned.warned == 1 else f"{planned.warned} warnings"
        return Objection(f"there {'is' if planned.warned == 1 else 'are'} {kinds}, and --strict allows none", ask=False)
    if planned.rejected > limits.rejected_max * planned.rows:
        share = 100 * planned.rejected / planned.rows
        return Objection(
            f"{planned.rejected:,} of {planned.rows:,} rows ({share:.3g} %) are rejected, more than "
            f"{100 * limits.rejected_max:g} %",
            ask=True,
        )
    return None


def check_unchanged(ledger: Ledger, sources: Sequence[Source], reading: Reading = PLAIN) -> None:
    """Raises LedgerRefused: the inputs, or how they are read, are not those that the ledger planned.

    Standard input and pipes are not read again: what they gave is in the ledger.
    """
    known, shown = ledger.inputs, paths.shown(ledger.path)
    if list(map(_lasting, (source.name for source in sources))) != [_lasting(one.name) for one in known.sources]:
        planned = ", ".join(source.name for source in known.sources)
        raise LedgerRefused(f"{shown} was planned from {planned}: name the same files, or another --ledger")
    if reading != known.reading:
        raise LedgerRefused(f"{shown} was planned {_told(known.reading)}: use the same")
    for source, planned_input in zip(sources, known.sources, strict=True):
        if _lasting(source.name) != STANDARD_INPUT and source.fingerprint() != planned_input.fingerprint:
            raise LedgerRefused(
                f"{source.name} changed since it was planned: put the old file back to resume, "
                "or upload the new one with --restart (codes that were sent come back as existed)"
            )


def _lasting(name: str) -> str:
    return STANDARD_INPUT if name == PIPE else name


def _told(reading: Reading) -> str:
    """`with --column code and without --trim`: and whatever else was said."""
    words = [f"with --column {reading.column or '(none)'} and {'--trim' if reading.trim else 'without --trim'}"]
    words += options(reading, but=("column", "trim"))
    return " ".join(words)


def options(reading: Reading, but: Sequence[str] = ()) -> list[str]:
    """Return the words of the command line that say how a file is read."""
    words: list[str] = []
    for field in msgspec.structs.fields(reading):
        value = getattr(reading, field.name)
        if field.name in but or value == field.default:
            continue
        option = f"--{field.name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif isinstance(value, tuple):
            words += (word for one in value for word in (option, one if isinstance(one, str) else "=".join(one)))
        else:
            words += [option, str(value)]
    return words
