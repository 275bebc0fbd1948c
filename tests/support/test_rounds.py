"""What is tried by chance is the same each time, unless more is asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.every import every_row
from tests.support.rounds import THOROUGH


@every_row("count", [20, 60])
def test_examples_are_the_same_each_time(count: int) -> None:
    first = tried(count)
    assert len(first) == count
    assert THOROUGH or tried(count) == first


def test_examples_are_the_same_whatever_modules_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tried(200)
    (tmp_path / "loaded_later.py").write_text(f"NUMBERS = {list(range(5_000_000, 5_000_100))}\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    __import__("loaded_later")
    try:
        assert THOROUGH or tried(200) == first
    finally:
        del sys.modules["loaded_later"]


def tried(count: int) -> list[int]:
    seen: list[int] = []

    @settings(max_examples=count)
    @given(st.integers())
    def test_one(number: int) -> None:
        seen.append(number)

    test_one()
    return seen
