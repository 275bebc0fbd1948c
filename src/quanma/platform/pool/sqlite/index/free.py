"""The codes of one stock that are free, by their positions, and the draw.

A draw takes uniformly random ones, from the operating system's random source: free positions stand in an array, and
the last one fills the gap that a drawn one leaves. So it stays exact after later uploads, and costs the same in a full
pool and in an empty one.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ....chance import Chance

_CHANCE = Chance("draws")
_FEW = 8
"""Fewer draws than this are not worth numpy's calls."""


class FreeCodes:
    def __init__(self, is_deleted: Callable[[int], bool]) -> None:
        """`is_deleted` is asked about drawn positions, as long as deleted ones may stand in the array."""
        self._positions = array("I")
        self._is_deleted = is_deleted
        self._deleted = 0
        """Deleted positions that still stand in the array: finding one costs more than meeting it in a draw."""

    def __len__(self) -> int:
        return len(self._positions) - self._deleted

    @property
    def nbytes(self) -> int:
        return len(self._positions) * self._positions.itemsize

    def add(self, positions: Iterable[int]) -> None:
        self._positions.extend(positions)

    def put_back(self, drawn: Sequence[int]) -> None:
        """Undo a draw. The order of the array does not matter."""
        self._positions.extend(drawn)

    def delete(self) -> None:
        """One position is deleted now. The draw that meets it takes it out."""
        self._deleted += 1

    def reset(self, positions: NDArray[np.uint32]) -> None:
        """These are free, and no others."""
        self._positions = array("I", positions.tobytes())
        self._deleted = 0

    def draw(self, count: int) -> list[int]:
        """Take out random positions, as many as asked for or all that are left, in the order of their draws."""
        free = self._positions
        drawn: list[int] = []
        while len(drawn) < count and free:
            for slot in self._random_slots(min(count - len(drawn), len(free))):
                drawn.append(free[slot])
                last = free.pop()
                if slot < len(free):
                    free[slot] = last
            if self._deleted:
                there = [position for position in drawn if not self._is_deleted(position)]
                self._deleted -= len(drawn) - len(there)
                drawn = there
        return drawn

    def _random_slots(self, draws: int) -> list[int]:
        """Return a random slot of all the free ones, then one of one less, and so on: each is as likely as any other.

        No number is kept for later: a copy of the process would draw the same.
        """
        first = len(self._positions)
        if draws < _FEW:
            return [_CHANCE.randbelow(left) for left in range(first, first - draws, -1)]
        left = np.arange(first, first - draws, -1, dtype=np.uint64)
        while True:
            numbers = np.frombuffer(_CHANCE.token_bytes(8 * draws), np.uint64)
            slots = numbers % left
            # Each must be of a complete round of slots below 2⁶⁴. With the last, incomplete one, the first slots would
            # come more often. All are thrown again: it happens once in a million million draws.
            if (numbers - slots <= -left).all():
                break
        at = slots.astype(np.int64)
        # Read at once, they come from memory at the same time; read one after another, each is waited for.
        np.frombuffer(self._positions, np.uint32)[at]
        drawn: list[int] = at.tolist()
        return drawn
