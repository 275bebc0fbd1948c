"""Fixtures that many tests share."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

from quanma.wire import keys
from tests.support import leftopen, poolers, postgres
from tests.support.platform import InProcess, Served, build_world
from tests.support.rounds import THOROUGH

SQLITE, POSTGRES = "sqlite", "postgres"
_BUSY_FACTOR = 3.0
"""A limit of time is there for what hangs: on a busy machine, what does not takes so many times longer than meant."""
_SESSION = contextlib.ExitStack()


def pytest_configure() -> None:
    _SESSION.enter_context(postgres.session())
    # A shell that runs the tests beside other work has them ignore Ctrl-C, and what they start would ignore it too.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # A test's files need not outlive the machine, and to wait for its disk takes longer than most tests. They are gone
    # at the end; `--basetemp` keeps them.
    if postgres.memory_folder().exists():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(postgres.memory_folder()))
    # Thousands of tests live until the end: to look for garbage among them, as often as Python does, is a tenth of all.
    gc.set_threshold(50_000, 20, 100)
    # To read a private key is to check it, for longer than most tests take. Each is read once in a process.
    patched = _SESSION.enter_context(pytest.MonkeyPatch.context())
    for name in ("_private_key", "blocks"):
        patched.setattr(keys, name, functools.cache(getattr(keys, name)))
    # What is printed is compared in English, whatever a developer's locale is; some tests take all of QUANMA_… away.
    patched.setenv("QUANMA_LANG", "en")
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if os.environ.get(name, "").startswith("zh"):
            patched.setenv(name, "C.UTF-8")
    # A busy machine is no fault: what takes long is no failure. And a change is judged by the same examples as the one
    # before it, wherever that was; new ones are looked for where that is asked for.
    settings.register_profile("tests", deadline=None, derandomize=True, database=None)
    settings.register_profile("thorough", deadline=None)
    settings.load_profile("thorough" if THOROUGH else "tests")
    if not THOROUGH:
        # It would take numbers and texts out of all modules that are loaded: others in another order of tests.
        patched.setattr(providers, "_get_local_constants", Constants)


def pytest_unconfigure() -> None:
    _SESSION.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("both_back_ends") and "back_end" in metafunc.fixturenames:
        back_ends = [SQLITE, pytest.param(POSTGRES, marks=pytest.mark.slow)]
        metafunc.parametrize("back_end", back_ends, indirect=True, scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    dealt_out = getattr(config.option, "loadgroup", False)
    for item in items:
        if {"databases", "own_postgres"} & {*getattr(item, "fixturenames", ())}:
            item.add_marker("slow")  # To have a server takes a moment, and so does a database.
        if dealt_out and _longest_first(item) == 0 and not item.get_closest_marker("xdist_group"):
            # Quick ones go to one process with the others of their module: what these share is made once.
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    if dealt_out:
        # The quick ones come last, so that nobody waits for a long one alone at the end.
        items.sort(key=_longest_first, reverse=True)
    usual = float(config.getini("timeout"))
    for item in items:
        limit = item.get_closest_marker("timeout")
        item.add_marker(pytest.mark.timeout(_BUSY_FACTOR * (limit.args[0] if limit else usual)), append=False)


def _longest_first(item: pytest.Item) -> float:
    """The seconds that a case may take; about as many are meant for a slow one that says nothing; 0 for a quick one."""
    if (limit := item.get_closest_marker("timeout")) is not None:
        return float(limit.args[0])
    return 100.0 if item.get_closest_marker("slow") or item.get_closest_marker("interop") else 0.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    with leftopen.closed_after_a_failure():
        return (yield)


def pytest_collection_finish() -> None:
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    # Pytest looks twice more for what is left; what is not garbage now is none then.
    gc.collect()
    gc.freeze()


def pytest_report_header() -> list[str]:
    why_absent = postgres.why_absent()
    said = f"left out: tests on PostgreSQL; {why_absent}" if why_absent else f"PostgreSQL: {postgres.programs().said}"
    return [said, f"poolers: {poolers.said()}"]


@pytest.fixture(scope="session")
def databases() -> postgres.Databases:
    """A PostgreSQL that the tests share, quick and not durable."""
    if why := postgres.why_absent():
        pytest.skip(why)
    return postgres.shared()


@pytest.fixture(scope="session")
def back_end(request: pytest.FixtureRequest) -> str:
    """Of the pool: the name of each, for tests that are marked `both_back_ends`, else SQLite's."""
    return str(getattr(request, "param", SQLITE))


@pytest.fixture
def database(back_end: str, request: pytest.FixtureRequest) -> str:
    """The URL of a new pool."""
    return "sqlite:///quanma.db" if back_end == SQLITE else str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def postgres_url(databases: postgres.Databases) -> Iterator[str]:
    """A new and empty database."""
    url = databases.fresh()
    yield url
    databases.drop(url)


@pytest.fixture
def own_postgres() -> Iterator[postgres.Server]:
    """A server of the test's own, started, and as durable as any."""
    if why := postgres.why_absent(own_server=True):
        pytest.skip(why)
    server = postgres.Server()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def made_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world, made once: its keys take a second. Copy it before you change it: see `world`."""
    return build_world(tmp_path_factory.mktemp("made") / "world")


@pytest.fixture
def world(made_world: Path, tmp_path: Path) -> Path:
    """A world of the test's own, without a database yet."""
    return Path(shutil.copytree(made_world, tmp_path / "world"))


@pytest.fixture
def platform(world: Path, database: str) -> Iterator[InProcess]:
    """The platform in this process, with a new pool."""
    running = InProcess(world, database)
    yield running
    running.close()


@pytest.fixture(scope="session")
def served(made_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`quanma serve`, for all tests of a process that need no platform of their own: each makes a stock of its own."""
    running = Served(Path(shutil.copytree(made_world, tmp_path_factory.mktemp("served") / "world")))
    yield running
    running.close()


@pytest.fixture
def serving(world: Path, database: str) -> Iterator[Served]:
    """`quanma serve` in a process of its own, with a new pool."""
    running = Served(world, "--database", database)
    yield running
    running.close()
