"""A reader copies what a page says, and it prints what the page shows."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.test_walk import WALKED
from tests.support.pages import ROOT, TRANSLATED, blocks_of, language_of
from tests.support.reader import Reader

# Where readers take turns, one waits for the others.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def reader(page: str, tmp_path: Path) -> Iterator[Reader]:
    """Someone who has installed quanma and stands in the folder `try` of the checkout, as the first page says."""
    (tmp_path / "try").mkdir()
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parents[1])
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    path = os.pathsep.join([str(tmp_path / ".venv/bin"), os.environ["PATH"]])
    with Reader(tmp_path / "try", path=path, language=language_of(page)) as someone:
        yield someone


@pytest.mark.parametrize("page", [page for page in TRANSLATED if page not in WALKED and blocks_of(page)])
def test_a_page_runs_as_it_stands_and_prints_what_it_shows(page: str, reader: Reader) -> None:
    reader.follow(page)
