"""The platform in this process at a time that stands still, and a merchant that signs by hand.

Loading keys takes longer than most tests, so these are shared: each test makes a stock of its own.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.driver import NOW, USE_RULE
from tests.platform.caller import Caller
from tests.support.platform import MCHID, OTHER_MCHID, InProcess, new_stock
from tests.support.postgres import Databases

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def shared_world(made_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(made_world, tmp_path_factory.mktemp("shared") / "world"))


@pytest.fixture(scope="session")
def still(shared_world: Path) -> Iterator[InProcess]:
    """At NOW, as `quanma serve`: its answers tell no reasons."""
    running = InProcess(shared_world, "sqlite:///still.db", clock=lambda: NOW)
    yield running
    running.close()


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def each(request: pytest.FixtureRequest, shared_world: Path) -> Iterator[InProcess]:
    """As `still`, on one back end after the other."""
    if request.param == "sqlite":
        yield request.getfixturevalue("still")
        return
    databases: Databases = request.getfixturevalue("databases")
    url = databases.fresh()
    running = InProcess(shared_world, url, clock=lambda: NOW)
    yield running
    running.close()
    databases.drop(url)


@pytest.fixture(scope="session")
def explaining(shared_world: Path) -> Iterator[InProcess]:
    """At NOW, and its answers say why a signature failed."""
    running = InProcess(shared_world, "sqlite:///explaining.db", clock=lambda: NOW, explain=True)
    yield running
    running.close()


@pytest.fixture(scope="session")
def caller(shared_world: Path) -> Caller:
    return Caller(shared_world)


@pytest.fixture(scope="session")
def other(shared_world: Path) -> Caller:
    """Another merchant."""
    return Caller(shared_world, OTHER_MCHID)


def stock_of(platform: InProcess, mchid: str = MCHID) -> str:
    """Make a stock, without a request."""
    request = new_stock(f"fresh{next(_numbers)}", belong_merchant=mchid, coupon_use_rule=USE_RULE)
    return platform.run(platform.pool.create_stock(mchid, request, NOW)).stock_id
