"""One table of a hash index: entries by their hash, in buckets of 16 that share a line of the processor's cache.

An entry is a hash and a number. It stands in the bucket that its hash names, or in the next one after it that had
room. Nothing is ever taken out, so a search ends at the first bucket that is not full.
"""

from __future__ import annotations

import contextlib
import mmap

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint32]
Numbers = NDArray[np.int64]

ABSENT = -1
WIDTH = 16
"""Entries of a bucket."""
_BUCKET_BYTES = WIDTH * 4
_FEW = 8
"""So many are placed or looked up one by one in the time of one step for all of them."""
_SORTED_AT_ONCE = 256
_HUGE_FROM_BYTES = 2**22


class Buckets:
    def __init__(self, buckets: int) -> None:
        self.buckets = buckets
        self.entries = buckets * WIDTH
        self._hashes, pages_of_hashes = _zeros(self.entries)
        self._numbers, pages_of_numbers = _zeros(self.entries)
        self._pages = [pages for pages in (pages_of_hashes, pages_of_numbers) if pages is not None]
        self._by_bucket = self._hashes.reshape(buckets, WIDTH)
        self._used = np.zeros(buckets, np.uint8)
        """Entries of each bucket."""
        # The same memory: one number is read from these five times as fast as from numpy's.
        self._hash, self._number, self._use = self._hashes.data, self._numbers.data, self._used.data
        self._let_go_pages: int | None = None

    @property
    def nbytes(self) -> int:
        return self._hashes.nbytes + self._numbers.nbytes + self._used.nbytes

    def homes(self, hashes: Hashes) -> Numbers:
        """By the hash's first bits, not by its last ones: so a table can have any size, and all have one order."""
        homes = hashes.astype(np.int64)
        homes *= self.buckets
        homes >>= 32
        return homes

    def home(self, text_hash: int) -> int:
        return text_hash * self.buckets >> 32

    def place(self, hashes: Hashes, numbers: NDArray[np.uint32]) -> None:
        homes = self.homes(hashes)
        while len(hashes) > _FEW:
            order = _order(homes)
            hashes, numbers, homes = hashes.take(order), numbers.take(order), homes.take(order)
            used = self._used.take(homes) + _rank(homes)
            fits = used < WIDTH
            at = (homes * WIDTH + used)[fits]
            self._hashes[at], self._numbers[at] = hashes[fits], numbers[fits]
            # Of several in one bucket the last one says how much of it is used.
            self._used[homes[fits]] = used[fits] + 1
            rest = (~fits).nonzero()[0]
            hashes, numbers, homes = hashes[rest], numbers[rest], (homes[rest] + 1) % self.buckets
        for text_hash, number, home in zip(hashes.tolist(), numbers.tolist(), homes.tolist(), strict=True):
            self._place_from(home, text_hash, number)

    def place_one(self, text_hash: int, number: int) -> None:
        self._place_from(self.home(text_hash), text_hash, number)

    def _place_from(self, bucket: int, text_hash: int, number: int) -> None:
        use = self._use
        while (used := use[bucket]) == WIDTH:
            bucket = self._next(bucket)
        self._hash[bucket * WIDTH + used] = text_hash
        self._number[bucket * WIDTH + used] = number
        use[bucket] = used + 1

    def search(self, hashes: Hashes) -> Numbers:
        found = np.full(len(hashes), ABSENT, np.int64)
        which, homes = np.arange(len(hashes)), self.homes(hashes)
        while len(which) > _FEW:
            there = self._by_bucket.take(homes, 0)
            same = (there == hashes[which, None]).ravel().nonzero()[0]
            if len(same):
                hit = same // WIDTH
                found[which[hit]] = self._numbers[homes[hit] * WIDTH + same % WIDTH]
            # Those that were not found in a full bucket may be in the next one.
            on = ((there[:, -1] != 0) & (found[which] == ABSENT)).nonzero()[0]
            which, homes = which[on], (homes[on] + 1) % self.buckets
        for one, text_hash, home in zip(which.tolist(), hashes[which].tolist(), homes.tolist(), strict=True):
            for number in self._search_from(home, text_hash):
                found[one] = number
        return found

    def search_one(self, text_hash: int) -> list[int]:
        return self._search_from(self.home(text_hash), text_hash)

    def _search_from(self, bucket: int, text_hash: int) -> list[int]:
        found: list[int] = []
        while True:
            used, first = self._use[bucket], bucket * WIDTH
            there = self._hash[first : first + used].tolist()
            if text_hash in there:
                found += [self._number[first + at] for at, other in enumerate(there) if other == text_hash]
            if used < WIDTH:
                return found
            bucket = self._next(bucket)

    def entries_of(self, begin: int, end: int) -> tuple[Hashes, NDArray[np.uint32]]:
        """Return all that belongs into these buckets, wherever it found room."""
        last = end
        while self._use[(last - 1) % self.buckets] == WIDTH and last - begin < self.buckets:
            last += 1
        hashes, numbers = self._hashes[begin * WIDTH : last * WIDTH], self._numbers[begin * WIDTH : last * WIDTH]
        if last > self.buckets:
            over = (last - self.buckets) * WIDTH
            hashes, numbers = np.append(hashes, self._hashes[:over]), np.append(numbers, self._numbers[:over])
        there = hashes.nonzero()[0]
        hashes, numbers = hashes.take(there), numbers.take(there)
        homes = self.homes(hashes)
        belongs = homes >= begin
        belongs &= homes < end
        return hashes[belongs], numbers[belongs]

    def let_go_before(self, bucket: int) -> None:
        """Give the memory back of buckets in which nobody looks for anything any more."""
        if self._let_go_pages is None:
            # But that of the first ones: where the last bucket had no room, they have its entries.
            kept = next(first for first in range(self.buckets) if self._use[first] < WIDTH) + 1
            self._let_go_pages = -(-kept * _BUCKET_BYTES // mmap.PAGESIZE)
        begin, end = self._let_go_pages, bucket * _BUCKET_BYTES // mmap.PAGESIZE
        if begin < end:
            for pages in self._pages:
                pages.madvise(mmap.MADV_DONTNEED, begin * mmap.PAGESIZE, (end - begin) * mmap.PAGESIZE)
            self._let_go_pages = end

    def _next(self, bucket: int) -> int:
        return bucket + 1 if bucket + 1 < self.buckets else 0


def _rank(homes: Numbers) -> Numbers:
    """How many before each have the same one: of sorted ones."""
    at = np.arange(len(homes))
    first = np.zeros_like(at)
    np.multiply(at[1:], homes[1:] != homes[:-1], out=first[1:])
    at -= np.maximum.accumulate(first, out=first)
    return at


def _order(homes: Numbers) -> Numbers:
    """Where each stands if they are sorted. Of many, sixteen bits at a time: that takes no comparisons."""
    if len(homes) <= _SORTED_AT_ONCE:
        return homes.argsort()
    homes = homes - homes.min()
    order = homes.astype(np.uint16).argsort(kind="stable")
    if homes.max() >= 2**16:
        order = order[(homes[order] >> 16).astype(np.uint16).argsort(kind="stable")]
    return order


def _zeros(size: int) -> tuple[NDArray[np.uint32], mmap.mmap | None]:
    """Entries that are made page by page, as they are used, and the pages, where it is worth giving them back.

    numpy asks for huge pages from 4 MiB on, and the first few entries, anywhere in a new table, would have all of it
    made at once: 0.15 s for 8 million codes.
    """
    if size * 4 < _HUGE_FROM_BYTES or not hasattr(mmap, "MADV_DONTNEED"):
        return np.zeros(size, np.uint32), None
    pages = mmap.mmap(-1, size * 4, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with contextlib.suppress(OSError):  # The kernel has no huge pages.
            pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, np.uint32), pages
