"""Repeats at any distance, against a dictionary."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanma.upload.distinct import Distinct, _Codes, _Hash
from tests.support.every import every_row


def repeats(blocks: list[list[str]]) -> list[tuple[int, int]]:
    """(row, first row) of each repeat; rows count from 1."""
    row = 1
    with tempfile.TemporaryDirectory() as folder, Distinct(Path(folder)) as distinct:
        for codes in blocks:
            distinct.add(np.arange(row, row + len(codes)), "".join(f"{code}\n" for code in codes).encode())
            row += len(codes)
        found = distinct.repeats()
    return list(zip(found.rows.tolist(), found.first_rows.tolist(), strict=True))


def by_dictionary(blocks: list[list[str]]) -> list[tuple[int, int]]:
    first_rows: dict[str, int] = {}
    found = []
    for row, code in enumerate((code for codes in blocks for code in codes), 1):
        if first_rows.setdefault(code, row) != row:
            found.append((row, first_rows[code]))
    return found


def test_every_repeat_names_the_first_of_its_kind() -> None:
    assert repeats([["A", "B", "A"], ["C", "A", "B"]]) == [(3, 1), (5, 1), (6, 2)]


def test_nothing_repeats_in_nothing() -> None:
    assert repeats([]) == []
    assert repeats([["A", "B"]]) == []


def test_codes_that_differ_in_one_letter_are_different() -> None:
    assert repeats([["A", "a", " A", "A ", "AA", "xA", "xxA", "Ａ"]]) == []


@every_row("length", [1, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 40, 100])
def test_codes_of_every_length_are_compared_to_their_end(length: int) -> None:
    codes = ["A" * length, "A" * (length - 1) + "B", "B" + "A" * (length - 1), "A" * (length + 1), "A" * (length - 1)]
    codes = [code for code in dict.fromkeys(codes) if code]
    assert repeats([codes, codes[::-1]]) == [(2 * len(codes) - at, at + 1) for at in reversed(range(len(codes)))]


def test_a_code_repeats_whatever_the_lengths_of_those_beside_it() -> None:
    assert repeats([["A"], ["A", "A" * 32]]) == [(2, 1)]
    assert repeats([["A" * 9, "B" * 100], ["A" * 9], ["C", "A" * 9]]) == [(3, 1), (5, 1)]


def test_letters_that_differ_in_one_bit_in_two_words_do_not_meet() -> None:
    pairs = [left + "0000000" + right + "0000000" for left in "0p" for right in "0p"]
    assert repeats([pairs * 1]) == []


def test_of_a_million_bits_every_one_falls_evenly() -> None:
    lines = "".join(f"QM{number:012}\n" for number in range(20_000)).encode()
    hashes = _Hash().of(_Codes(lines))
    assert len(np.unique(hashes)) == 20_000
    for bit in range(64):
        ones = int(((hashes >> np.uint64(bit)) & np.uint64(1)).sum())
        assert 9_500 < ones < 10_500


# Few letters: many repeats. Few examples: each opens 64 files.
@settings(max_examples=30)
@given(st.lists(st.lists(st.text("AB", min_size=1, max_size=3), min_size=1, max_size=30), max_size=8))
@pytest.mark.slow
def test_it_finds_what_a_dictionary_finds(blocks: list[list[str]]) -> None:
    assert repeats(blocks) == by_dictionary(blocks)


def test_repeats_a_hundred_thousand_rows_apart_are_found() -> None:
    codes = [f"QM{number}" for number in range(100_000)]
    blocks = [codes[begin : begin + 10_000] for begin in range(0, 100_000, 10_000)]
    assert repeats([*blocks, ["QM0", "QM99999", "QM100000"]]) == [(100_001, 1), (100_002, 100_000)]
