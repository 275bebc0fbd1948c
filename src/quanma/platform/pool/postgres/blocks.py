"""Numbers by their places, many in one row: where a number stands at each of millions of places. Pure.

A block is 32 places in a row of a table, four bytes each; the places from 0 on that are in none hold 0. A row and an
index entry for each place would take ten times as much, and be written at ten times as many pages.
"""

from __future__ import annotations

SLOTS, CARRIERS, HOLDERS = 0, 1, 2
"""The kinds of rows in the table `block`."""
BLOCK = 32
NUMBER_BYTES = 4
NUMBER_MAX = 2**31 - 1
_EMPTY = bytes(BLOCK * NUMBER_BYTES)


def first_of(place: int) -> int:
    """The first place of the block that has this one."""
    return place - place % BLOCK


def first_from(place: int) -> int:
    """The first place of the first block that begins there or later."""
    return first_of(place + BLOCK - 1)


def number_at(place: str, numbers: str) -> str:
    """The SQL for the number at a place of a block. NULL: there is no such block."""
    at = f"{place} % {BLOCK} * {NUMBER_BYTES}"
    return (
        f"((get_byte({numbers}, {at}) << 24) | (get_byte({numbers}, {at} + 1) << 16)"
        f" | (get_byte({numbers}, {at} + 2) << 8) | get_byte({numbers}, {at} + 3))"
    )


class Blocks:
    """The blocks that a piece of work has read, and what it changes in them."""

    def __init__(self) -> None:
        self._blocks: dict[int, bytearray] = {}
        self._changed: set[int] = set()

    def learn(self, place: int, numbers: bytes | None) -> None:
        """The block of a place, as it is stored; None: it is not there. What was learned or changed before stays."""
        first = first_of(place)
        if first not in self._blocks:
            self._blocks[first] = bytearray(numbers or _EMPTY)

    def __getitem__(self, place: int) -> int:
        at = place % BLOCK * NUMBER_BYTES
        return int.from_bytes(self._blocks[first_of(place)][at : at + NUMBER_BYTES], "big")

    def __setitem__(self, place: int, number: int) -> None:
        first, at = first_of(place), place % BLOCK * NUMBER_BYTES
        self._blocks[first][at : at + NUMBER_BYTES] = number.to_bytes(NUMBER_BYTES, "big")
        self._changed.add(first)

    def changed(self) -> tuple[list[int], list[bytes]]:
        """The blocks that are not as they were: where each begins, and what it holds now."""
        firsts = sorted(self._changed)
        return firsts, [bytes(self._blocks[first]) for first in firsts]
