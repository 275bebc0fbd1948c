"""Rules for faults: which request meets one, and what happens to it then. Pure: no clock and no chance of its own.

A rule is looked at once a request was verified and read, so that it knows the operation, the merchant and the fields.
Of several that hit, the first one acts; each counts the requests that it matched.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from ..errors import PlatformError, RequestInvalid, named
from .operations import AnyOperation, check_named, is_meant

AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
RetryAfter = Literal["absent", "date", "absurd"] | Annotated[int, msgspec.Meta(ge=0)]
STATUSES = {
    "SIGN_ERROR": 401,
    "NO_AUTH": 403,
    "RULELIMIT": 403,
    "NOT_ENOUGH": 403,
    "RESOURCE_NOT_EXISTS": 404,
    "FREQUENCY_LIMITED": 429,
    "SYSTEM_ERROR": 500,
    "SERVICE_UNAVAILABLE": 503,
}
"""What goes with an error code, if it is not 400."""
CODES = {status: code for code, status in STATUSES.items()} | {403: "NO_AUTH"}


class When(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which requests. What is not said does not matter."""

    operation: str | None = None
    """The end of a chain, `couponcodes.post`; or `POST /v3/…`. `*` stands for anything."""
    merchant: str | None = None
    stock_id: str | None = None
    body: dict[str, str | int | bool] = {}
    """A field of the request, in path, query or body, and its value; in a text, `*` stands for anything."""
    first: AtLeastOne | None = None
    """Only the first so many of those that match all else."""
    nth: AtLeastOne | None = None
    """Only this one of them."""
    every: AtLeastOne | None = None
    """Each so-manieth of them."""


class Do(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What happens."""

    cut: Literal["before", "after_commit", "after_head"] | None = None
    """Cut the connection: before anything is done; once all is durable; behind the answer's head."""
    status: Annotated[int, msgspec.Meta(ge=200, le=599)] | None = None
    """Answer this status, signed, and do nothing; with `executed`, do the work first."""
    error: str | None = None
    """Answer this error code, as `STATEMENT_CREATING`; its status is the one that belongs to it."""
    message: str | None = None
    retry_after: RetryAfter | None = None
    """With an error: no header, so many seconds, a date 5 s ahead, or `absurd`: 1e9 s."""
    executed: bool = False
    delay_seconds: Annotated[float, msgspec.Meta(gt=0, le=600)] | None = None
    """The answer is made, and waits so long."""
    dribble_seconds: Annotated[float, msgspec.Meta(gt=0, le=600)] | None = None
    """The answer takes so long, byte by byte, the head too."""
    truncate: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Only so many bytes of the body are sent, and the connection is closed."""
    content_length: int | None = None
    """The header says so many bytes more, or fewer, than are sent."""
    non_json: bool = False
    """A page of HTML, unsigned, with status 200, as a proxy's: the work was done."""
    signature: Literal["wrong", "stale", "unknown_serial", "probe", "absent"] | None = None
    """The answer's signature: of other bytes; ten minutes old; under a key that nobody has; a SIGNTEST probe; none."""
    rotate_key: bool = False
    """The platform signs with a new key from this answer on, whatever key was asked for."""
    repeat: Literal["reread", "refuse"] | None = None
    """A number that was used before: the codes are looked at again (`exist_codes`), or the request is refused."""

    @property
    def stops(self) -> bool:
        """Whether the work is not done."""
        return self.cut == "before" or (self.answers_error and not self.executed)

    @property
    def answers_error(self) -> bool:
        return self.status is not None or self.error is not None


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One fault."""

    do: Do
    when: When = When()
    id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9A-Za-z_.-]{1,64}\Z")] | None = None
    probability: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    seed: int | None = None
    """Of this rule's own stream of chance. Absent: made of the sandbox's seed and the rule's id."""
    times: AtLeastOne | None = None
    """It hits so often, and is over."""
    for_seconds: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """It is over so many seconds after it was made, by the sandbox's clock."""


class Shown(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A rule as it stands."""

    id: str
    when: When
    do: Do
    matched: int
    hits: int
    left: int | None = None
    """How often it can still hit; absent: as often as it may."""
    probability: float | None = None
    seconds_left: float | None = None


class Met(NamedTuple):
    """A request, as far as rules know it."""

    operation: str
    """Its name, as `operations.name_of` has it."""
    path: str
    """Verb and path."""
    merchant: str
    fields: Mapping[str, Any]


class _Active:
    def __init__(self, rule: Rule, number: str, seed: str, now: float) -> None:
        self.rule, self.id = rule, number
        self.chance = random.Random(f"{seed}/{number}" if rule.seed is None else rule.seed)
        self.until = None if rule.for_seconds is None else now + rule.for_seconds
        self.matched = self.hits = 0


class Faults:
    """The rules of a sandbox."""

    def __init__(self, operations: Sequence[AnyOperation], seed: int = 0) -> None:
        self._operations = operations
        self._seed = str(seed)
        self._rules: list[_Active] = []
        self._made = 0

    def __len__(self) -> int:
        return len(self._rules)

    def replace(self, rules: Iterable[Rule], now: float) -> list[str]:
        """Put these in place of all. Raises RequestInvalid: one is wrong; nothing was changed."""
        wanted = list(rules)
        for rule in wanted:
            self.check(rule)
        ids = [rule.id for rule in wanted if rule.id is not None]
        if twice := {one for one in ids if ids.count(one) > 1}:
            raise RequestInvalid(f"two rules have the id {', '.join(sorted(twice))}: each needs its own")
        self._rules = []
        return [self._put(rule, now) for rule in wanted]

    def add(self, rule: Rule, now: float) -> str:
        """Return its id. One that has the id of another takes its place. Raises RequestInvalid: it is wrong."""
        self.check(rule)
        self._rules = [one for one in self._rules if one.id != rule.id]
        return self._put(rule, now)

    def remove(self, number: str | None = None) -> int:
        """Remove one, or all. Returns how many there were."""
        before = len(self._rules)
        self._rules = [] if number is None else [one for one in self._rules if one.id != number]
        return before - len(self._rules)

    def check(self, rule: Rule) -> None:
        """Raises RequestInvalid: it can never hit, or says two things that exclude each other."""
        if rule.when.operation is not None:
            check_named(self._operations, rule.when.operation)
        if rule.do == Do():
            raise RequestInvalid("a rule with an empty `do` does nothing: GET /_sandbox/openapi.json lists what can be")
        if sum(one is not None for one in (rule.when.first, rule.when.nth, rule.when.every)) > 1:
            raise RequestInvalid("`first`, `nth` and `every` exclude each other: take one")
        if rule.do.retry_after is not None and not rule.do.answers_error:
            raise RequestInvalid("`retry_after` needs a `status` or an `error`")
        if rule.do.cut is not None and (rule.do.answers_error or rule.do.non_json):
            raise RequestInvalid("what is cut has no answer: take `cut`, or an answer")

    def shown(self, now: float) -> list[Shown]:
        return [
            Shown(
                id=one.id,
                when=one.rule.when,
                do=one.rule.do,
                matched=one.matched,
                hits=one.hits,
                left=self._left(one, now),
                probability=one.rule.probability,
                seconds_left=None if one.until is None else max(0.0, one.until - now),
            )
            for one in self._rules
        ]

    def unfired(self) -> list[str]:
        return [one.id for one in self._rules if not one.hits]

    def meet(self, met: Met, now: float) -> tuple[str, Do] | None:
        """Count a request, and return the id of the rule that hits it, and what happens."""
        hit: tuple[str, Do] | None = None
        for one in self._rules:
            if self._left(one, now) == 0 or not _matches(one.rule.when, met):
                continue
            one.matched += 1
            # The dice are thrown for each match, hit or not: one rule's draws don't move another's.
            lucky = one.rule.probability is None or one.chance.random() < one.rule.probability
            if hit is None and lucky and _is_its_turn(one.rule.when, one.matched):
                one.hits += 1
                hit = one.id, one.rule.do
        return hit

    def why_not(self, met: Met, now: float) -> dict[str, str]:
        """For each rule that does not match a request, the first reason."""
        return {one.id: _reason(one.rule.when, met) or "it is over" for one in self._rules}

    def state(self) -> list[tuple[Rule, str, object, float | None, int, int]]:
        """For a snapshot: the dice too."""
        return [(one.rule, one.id, one.chance.getstate(), one.until, one.matched, one.hits) for one in self._rules]

    def restore(self, state: list[tuple[Rule, str, Any, float | None, int, int]]) -> None:
        self._rules = []
        for rule, number, chance, until, matched, hits in state:
            one = _Active(rule, number, self._seed, 0.0)
            one.chance.setstate(chance)
            one.until, one.matched, one.hits = until, matched, hits
            self._rules.append(one)

    def _put(self, rule: Rule, now: float) -> str:
        taken = {one.id for one in self._rules}
        number = rule.id
        while number is None or (rule.id is None and number in taken):
            self._made += 1
            number = f"fault-{self._made}"
        self._rules.append(_Active(rule, number, self._seed, now))
        return number

    def _left(self, one: _Active, now: float) -> int | None:
        if one.until is not None and now >= one.until:
            return 0
        left = None if one.rule.times is None else one.rule.times - one.hits
        when = one.rule.when
        if when.first is not None:
            turns = max(0, when.first - one.matched)
            left = turns if left is None else min(left, turns)
        if when.nth is not None:
            left = min(1 if left is None else left, 1 if one.matched < when.nth else 0)
        return left


def error_of(do: Do) -> PlatformError:
    """The error that a rule answers."""
    if do.error is not None:
        status, code = do.status or STATUSES.get(do.error, 400), do.error
    else:
        status = do.status or 500
        code = CODES.get(status, "SYSTEM_ERROR" if status >= 500 else "INVALID_REQUEST")
    return named(status, code)(do.message or f"{code}: a fault of the sandbox", code=code, status_code=status)


def _matches(when: When, met: Met) -> bool:
    return _reason(when, met) is None


def _reason(when: When, met: Met) -> str | None:
    if when.operation is not None and not is_meant(met.operation, met.path, when.operation):
        return f"the operation was {met.operation}"
    if when.merchant is not None and when.merchant != met.merchant:
        return f"the merchant was {met.merchant}"
    if when.stock_id is not None and met.fields.get("stock_id") != when.stock_id:
        return f"the stock was {met.fields.get('stock_id')}"
    for field, wanted in when.body.items():
        value = met.fields.get(field)
        fits = fnmatchcase(value, wanted) if isinstance(value, str) and isinstance(wanted, str) else value == wanted
        if not fits:
            return f"the field {field} was another"
    return None


def _is_its_turn(when: When, count: int) -> bool:
    if when.first is not None:
        return count <= when.first
    if when.nth is not None:
        return count == when.nth
    return when.every is None or count % when.every == 0
