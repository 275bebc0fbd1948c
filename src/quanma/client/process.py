"""What can't cross a fork, made anew in each process: locks, threads, connections.

A child of a fork inherits the objects of its parent, but none of its threads. A lock that one of them held is held for
ever; a connection is read by two.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_forks = 0
"""How many forks lie between this process and the first one, as far as Python was told."""


class PerProcess(Generic[T]):
    """One value in each process, made when it is first asked for there.

    What a child inherited is left alone: not used, not closed, and kept, since letting go of it may wait for a thread
    that the child does not have.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[tuple[int, int], T] = {}

    def get(self) -> T:
        made = self.made()
        # setdefault: of several threads that come first, all get the same one.
        return made if made is not None else self._made.setdefault(_process(), self._make())

    def made(self) -> T | None:
        """Return this process's value, or None: nobody asked for it yet."""
        return self._made.get(_process())


def _process() -> tuple[int, int]:
    # uWSGI forks without telling Python, so the count is not enough; a number comes again, so it is not enough either.
    return os.getpid(), _forks


def _forked() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
