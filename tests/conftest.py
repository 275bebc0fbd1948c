"""Fixtures that many tests share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.platform import InProcess, Served, build_world


@pytest.fixture(scope="session")
def made_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world, made once: its keys take a second. Copy it before you change it: see `world`."""
    return build_world(tmp_path_factory.mktemp("made") / "world")


@pytest.fixture
def world(made_world: Path, tmp_path: Path) -> Path:
    """A world of the test's own, without a database yet."""
    return Path(shutil.copytree(made_world, tmp_path / "world"))


@pytest.fixture
def platform(world: Path) -> Iterator[InProcess]:
    """The platform in this process, with a new pool."""
    running = InProcess(world, "sqlite:///quanma.db")
    yield running
    running.close()


@pytest.fixture
def serving(world: Path) -> Iterator[Served]:
    """`quanma serve` in a process of its own, with a new pool."""
    running = Served(world)
    yield running
    running.close()
