"""What becomes of a copy when somebody says which codes were given out since: decided for every back end, here. Pure.

A copy that is served gives codes out twice, unless those that were given out since are taken out of it first. What the
copy is known to lack, a file must account for; else nothing is changed, and the fence stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import Final, NamedTuple

from ...errors import masked
from .reconcile_file import ReconcileFile

LINES_NAMED = 5
"""So many lines of a kind are named in a message; of the others, how many there are."""


class Named(NamedTuple):
    """A coupon that is known to have been given out since, by the mark or by a witness."""

    stock_id: str
    coupon_code: str
    out_request_no: str | None = None
    """None: only the code is known."""


class Missing(NamedTuple):
    """What a copy is known to lack of one stock."""

    stock_id: str
    coupons: int
    """At least so many."""
    named: Sequence[Named] = ()
    """Those of them that are known by name. They count as accounted for, and are taken out whatever a file says."""


class Lacking(NamedTuple):
    """What a copy is known to lack."""

    coupons: int | None = None
    """Of all stocks; None: it is not known. `stocks` may know of more."""
    stocks: Sequence[Missing] = ()
    last: Named | None = None
    """The last coupon that was acknowledged, if it is missing. A file of all that was given out has it, so it must
    stand there; and it is taken out in any case."""
    commits: int = 0
    """Whatever they were: uploads, deletions and uses as well."""
    codes: int = 0
    """So many were uploaded since. The copy can't know them, and some of them may have been given out."""

    @property
    def missing(self) -> int | None:
        """How many coupons are missing, at least; None: it is not known."""
        if self.coupons is None and not self.stocks and self.last is None:
            return None
        return max(self.coupons or 0, sum(each.coupons for each in self.stocks), 1 if self.last else 0)

    @property
    def named(self) -> list[Named]:
        """Coupons that count as accounted for without a file."""
        return [one for each in self.stocks for one in each.named]

    def told(self) -> str | None:
        """In words; None: it is not known, or nothing is missing."""
        if self.missing is None or not (self.missing or self.commits):
            return None
        coupons = _counted(self.missing, "coupon")
        said = f"{_counted(self.commits, 'acknowledged commit')} with {coupons}" if self.commits else coupons
        return said if self.missing or not self.commits else _counted(self.commits, "acknowledged commit")


NOT_KNOWN: Final = Lacking()


class CodeState(Enum):
    """What a copy knows of a code."""

    FREE = "it would be drawn"
    GIVEN = "a coupon of this copy carries it"
    KEPT_OUT = "an earlier reconcile took it out"
    ABSENT = "the stock takes uploads, and does not hold it"
    OPEN = "the stock takes no uploads: each coupon brings its code, and none brought this one"
    NO_STOCK = "there is no such stock"


Pair = tuple[str, str]
"""A stock and a code."""


class Decision(NamedTuple):
    """What is to be done, all or none of it; or why nothing is."""

    refused: Sequence[str]
    """Reasons, each with its next step. Where there is one, nothing is to be done."""
    take_out: Sequence[Pair]
    """Free codes: nobody may be given them any more."""
    keep_out: Sequence[Pair]
    """Codes that the copy does not hold: they are no new ones when they are uploaded."""
    by_itself: Sequence[Named]
    """Of both, those that stand in no file: the mark or a witness names them."""
    known: Sequence[int] = ()
    """Lines whose code a coupon of this copy carries: it was given out before the copy was made."""
    absent: Sequence[int] = ()
    """Lines whose code the copy does not hold."""
    again: Sequence[int] = ()
    """Lines that repeat an earlier one, or that an earlier reconcile did."""
    missing: int | None = None
    short: int = 0
    """How many of the missing coupons nobody accounts for."""


def pairs(issued: ReconcileFile | None, lacking: Lacking) -> set[Pair]:
    """The codes whose state `decide` asks for."""
    return {_pair(one) for one in _all_named(lacking)} | {
        (code.stock_id, code.coupon_code) for code in (issued.codes if issued else ())
    }


def decide(
    issued: ReconcileFile | None,
    lacking: Lacking,
    states: Mapping[Pair, CodeState],
    stocks: Collection[str],
    *,
    fenced: bool,
    accept_short: int | None = None,
) -> Decision:
    """Decide what a file does to a copy; without one (None), what the word does that nothing was given out.

    `states`: of all `pairs`. `stocks`: the ids of those that the copy holds. `accept_short`: so many missing coupons
    need not be accounted for, if that is how many there are.

    A line accounts for a missing coupon if its code is free here, or is named by the mark. One whose code the copy
    does not hold is a slip, unless codes were uploaded since: of those, as many as there may be account for one each.
    """
    lines: dict[Pair, int] = {}
    again: list[int] = []
    for code in issued.codes if issued else ():
        if (pair := (code.stock_id, code.coupon_code)) in lines:
            again.append(code.line)
        else:
            lines[pair] = code.line
    if lacking.last is not None and states[_pair(lacking.last)] is CodeState.NO_STOCK:
        lacking = lacking._replace(last=None)  # Its line would be refused, and there is nothing to take out.
    read = _Read(lines, {state: [pair for pair in lines if states[pair] is state] for state in CodeState})
    missing = lacking.missing if fenced else None
    short = _short(read, lacking) if fenced else 0
    refused = [] if issued is None else _why_unfit(issued, read, missing, stocks)
    if not refused:
        refused = _why_not_enough(issued, read, lacking, missing, short, accept_short, fenced=fenced)
    by_itself = [one for one in _all_named(lacking) if _pair(one) not in lines]
    news = [*lines, *map(_pair, by_itself)]
    return Decision(
        refused,
        [pair for pair in news if states[pair] is CodeState.FREE],
        [pair for pair in news if states[pair] in (CodeState.ABSENT, CodeState.OPEN)],
        by_itself,
        [lines[pair] for pair in read.by_state[CodeState.GIVEN]],
        [lines[pair] for pair in read.by_state[CodeState.ABSENT]],
        sorted([*again, *(lines[pair] for pair in read.by_state[CodeState.KEPT_OUT])]),
        missing,
        short,
    )


def delete_request_no(coupon_code: str) -> str:
    """Under which number a code is taken out: no merchant can have used it, for theirs have 128 characters at most."""
    return f"{'reconciled':<129}{coupon_code}"


def is_taken_out(number: str) -> bool:
    """Whether a deletion's number is of that form, or of the form that an earlier version gave it."""
    return number.startswith((f"{'reconciled':<129}", "reconciled\n"))


def told_lines(numbers: Sequence[int]) -> str:
    """`line 3`, `lines 3 and 4`, `lines 3, 4, 5, 6, 7 and 48 more`."""
    if len(numbers) == 1:
        return f"line {numbers[0]}"
    shown = [str(number) for number in numbers[:LINES_NAMED]]
    if (more := len(numbers) - LINES_NAMED) > 0:
        return f"lines {', '.join(shown)} and {more:,} more"
    return f"lines {', '.join(shown[:-1])} and {shown[-1]}"


class _Read(NamedTuple):
    """What stands in a file: each code once, and by what the copy knows of it."""

    lines: Mapping[Pair, int]
    by_state: Mapping[CodeState, Sequence[Pair]]


def _why_unfit(issued: ReconcileFile, read: _Read, missing: int | None, stocks: Collection[str]) -> list[str]:
    """Why the file can't be what it should be, whatever is missing."""
    if not read.lines:
        others = f", only {_counted(issued.left_out, 'event')} of another kind" if issued.left_out else ""
        if missing:
            coupons = _counted(missing, "coupon")
            return [f"{issued.name} holds no code{others}: {coupons} missing, 0 accounted for: list them"]
        return [f"{issued.name} holds no code{others}: if nothing was given out since the copy, say --nothing-issued"]
    of_no_stock = read.by_state[CodeState.NO_STOCK]
    if any(coupon_code in stocks for _, coupon_code in of_no_stock):
        reason = (
            f"{issued.name}: {issued.stock_column} holds codes, and {issued.code_column} stock ids: swap them, or name "
            "them in a header, stock_id and coupon_code"
        )
        return [reason]
    if not of_no_stock:
        return []
    lines: dict[str, list[int]] = {}
    for pair in of_no_stock:
        lines.setdefault(pair[0], []).append(read.lines[pair])
    told = [f"{stock_id!r} ({told_lines(numbers)})" for stock_id, numbers in lines.items()]
    if (more := len(told) - LINES_NAMED) > 0:
        told = [*told[:LINES_NAMED], f"{more:,} more"]
    reason = (
        f"{issued.name}: {issued.stock_column} names stocks that are not here: {', '.join(told)}: correct them, or "
        "leave these lines out if the stock was made after the copy"
    )
    return [reason]


def _short(read: _Read, lacking: Lacking) -> int:
    """How many of the coupons that are known to be missing nobody accounts for, at least."""
    named = {_pair(one) for one in lacking.named}
    of_nothing_new = {*read.by_state[CodeState.GIVEN], *read.by_state[CodeState.KEPT_OUT]}
    accounting = {*read.by_state[CodeState.FREE], *read.by_state[CodeState.OPEN], *named} - of_nothing_new
    last = None if lacking.last is None else _pair(lacking.last)
    if last is not None and last in read.lines:
        accounting.add(last)
    others = [pair for pair in read.by_state[CodeState.ABSENT] if pair not in accounting]
    accounting.update(others[: lacking.codes])
    of_stock = Counter(stock_id for stock_id, _ in accounting)
    return max(
        (lacking.coupons or 0) - len(accounting),
        sum(max(0, each.coupons - of_stock[each.stock_id]) for each in lacking.stocks),
        0 if last is None or last in accounting else 1,
        0,
    )


def _why_not_enough(
    issued: ReconcileFile | None,
    read: _Read,
    lacking: Lacking,
    missing: int | None,
    short: int,
    accept_short: int | None,
    *,
    fenced: bool,
) -> list[str]:
    """Why the file, or the word that there is nothing for one, does not account for what is missing."""
    absent = [read.lines[pair] for pair in read.by_state[CodeState.ABSENT]]
    knows_one = any(_pair(one) in read.lines for one in lacking.named)
    nothing_matches = issued is not None and not knows_one and len(absent) == len(read.lines) > lacking.codes
    if nothing_matches:
        short = short or len(absent)
    if short and accept_short in (short, short + len(lacking.named)):
        return []
    go_on = (
        f"--accept-short {short} says it out loud and goes on; codes that were given out and that nobody names are "
        "then given out twice"
    )
    if short and issued is None:
        reason = (
            f"{_counted(missing or 0, 'coupon')} missing, {(missing or 0) - short:,} named by the mark: so something "
            f"was given out. List it with --issued FILE. {go_on}"
        )
        return [reason]
    reasons: list[str] = []
    if nothing_matches:
        reasons.append(f"{issued.name if issued else ''}: no line names a code that this copy holds")
    if short and missing:
        reasons.append(f"{missing:,} missing, {max(0, missing - short):,} accounted for: list the others too")
        reasons += [
            f"stock {each.stock_id}: {each.coupons:,} missing" for each in lacking.stocks if len(lacking.stocks) > 1
        ]
        if lacking.last is not None and _pair(lacking.last) not in read.lines:
            last = lacking.last
            reasons.append(
                f"the last coupon that was acknowledged, {masked(last.coupon_code)} of stock {last.stock_id}, does not "
                "stand in the file: a list of all that was given out has it"
            )
    if reasons:
        if absent:
            reasons.append(
                f"{told_lines(absent)}: this copy does not hold the code: a slip, or of an upload since"
                + (f" ({_counted(lacking.codes, 'code')} uploaded since)" if lacking.codes else "")
            )
        return [*reasons, go_on]
    if accept_short:
        known = "how many coupons are missing is not known" if missing is None else "nothing is short"
        return [f"--accept-short {accept_short}, but {known}: leave it out"]
    if issued is not None and fenced and missing is None and not _tells_anything_new(read):
        reason = (
            f"{issued.name}: each code in it was known here as given out before the copy was made: it tells nothing "
            "new. Take a later list; if nothing was given out since, say --nothing-issued"
        )
        return [reason]
    return []


def _tells_anything_new(read: _Read) -> bool:
    return any(read.by_state[state] for state in (CodeState.FREE, CodeState.OPEN, CodeState.ABSENT))


def _all_named(lacking: Lacking) -> list[Named]:
    named = lacking.named
    if lacking.last is not None and _pair(lacking.last) not in map(_pair, named):
        named.append(lacking.last)
    return named


def _pair(one: Named) -> Pair:
    return one.stock_id, one.coupon_code


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
