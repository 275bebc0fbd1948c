"""The pytest plugin of quanma: a sandbox as fixtures. Nothing is imported or started before a test asks for it.

A module of its own, since pytest loads it in every run of an environment that has quanma. Off: `-p no:quanma`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from quanma import AsyncWechatpay, Wechatpay
    from quanma.testing import Callbacks, Clock, Faults, Sandbox

LINES_MAX = 60


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("quanma")
    group.addoption("--quanma-url", default=None, help="Use the sandbox that runs at this address.")
    group.addoption("--quanma-seed", default=None, help="What faults with a probability are drawn from.")
    parser.addini("quanma_url", "Use the sandbox that runs at this address.", default="")
    parser.addini("quanma_seed", "What faults with a probability are drawn from.", default="0")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "quanma(now=None, faults=(), strict=False): how quanma_sandbox is for this test: a frozen time, rules for "
        "faults, and whether a rule that never hit fails the test",
    )


def _setting(config: pytest.Config, name: str) -> str:
    return config.getoption(f"quanma_{name}") or str(config.getini(f"quanma_{name}"))


@pytest.fixture(scope="session")
def quanma_sandbox_factory(
    request: pytest.FixtureRequest,
) -> Generator[Callable[..., Sandbox], None, None]:
    """Start more sandboxes, each with a world of its own: `quanma_sandbox_factory(seed=1)`. They end with the run."""
    from quanma import testing

    with contextlib.ExitStack() as running:

        def start(**options: Any) -> Sandbox:
            return running.enter_context(testing.start(**options))

        yield start


@pytest.fixture(scope="session")
def _quanma_running(request: pytest.FixtureRequest, quanma_sandbox_factory: Callable[..., Sandbox]) -> Sandbox:
    from quanma import testing

    if url := _setting(request.config, "url"):
        return testing.connect(url, os.environ.get("QUANMA_SANDBOX_TOKEN"))
    return quanma_sandbox_factory(seed=int(_setting(request.config, "seed")))


@pytest.fixture
def quanma_sandbox(request: pytest.FixtureRequest, _quanma_running: Sandbox) -> Generator[Sandbox, None, None]:
    """A sandbox with an empty world, keys kept, for this test."""
    sandbox = _quanma_running
    marker = request.node.get_closest_marker("quanma")
    options: dict[str, Any] = dict(marker.kwargs) if marker else {}
    if unknown := options.keys() - {"now", "faults", "strict"}:
        raise pytest.UsageError(f"the marker quanma has no {', '.join(sorted(unknown))}: it takes now, faults, strict")
    sandbox.reset()
    if options.get("now"):
        sandbox.clock.freeze(options["now"])
    for rule in options.get("faults", ()):
        sandbox.faults.add_rule(rule)
    request.node.stash[_SANDBOX] = sandbox
    yield sandbox
    if options.get("strict"):
        sandbox.faults.assert_all_hit()


@pytest.fixture
def quanma_faults(quanma_sandbox: Sandbox) -> Faults:
    """Rules for faults: `quanma_faults.add("coupons.send.post", first=1, cut="after_commit")`."""
    return quanma_sandbox.faults


@pytest.fixture
def quanma_clock(quanma_sandbox: Sandbox) -> Clock:
    """The platform's clock; `wxpay` follows it."""
    return quanma_sandbox.clock


@pytest.fixture
def quanma_callbacks(quanma_sandbox: Sandbox) -> Callbacks:
    """The events that the platform delivers."""
    return quanma_sandbox.callbacks


@pytest.fixture
def wxpay(quanma_sandbox: Sandbox) -> Generator[Wechatpay, None, None]:
    """A client of the sandbox's first merchant."""
    with quanma_sandbox.wechatpay() as client:
        yield client


@pytest.fixture
def async_wxpay(quanma_sandbox: Sandbox) -> AsyncWechatpay:
    """As `wxpay`, awaited: on whichever loop the test runs."""
    return quanma_sandbox.async_wechatpay()


_SANDBOX = pytest.StashKey[Any]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    sandbox = item.stash.get(_SANDBOX, None)
    if sandbox is not None and report.when == "call" and report.failed:
        with contextlib.suppress(Exception):  # A report must not hide the failure.
            report.sections.append(("quanma: what the platform saw", _seen(sandbox)))
            report.user_properties.append(("quanma_url", sandbox.url))
    return report


def _seen(sandbox: Sandbox) -> str:
    exchanges = sandbox.requests.find()
    lines = [str(one) for one in exchanges[-(LINES_MAX - 12) :]] or ["no request came"]
    refused = [one for one in exchanges if one.status >= 400]
    if refused:
        last = refused[-1]
        lines += ["", f"the last that was refused: {last.verb} {last.target}", f"  request: {last.request}"[:500]]
        lines += [f"  answer: {last.status} {last.code}: {last.message}"[:500]]
        if last.explain:
            explained = sandbox.explain(last.id)
            lines += [f"  cause: {explained['cause']}", f"  fix: {explained.get('fix', '')}"]
    return "\n".join(lines[:LINES_MAX])
