"""A test over many subjects can fail, and tells of each that does."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from tests.support.every import every, every_row


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


def test_every_row_is_tried_and_each_that_fails_is_named() -> None:
    tried = []

    @every_row("number, word", [(1, "one"), (2, "two"), pytest.param(4, "four\n", id="even")])
    def is_odd(number: int, word: str) -> None:
        tried.append((number, word))
        assert number % 2

    with pytest.raises(BaseExceptionGroup, match="2 of 3 fail: 2-two, even") as caught:
        is_odd()
    assert tried == [(1, "one"), (2, "two"), (4, "four\n")]
    assert [failure.__notes__ for failure in caught.value.exceptions] == [["with 2-two"], ["with even"]]


def test_rows_of_rows_are_all_tried() -> None:
    tried = []

    @every_row("sign", ["+", "-"], ids=["plus", "minus"])
    @every_row("digit", [7, 8])
    def together(sign: str, digit: int) -> None:
        tried.append(f"{sign}{digit}")
        assert f"{sign}{digit}" != "-8"

    with pytest.raises(BaseExceptionGroup, match="1 of 2 fail: minus"):
        together()
    assert tried == ["+7", "+8", "-7", "-8"]


@every_row("name", ["one", "two"])
def test_a_row_has_a_folder_and_an_environment_of_its_own(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert not os.environ.get("QUANMA_TEST_ROW")
    assert not [*tmp_path.iterdir()]
    assert capsys.readouterr().out == ""
    assert not caplog.records
    monkeypatch.setenv("QUANMA_TEST_ROW", name)
    (tmp_path / "left").touch()
    print(name)
    logging.getLogger("quanma").error(name)


def test_a_row_that_would_be_skipped_is_a_failure_and_not_silence() -> None:
    @every_row("name", ["one", "two"])
    def skips(name: str) -> None:
        pytest.skip("not here")

    with pytest.raises(AssertionError, match="one skips"):
        skips()


def test_a_row_with_a_mark_or_without_a_place_is_refused() -> None:
    with pytest.raises(AssertionError, match="no marks of its own"):
        every_row("name", [pytest.param("one", marks=pytest.mark.slow)])
    with pytest.raises(AssertionError, match="takes no word"):
        every_row("word", ["one"])(test_a_row_that_would_be_skipped_is_a_failure_and_not_silence)
    with pytest.raises(AssertionError, match="proves nothing"):
        every_row("word", [])


def test_a_case_whose_time_is_up_ends_and_tries_no_more_rows() -> None:
    tried = []

    @every_row("number", [1, 2])
    def hangs(number: int) -> None:
        tried.append(number)
        pytest.fail("Timeout (>120.0s) from pytest-timeout.")

    with pytest.raises(BaseExceptionGroup, match="1 of 1 fail: 1"):
        hangs()
    assert tried == [1]
