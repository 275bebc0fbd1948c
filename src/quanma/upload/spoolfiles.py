"""Good rows, waiting on disk until it is known which of them repeat, in flat memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from .distinct import Distinct
from .spool import Piece

_READ_BYTES: Final = 1 << 20


class SpoolFiles:
    """As Spool promises."""

    def __init__(self, folder: Path) -> None:
        self._codes = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # No name: it vanishes with the process.
        self._rows = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._distinct = Distinct(folder)

    def close(self) -> None:
        self._codes.close()
        self._rows.close()
        self._distinct.__exit__()

    def add(self, rows: Sequence[int], codes: list[str]) -> None:
        lines = ("\n".join(codes) + "\n").encode()
        self._codes.write(lines)
        numbers = np.arange(rows.start, rows.stop) if isinstance(rows, range) else np.array(rows, np.int64)
        numbers.tofile(self._rows)
        self._distinct.add(numbers, lines)

    def pieces(self) -> Iterator[Piece]:
        repeats = self._distinct.repeats()
        for codes, numbers in self._again():
            low, high = np.searchsorted(repeats.rows, (numbers[0], numbers[-1] + 1))
            indexes = np.searchsorted(numbers, repeats.rows[low:high]).tolist()
            first_rows = repeats.first_rows[low:high].tolist()
            yield Piece(codes, numbers.tolist(), list(zip(indexes, first_rows, strict=True)))

    def _again(self) -> Iterator[tuple[list[str], np.ndarray[tuple[int], np.dtype[np.int64]]]]:
        self._codes.seek(0)
        self._rows.seek(0)
        begun = b""
        while piece := self._codes.read(_READ_BYTES):
            whole, newline, begun_next = piece.rpartition(b"\n")
            if not newline:
                begun += piece
                continue
            codes = (begun + whole).decode().split("\n")
            begun = begun_next
            yield codes, np.fromfile(self._rows, np.int64, len(codes))
