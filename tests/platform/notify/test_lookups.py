"""Lookups of names: apart, bounded, remembered. The resolver is a function here, and answers when the test says so."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from quanma.platform.notify import lookups
from quanma.platform.notify.lookups import Lookups, NotLookedUp

T = TypeVar("T")


class Resolver:
    """Names whose lookups hang until they are let go; all others have one address each time."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.silent: set[str] = set()
        self.unknown: set[str] = set()
        self.go_on = threading.Event()

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked[host] += 1
        if host in self.silent:
            self.go_on.wait(30)
        if host in self.unknown:
            raise OSError("Name or service not known")
        return ["93.184.216.34"]


class Story:
    def __init__(self) -> None:
        self.now = 1000.0
        self.resolver = Resolver()
        self.lookups = Lookups(self.resolver, clock=lambda: self.now)

    def ask(self, host: str, asker: str = "A", within_seconds: float = 10) -> Coroutine[Any, Any, list[str]]:
        return self.lookups.addresses(asker, host, 443, within_seconds)


@pytest.fixture
def story() -> Iterator[Story]:
    story = Story()
    yield story
    story.resolver.go_on.set()


async def _hanging(story: Story, count: int) -> list[asyncio.Task[list[str]]]:
    story.resolver.silent |= {f"dead{number}.example" for number in range(count)}
    tasks = [asyncio.create_task(story.ask(f"dead{number}.example", f"A{number}")) for number in range(count)]
    await asyncio.sleep(0)
    return tasks


def test_an_answer_is_kept_for_some_seconds(story: Story) -> None:
    async def act() -> None:
        for _ in range(3):
            assert await story.ask("a.example") == ["93.184.216.34"]
        assert story.resolver.asked == {"a.example": 1}
        story.now += lookups.ANSWERS_SECONDS
        await story.ask("a.example")
        assert story.resolver.asked == {"a.example": 2}

    asyncio.run(act())


def test_a_name_that_failed_is_not_asked_for_again_for_a_minute(story: Story) -> None:
    story.resolver.unknown.add("a.example")

    async def act() -> None:
        with pytest.raises(OSError, match="Name or service not known"):
            await story.ask("a.example")
        story.now += 20
        with pytest.raises(NotLookedUp) as refused:
            await story.ask("a.example", "B")
        assert refused.value.seconds == 40
        story.now += 40
        story.resolver.unknown.clear()
        assert await story.ask("a.example") == ["93.184.216.34"]

    asyncio.run(act())


def test_what_the_resolver_raises_is_a_failure_whatever_it_is(story: Story) -> None:
    def broken(host: str, port: int) -> list[str]:
        raise UnicodeError("label too long")

    with pytest.raises(OSError, match="label too long"):
        asyncio.run(Lookups(broken).addresses("A", "a.example", 443, 10))


def test_a_name_that_is_not_answered_holds_up_no_other(story: Story) -> None:
    story.resolver.silent.add("dead.example")

    async def act() -> None:
        with pytest.raises(OSError, match="did not answer"):
            await story.ask("dead.example", within_seconds=0)
        assert await story.ask("b.example", "B") == ["93.184.216.34"]
        with pytest.raises(NotLookedUp):
            await story.ask("dead.example", "B")

    asyncio.run(act())


def test_who_ask_for_one_name_share_one_lookup(story: Story) -> None:
    story.resolver.silent.add("a.example")

    async def act() -> None:
        asking = [asyncio.create_task(story.ask("a.example", f"M{number}")) for number in range(20)]
        await asyncio.sleep(0)
        story.resolver.go_on.set()
        assert await asyncio.gather(*asking) == [["93.184.216.34"]] * 20
        assert story.resolver.asked == {"a.example": 1}

    asyncio.run(act())


def test_one_asker_has_few_lookups_at_a_time(story: Story) -> None:
    async def act() -> None:
        story.resolver.silent |= {"a1.example", "a2.example"}
        asking = [asyncio.create_task(story.ask(host)) for host in ("a1.example", "a2.example")]
        await asyncio.sleep(0)
        with pytest.raises(NotLookedUp, match="too many"):
            await story.ask("a3.example")
        assert await story.ask("b.example", "B") == ["93.184.216.34"]
        story.resolver.go_on.set()
        await asyncio.gather(*asking)
        assert await story.ask("a3.example") == ["93.184.216.34"]

    asyncio.run(act())


def test_all_lookups_together_are_bounded(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "LOOKUPS_MAX", 4)

    async def act() -> None:
        asking = await _hanging(story, 4)
        with pytest.raises(NotLookedUp, match="too many"):
            await story.ask("b.example", "B")
        assert sum(thread.name.startswith("lookup of dead") for thread in threading.enumerate()) == 4
        story.resolver.go_on.set()
        await asyncio.gather(*asking)
        assert await story.ask("b.example", "B") == ["93.184.216.34"]

    asyncio.run(act())


def test_names_that_failed_before_leave_room_for_those_that_did_not(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "LOOKUPS_MAX", 4)
    monkeypatch.setattr(lookups, "DOUBTFUL_MAX", 2)

    async def act() -> None:
        story.resolver.unknown |= {f"dead{number}.example" for number in range(4)}
        for number in range(4):
            with pytest.raises(OSError, match="not known"):
                await story.ask(f"dead{number}.example")
        story.now += lookups.FAILURES_SECONDS
        asking = await _hanging(story, 4)
        assert await story.ask("b.example", "B") == ["93.184.216.34"]
        story.resolver.go_on.set()
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [OSError, OSError, NotLookedUp, NotLookedUp]

    asyncio.run(act())


def test_an_answer_that_comes_late_counts_for_who_asks_next(story: Story) -> None:
    story.resolver.silent.add("slow.example")

    async def act() -> None:
        with pytest.raises(OSError, match="did not answer"):
            await story.ask("slow.example", within_seconds=0)
        story.resolver.go_on.set()
        while True:
            try:
                assert await story.ask("slow.example") == ["93.184.216.34"]
            except NotLookedUp:
                await asyncio.sleep(0)
            else:
                break
        assert story.resolver.asked == {"slow.example": 1}

    asyncio.run(act())


def test_a_loop_ends_though_a_lookup_does_not(story: Story) -> None:
    story.resolver.silent.add("dead.example")

    async def act() -> None:
        with pytest.raises(OSError, match="did not answer"):
            await story.ask("dead.example", within_seconds=0)

    asyncio.run(act())  # Returns, and the thread is still there.
    (thread,) = [one for one in threading.enumerate() if one.name == "lookup of dead.example"]
    assert thread.daemon
