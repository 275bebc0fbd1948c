"""Where a text may be among many millions, in 12 to 17 bytes of memory each, however long the texts are.

The texts themselves stay on disk. They are numbered as they are added, 0, 1, 2, …; the index keeps 32 bits of each
one's hash by position, and an open table of positions. It answers where a text may be, and the caller reads the text
there to be sure: two texts may share a hash, and a text may have been added twice.

Whole batches are looked up at once: numpy does 200 texts in the time that a loop takes for 20. Nothing here ever
waits for all of it to be copied: arrays grow where they stand, and the table moves to a larger one a little with each
addition, while both are searched.
"""

from __future__ import annotations

import contextlib
import mmap
from array import array
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import StoreUnavailable

Hashes = NDArray[np.uint32]
Slots = NDArray[np.int64]

ABSENT = -1
POSITIONS_MAX = 2**32 - 2
_SMALLEST = 1024
_MOVES = 4
"""Positions moved to the larger table for each one added: done long before that one is full."""
_STEP = 256
"""Texts added one by one let the table grow once in so many, so that numpy is worth its call."""
_WORD = 2**32 - 1
_HUGE_FROM_BYTES = 2**22


class LookUp(NamedTuple):
    """For each hash: a position that has it, or ABSENT; and the slot where the search for it ended."""

    found: Slots
    slots: Slots


class HashIndex:
    def __init__(self, hash_text: Callable[[str], int] = hash) -> None:
        # Python's own hash of a text is keyed afresh in each process, so nobody can aim at one chain of the table.
        self._hash_text = hash_text
        self._hashes = array("I")
        self._table = _Table(_SMALLEST)
        self._smaller: _Table | None = None
        """While the table grows, the one before it. Of its positions, those below `_moved` are in the larger one."""
        self._moved = 0
        self._to_move = 0

    def __len__(self) -> int:
        return len(self._hashes)

    @property
    def nbytes(self) -> int:
        smaller = self._smaller.cells.nbytes if self._smaller else 0
        return len(self._hashes) * self._hashes.itemsize + self._table.cells.nbytes + smaller

    def hashes(self, texts: Sequence[str]) -> Hashes:
        return np.fromiter(map(self._hash_text, texts), np.int64, len(texts)).astype(np.uint32)

    def differing(self, positions: Sequence[int], texts: Sequence[str]) -> Sequence[int]:
        """Return the positions whose text had another hash than the one given for it."""
        at = np.array(positions, np.int64)
        differing: list[int] = at[np.frombuffer(self._hashes, np.uint32)[at] != self.hashes(texts)].tolist()
        return differing

    def append(self, hashes: Hashes, slots: Slots | None = None) -> None:
        """Add texts. The first gets position `len(self)`.

        `slots` are those that `look_up` found for these hashes, if nothing was added since.
        """
        first = len(self)
        self.append_unplaced(hashes)
        if len(self) * 4 > self._table.size * 3:  # So many at once that there is nothing to spread.
            self.place_all()
            return
        positions = np.arange(first, len(self), dtype=np.uint32)
        self._table.place(positions, self._table.homes(hashes) if slots is None else slots)
        self._grow(len(hashes))

    def append_few(self, texts: Sequence[str]) -> None:
        """As `append`, one by one: no arrays are made for them."""
        self.check_room(len(texts))
        hashes, hash_text = self._hashes, self._hash_text
        cell, size = self._table.cell, self._table.size
        for text in texts:
            text_hash = hash_text(text) & _WORD
            hashes.append(text_hash)
            slot = text_hash * size >> 32
            while cell[slot]:
                slot += 1
                if slot == size:
                    slot = 0
            cell[slot] = len(hashes)
        # numpy is worth its call once in so many.
        if (steps := len(hashes) // _STEP - (len(hashes) - len(texts)) // _STEP) > 0:
            self._grow(steps * _STEP)

    def append_unplaced(self, hashes: Hashes) -> None:
        """Add texts that are found only after `place_all`: the quick way to add all there are."""
        self.check_room(len(hashes))
        self._hashes.frombytes(hashes.tobytes())

    def place_all(self) -> None:
        """Make the table anew, with room for half as many again."""
        self._smaller = None
        self._table = _Table(max(_SMALLEST, len(self) * 3))
        self._move(0, len(self))

    def check_room(self, count: int) -> None:
        """Raises StoreUnavailable: there are no positions for so many more."""
        if len(self._hashes) + count > POSITIONS_MAX:
            raise StoreUnavailable(f"a stock can hold {POSITIONS_MAX} codes in its life, deleted ones included")

    def look_up(self, hashes: Hashes) -> LookUp:
        """Find, for each hash, one position that has it, or where in the table it would go."""
        there = np.frombuffer(self._hashes, np.uint32)
        found, slots = self._table.search(hashes, there)
        if self._smaller is not None:
            absent = np.flatnonzero(found == ABSENT)
            found[absent] = self._smaller.search(hashes[absent], there).found
        return LookUp(found, slots)

    def may_hold(self, texts: Sequence[str]) -> list[bool]:
        """For each, whether any position has its hash."""
        hash_text = self._hash_text
        hashes = [hash_text(text) & _WORD for text in texts]
        held = self._table.holds(hashes, self._hashes)
        if self._smaller is not None:
            held = [here or there for here, there in zip(held, self._smaller.holds(hashes, self._hashes), strict=True)]
        return held

    def positions(self, text: str) -> list[int]:
        """Return every position whose text has the same hash as this one."""
        text_hash = self._hash_text(text) & _WORD
        found = self._table.search_one(text_hash, self._hashes)
        if self._smaller is not None:
            before = self._smaller.search_one(text_hash, self._hashes)
            found += [position for position in before if position >= self._moved]
        return found

    def _grow(self, added: int) -> None:
        """A step: half of the table stays free, so that chains stay short."""
        if self._smaller is None and len(self._hashes) * 2 > self._table.size:
            self._smaller, self._moved, self._to_move = self._table, 0, len(self._hashes)
            self._table = _Table(self._table.size * 3 // 2)
        if self._smaller is not None:
            end = min(self._moved + added * _MOVES, self._to_move)
            self._move(self._moved, end)
            self._moved = end
            if end == self._to_move:
                self._smaller = None

    def _move(self, begin: int, end: int) -> None:
        there = np.frombuffer(self._hashes, np.uint32)
        for first in range(begin, end, _PIECE):
            piece = there[first : min(first + _PIECE, end)]
            self._table.place(np.arange(first, first + len(piece), dtype=np.uint32), self._table.homes(piece))


_PIECE = 2**18
_FEW = 48
"""So many are looked up one by one in the time of one step for all of them."""


class _Table:
    """Positions by hash: each plus one in the first free cell at or after its hash's own, 0 where a cell is free."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.cells = _zeros(size)
        # The same memory: one number is read from this five times as fast as from numpy's.
        self.cell = self.cells.data

    def homes(self, hashes: Hashes) -> Slots:
        """By the hash's first bits, not by its last ones: so a table can have any size."""
        return ((hashes.astype(np.uint64) * np.uint64(self.size)) >> np.uint64(32)).astype(np.int64)

    def place(self, positions: NDArray[np.uint32], slots: Slots) -> None:
        cells = self.cells
        entries = positions + np.uint32(1)
        while len(entries) > _FEW:
            free = cells[slots] == 0
            cells[slots[free]] = entries[free]
            # Two of one batch may meet in a free slot: the last one written has it, the other goes on.
            lost = cells[slots] != entries
            entries, slots = entries[lost], (slots[lost] + 1) % self.size
        cell, size = self.cell, self.size
        for entry, slot in zip(entries.tolist(), slots.tolist(), strict=True):
            while cell[slot]:
                slot += 1
                if slot == size:
                    slot = 0
            cell[slot] = entry

    def search(self, hashes: Hashes, there: Hashes) -> LookUp:
        """`there`: the hash at each position."""
        found = np.full(len(hashes), ABSENT, np.int64)
        slots = self.homes(hashes)
        unsettled, at = np.arange(len(hashes)), slots
        while len(unsettled) > _FEW:
            entries = self.cells[at]
            slots[unsettled] = at
            taken = entries.nonzero()[0]
            unsettled, at, positions = unsettled[taken], at[taken], entries[taken] - np.uint32(1)
            same = there[positions] == hashes[unsettled]
            if same.any():
                found[unsettled[same]] = positions[same]
                unsettled, at = unsettled[~same], at[~same]
            at = (at + 1) % self.size
        # The last ones sit in the longest chains: a dozen steps for a handful, each one not worth numpy's calls.
        cell, size, hash_at = self.cell, self.size, there.data
        for which, slot, text_hash in zip(unsettled.tolist(), at.tolist(), hashes[unsettled].tolist(), strict=True):
            while (entry := cell[slot]) and hash_at[entry - 1] != text_hash:
                slot += 1
                if slot == size:
                    slot = 0
            slots[which] = slot
            if entry:
                found[which] = entry - 1
        return LookUp(found, slots)

    def holds(self, hashes: Sequence[int], there: array[int]) -> list[bool]:
        """As `search`, one by one."""
        cell, size = self.cell, self.size
        held: list[bool] = []
        for text_hash in hashes:
            slot = text_hash * size >> 32
            while (entry := cell[slot]) and there[entry - 1] != text_hash:
                slot += 1
                if slot == size:
                    slot = 0
            held.append(entry != 0)
        return held

    def search_one(self, text_hash: int, there: array[int]) -> list[int]:
        cell, size = self.cell, self.size
        found: list[int] = []
        slot = text_hash * size >> 32
        while entry := cell[slot]:
            if there[entry - 1] == text_hash:
                found.append(entry - 1)
            slot += 1
            if slot == size:
                slot = 0
        return found


def _zeros(size: int) -> NDArray[np.uint32]:
    """Cells that are made page by page, as they are used.

    numpy asks for huge pages from 4 MiB on, and the first few positions, anywhere in a new table, would have all of
    it made at once: 0.15 s for 8 million codes.
    """
    if size * 4 < _HUGE_FROM_BYTES:
        return np.zeros(size, np.uint32)
    pages = mmap.mmap(-1, size * 4, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with contextlib.suppress(OSError):  # The kernel has no huge pages.
            pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, np.uint32)
