"""Which rows repeat an earlier one, however far apart, in little memory.

Each row leaves 24 bytes in one of many temporary files: 128 bits of hash, by which the file is chosen, and its number.
Equal codes meet in one file, and one file at a time fits in memory. The hash is keyed afresh in each process, so nobody
can make codes that meet in it; that two of 20 million different codes agree in all 128 bits is less likely than one in
10**23. It is ours: no library has one that takes a whole block of codes at a time.
"""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path
from typing import IO, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
_Words = NDArray[np.uint64]

_FILES: Final = 64
_RECORD: Final = np.dtype([("first", np.uint64), ("second", np.uint64), ("row", np.int64)])
_WAITING_ROWS: Final = 100_000
"""So many are written at a time: each file gets a piece that is worth a call."""


def numbered(first: int, count: int) -> Rows:
    """Rows from the first on."""
    return np.arange(first, first + count)


class Repeats(NamedTuple):
    """Rows that repeat an earlier one, ascending, and that one for each."""

    rows: Rows
    first_rows: Rows


class Distinct:
    def __init__(self, folder: Path) -> None:
        """Temporary files go to `folder` and have no name there: they vanish with the process."""
        self._files: list[IO[bytes]] = [tempfile.TemporaryFile(dir=folder) for _ in range(_FILES)]  # noqa: SIM115
        self._hashes = {"first": _Hash(), "second": _Hash()}
        self._waiting: list[NDArray[np.void]] = []
        self._waiting_rows = 0

    def add(self, rows: Rows, lines: bytes) -> None:
        """Add rows, whose numbers ascend from call to call. lines: their codes, each ended by a line feed."""
        codes = _Codes(lines)
        records = np.empty(len(rows), _RECORD)
        for name, hashing in self._hashes.items():
            records[name] = hashing.of(codes)
        records["row"] = rows
        self._waiting.append(records)
        self._waiting_rows += len(rows)
        if self._waiting_rows >= _WAITING_ROWS:
            self._write()

    def repeats(self) -> Repeats:
        self._write()
        found = [_repeats_in(file) for file in self._files]
        rows = np.concatenate([one.rows for one in found])
        order = np.argsort(rows)
        return Repeats(rows[order], np.concatenate([one.first_rows for one in found])[order])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for file in self._files:
            file.close()

    def _write(self) -> None:
        if not self._waiting:
            return
        records = np.concatenate(self._waiting)
        self._waiting, self._waiting_rows = [], 0
        which = (records["first"] % _FILES).astype(np.uint8)
        # Stable: rows ascend within a file too. Of single bytes, it only counts them.
        records = records[np.argsort(which, kind="stable")]
        ends = np.cumsum(np.bincount(which, minlength=_FILES))
        for file, begin, end in zip(self._files, (0, *ends[:-1]), ends, strict=True):
            file.seek(0, 2)
            file.write(records[begin:end].tobytes())


class _Codes:
    """Codes of a block as words of 8 bytes: the n-th of each code at a time, zeros behind its end."""

    def __init__(self, lines: bytes) -> None:
        # Zeros, so that the last code's words can be read too.
        letters = np.frombuffer(lines + bytes(8), np.uint8)
        ends = np.flatnonzero(letters[: len(lines)] == _LINE_FEED)
        self._begins = np.empty_like(ends)
        self._begins[:1] = 0
        self._begins[1:] = ends[:-1] + 1
        self.lengths = ends - self._begins
        # A word may begin at any byte.
        self._at = np.ndarray((len(letters) - 7,), "<u8", letters, strides=(1,))
        self.words = [self._nth_words(number) for number in range(-(-int(self.lengths.max(initial=0)) // 8))]

    def _nth_words(self, number: int) -> _Words:
        places = np.minimum(self._begins + 8 * number, len(self._at) - 1)
        words: _Words = self._at[places] & _MASKS[np.clip(self.lengths - 8 * number, 0, 8)]
        return words


_LINE_FEED: Final = 10
_MASKS: Final = np.array([2 ** (8 * length) - 1 for length in range(9)], np.uint64)


class _Hash:
    """64 bits of a code. Each step maps what was before one to one, for any word; the keys are drawn."""

    def __init__(self) -> None:
        self._seed, self._length_key, self._key, self._last_key = (
            np.uint64(secrets.randbits(64) | 1) for _ in range(4)
        )

    def of(self, codes: _Codes) -> _Words:
        mixed = codes.lengths.astype(np.uint64) * self._length_key + self._seed
        shortest = int(codes.lengths.min(initial=0))
        for number, words in enumerate(codes.words):
            stepped = self._step(mixed ^ words)
            # A code that has ended stays as it is, however long those beside it are.
            mixed = stepped if 8 * number < shortest else np.where(codes.lengths > 8 * number, stepped, mixed)
        return self._step(mixed)

    def _step(self, mixed: _Words) -> _Words:
        mixed *= self._key
        mixed ^= mixed >> _HALF
        mixed *= self._last_key
        mixed ^= mixed >> _LESS
        return mixed


_HALF: Final = np.uint64(32)
_LESS: Final = np.uint64(29)


def _repeats_in(file: IO[bytes]) -> Repeats:
    file.seek(0)
    records = np.fromfile(file, _RECORD)
    # Mostly no hash comes twice, and to see that is quicker than to put rows in order.
    ordered = np.sort(records["first"])
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    records = records[np.isin(records["first"], twice)] if len(twice) else records[:0]
    # Rows ascend within a file, and the sort is stable: the first of equal ones is the earliest.
    records = records[np.lexsort((records["second"], records["first"]))]
    same = np.zeros(len(records), bool)
    same[1:] = (records["first"][1:] == records["first"][:-1]) & (records["second"][1:] == records["second"][:-1])
    leaders = np.maximum.accumulate(np.where(same, 0, np.arange(len(records))))
    return Repeats(records["row"][same], records["row"][leaders[same]])
