"""What is tried by chance is the same each time, unless more is asked for."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.every import every_row
from tests.support.rounds import THOROUGH


@every_row("count", [20, 60])
def test_examples_are_the_same_each_time(count: int) -> None:
    def tried() -> list[int]:
        seen: list[int] = []

        @settings(max_examples=count)
        @given(st.integers())
        def test_one(number: int) -> None:
            seen.append(number)

        test_one()
        return seen

    first = tried()
    assert len(first) == count
    assert THOROUGH or tried() == first
