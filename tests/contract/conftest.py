"""Every back end of the pool, one after the other: the tests here know none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quanma.platform.pool import open_pool
from quanma.platform.pool.contract import CodePool
from tests.contract.driver import DrivenPool
from tests.support.postgres import Databases

OpenPool = Callable[[Path], CodePool]


@pytest.fixture
def open_back_end(back_end: str, request: pytest.FixtureRequest) -> Iterator[OpenPool]:
    """Opens a pool, new or left there before, for a folder."""
    if back_end == "sqlite":
        yield lambda folder: open_pool("sqlite:///pool.db", folder)
        return
    databases: Databases = request.getfixturevalue("databases")
    urls: dict[Path, str] = {}

    def open_it(folder: Path) -> CodePool:
        if folder not in urls:
            urls[folder] = databases.fresh()
        return open_pool(urls[folder], folder)

    yield open_it
    for url in urls.values():
        databases.drop(url)


@pytest.fixture
def pool(open_back_end: OpenPool, tmp_path: Path) -> Iterator[DrivenPool]:
    """A new pool."""
    driven = DrivenPool(lambda: open_back_end(tmp_path))
    yield driven
    driven.close()
