"""Row numbers of several inputs as one number each, and runs of them as text. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_SHIFT = 40


def row_id(input_no: int, row: int) -> int:
    """Name a row of the input with this number, 0 for the first."""
    return (input_no << _SHIFT) + row


def input_and_row(row_id: int) -> tuple[int, int]:
    return row_id >> _SHIFT, row_id & ((1 << _SHIFT) - 1)


def runs(rows: Sequence[int]) -> str:
    """Write ascending rows as runs, `1-200,203`: mostly a few characters for a whole batch."""
    first, last = rows[0], rows[-1]
    if last - first == len(rows) - 1:
        return _run(first, last)
    written: list[str] = []
    start = previous = first
    for row in rows[1:]:
        if row != previous + 1:
            written.append(_run(start, previous))
            start = row
        previous = row
    return ",".join([*written, _run(start, previous)])


def _run(first: int, last: int) -> str:
    return f"{first}-{last}" if last > first else str(first)


def rows_of(written: str) -> Iterator[int]:
    """Read `runs` back."""
    for run in written.split(","):
        first, _, last = run.partition("-")
        yield from range(int(first), int(last or first) + 1)
