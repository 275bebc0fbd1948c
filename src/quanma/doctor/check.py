"""A check: what it looks at, what must hold before it, how long it may take, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .subject import Subject

OFFLINE_SECONDS = 3.0
"""Reads of a few files. A folder on a network that is away can hold them up."""


class Status(StrEnum):
    """In the order of care."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


class Outcome(NamedTuple):
    """What a check found. No text of it repeats a secret."""

    status: Status
    detail: str
    """What was seen."""
    fix: str = ""
    """A command to paste, a line of the settings, or the place in 商户平台."""
    blocked: bool = False
    """It was left out because something before it failed, and not because there is nothing to look at."""


def passed(detail: str = "") -> Outcome:
    return Outcome(Status.PASS, detail)


def warned(detail: str, fix: str) -> Outcome:
    return Outcome(Status.WARN, detail, fix)


def failed(detail: str, fix: str) -> Outcome:
    return Outcome(Status.FAIL, detail, fix)


def skipped(reason: str) -> Outcome:
    return Outcome(Status.SKIP, reason)


class LeftOut(Exception):
    """Raised in a check: what it looks at is not there, or can't be read, and another check tells of that."""


class Check(NamedTuple):
    """One check. Its id is stable, its texts are not."""

    id: str
    what: str
    look: Callable[[Subject], Outcome]
    needs: tuple[str, ...] = ()
    """Ids of checks that come before it. Where one failed, this one is left out."""
    after: tuple[str, ...] = ()
    """Ids of checks that it waits for, whatever comes out of them."""
    seconds: float = OFFLINE_SECONDS

    @property
    def group(self) -> str:
        return self.id.partition(".")[0]
