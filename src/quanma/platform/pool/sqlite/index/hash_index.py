"""Which numbers go with a text, for many millions of texts, in 11 to 16 bytes of memory each, however long they are.

The texts themselves stay on disk. The index keeps 32 bits of each one's hash, with a number that the caller gives. It
answers which numbers a text may have, and the caller reads the text there to be sure: two texts may share a hash, and
a text may have been added twice. Nothing is ever taken out.

Whole batches are looked up at once: numpy does 200 texts in the time that a loop takes for 20. Nothing here ever waits
for all of it to be copied: the table moves to a larger one a little with each addition, in the order of its buckets, so
that each entry is in one of both.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .....errors import StoreUnavailable
from .buckets import ABSENT, WIDTH, Buckets, Hashes, Numbers

NUMBERS_MAX = 2**32 - 2
_SMALLEST = 16
_FULL = 0.7
"""So much of a table is used when it begins to grow. One bucket in ten is full then, and the next one read too."""
_GROWTH = 1.4
_FEW = 8
"""Fewer are not worth numpy's calls."""
_MOVES = 8
"""Entries moved to the larger table for each one added: done when an eighth as many were added as there were."""
_STEP = 2048
"""So many are moved at once: numpy is worth its calls, and nobody waits for longer than for an upload."""
_PIECE = 2**18
_WORD = 2**32 - 1
_ALL = 2**40


class HashIndex:
    def __init__(self, hash_text: Callable[[str], int] = hash) -> None:
        # Python's own hash of a text is keyed afresh in each process, so nobody can aim at one bucket.
        self._hash_text = hash_text
        self._table = Buckets(_SMALLEST)
        self._smaller: Buckets | None = None
        """While it grows, the one before it, of which all that belongs into the first `_moved` buckets was moved."""
        self._moved = 0
        self._owed = 0
        self._count = 0
        # Python's own arrays: they grow where they stand, and all of such a one goes back to the system.
        self._later = array("I"), array("I")
        """Hashes and numbers of texts that were added, and can't be found yet."""

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        if self._smaller is None:
            return self._table.nbytes
        moved = self._moved / self._smaller.buckets  # Of the larger one not more was touched, and of the smaller one
        return round(self._table.nbytes * moved + self._smaller.nbytes * (1 - moved))  # as much was given back.

    def hashes(self, texts: Sequence[str]) -> Hashes:
        hashes = np.fromiter(map(self._hash_text, texts), np.int64, len(texts)).astype(np.uint32)
        return np.maximum(hashes, 1, out=hashes)  # 0 is a free entry.

    def check_room(self, count: int) -> None:
        """Raises StoreUnavailable: there are no numbers for so many more."""
        if self._count + count > NUMBERS_MAX:
            raise StoreUnavailable(f"a stock can hold {NUMBERS_MAX} codes in its life, deleted ones included")

    def add(self, hashes: Hashes, first_number: int) -> None:
        """Add texts, with consecutive numbers."""
        self._make_room(len(hashes))
        numbers = np.arange(first_number, first_number + len(hashes), dtype=np.uint32)
        for table, which in self._split(hashes):
            table.place(hashes[which], numbers[which])
        self._count += len(hashes)
        self._move_some(len(hashes))

    def add_one(self, text: str, number: int) -> None:
        """As `add`, without arrays."""
        self._make_room(1)
        text_hash = self._hash_one(text)
        self._table_of(text_hash).place_one(text_hash, number)
        self._count += 1
        self._move_some(1)

    def add_later(self, hashes: Hashes, numbers: NDArray[np.uint32]) -> None:
        """Add texts that are found only after `complete`: the quick way to add all there are."""
        self.check_room(len(hashes))
        for later, some in zip(self._later, (hashes, numbers), strict=True):
            later.frombytes(some.tobytes())
        self._count += len(hashes)

    def complete(self) -> None:
        later, self._later = self._later, (array("I"), array("I"))
        hashes, numbers = (np.frombuffer(some, np.uint32) for some in later)
        self._count -= len(hashes)
        self._make_room(len(hashes))
        self._move(_ALL)
        self._count += len(hashes)
        for begin in range(0, len(hashes), _PIECE):
            self._table.place(hashes[begin : begin + _PIECE], numbers[begin : begin + _PIECE])

    def look_up(self, hashes: Hashes) -> Numbers:
        """For each hash, return one number that has it, or ABSENT."""
        found = np.full(len(hashes), ABSENT, np.int64)
        for table, which in self._split(hashes):
            found[which] = table.search(hashes[which])
        return found

    def may_hold(self, texts: Sequence[str]) -> list[bool]:
        """For each text, whether any number has its hash."""
        if len(texts) < _FEW:
            return [bool(self.numbers(text)) for text in texts]
        held: list[bool] = (self.look_up(self.hashes(texts)) != ABSENT).tolist()
        return held

    def hold(self, texts: Sequence[str], numbers: Sequence[int]) -> list[bool]:
        """For each text, whether this number has its hash."""
        if len(texts) < _FEW:
            return [number in self.numbers(text) for text, number in zip(texts, numbers, strict=True)]
        found: list[int] = self.look_up(self.hashes(texts)).tolist()
        # Where another number was found, this one may have the hash too.
        return [
            first == number or number in self.numbers(text)
            for first, number, text in zip(found, numbers, texts, strict=True)
        ]

    def numbers(self, text: str) -> list[int]:
        """Return every number whose text has the same hash as this one."""
        return self._numbers(self._hash_one(text))

    def _hash_one(self, text: str) -> int:
        return self._hash_text(text) & _WORD or 1

    def _numbers(self, text_hash: int) -> list[int]:
        return self._table_of(text_hash).search_one(text_hash)

    def _table_of(self, text_hash: int) -> Buckets:
        smaller = self._smaller
        return self._table if smaller is None or smaller.home(text_hash) < self._moved else smaller

    def _split(self, hashes: Hashes) -> list[tuple[Buckets, slice | NDArray[np.bool_]]]:
        """Which of them are in which table, or belong there."""
        if self._smaller is None:
            return [(self._table, slice(None))]
        moved = self._smaller.homes(hashes) < self._moved
        return [(self._table, moved), (self._smaller, ~moved)]

    def _make_room(self, count: int) -> None:
        self.check_room(count)
        wanted = self._count + count
        if self._smaller is not None and wanted > self._smaller.entries * 7 // 8:
            self._move(_ALL)
        if self._smaller is None and wanted > self._table.entries * _FULL:
            self._smaller, self._moved, self._owed = self._table, 0, 0
            at_once = wanted > self._table.entries * 7 // 8  # So many that there is nothing to spread.
            self._table = Buckets(int(wanted / WIDTH / _FULL / 0.9 if at_once else self._table.buckets * _GROWTH) + 1)
            if at_once:
                self._move(_ALL)

    def _move_some(self, added: int) -> None:
        if self._smaller is not None:
            self._owed += added * _MOVES
            if self._owed >= _STEP:
                self._move(self._owed)
                self._owed = 0

    def _move(self, count: int) -> None:
        """Move about so many entries to the larger table."""
        smaller = self._smaller
        if smaller is None:
            return
        per_bucket = max(1, self._count // smaller.buckets)
        end = min(self._moved + -(-count // per_bucket), smaller.buckets)
        step = _PIECE // WIDTH
        while self._moved < end:
            piece = min(self._moved + step, end)
            self._table.place(*smaller.entries_of(self._moved, piece))
            self._moved = piece
            smaller.let_go_before(piece)
        if end == smaller.buckets:
            self._smaller = None
