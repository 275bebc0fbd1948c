"""A test over many subjects can fail, and tells of each that does."""

from __future__ import annotations

import pytest

from tests.support.every import every


def test_every_subject_is_tried_and_each_that_fails_is_named() -> None:
    tried = []

    @every([1, 2, 3, 4], lambda number: f"number {number}")
    def is_odd(number: int) -> None:
        tried.append(number)
        assert number % 2

    with pytest.raises(BaseExceptionGroup, match="2 of 4 fail: number 2, number 4") as caught:
        is_odd()
    assert tried == [1, 2, 3, 4]
    assert [failure.__notes__ for failure in caught.value.exceptions] == [["with number 2"], ["with number 4"]]


def test_an_error_that_was_expected_and_did_not_come_is_a_failure_too() -> None:
    @every(["one"])
    def fails(_: str) -> None:
        with pytest.raises(ValueError, match="never"):
            pass

    with pytest.raises(BaseExceptionGroup, match="1 of 1 fail: one"):
        fails()


@every(["one", "two"])
def test_what_else_it_takes_are_fixtures(word: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert tmp_path_factory.getbasetemp().is_dir(), word


def test_a_test_over_nothing_is_refused() -> None:
    with pytest.raises(AssertionError, match="proves nothing"):
        every([])
