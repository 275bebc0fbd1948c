"""Rows of a sheet, many at a time, column by column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, overload

from .cells import Cell


class Rows:
    """A run of rows in which something stands, in the order of the file.

    numbers are those of the sheet, from 1. hidden are indexes of rows that a filter or a person hides.
    """

    def __init__(
        self,
        numbers: Sequence[int],
        columns: Mapping[int, Callable[[], Sequence[Cell]]],
        hidden: Sequence[int] = (),
        may_hold: Callable[[Sequence[str]], bool] | None = None,
    ) -> None:
        self.numbers = numbers
        self.hidden = hidden
        self._columns = columns
        self._made: dict[int, Sequence[Cell]] = {}
        self._may_hold = may_hold

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def places(self) -> Iterable[int]:
        """The columns in which something stands, from 0."""
        return self._columns.keys()

    def column(self, place: int) -> Sequence[Cell]:
        """Return one column's cells, one for each row."""
        if place not in self._made:
            make = self._columns.get(place)
            self._made[place] = make() if make is not None else Sparse({}, len(self.numbers))
        return self._made[place]

    def may_hold(self, words: Sequence[str]) -> bool:
        """Say whether a text of these rows may hold one of the words. Quick, and wrong only where it says yes."""
        if self._may_hold is not None:
            return self._may_hold(words)
        texts = [cell for place in self.places for _, cell in self._filled(place) if isinstance(cell, str)]
        text = "\n".join(texts)
        return any(word in text for word in words)

    def by_row(self) -> list[dict[int, Cell]]:
        """Return each row's cells that hold anything, by column."""
        found: list[dict[int, Cell]] = [{} for _ in self.numbers]
        for place in sorted(self.places):
            for index, cell in self._filled(place):
                if cell is not None:
                    found[index][place] = cell
        return found

    def _filled(self, place: int) -> Iterable[tuple[int, Cell]]:
        column = self.column(place)
        return column.filled() if isinstance(column, Sparse) else enumerate(column)


class Sparse(Sequence[Cell]):
    """A column of which few cells hold anything: a sheet may have one in each of thousands of columns."""

    def __init__(self, cells: Mapping[int, Cell], length: int) -> None:
        self._cells = cells
        self._length = length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Cell: ...
    @overload
    def __getitem__(self, index: slice) -> list[Cell]: ...
    def __getitem__(self, index: int | slice) -> Cell | list[Cell]:
        if isinstance(index, slice):
            return [self._cells.get(one) for one in range(*index.indices(self._length))]
        if not 0 <= index < self._length:
            raise IndexError(index)
        return self._cells.get(index)

    def filled(self) -> Iterator[tuple[int, Cell]]:
        return iter(self._cells.items())


NO_ROWS: Final = Rows((), {})


def in_columns(numbers: Sequence[int], columns: Mapping[int, Mapping[int, Cell]], hidden: Sequence[int] = ()) -> Rows:
    """Rows of cells that are known by column and index."""
    length = len(numbers)

    def maker(cells: Mapping[int, Cell]) -> Callable[[], Sequence[Cell]]:
        if 4 * len(cells) < length:
            return lambda: Sparse(cells, length)
        return lambda: [cells.get(index) for index in range(length)]

    return Rows(numbers, {place: maker(cells) for place, cells in columns.items()}, hidden)
