"""From inputs and a stock to a planned ledger: everything that happens before the first batch is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import LedgerRefused, StoreUnavailable
from .ledger import Input, Inputs, Ledger
from .plan import Planned, plan
from .source import Source
from .target import StockFacts, Target

STANDARD_INPUT = "standard input"


def default_ledger(first_input: str, stock_id: str) -> Path:
    """`FILE.STOCK.quanma` beside the first input."""
    return Path(f"{'stdin' if first_input == '-' else first_input}.{stock_id.replace('/', '-')}.quanma")


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
    *,
    column: str | None,
    trim: bool,
    progress: Callable[[int], None] = lambda rows: None,
) -> Planned:
    """Read the sources to their end and write the plan, all or nothing.

    Raises:
        SourceUnreadable: an input can't be read row by row. The ledger holds no plan then.
        StoreUnavailable: the plan can't be written. Nor does it then.
    """
    folder = ledger.path.resolve().parent
    ledger.begin_plan()
    try:
        planned = plan(sources, target.rule, target.batch_codes_max, ledger, folder, progress)
        inputs = Inputs([Input(source.name, source.fingerprint()) for source in sources], column, trim)
        ledger.end_plan(planned, inputs)
    except OSError as problem:
        ledger.drop_plan()
        raise StoreUnavailable(
            f"the plan can't be written in {folder} ({problem.strerror}): free the disk, then --resume"
        ) from problem
    except BaseException:
        ledger.drop_plan()
        raise
    return planned


def check_unchanged(ledger: Ledger, sources: Sequence[Source], *, column: str | None, trim: bool) -> None:
    """Raises LedgerRefused: the inputs, or how they are read, are not those that the ledger planned."""
    known = ledger.inputs
    if [source.name for source in sources] != [source.name for source in known.sources]:
        planned = ", ".join(source.name for source in known.sources)
        raise LedgerRefused(f"{ledger.path} was planned from {planned}: name the same files, or another --ledger")
    if (column, trim) != (known.column, known.trim):
        raise LedgerRefused(
            f"{ledger.path} was planned with --column {known.column or '(none)'} and "
            f"{'--trim' if known.trim else 'without --trim'}: use the same"
        )
    for source, planned_input in zip(sources, known.sources, strict=True):
        if source.name != STANDARD_INPUT and source.fingerprint() != planned_input.fingerprint:
            raise LedgerRefused(
                f"{source.name} changed since it was planned: put the old file back to resume, "
                "or upload the new one with --restart (codes that were sent come back as existed)"
            )
