"""All checks, in their order, and what came out of them. Offline ones first; those on the network side by side."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from ..client.config import sections_of
from . import callback_checks, key_checks, network_checks, settings_checks, sign_checks
from .check import Check, LeftOut, Outcome, Status, failed
from .subject import Subject

CHECKS: tuple[Check, ...] = (
    *settings_checks.CHECKS,
    *key_checks.CHECKS,
    *settings_checks.BRAND_CHECKS,
    *key_checks.BRAND_CHECKS,
    *network_checks.CHECKS,
    *sign_checks.CHECKS,
    *callback_checks.CHECKS,
)
GROUPS = tuple(dict.fromkeys(check.group for check in CHECKS))
ALL_SECONDS = 10.0
"""For everything on the network together."""
_OFFLINE = ("settings", "apiv2", "keys", "platform-keys", "brand")


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found. `id` and `status` are stable; the texts are for people, and may change."""

    id: str
    status: Status
    what: str
    detail: str
    fix: str
    docs: str
    ms: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `quanma doctor --json` prints."""

    ok: bool
    """No check failed; with --strict, none warned either."""
    version: str
    checks: list[Result]


def chosen(words: Sequence[str]) -> list[Check]:
    """The checks that these groups and ids name, in their order; all, without any.

    Raises:
        KeyError: one names none.
    """
    known = {*GROUPS, *(check.id for check in CHECKS)}
    for word in words:
        if word not in known:
            raise KeyError(word)
    return [check for check in CHECKS if not words or check.id in words or check.group in words]


def examine(subject: Subject, words: Sequence[str] = (), *, seconds: float = ALL_SECONDS) -> list[Result]:
    """Run these checks and what they need. What they need is told of only where it is what keeps one from running.

    Ends after `seconds` for the network, and a deadline for each check before it, whatever hangs.
    """
    wanted = [one for one in chosen(words) if words or one.group not in _left_out(subject)]
    running = _with(wanted, lambda check: (*check.needs, *check.after))
    needed = {check.id for check in _with(wanted, lambda check: check.needs)}
    found: dict[str, tuple[Outcome, int]] = {}
    for check in running:
        if check.group in _OFFLINE or check.id == "apiv3.form":
            found[check.id] = _timed(check, subject, found, check.seconds)
    _together([check for check in running if check.id not in found], subject, found, time.monotonic() + seconds)
    told = {check.id for check in wanted} | {one for one in needed if found[one][0].status == Status.FAIL}
    return [_result(check, *found[check.id]) for check in running if check.id in told]


def _left_out(subject: Subject) -> set[str]:
    """Groups that nobody asked for, and that have nothing to look at: another section, an address."""
    given = sections_of(subject.asked_for) or ["merchant"]
    groups = set() if subject.callback else {"callback"}
    if "brand" not in given:
        groups.add("brand")
    if "merchant" not in given:
        groups |= {*GROUPS} - {"brand", "callback"}
    return groups


def _with(wanted: Iterable[Check], before: Callable[[Check], Iterable[str]]) -> list[Check]:
    """These checks, and those that come before them, in their order."""
    ids = {check.id for check in wanted}
    for check in reversed(CHECKS):  # What comes before stands before.
        if check.id in ids:
            ids.update(before(check))
    return [check for check in CHECKS if check.id in ids]


def _together(checks: Sequence[Check], subject: Subject, found: dict[str, tuple[Outcome, int]], ends_at: float) -> None:
    """Run checks side by side, each as soon as what it needs is known."""
    done = {check.id: threading.Event() for check in checks}

    def run(check: Check) -> None:
        for need in (*check.needs, *check.after):
            if need in done:
                done[need].wait(max(0.0, ends_at - time.monotonic()))
        found[check.id] = _timed(check, subject, found, min(check.seconds, max(0.0, ends_at - time.monotonic())))
        done[check.id].set()

    threads = [threading.Thread(target=run, args=(check,), daemon=True) for check in checks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _timed(
    check: Check, subject: Subject, found: dict[str, tuple[Outcome, int]], seconds: float
) -> tuple[Outcome, int]:
    began = time.monotonic()
    for need in check.needs:
        if need in found and (found[need][0].status == Status.FAIL or found[need][0].blocked):
            return Outcome(Status.SKIP, f"{need} comes first", blocked=True), 0
    outcome = _within(seconds, lambda: _looked(check, subject))
    if outcome is None:
        outcome = failed(f"it did not end within {seconds:.0f} s", "quanma doctor network")
    return outcome, round((time.monotonic() - began) * 1000)


def _looked(check: Check, subject: Subject) -> Outcome:
    try:
        return check.look(subject)
    except LeftOut as nothing:
        return Outcome(Status.SKIP, str(nothing))
    except Exception as problem:  # One check that breaks is no end of the others. Its text may hold a secret.
        return failed(f"this check itself broke, with a {type(problem).__name__}", "quanma doctor --report")


def _within(seconds: float, look: Callable[[], Outcome]) -> Outcome | None:
    """Do it in a thread that nobody waits for longer than this. None: it is not done."""
    came: list[Outcome] = []
    thread = threading.Thread(target=lambda: came.append(look()), daemon=True)
    thread.start()
    thread.join(seconds)
    return came[0] if came else None


def _result(check: Check, outcome: Outcome, ms: int) -> Result:
    return Result(
        id=check.id,
        status=outcome.status,
        what=check.what,
        detail=outcome.detail,
        fix=outcome.fix,
        docs=f"docs/en/doctor.md#{check.group}",
        ms=ms,
    )
