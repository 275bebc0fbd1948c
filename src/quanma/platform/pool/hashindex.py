"""Where a text may be among many millions, in 16 to 26 bytes of memory each, however long the texts are.

The texts themselves stay on disk. They are numbered as they are added, 0, 1, 2, …; the index keeps each one's
64-bit hash by position, and an open table of positions. It answers where a text may be, and the caller reads the
text there to be sure: two texts may share a hash, and a text may have been added twice.

Whole batches are looked up at once: numpy does 200 texts in the time that a loop takes for 20.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import StoreUnavailable

Hashes = NDArray[np.uint64]
Slots = NDArray[np.int64]
A = TypeVar("A", bound=np.generic)

ABSENT = -1
POSITIONS_MAX = 2**32 - 2
_SMALLEST = 1024


class HashIndex:
    def __init__(self, hash_text: Callable[[str], int] = hash) -> None:
        # Python's own hash of a text is keyed afresh in each process, so nobody can aim at one chain of the table.
        self._hash_text = hash_text
        self._count = 0
        self._hashes: Hashes = np.zeros(_SMALLEST, np.uint64)
        self._table: NDArray[np.uint32] = np.zeros(_SMALLEST, np.uint32)  # 0: free, else position + 1

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        return self._hashes.nbytes + self._table.nbytes

    def hashes(self, texts: Sequence[str]) -> Hashes:
        return np.fromiter(map(self._hash_text, texts), np.int64, len(texts)).view(np.uint64)

    def append(self, hashes: Hashes) -> None:
        """Add texts. The first gets position `len(self)`."""
        self.check_room(len(hashes))
        first = self._count
        self._count += len(hashes)
        self._hashes = grown(self._hashes, self._count)
        self._hashes[first : self._count] = hashes
        if self._count * 2 > len(self._table):
            size = len(self._table)
            while size < self._count * 2:
                size *= 2
            self._table = np.zeros(size, np.uint32)
            first = 0
        self._place(np.arange(first, self._count, dtype=np.uint32))

    def check_room(self, count: int) -> None:
        """Raises StoreUnavailable: there are no positions for so many more."""
        if self._count + count > POSITIONS_MAX:
            raise StoreUnavailable(f"a stock can hold {POSITIONS_MAX} codes in its life, deleted ones included")

    def candidates(self, hashes: Hashes) -> Slots:
        """Return, for each hash, one position that has it, or ABSENT."""
        found = np.full(len(hashes), ABSENT, np.int64)
        unsettled = np.arange(len(hashes))
        slots = self._home(hashes)
        while len(unsettled):
            positions = self._table[slots].astype(np.int64) - 1
            taken = positions >= 0
            same = taken & (self._hashes[positions] == hashes[unsettled])
            found[unsettled[same]] = positions[same]
            on = taken & ~same
            unsettled, slots = unsettled[on], self._next(slots[on])
        return found

    def positions(self, text: str) -> Iterator[int]:
        """Yield every position whose text has the same hash as this one."""
        text_hash = self._hash_text(text) & 0xFFFF_FFFF_FFFF_FFFF
        slot = text_hash & (len(self._table) - 1)
        while entry := int(self._table[slot]):
            if int(self._hashes[entry - 1]) == text_hash:
                yield entry - 1
            slot = (slot + 1) & (len(self._table) - 1)

    def _place(self, positions: NDArray[np.uint32]) -> None:
        slots = self._home(self._hashes[positions])
        while len(positions):
            free = self._table[slots] == 0
            self._table[slots[free]] = positions[free] + np.uint32(1)
            # Two of one batch may meet in a free slot: the last one written has it, the other goes on.
            lost = self._table[slots] != positions + np.uint32(1)
            positions, slots = positions[lost], self._next(slots[lost])

    def _home(self, hashes: Hashes) -> Slots:
        return (hashes & np.uint64(len(self._table) - 1)).astype(np.int64)

    def _next(self, slots: Slots) -> Slots:
        return (slots + 1) & (len(self._table) - 1)


def grown(array: NDArray[A], count: int) -> NDArray[A]:
    """Return the array, or a copy a quarter larger, with room for `count`."""
    if count <= len(array):
        return array
    larger: NDArray[Any] = np.zeros(max(count, len(array) * 5 // 4), array.dtype)
    larger[: len(array)] = array
    return larger
