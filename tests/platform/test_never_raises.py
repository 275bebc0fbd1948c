"""What must never raise is fed every class of error: an outcome all the same, and no place is lost."""

from __future__ import annotations

import asyncio
import builtins
import copy
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from quanma import errors
from quanma.platform import claimpage
from quanma.platform.app import App
from quanma.platform.observe.probe import Probe
from quanma.serving import messages
from quanma.serving.messages import Outcome
from tests.platform.caller import BUSIFAVOR, Caller
from tests.platform.test_claimpage import signed
from tests.support.every import every_row
from tests.support.platform import InProcess

SECRET = "oUserOfNobody"
OF_THE_SYSTEM = [
    kind
    for kind in vars(builtins).values()
    if inspect.isclass(kind) and issubclass(kind, BaseException) and not issubclass(kind, Warning | GeneratorExit)
]
OURS = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, BaseException)]


class Strange(Exception):
    """One whose text can't be had."""

    def __str__(self) -> str:
        raise ValueError


def made(kind: type[BaseException]) -> BaseException:
    """One of this class."""
    if issubclass(kind, UnicodeEncodeError):
        return kind("utf-8", SECRET, 0, 1, SECRET)
    if issubclass(kind, UnicodeDecodeError):
        return kind("utf-8", SECRET.encode(), 0, 1, SECRET)
    if issubclass(kind, UnicodeTranslateError):
        return kind(SECRET, 0, 1, SECRET)
    if issubclass(kind, BaseExceptionGroup):
        return kind(SECRET, [ValueError(SECRET)])
    return kind(SECRET)


def unwritable() -> errors.PlatformError:
    """One whose text is no text that can be sent."""
    return errors.ParamError("\ud800")


def endless() -> errors.PlatformError:
    return errors.RateLimited("wait", retry_after_seconds=float("inf"))


def chained() -> BaseException:
    error = ValueError(SECRET)
    error.__cause__ = error
    return error


KINDS: list[Callable[[], BaseException]] = [
    *(
        lambda kind=kind: made(kind)
        for kind in [*OF_THE_SYSTEM, *OURS, asyncio.CancelledError]
        if kind is not GeneratorExit
    ),
    lambda: Strange(SECRET),
    unwritable,
    endless,
    chained,
]


class Failing:
    """A pool of which each method raises."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        async def method(*args: Any) -> Any:
            raise self._error

        if name in ("fence", "away"):
            raise self._error
        return method


def request(caller: Caller | None, target: str) -> messages.Request:
    value = [(b"authorization", caller.authorization("GET", target).encode())] if caller else []
    return messages.Request("GET", target.encode(), value, b"")


def failing(still: InProcess, error: BaseException) -> App:
    """`still`'s application on such a pool."""
    app = copy.copy(still.app)
    pool: Any = Failing(error)
    app._pool, app._probe = pool, Probe(pool)
    return app


def outcome(still: InProcess, asked: Awaitable[Any]) -> Any:
    """In a task of its own, as a connection has it."""

    async def in_a_task() -> Any:
        return await asyncio.wait_for(asyncio.ensure_future(asked), 5)

    return still.run(in_a_task())


@every_row("target", ["/healthz", "/readyz"])
def test_a_probe_of_a_store_that_fails_in_any_way_says_503_and_no_more(still: InProcess, target: str) -> None:
    for kind in KINDS:
        got: Outcome = outcome(still, failing(still, kind()).answer(request(None, target)))
        assert got.status == 503, kind()
        assert SECRET.encode() not in got.body


def test_a_request_that_fails_in_any_way_has_an_outcome(still: InProcess, caller: Caller) -> None:
    for kind in KINDS:
        target = f"{BUSIFAVOR}/stocks/98065001"
        got: Outcome = outcome(still, failing(still, kind()).answer(request(caller, target)))
        assert 400 <= got.status <= 599, kind()
        if not isinstance(kind(), errors.PlatformError):
            assert SECRET.encode() not in got.body
        if isinstance(kind(), errors.StoreUnavailable):
            assert got.status == 503


def test_a_claim_that_fails_in_any_way_is_a_page(still: InProcess) -> None:
    query = signed(still)
    for kind in KINDS:
        got: Outcome = outcome(still, failing(still, kind()).answer(request(None, claimpage.PATH + query)))
        assert 400 <= got.status <= 599, kind()
        if isinstance(kind(), Exception) and kind not in (unwritable, endless):
            assert b"<!doctype html>" in got.body, kind()


def test_a_clock_that_fails_is_an_outcome_too(still: InProcess, caller: Caller) -> None:
    def broken() -> float:
        raise OSError(SECRET)

    app = failing(still, ValueError())
    app._clock = broken
    for target in ("/healthz", claimpage.PATH, f"{BUSIFAVOR}/stocks/98065001"):
        assert outcome(still, app.answer(request(caller, target))).status >= 500


def test_a_request_that_is_cancelled_itself_stays_cancelled(still: InProcess) -> None:
    async def cancelled() -> bool:
        class Slow(Failing):
            async def check(self) -> None:
                await asyncio.sleep(60)

        app = failing(still, ValueError())
        slow: Any = Slow(ValueError())
        app._probe = Probe(slow)
        task = asyncio.ensure_future(app.answer(request(None, "/healthz")))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert still.run(cancelled())


class Counting:
    """A pool whose check takes until it is let go, and is counted."""

    def __init__(self) -> None:
        self.asked = 0
        self.let_go = asyncio.Event()
        self.error: BaseException | None = None

    async def check(self) -> None:
        self.asked += 1
        await self.let_go.wait()
        if self.error:
            raise self.error


def test_many_who_ask_at_once_cost_one_question_and_a_good_answer_is_kept_for_a_moment() -> None:
    async def story() -> None:
        pool = Counting()
        probe = Probe(pool)  # type: ignore[arg-type]  # All that it asks for.
        asking = [asyncio.ensure_future(probe.well(kept=True)) for _ in range(120)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asking[0].cancel()  # One who goes away does not end the question of all.
        pool.let_go.set()
        assert (await asyncio.gather(*asking, return_exceptions=True))[1:] == [True] * 119
        assert pool.asked == 1
        assert await probe.well(kept=True)
        assert pool.asked == 1
        assert await probe.well()
        assert pool.asked == 2

    asyncio.run(story())


def test_a_bad_answer_is_not_kept_and_ends_what_was_kept() -> None:
    async def story() -> None:
        pool = Counting()
        pool.let_go.set()
        probe = Probe(pool)  # type: ignore[arg-type]  # All that it is asked for.
        assert await probe.well(kept=True)
        pool.error = ConnectionError("password authentication failed")
        assert not await probe.well()
        assert not await probe.well(kept=True)
        pool.error = None
        assert await probe.well(kept=True)

    asyncio.run(story())
