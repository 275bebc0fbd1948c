"""What the other tests rely on: one that fails leaves nothing open."""

from __future__ import annotations

import pytest

from tests.support.leftopen import closed_after_a_failure, note


class Made:
    def __init__(self) -> None:
        self.closed = 0
        note(self)

    def close(self) -> None:
        self.closed += 1


def test_what_a_test_made_is_closed_when_it_fails_and_nothing_older() -> None:
    older, made = Made(), list[Made]()

    @closed_after_a_failure()
    def fails() -> None:
        made.append(Made())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert (older.closed, made[0].closed) == (0, 1)


def test_what_a_test_that_passes_made_is_its_own_affair() -> None:
    with closed_after_a_failure():
        made = Made()
    assert made.closed == 0
