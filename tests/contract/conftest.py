"""Every back end of the pool, one after the other: the tests here know none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quanma.platform.pool import open_pool
from quanma.platform.pool.contract import CodePool
from tests.contract.driver import DrivenPool

# Back end → its database URL, in a folder of the test's own.
BACK_ENDS = {"sqlite": "sqlite:///pool.db"}

OpenPool = Callable[[Path], CodePool]


@pytest.fixture(params=BACK_ENDS)
def open_back_end(request: pytest.FixtureRequest) -> OpenPool:
    """Opens a pool, new or left there before, for a folder."""
    url = BACK_ENDS[request.param]
    return lambda folder: open_pool(url, folder)


@pytest.fixture
def pool(open_back_end: OpenPool, tmp_path: Path) -> Iterator[DrivenPool]:
    """A new pool."""
    driven = DrivenPool(lambda: open_back_end(tmp_path))
    yield driven
    driven.close()
