"""Slots against what they stand for: an array of positions that is written out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quanma.platform.pool.postgres.slots import Slots


class Stored:
    """What the tables keep of a stock's slots: extents, and moves."""

    def __init__(self) -> None:
        self.uploaded = self.free = 0
        self.extents: dict[int, int] = {}
        self.moves: dict[int, int] = {}

    def upload(self, count: int) -> None:
        self.extents = {first: shift for first, shift in self.extents.items() if first < self.free}
        self.extents[self.free] = self.uploaded - self.free
        self.uploaded += count
        self.free += count

    def draw(self, *counts: int) -> list[int]:
        """Of one piece of work: some, then some more, as when deleted codes are thrown out."""
        slots = Slots(self.free)
        drawn: list[int] = []
        for count in counts:
            slots.learn((slot, self.at(slot)) for slot in slots.choose(count))
            drawn += slots.take()
        for slot in range(slots.free, self.free):
            self.moves.pop(slot, None)
        self.moves |= slots.moved
        self.free = slots.free
        return drawn

    def at(self, slot: int) -> int:
        first = max(first for first in self.extents if first <= slot)
        return self.moves.get(slot, slot + self.extents[first])


@pytest.mark.slow
@given(st.lists(st.one_of(st.integers(1, 12), st.tuples(st.integers(0, 5), st.integers(0, 5))), max_size=30))
def test_every_position_is_drawn_once_and_the_rest_stays(steps: list[int | tuple[int, int]]) -> None:
    stored = Stored()
    left: set[int] = set()
    for step in steps:
        if isinstance(step, int):
            left |= {*range(stored.uploaded, stored.uploaded + step)}
            stored.upload(step)
            continue
        drawn = stored.draw(*step)
        assert len(drawn) == len({*drawn}) == min(sum(step), len(left))
        assert {*drawn} <= left
        left -= {*drawn}
        assert {stored.at(slot) for slot in range(stored.free)} == left
        assert all(slot < stored.free for slot in stored.moves)


def test_every_free_slot_is_as_likely() -> None:
    counts = dict.fromkeys(range(5), 0)
    for _ in range(5000):
        slots = Slots(5)
        slots.learn((slot, slot) for slot in slots.choose(2))
        counts[slots.take()[1]] += 1
    # Each 1000 times, give or take six standard deviations: once in half a thousand million runs.
    assert all(830 < count < 1170 for count in counts.values())
