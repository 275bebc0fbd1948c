"""Good rows, waiting until it is known which of them repeat: a few in memory, many on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

if TYPE_CHECKING:
    from .spoolfiles import SpoolFiles

FEW_ROWS: Final = 20_000
"""As many wait in memory: some megabytes. Our choice."""


class Piece(NamedTuple):
    """Rows in their order."""

    codes: list[str]
    rows: list[int]
    repeats: Sequence[tuple[int, int]]
    """Which of them repeat an earlier one, as indexes, and the row that each repeats."""


class Spool:
    def __init__(self, folder: Path) -> None:
        """Temporary files, if there are any, go to `folder` and have no name there: they vanish with the process."""
        self._folder = folder
        self._few: list[tuple[Sequence[int], list[str]]] = []
        self._few_rows = 0
        self._many: SpoolFiles | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._many is not None:
            self._many.close()

    def add(self, rows: Sequence[int], codes: list[str]) -> None:
        """Add rows, whose numbers ascend from call to call."""
        if not codes:
            return
        if self._many is None:
            self._few.append((rows, codes))
            self._few_rows += len(codes)
            if self._few_rows <= FEW_ROWS:
                return
            self._many = self._on_disk()
        else:
            self._many.add(rows, codes)

    def pieces(self) -> Iterator[Piece]:
        """Give all rows again."""
        return self._many.pieces() if self._many is not None else self._few_pieces()

    def _few_pieces(self) -> Iterator[Piece]:
        first_rows: dict[str, int] = {}
        for rows, codes in self._few:
            repeats: list[tuple[int, int]] = []
            for index, (row, code) in enumerate(zip(rows, codes, strict=True)):
                if (first := first_rows.setdefault(code, row)) != row:
                    repeats.append((index, first))
            yield Piece(codes, list(rows), repeats)

    def _on_disk(self) -> SpoolFiles:
        # Here: numpy takes as long to import as a small file to read.
        from .spoolfiles import SpoolFiles

        many = SpoolFiles(self._folder)
        for rows, codes in self._few:
            many.add(rows, codes)
        self._few = []
        return many
