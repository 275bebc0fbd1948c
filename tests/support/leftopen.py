"""What a test left open when it failed is closed then: else another test fails, in the middle of which it is found."""

from __future__ import annotations

import contextlib
import itertools
import weakref
from collections.abc import Generator
from typing import Protocol


class Closes(Protocol):
    """Whatever is made for a test, and can be closed any number of times."""

    def close(self) -> None: ...


_numbers = itertools.count(1)
_made: weakref.WeakValueDictionary[int, Closes] = weakref.WeakValueDictionary()


def note(made: Closes) -> None:
    """Called where it is made."""
    _made[next(_numbers)] = made


@contextlib.contextmanager
def closed_after_a_failure() -> Generator[None, None, None]:
    """If the test inside fails, close what it made, the latest first. The failure is raised on."""
    began = next(_numbers)
    try:
        yield
    except BaseException:
        for number in sorted((one for one in _made if one > began), reverse=True):
            if (made := _made.get(number)) is not None:
                with contextlib.suppress(Exception):  # The first failure is the one to read.
                    made.close()
        raise
