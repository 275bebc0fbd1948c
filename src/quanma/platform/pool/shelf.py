"""One stock's codes in memory: which code is where, which are still free, and the draw.

A code is known by its position, its place in upload order. A position's fate is free, deleted, or the coupon
that carries it. Nothing here is durable: the store rebuilds a shelf from its rows, and asks it before it writes.

The draw takes a uniformly random one of the free positions, from the operating system's random source: the free
positions stand in an array, the drawn one's place is taken by the last. That stays exact after later uploads, and
costs the same in a full pool and an empty one.
"""

from __future__ import annotations

import secrets
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import compress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .hashindex import ABSENT, Hashes, HashIndex, Slots, grown

FREE = 0
DELETED = 2**32 - 1


class Place(NamedTuple):
    """Where a code's text is: the upload that brought it, and its line there, from 0."""

    upload_id: int
    line: int
    width: int
    """The length of every code of the upload, or 0 where they differ."""


class Fresh(NamedTuple):
    """Codes that a stock does not hold, with what looking them up has learned."""

    codes: Sequence[str]
    hashes: Hashes
    slots: Slots | None


class Shelf:
    def __init__(self, read: Callable[[Place], str], hash_text: Callable[[str], int] = hash) -> None:
        """`read` returns the code at a place, as `append` was given it."""
        self._read = read
        self._index = HashIndex(hash_text)
        # Of each upload: numbers of fixed size, not objects, for uploads may be of one code each.
        self._first_positions = array("Q")
        self._upload_ids = array("q")
        self._widths = array("B")
        self._fates: NDArray[np.uint32] = np.zeros(1024, np.uint32)
        self._free: NDArray[np.uint32] = np.zeros(1024, np.uint32)
        self._free_slots = 0
        self._deleted_in_free = 0
        self.deleted = 0

    @property
    def uploaded(self) -> int:
        """Codes ever uploaded: the next code's position."""
        return len(self._index)

    @property
    def total(self) -> int:
        """Codes in the stock, given out or not."""
        return self.uploaded - self.deleted

    @property
    def available(self) -> int:
        return self._free_slots - self._deleted_in_free

    @property
    def nbytes(self) -> int:
        of_uploads = len(self._upload_ids) * (8 + 8 + 1)
        return self._index.nbytes + self._fates.nbytes + self._free.nbytes + of_uploads

    def check_room(self, count: int) -> None:
        """Raises StoreUnavailable: a shelf can't hold so many more. To ask before anything is written."""
        self._index.check_room(count)

    def append(self, upload_id: int, fresh: Fresh) -> None:
        """Put the fresh codes of an upload on the shelf, all free, right after `sort_out` found them."""
        self._note_upload(upload_id, self.uploaded, fresh.codes)
        self._append(fresh.hashes, fresh.slots)

    def append_many(self, uploads: Sequence[tuple[int, int]], codes: Sequence[str]) -> None:
        """Put the codes of several uploads, each an id and its number of codes, on the shelf in one go."""
        begin, position = 0, self.uploaded
        for upload_id, count in uploads:
            self._note_upload(upload_id, position + begin, codes[begin : begin + count])
            begin += count
        self._append(self._index.hashes(codes), None)

    def _note_upload(self, upload_id: int, first_position: int, codes: Sequence[str]) -> None:
        self._first_positions.append(first_position)
        self._upload_ids.append(upload_id)
        width = len(codes[0]) if codes else 0
        # One length for all: a code's text can be read alone, at its place in the upload's.
        self._widths.append(width if all(len(code) == width for code in codes) else 0)

    def _append(self, hashes: Hashes, slots: Slots | None) -> None:
        first = self.uploaded
        self._index.append(hashes, slots)
        end = self._free_slots + len(hashes)
        self._fates = grown(self._fates, self.uploaded)
        self._fates[first : self.uploaded] = FREE
        self._free = grown(self._free, end)
        self._free[self._free_slots : end] = np.arange(first, self.uploaded, dtype=np.uint32)
        self._free_slots = end

    def append_given(self, coupon_id: int, code: str) -> int:
        """Put a code on the shelf that a coupon carries from the start; its text is read as upload `-coupon_id`."""
        position = self.uploaded
        self._note_upload(-coupon_id, position, [code])
        self._index.append_one(code)
        self._fates = grown(self._fates, position + 1)
        self._fates[position] = coupon_id
        return position

    def sort_out(self, codes: Sequence[str]) -> tuple[list[str], Fresh]:
        """Divide distinct codes into those that are in the stock and fresh ones, both in the order given."""
        hashes = self._index.hashes(codes)
        found, slots = self._index.look_up(hashes)
        hits: list[int] = np.flatnonzero(found != ABSENT).tolist()
        if not hits:
            return [], Fresh(codes, hashes, slots)
        there = [hit for hit in hits if self.find(codes[hit]) is not None]
        fresh = np.ones(len(codes), bool)
        fresh[there] = False
        # A search that ended at another text of the same hash, or at a deleted code, did not end at a free slot.
        kept_slots = slots[fresh] if len(there) == len(hits) else None
        return [codes[hit] for hit in there], Fresh(list(compress(codes, fresh)), hashes[fresh], kept_slots)

    def find(self, code: str) -> int | None:
        """Return a code's position, or None where the stock has no such code."""
        for position in self._index.positions(code):
            if self._fates[position] != DELETED and self.text(position) == code:
                return position
        return None

    def text(self, position: int) -> str:
        return self._read(self.place(position))

    def place(self, position: int) -> Place:
        which = bisect_right(self._first_positions, position) - 1
        return Place(self._upload_ids[which], position - self._first_positions[which], self._widths[which])

    def fate(self, position: int) -> int:
        """FREE, DELETED, or the id of the coupon that carries the code."""
        return int(self._fates[position])

    def draw(self, coupon_id: int) -> int | None:
        """Give a random free position to a coupon and return it, or None where nothing is free."""
        while self._free_slots:
            slot = secrets.randbelow(self._free_slots)
            position = int(self._free[slot])
            self._free_slots -= 1
            self._free[slot] = self._free[self._free_slots]
            if self._fates[position] == DELETED:
                # Deleting leaves the position in the array; the draw that meets it throws it out and draws again.
                self._deleted_in_free -= 1
                continue
            self._fates[position] = coupon_id
            return position
        return None

    def delete(self, position: int) -> None:
        """Take a free code out of the stock."""
        self._fates[position] = DELETED
        self._deleted_in_free += 1
        self.deleted += 1

    def restore(self, given: NDArray[np.int64], coupon_ids: NDArray[np.int64], deleted: NDArray[np.int64]) -> bool:
        """After the appends of a rebuild: which positions coupons carry, and which were deleted.

        Returns whether each position has one fate at the most; False means that the store is damaged.
        """
        fates = np.concatenate([given, deleted])
        if len(np.unique(fates)) != len(fates) or (len(fates) and int(fates.max()) >= self.uploaded):
            return False
        self._fates[given] = coupon_ids
        self._fates[deleted] = DELETED
        free = np.flatnonzero(self._fates[: self.uploaded] == FREE)
        self._free_slots, self._deleted_in_free, self.deleted = len(free), 0, len(deleted)
        self._free[: len(free)] = free
        return True

    def page(self, offset: int, limit: int, given: bool | None) -> list[int]:
        """Return positions in upload order: of the codes given out, of the free ones, or of all (None)."""
        if given is None and not self.deleted:
            return list(range(offset, min(offset + limit, self.uploaded)))
        fates = self._fates[: self.uploaded]
        wanted = (
            fates != DELETED if given is None else fates == FREE if not given else (fates != FREE) & (fates != DELETED)
        )
        return [int(position) for position in np.flatnonzero(wanted)[offset : offset + limit]]
