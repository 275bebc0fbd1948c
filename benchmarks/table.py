"""A table as it is printed, and as docs/benchmarks.md holds it; and the medians that go into it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from itertools import starmap


class Table:
    def __init__(self, title: str, columns: Sequence[str], note: str = "") -> None:
        self._title = title
        self._columns = tuple(columns)
        self._note = note
        self._rows: list[tuple[str, ...]] = []

    def add(self, *cells: str | int | float) -> None:
        """A whole number of a rate is enough: three digits of it are noise already."""
        assert len(cells) == len(self._columns), self._title
        self._rows.append(tuple(cell if isinstance(cell, str) else f"{cell:,.0f}" for cell in cells))

    def __str__(self) -> str:
        lines = [self._columns, *self._rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self._columns))]
        rule = [f"{'-' * (width - 1)}:" if column else "-" * width for column, width in enumerate(widths)]
        shown = [_line(self._columns, widths), f"| {' | '.join(rule)} |"]
        shown += [_line(row, widths) for row in self._rows]
        return "\n".join([f"## {self._title}", "", *([self._note, ""] if self._note else []), *shown])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return f"| {' | '.join([first[0].ljust(first[1]), *starmap(str.rjust, rest)])} |"


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def median_ratio(values: Sequence[float], beside: Sequence[float]) -> float:
    """The median of the ratios of each repeat: what slows a whole repeat down does not show in it."""
    return statistics.median(value / other for value, other in zip(values, beside, strict=True))


def percent(ratio: float) -> str:
    return f"{100 * ratio:.0f} %"


def times(ratio: float) -> str:
    return f"{ratio:.1f} ×" if ratio < 100 else f"{ratio:.0f} ×"
