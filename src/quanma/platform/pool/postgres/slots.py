"""Which of a stock's free codes is drawn: exactly uniform, also after later uploads, and nobody can guess it. Pure.

The free codes stand in an array of slots, 0 to free - 1. A draw takes a random slot and moves the last slot's code
into it; an upload puts its codes behind the last one. The array is not written out: the store knows what a slot holds
at first, and what was moved. So a draw of many reads twice as many slots, and writes as many.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Set


class Slots:
    """The free slots of one stock while a piece of work draws from them: choose, learn what the slots hold, take."""

    def __init__(self, free: int) -> None:
        self.free = free
        self._chosen: list[int] = []
        self._drawn: set[int] = set()
        self._at: dict[int, int] = {}
        self._moved: set[int] = set()

    def choose(self, count: int) -> list[int]:
        """Choose so many slots, or as many as there are, and return those that must be learned before `take`."""
        left = self.free
        self._chosen = [secrets.randbelow(left - done) for done in range(min(count, left))]
        self._drawn = set(self._chosen)
        lasts = range(left - len(self._chosen), left)
        return [slot for slot in {*self._chosen, *lasts} if slot not in self._at]

    @property
    def chosen(self) -> Set[int]:
        """The slots that were chosen last. The others that must be learned only move into one of these."""
        return self._drawn

    def learn(self, held: Iterable[tuple[int, int]]) -> None:
        """What slots hold: slot and position."""
        self._at.update(held)

    def take(self) -> list[int]:
        """Return the positions in the chosen slots, and close the holes."""
        positions: list[int] = []
        for slot in self._chosen:
            self.free -= 1
            positions.append(self._at[slot])
            last = self._at.pop(self.free)
            self._moved.discard(self.free)
            if slot != self.free:
                self._at[slot] = last
                self._moved.add(slot)
        return positions

    @property
    def moved(self) -> dict[int, int]:
        """Slots that hold another position than the store knows."""
        return {slot: self._at[slot] for slot in sorted(self._moved)}
