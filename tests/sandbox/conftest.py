"""One sandbox for all tests of a worker, reset before each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from quanma import Wechatpay, testing


@pytest.fixture(scope="session")
def running() -> Iterator[testing.Sandbox]:
    with testing.start(seed=7) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: testing.Sandbox) -> testing.Sandbox:
    running.reset()
    return running


@pytest.fixture
def wxpay(sandbox: testing.Sandbox) -> Iterator[Wechatpay]:
    with sandbox.wechatpay() as client:
        yield client
