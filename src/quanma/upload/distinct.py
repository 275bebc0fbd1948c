"""Which rows repeat an earlier one, however far apart, in little memory.

Each row leaves 24 bytes in one of many temporary files: 128 bits of hash, by which the file is chosen, and its number.
Equal codes meet in one file, and one file at a time fits in memory. The hash is Python's own, keyed afresh in each
process, taken of the code and of the code with a letter before it: that two of 20 million different codes agree in
all 128 bits is less likely than one in 10**23.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]

_FILES = 64
_RECORD = np.dtype([("first", np.uint64), ("second", np.uint64), ("row", np.int64)])


class Repeats(NamedTuple):
    """Rows that repeat an earlier one, ascending, and that one for each."""

    rows: Rows
    first_rows: Rows


class Distinct:
    def __init__(self, folder: Path) -> None:
        """Temporary files go to `folder` and have no name there: they vanish with the process."""
        self._files: list[IO[bytes]] = [tempfile.TemporaryFile(dir=folder) for _ in range(_FILES)]  # noqa: SIM115

    def add(self, rows: Rows, codes: Sequence[str]) -> None:
        """Add rows, whose numbers ascend from call to call."""
        records = np.empty(len(codes), _RECORD)
        records["first"] = _hashes(codes)
        records["second"] = _hashes(["x" + code for code in codes])
        records["row"] = rows
        which = (records["first"] % _FILES).astype(np.intp)
        records = records[np.argsort(which, kind="stable")]
        ends = np.cumsum(np.bincount(which, minlength=_FILES))
        for file, begin, end in zip(self._files, (0, *ends[:-1]), ends, strict=True):
            records[begin:end].tofile(file)

    def repeats(self) -> Repeats:
        found = [_repeats_in(file) for file in self._files]
        rows = np.concatenate([one.rows for one in found])
        order = np.argsort(rows)
        return Repeats(rows[order], np.concatenate([one.first_rows for one in found])[order])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for file in self._files:
            file.close()


def _hashes(codes: Sequence[str]) -> NDArray[np.uint64]:
    return np.fromiter(map(hash, codes), np.int64, len(codes)).view(np.uint64)


def _repeats_in(file: IO[bytes]) -> Repeats:
    file.seek(0)
    records = np.fromfile(file, _RECORD)
    # Rows ascend within a file, and the sort is stable: the first of equal ones is the earliest.
    records = records[np.lexsort((records["second"], records["first"]))]
    same = np.zeros(len(records), bool)
    same[1:] = (records["first"][1:] == records["first"][:-1]) & (records["second"][1:] == records["second"][:-1])
    leaders = np.maximum.accumulate(np.where(same, 0, np.arange(len(records))))
    return Repeats(records["row"][same], records["row"][leaders[same]])
