"""One stock's codes in memory: which code is where, which are still free, and the draw.

A code is known by its position, its place in upload order. A position's fate is free, deleted, or the coupon
that carries it. Nothing here is durable: the store rebuilds a shelf from its rows, and asks it before it writes.

The draw takes uniformly random ones of the free positions, from the operating system's random source: the free
positions stand in an array, the drawn one's place is taken by the last. That stays exact after later uploads, and
costs the same in a full pool and an empty one. Drawing takes them out of the array only: whoever draws gives each to
a coupon once that is written, or puts it back.

Arrays are Python's own: they grow where they stand, and one number is read from them in a third of the time that
numpy needs. numpy sees the same memory where many are read.
"""

from __future__ import annotations

import os
import secrets
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .....errors import StoreUnavailable
from .buckets import ABSENT, Hashes
from .hash_index import HashIndex

_FEW = 8
"""Fewer than so many are not worth numpy's calls."""
FREE = 0
DELETED = 2**32 - 1


class Place(NamedTuple):
    """Where a code's text is: the upload that brought it, and its line there, from 0."""

    upload_id: int
    line: int
    width: int
    """The length of every code of the upload, or 0 where they differ."""


class Texts(Protocol):
    """Where the codes' texts are. Whether one is what was put there, the shelf sees."""

    def keep(self, upload_id: int, codes: Sequence[str], width: int) -> None:
        """The codes of an upload that have one length: they may be asked for."""
        ...

    def read(self, place: Place) -> str:
        """Return what stands there; any text where there is nothing."""
        ...

    def read_many(self, upload_ids: NDArray[np.int64], lines: NDArray[np.int64], width: int) -> list[str]:
        """As `read`, for places with one width, in columns."""
        ...


class CodeIndex:
    def __init__(self, texts: Texts, hash_text: Callable[[str], int] = hash) -> None:
        self._texts = texts
        self._index = HashIndex(hash_text)
        # Of each upload: numbers of fixed size, not objects, for uploads may be of one code each.
        self._first_positions = array("Q")
        self._upload_ids = array("q")
        self._widths = array("B")
        self._fates = array("I")
        self._free = array("I")
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
        return len(self._free) - self._deleted_in_free

    @property
    def nbytes(self) -> int:
        of_uploads = len(self._upload_ids) * (8 + 8 + 1)
        return self._index.nbytes + (len(self._fates) + len(self._free)) * 4 + of_uploads

    def check_room(self, count: int) -> None:
        """Raises StoreUnavailable: a shelf can't hold so many more. To ask before anything is written."""
        self._index.check_room(count)

    def append(self, uploads: Sequence[tuple[int, Sequence[str]]], hashes: Hashes) -> None:
        """Put codes on the shelf that are not known there, all free: of each upload, its id and its codes."""
        position = first = self.uploaded
        for upload_id, codes in uploads:
            self._note_upload(upload_id, position, codes)
            position += len(codes)
        self._index.add(hashes, first)
        self._fates.frombytes(bytes(4 * len(hashes)))
        self._free.extend(range(first, position))

    def append_many(self, uploads: Sequence[tuple[int, int]], codes: Sequence[str]) -> None:
        """For a rebuild: the codes of several uploads, each an id and its number of codes. `restore` completes it."""
        begin, position = 0, self.uploaded
        for upload_id, count in uploads:
            self._note_upload(upload_id, position + begin, codes[begin : begin + count])
            begin += count
        numbers = np.arange(position, position + len(codes), dtype=np.uint32)
        self._index.add_later(self._index.hashes(codes), numbers)
        self._fates.frombytes(bytes(4 * len(codes)))

    def _note_upload(self, upload_id: int, first_position: int, codes: Sequence[str]) -> None:
        self._first_positions.append(first_position)
        self._upload_ids.append(upload_id)
        # One length for all: a code's text can be read alone, at its place in the upload's.
        widths = set(map(len, codes))
        self._widths.append(width := widths.pop() if len(widths) == 1 else 0)
        if width and upload_id > 0:
            self._texts.keep(upload_id, codes, width)

    def append_given(self, coupon_id: int, code: str) -> int:
        """Put a code on the shelf that a coupon carries from the start; its text is read as upload `-coupon_id`."""
        position = self.uploaded
        self._note_upload(-coupon_id, position, [code])
        self._index.add_one(code, position)
        self._fates.append(coupon_id)
        return position

    def hashes(self, codes: Sequence[str]) -> Hashes:
        return self._index.hashes(codes)

    def known(self, codes: Sequence[str], hashes: Hashes) -> NDArray[np.bool_]:
        """Which codes the stock has."""
        known: NDArray[np.bool_] = self._index.look_up(hashes) != ABSENT
        # A hash that is there may be another code's, or a deleted one's.
        for which in known.nonzero()[0].tolist():
            known[which] = self.find(codes[which]) is not None
        return known

    def find(self, code: str) -> int | None:
        """Return a code's position, or None where the stock has no such code."""
        for position in self._index.numbers(code):
            if self._fates[position] != DELETED and self.text(position) == code:
                return position
        return None

    def text(self, position: int) -> str:
        return self.texts([position])[0]

    def texts(self, positions: Sequence[int]) -> list[str]:
        """Read codes. Raises StoreUnavailable: one is not what was put there."""
        if not positions:
            return []
        if len(positions) < _FEW:
            codes = [self._texts.read(self.place(position)) for position in positions]
        else:
            codes = self._read_many(np.array(positions, np.uint64))
        # One changed bit of a text, and a user would hold a code that no merchant knows.
        known = self._index.hold(codes, positions)
        if not all(known):
            place = self.place(positions[known.index(False)])
            raise StoreUnavailable(
                f"the store is damaged: line {place.line} of upload {place.upload_id} is not the code that was "
                "uploaded: restore a backup"
            )
        return codes

    def place(self, position: int) -> Place:
        which = bisect_right(self._first_positions, position) - 1
        return Place(self._upload_ids[which], position - self._first_positions[which], self._widths[which])

    def _read_many(self, at: NDArray[np.uint64]) -> list[str]:
        first_positions, last = np.frombuffer(self._first_positions, np.uint64), len(self._first_positions) - 1
        # Uploads are mostly full ones. Then this is where it is, and looking costs less than a search among many.
        which = (at * np.uint64(last + 1) // np.uint64(self.uploaded)).astype(np.int64)
        after = first_positions[np.minimum(which + 1, last)] > at
        there = (first_positions[which] <= at) & (after | (which == last))
        if np.count_nonzero(there) < len(at):
            which[~there] = np.searchsorted(first_positions, at[~there], "right") - 1
        upload_ids = np.frombuffer(self._upload_ids, np.int64)[which]
        lines = (at - first_positions[which]).astype(np.int64)
        widths = np.frombuffer(self._widths, np.uint8)[which]
        width = int(widths[0])
        if np.count_nonzero(widths == width) == len(at):
            return self._texts.read_many(upload_ids, lines, width)
        columns = upload_ids.tolist(), lines.tolist(), widths.tolist()
        return [self._texts.read(Place._make(place)) for place in zip(*columns, strict=True)]

    def fate(self, position: int) -> int:
        """FREE, DELETED, or the id of the coupon that carries the code."""
        return self._fates[position]

    def draw(self, count: int) -> list[int]:
        """Take random free positions, so many or all that are left, and return them in the order of their draws."""
        free = self._free
        drawn: list[int] = []
        while len(drawn) < count and free:
            for slot in self._random_slots(min(count - len(drawn), len(free))):
                drawn.append(free[slot])
                last = free.pop()
                if slot < len(free):
                    free[slot] = last
            if self._deleted_in_free:
                # Deleting leaves the position in the array; the draw that meets it throws it out.
                there = [position for position in drawn if self._fates[position] != DELETED]
                self._deleted_in_free -= len(drawn) - len(there)
                drawn = there
        return drawn

    def _random_slots(self, draws: int) -> list[int]:
        """Return a random slot of all the free ones, then one of one less, and so on: each is as likely as any other.

        Not a number is kept for later: a copy of the process would draw the same.
        """
        first = len(self._free)
        if draws < _FEW:
            return [secrets.randbelow(left) for left in range(first, first - draws, -1)]
        left = np.arange(first, first - draws, -1, dtype=np.uint64)
        while True:
            numbers = np.frombuffer(os.urandom(8 * draws), np.uint64)
            slots = numbers % left
            # Each must be of a complete round of slots below 2⁶⁴. With the last, incomplete one, the first slots would
            # come more often. All are thrown again: it happens once in a million million draws.
            if (numbers - slots <= -left).all():
                break
        at = slots.astype(np.int64)
        # Read at once, they come from memory at the same time; read one after another, each is waited for.
        np.frombuffer(self._free, np.uint32)[at]
        drawn: list[int] = at.tolist()
        return drawn

    def put_back(self, drawn: Sequence[int]) -> None:
        """Undo a draw. Where in the array a position stands is of no account."""
        self._free.extend(drawn)

    def give(self, drawn: Sequence[int], first_coupon_id: int) -> None:
        """Give drawn positions to coupons of consecutive ids."""
        coupon_ids = np.arange(first_coupon_id, first_coupon_id + len(drawn), dtype=np.uint32)
        np.frombuffer(self._fates, np.uint32)[np.array(drawn, np.int64)] = coupon_ids

    def delete(self, position: int) -> None:
        """Take a free code out of the stock."""
        self._fates[position] = DELETED
        self._deleted_in_free += 1
        self.deleted += 1

    def restore(self, given: Sequence[int], coupon_ids: Sequence[int], deleted: Sequence[int]) -> bool:
        """After the appends of a rebuild: which positions coupons carry, and which were deleted.

        Returns whether each position has one fate at the most; False means that the store is damaged.
        """
        self._index.complete()
        fates = np.frombuffer(self._fates, np.uint32)
        for positions, what in ((given, np.array(coupon_ids, np.uint32)), (deleted, DELETED)):
            at = np.array(positions, np.int64)
            if len(at) and not 0 <= int(at.min()) <= int(at.max()) < self.uploaded:
                return False
            fates[at] = what
        self.deleted, self._deleted_in_free = len(deleted), 0
        free = np.flatnonzero(fates == FREE)
        self._free = array("I", free.astype(np.uint32).tobytes())
        return len(free) == self.uploaded - len(given) - len(deleted)

    def page(self, offset: int, limit: int, given: bool | None) -> list[int]:
        """Return positions in upload order: of the codes given out, of the free ones, or of all (None)."""
        if given is None and not self.deleted:
            return list(range(offset, min(offset + limit, self.uploaded)))
        fates = np.frombuffer(self._fates, np.uint32)
        wanted = (
            fates != DELETED if given is None else fates == FREE if not given else (fates != FREE) & (fates != DELETED)
        )
        positions: list[int] = np.flatnonzero(wanted)[offset : offset + limit].tolist()
        return positions
