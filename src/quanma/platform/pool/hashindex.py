"""Where a text may be among many millions, in 16 to 26 bytes of memory each, however long the texts are.

The texts themselves stay on disk. They are numbered as they are added, 0, 1, 2, …; the index keeps each one's
64-bit hash by position, and an open table of positions. It answers where a text may be, and the caller reads the
text there to be sure: two texts may share a hash, and a text may have been added twice.

Whole batches are looked up at once: numpy does 200 texts in the time that a loop takes for 20.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import StoreUnavailable

Hashes = NDArray[np.uint64]
Slots = NDArray[np.int64]
A = TypeVar("A", bound=np.generic)

ABSENT = -1
POSITIONS_MAX = 2**32 - 2
_SMALLEST = 1024
_WORD = 2**64 - 1


class LookUp(NamedTuple):
    """For each hash: a position that has it, or ABSENT; and the slot where the search for it ended."""

    found: Slots
    slots: Slots


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

    def append(self, hashes: Hashes, slots: Slots | None = None) -> None:
        """Add texts. The first gets position `len(self)`.

        `slots` are those that `look_up` found for these hashes, if nothing was added since.
        """
        self.check_room(len(hashes))
        first = self._count
        self._count += len(hashes)
        self._hashes = grown(self._hashes, self._count)
        self._hashes[first : self._count] = hashes
        if self._count * 2 > len(self._table):
            self._table = np.zeros(_table_size(len(self._table), self._count), np.uint32)
            first, slots = 0, None
        positions = np.arange(first, self._count, dtype=np.uint32)
        self._place(positions, self._home(self._hashes[positions]) if slots is None else slots)

    def append_one(self, text: str) -> None:
        """As `append`, for one text: no arrays are made for it."""
        self.check_room(1)
        if (self._count + 1) * 2 > len(self._table):
            self.append(self.hashes([text]))
            return
        text_hash = self._hash_text(text) & _WORD
        self._hashes = grown(self._hashes, self._count + 1)
        self._hashes[self._count] = text_hash
        self._count += 1
        slot = text_hash & (len(self._table) - 1)
        while self._table[slot]:
            slot = (slot + 1) & (len(self._table) - 1)
        self._table[slot] = self._count

    def check_room(self, count: int) -> None:
        """Raises StoreUnavailable: there are no positions for so many more."""
        if self._count + count > POSITIONS_MAX:
            raise StoreUnavailable(f"a stock can hold {POSITIONS_MAX} codes in its life, deleted ones included")

    def look_up(self, hashes: Hashes) -> LookUp:
        """Find, for each hash, one position that has it, or where in the table it would go."""
        found = np.full(len(hashes), ABSENT, np.int64)
        slots = self._home(hashes)
        unsettled = np.arange(len(hashes))
        at = slots
        while len(unsettled):
            positions = self._table[at].astype(np.int64) - 1
            taken = positions >= 0
            same = taken & (self._hashes[positions] == hashes[unsettled])
            found[unsettled[same]] = positions[same]
            slots[unsettled] = at
            on = taken & ~same
            unsettled, at = unsettled[on], self._next(at[on])
        return LookUp(found, slots)

    def positions(self, text: str) -> Iterator[int]:
        """Yield every position whose text has the same hash as this one."""
        text_hash = self._hash_text(text) & _WORD
        slot = text_hash & (len(self._table) - 1)
        while entry := int(self._table[slot]):
            if int(self._hashes[entry - 1]) == text_hash:
                yield entry - 1
            slot = (slot + 1) & (len(self._table) - 1)

    def _place(self, positions: NDArray[np.uint32], slots: Slots) -> None:
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


def _table_size(size: int, count: int) -> int:
    while size < count * 2:
        size *= 2
    return size


def grown(array: NDArray[A], count: int) -> NDArray[A]:
    """Return the array, or a copy a quarter larger, with room for `count`."""
    if count <= len(array):
        return array
    larger: NDArray[Any] = np.zeros(max(count, len(array) * 5 // 4), array.dtype)
    larger[: len(array)] = array
    return larger
