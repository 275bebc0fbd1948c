"""The platform in this process at a time that stands still, and a merchant that signs by hand.

Loading keys takes longer than most tests, so these are shared: each test makes a stock of its own, and takes `fresh`
names for what a merchant has over all stocks. The names that come to mind first are taken before the first test: one
which needs them for itself fails always, and not only after some other test of its process.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from quanma.api.couponcodes import UploadCodes
from quanma.api.events import CHANNEL_API
from quanma.platform.pool.contract import Issue
from tests.contract.driver import NOW, USE_RULE
from tests.platform.caller import Caller
from tests.support.platform import APPID, MCHID, OTHER_MCHID, InProcess, new_stock
from tests.support.postgres import Databases

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def shared_world(made_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(made_world, tmp_path_factory.mktemp("shared") / "world"))


@pytest.fixture(scope="session")
def still(shared_world: Path) -> Iterator[InProcess]:
    """At NOW, as `quanma serve`: its answers tell no reasons."""
    running = _lived_in(InProcess(shared_world, "sqlite:///still.db", clock=lambda: NOW))
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
    running = _lived_in(InProcess(shared_world, url, clock=lambda: NOW))
    yield running
    running.close()
    databases.drop(url)


@pytest.fixture(scope="session")
def explaining(shared_world: Path) -> Iterator[InProcess]:
    """At NOW, and its answers say why a signature failed."""
    running = _lived_in(InProcess(shared_world, "sqlite:///explaining.db", clock=lambda: NOW, explain=True))
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
    request = new_stock(fresh("fresh"), belong_merchant=mchid, coupon_use_rule=USE_RULE)
    return platform.run(platform.pool.create_stock(mchid, request, NOW)).stock_id


def fresh(name: str) -> str:
    """The name with a number behind it that no other test of this process has."""
    return f"{name}{next(_numbers)}"


def _lived_in(platform: InProcess) -> InProcess:
    """With users of either merchant who have coupons, under the names and numbers that tests like."""
    for mchid in (MCHID, OTHER_MCHID):
        for openid in ("oAnna", "oUser"):
            stock_id = stock_of(platform, mchid)
            codes = ["A1", "B2", "A/1"]
            upload = UploadCodes(stock_id=stock_id, coupon_code_list=codes, upload_request_no="u1")
            platform.run(platform.pool.upload_codes(mchid, upload, NOW))
            for number in ("s1", "n1", "k1"):
                issue = Issue(stock_id, openid, APPID, number, None, mchid, CHANNEL_API)
                platform.run(platform.pool.send_coupon(mchid, issue, NOW))
        request = new_stock("n1", belong_merchant=mchid, coupon_use_rule=USE_RULE)
        platform.run(platform.pool.create_stock(mchid, request, NOW))
    return platform
