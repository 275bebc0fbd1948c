"""One stock's codes in memory: where each is, and its owner, the coupon that carries it.

A code is known by its position, its place in upload order. Nothing here is durable: the store makes an index anew from
its rows, and asks it before it writes. A draw takes positions out of the free ones only: whoever draws gives each one
to a coupon once that is written, or puts it back.

Arrays are Python's own: they grow where they stand, and one number is read from them in a third of the time that
numpy needs. numpy sees the same memory where many are read.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .....errors import StoreUnavailable
from .buckets import ABSENT, Hashes
from .free import FreeCodes
from .hash_index import HashIndex

_FEW = 8
"""Fewer than this are not worth numpy's calls."""
COUPON_IDS_MAX = 2**32 - 2
# An owner takes four bytes: a coupon's id, or one of these two, which never leave this module.
_FREE = 0
_DELETED = 2**32 - 1


class Place(NamedTuple):
    """Where a code's text is: the upload that brought it, and its line there, from 0."""

    upload_id: int
    line: int
    width: int | None
    """The length of every code of the upload; None: they differ."""


class Texts(Protocol):
    """Where the texts of codes are. The index checks that a text is the one that was put there."""

    def keep(self, upload_id: int, codes: Sequence[str], width: int) -> None:
        """The codes of an upload that have one length: they may be asked for."""
        ...

    def read(self, place: Place) -> str:
        """Return what stands there; any text where there is nothing."""
        ...

    def read_many(self, upload_ids: NDArray[np.int64], lines: NDArray[np.int64], width: int | None) -> list[str]:
        """As `read`, for places with one width, in columns."""
        ...

    def read_sent(self, coupon_id: int) -> str:
        """Return the code of a coupon in a stock that takes no uploads."""
        ...


class CodeIndex:
    """What both kinds of stocks have: codes by their positions, and their owners."""

    def __init__(self, texts: Texts, hash_text: Callable[[str], int] = hash) -> None:
        self._texts = texts
        self._index = HashIndex(hash_text)
        self._owners = array("I")
        self._deleted = 0

    @property
    def uploaded(self) -> int:
        """Codes that there ever were: the next code's position."""
        return len(self._index)

    @property
    def total(self) -> int:
        """Codes in the stock, given out or not."""
        return self.uploaded - self._deleted

    @property
    def available(self) -> int:
        return 0

    @property
    def nbytes(self) -> int:
        return self._index.nbytes + len(self._owners) * self._owners.itemsize

    def check_room(self, count: int) -> None:
        """To ask before anything is written. Raises StoreUnavailable: there is no room for so many more."""
        self._index.check_room(count)

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
            if self._owners[position] != _DELETED and self.text(position) == code:
                return position
        return None

    def owner(self, position: int) -> int | None:
        """Return the id of the coupon that carries a code of the stock. None: it is free."""
        return self._owners[position] or None

    def text(self, position: int) -> str:
        return self.texts([position])[0]

    def texts(self, positions: Sequence[int]) -> list[str]:
        """Read codes. Raises StoreUnavailable: one is not what was put there."""
        if not positions:
            return []
        codes = self._read(positions)
        # One changed bit of a text, and a user would hold a code that no merchant knows.
        known = self._index.hold(codes, positions)
        if not all(known):
            raise StoreUnavailable(
                f"the store is damaged: {self._told(positions[known.index(False)])}: restore a backup"
            )
        return codes

    def page(self, offset: int, limit: int, given: bool | None) -> list[int]:
        """Return positions in upload order: of the codes given out, of the free ones, or of all (None)."""
        if given is None and not self._deleted:
            return list(range(offset, min(offset + limit, self.uploaded)))
        owners = np.frombuffer(self._owners, np.uint32)
        if given is None:
            wanted = owners != _DELETED
        else:
            wanted = (owners != _FREE) & (owners != _DELETED) if given else owners == _FREE
        positions: list[int] = np.flatnonzero(wanted)[offset : offset + limit].tolist()
        return positions

    def _read(self, positions: Sequence[int]) -> list[str]:
        """Read texts, whatever they are."""
        raise NotImplementedError

    def _told(self, position: int) -> str:
        """What is wrong where a text is not what was put there."""
        raise NotImplementedError


class SentCodeIndex(CodeIndex):
    """Of a stock that takes no uploads: a code comes with its coupon, which has its text."""

    def add(self, coupon_id: int, code: str) -> None:
        self._index.add_one(code, self.uploaded)
        self._owners.append(coupon_id)

    def _read(self, positions: Sequence[int]) -> list[str]:
        return [self._texts.read_sent(self._owners[position]) for position in positions]

    def _told(self, position: int) -> str:
        return f"the code of coupon {self._owners[position]} is not the one that was given out"


class UploadedCodeIndex(CodeIndex):
    """Of a stock that takes uploads: codes come in uploads, and are free until they are drawn or deleted."""

    def __init__(self, texts: Texts, hash_text: Callable[[str], int] = hash) -> None:
        super().__init__(texts, hash_text)
        # Of each upload: numbers of fixed size, not objects, for uploads may be of one code each.
        self._first_positions = array("Q")
        self._upload_ids = array("q")
        self._widths = array("B")
        """0: the upload's codes are of several lengths."""
        self._free = FreeCodes(self._is_deleted)

    @property
    def available(self) -> int:
        return len(self._free)

    @property
    def nbytes(self) -> int:
        return super().nbytes + self._free.nbytes + len(self._upload_ids) * (8 + 8 + 1)

    def append(self, uploads: Sequence[tuple[int, Sequence[str]]], hashes: Hashes) -> None:
        """Add codes that the stock does not have, all free: of each upload, its id and its codes."""
        position = first = self.uploaded
        for upload_id, codes in uploads:
            self._note_upload(upload_id, position, codes)
            position += len(codes)
        self._index.add(hashes, first)
        self._owners.frombytes(bytes(4 * len(hashes)))
        self._free.add(range(first, position))

    def append_many(self, uploads: Sequence[tuple[int, int]], codes: Sequence[str]) -> None:
        """For a rebuild: the codes of several uploads, each an id and its number of codes. `restore` completes it."""
        begin, position = 0, self.uploaded
        for upload_id, count in uploads:
            self._note_upload(upload_id, position + begin, codes[begin : begin + count])
            begin += count
        numbers = np.arange(position, position + len(codes), dtype=np.uint32)
        self._index.add_later(self._index.hashes(codes), numbers)
        self._owners.frombytes(bytes(4 * len(codes)))

    def restore(self, given: Sequence[int], coupon_ids: Sequence[int], deleted: Sequence[int]) -> bool:
        """After the appends of a rebuild: which positions coupons carry, and which were deleted.

        Returns whether each position has one owner at most; False means that the store is damaged.
        """
        self._index.complete()
        owners = np.frombuffer(self._owners, np.uint32)
        for positions, what in ((given, np.array(coupon_ids, np.uint32)), (deleted, _DELETED)):
            at = np.array(positions, np.int64)
            if len(at) and not 0 <= int(at.min()) <= int(at.max()) < self.uploaded:
                return False
            owners[at] = what
        self._deleted = len(deleted)
        free = np.flatnonzero(owners == _FREE)
        self._free.reset(free.astype(np.uint32))
        return len(free) == self.uploaded - len(given) - len(deleted)

    def draw(self, count: int) -> list[int]:
        """Take random free positions, so many or all that are left, and return them in the order of their draws."""
        return self._free.draw(count)

    def put_back(self, drawn: Sequence[int]) -> None:
        """Undo a draw."""
        self._free.put_back(drawn)

    def give(self, drawn: Sequence[int], first_coupon_id: int) -> None:
        """Give drawn positions to coupons of consecutive ids."""
        coupon_ids = np.arange(first_coupon_id, first_coupon_id + len(drawn), dtype=np.uint32)
        np.frombuffer(self._owners, np.uint32)[np.array(drawn, np.int64)] = coupon_ids

    def delete(self, position: int) -> None:
        """Take a free code out of the stock."""
        self._owners[position] = _DELETED
        self._free.delete()
        self._deleted += 1

    def place(self, position: int) -> Place:
        which = bisect_right(self._first_positions, position) - 1
        line = position - self._first_positions[which]
        return Place(self._upload_ids[which], line, self._widths[which] or None)

    def _is_deleted(self, position: int) -> bool:
        return self._owners[position] == _DELETED

    def _note_upload(self, upload_id: int, first_position: int, codes: Sequence[str]) -> None:
        self._first_positions.append(first_position)
        self._upload_ids.append(upload_id)
        # One length for all: a code's text can be read alone, at its place in the upload's.
        widths = set(map(len, codes))
        self._widths.append(width := widths.pop() if len(widths) == 1 else 0)
        if width:
            self._texts.keep(upload_id, codes, width)

    def _read(self, positions: Sequence[int]) -> list[str]:
        if len(positions) < _FEW:
            return [self._texts.read(self.place(position)) for position in positions]
        at = np.array(positions, np.uint64)
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
            return self._texts.read_many(upload_ids, lines, width or None)
        columns = zip(upload_ids.tolist(), lines.tolist(), widths.tolist(), strict=True)
        return [self._texts.read(Place(upload_id, line, width or None)) for upload_id, line, width in columns]

    def _told(self, position: int) -> str:
        place = self.place(position)
        return f"line {place.line} of upload {place.upload_id} is not the code that was uploaded"
