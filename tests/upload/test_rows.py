"""Row numbers in and out of their short form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quanma.upload.rows import input_and_row, row_id, rows_of, runs
from tests.support.every import every_row


@every_row(
    ("rows", "written"),
    [
        ([7], "7"),
        ([1, 2], "1-2"),
        ([1, 3], "1,3"),
        ([*range(1, 201), 203], "1-200,203"),
        ([5, 6, 7, 9, 11, 12], "5-7,9,11-12"),
    ],
)
def test_neighbours_are_written_as_a_run(rows: list[int], written: str) -> None:
    assert runs(rows) == written
    assert list(rows_of(written)) == rows


@given(st.sets(st.integers(1, 2**50) | st.integers(1, 300), min_size=1, max_size=200))
@pytest.mark.slow
def test_what_is_written_is_read_back(rows: set[int]) -> None:
    assert list(rows_of(runs(sorted(rows)))) == sorted(rows)


@given(st.integers(0, 2**20), st.integers(0, 2**40 - 1))
def test_a_row_of_an_input_has_a_number_of_its_own(input_no: int, row: int) -> None:
    assert input_and_row(row_id(input_no, row)) == (input_no, row)


def test_the_rows_of_an_earlier_input_come_first() -> None:
    assert row_id(0, 2**40 - 1) < row_id(1, 1)
