"""What every source gives: its rows, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from ..reasons import Reason

ROWS_PER_BLOCK: Final = 10_000
"""How many rows a block of a table holds. Plain text comes in blocks of so many bytes instead."""

NO_PROBLEMS: Final[Mapping[int, Reason]] = {}


class Block(NamedTuple):
    """A run of input rows; empty rows are left out.

    rows[i] is the 1-based number of the row that codes[i] stands in, as an editor or spreadsheet shows it.
    For a row of several lines it is the first. problems names the rows that can't be taken as a code at
    all, by their index in this block; codes then holds what is known of their text, for reports only.
    left_out counts rows that `--where` did not ask for. remarks are of rows that are taken: a code of
    `reasons.REMARKS` or `reasons.WARNINGS`, and the row.
    """

    rows: Sequence[int]
    codes: list[str]
    problems: Mapping[int, Reason] = NO_PROBLEMS
    left_out: int = 0
    remarks: Sequence[tuple[str, int]] = ()


class Source(Protocol):
    """One input of coupon codes."""

    @property
    def name(self) -> str:
        """The input as shown to the user: its path, "standard input", or a database address."""
        ...

    @property
    def notes(self) -> list[str]:
        """What was found out about the input and should be told: encoding, dialect, header, column."""
        ...

    @property
    def values_seen(self) -> Mapping[str, Sequence[str]]:
        """Of each column of `--where`, the first values that were met, as a message may show them."""
        ...

    def blocks(self) -> Iterator[Block]:
        """Read the rows from the start, in order, holding no more than a block in memory.

        Standard input and pipes can be read once; the second pass is refused.

        Raises:
            SourceUnreadable: from here on no row can be told from the next; rows already given may be
                wrong too. Plan the whole input before sending any of it.
        """
        ...

    def fingerprint(self) -> str:
        """Return 64 hex digits that change when the content does.

        For files and pipes it is the SHA-256 of the raw bytes: those last read to the end, else those on
        disk now. So call it after the last block, to know exactly what was planned.

        Raises:
            SourceUnreadable: standard input or a pipe that has not been read to its end.
        """
        ...
