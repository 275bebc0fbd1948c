"""The SQLite pool's commits: what a group shares, and who is told what when one of it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest

from quanma.errors import RequestRefused, StoreUnavailable
from quanma.platform.pool.sqlite.writer import GROUP_MAX, Writer


class Connection(apsw.Connection):
    """Its checkpoints fail as the test says."""

    checkpoints = 0
    fails: Exception | None = None

    def wal_checkpoint(self, *args: Any, **options: Any) -> tuple[int, int]:
        self.checkpoints += 1
        if self.fails is not None:
            raise self.fails
        return super().wal_checkpoint(*args, **options)


class CodeIndex:
    """A writer over a real file of numbers, with what is in memory beside it."""

    def __init__(self, path: Path) -> None:
        self._db = self.db = Connection(str(path))
        self._db.execute("PRAGMA journal_mode = wal").fetchall()
        self._db.execute("CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT)")
        self._db.execute("CREATE TABLE kept (number INTEGER PRIMARY KEY)")
        self.rebuilt = 0
        self.in_memory: list[int] = []
        self.writer = Writer(self._db, self._rebuild)

    def _rebuild(self) -> None:
        self.rebuilt += 1
        self.in_memory = self.stored()

    def stored(self) -> list[int]:
        return [number for (number,) in self._db.execute("SELECT number FROM kept ORDER BY number")]

    def keep(self, number: int) -> Callable[[], int]:
        def work() -> int:
            self._db.execute("INSERT INTO kept VALUES (?)", (number,))
            self.in_memory.append(number)
            return number

        return work


@pytest.fixture
def store(tmp_path: Path) -> CodeIndex:
    return CodeIndex(tmp_path / "numbers.db")


def run(request: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(request, 30))


async def _outcomes(writer: Writer, works: list[Callable[[], Any]]) -> list[Any]:
    return await asyncio.gather(*map(writer.do, works), return_exceptions=True)


def refused() -> None:
    raise RequestRefused("no")


def failing() -> None:
    raise ZeroDivisionError


def test_a_refusal_leaves_the_others_of_its_group_alone(store: CodeIndex) -> None:
    outcomes = run(_outcomes(store.writer, [store.keep(1), refused, store.keep(2)]))
    assert (outcomes[0], outcomes[2]) == (1, 2)
    assert isinstance(outcomes[1], RequestRefused)
    assert store.stored() == [1, 2]


def test_an_unexpected_error_undoes_what_failed_and_nothing_else(
    store: CodeIndex, caplog: pytest.LogCaptureFixture
) -> None:
    def half_done() -> None:
        store.keep(5)  # Made, not called.
        store._db.execute("INSERT INTO kept VALUES (6)")
        store._db.execute("INSERT INTO kept VALUES (1)")

    async def story() -> None:
        outcomes = await _outcomes(store.writer, [store.keep(1), failing, store.keep(2), half_done, refused])
        assert (outcomes[0], outcomes[2]) == (1, 2)
        assert [type(outcome) for outcome in outcomes[1::2]] == [StoreUnavailable] * 2
        assert isinstance(outcomes[4], RequestRefused)
        assert store.stored() == [1, 2]
        store.writer.check()

    run(story())
    assert (store.stored(), store.in_memory, store.rebuilt) == ([1, 2], [1, 2], 0)
    assert "ZeroDivisionError" in caplog.text
    assert "ConstraintError" in caplog.text


def test_an_error_after_which_the_store_is_not_certain_undoes_its_group_and_no_other(store: CodeIndex) -> None:
    def out_of_memory() -> None:
        raise MemoryError

    works: list[Callable[[], Any]] = [store.keep(number) for number in range(2 * GROUP_MAX)]
    works[GROUP_MAX + 5] = out_of_memory
    outcomes = run(_outcomes(store.writer, works))
    assert outcomes[:GROUP_MAX] == list(range(GROUP_MAX))
    assert {type(outcome) for outcome in outcomes[GROUP_MAX:]} == {StoreUnavailable}
    assert (store.stored(), store.in_memory) == (list(range(GROUP_MAX)), list(range(GROUP_MAX)))
    assert store.rebuilt == 1


class Together:
    """Keeps numbers of one kind together, up to `most` at a time; 13 fails, after it was written."""

    def __init__(self, store: CodeIndex, most: int = 1000) -> None:
        self.pieces: list[list[int]] = []
        self._store = store
        self._most = most

    def ask(self, *numbers: int) -> list[Any]:
        """All at the same moment, odd and even ones being of two kinds."""

        async def asked() -> list[Any]:
            futures = [self._store.writer.do_together(self._keep, number % 2, number) for number in numbers]
            return list(await asyncio.gather(*futures, return_exceptions=True))

        return list(run(asked()))

    def _keep(self, kind: int, numbers: Sequence[int]) -> list[int]:
        numbers = numbers[: self._most]
        self.pieces.append(list(numbers))
        for number in numbers:
            self._store._db.execute("INSERT INTO kept VALUES (?)", (number,))
        if 13 in numbers:
            raise ZeroDivisionError
        self._store.in_memory += numbers
        return [-number for number in numbers]


def test_requests_of_a_kind_are_done_together_and_each_has_its_own_answer(store: CodeIndex) -> None:
    together = Together(store)
    assert together.ask(1, 2, 3, 4, 5) == [-1, -2, -3, -4, -5]
    assert together.pieces == [[1, 3, 5], [2, 4]]


def test_what_could_not_be_done_together_is_done_after_it(store: CodeIndex) -> None:
    together = Together(store, most=2)
    assert together.ask(1, 3, 5, 7, 9) == [-1, -3, -5, -7, -9]
    assert together.pieces == [[1, 3], [5, 7], [9]]


def test_of_requests_that_are_done_together_only_the_one_that_fails_is_undone(store: CodeIndex) -> None:
    together = Together(store)
    outcomes = together.ask(1, 2, 11, 13, 15)
    assert [*outcomes[:3], outcomes[4]] == [-1, -2, -11, -15]
    assert isinstance(outcomes[3], StoreUnavailable)
    assert store.stored() == [1, 2, 11, 15]
    assert (sorted(store.in_memory), store.rebuilt) == ([1, 2, 11, 15], 0)


def test_a_caller_that_goes_away_takes_nobody_along_and_what_it_asked_is_done(store: CodeIndex) -> None:
    async def story() -> None:
        gone = asyncio.create_task(store.writer.do(store.keep(1)))
        stays = asyncio.create_task(store.writer.do(store.keep(2)))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays == 2
        assert await store.writer.do(store.keep(3)) == 3

    run(story())
    assert store.stored() == [1, 2, 3]


def test_closing_finishes_what_was_asked(store: CodeIndex) -> None:
    async def story() -> None:
        asked = [asyncio.create_task(store.writer.do(store.keep(number))) for number in range(GROUP_MAX + 10)]
        await asyncio.sleep(0)
        await store.writer.close()
        assert [await one for one in asked] == list(range(GROUP_MAX + 10))

    run(story())
    assert len(store.stored()) == GROUP_MAX + 10


@pytest.mark.parametrize("failure", [apsw.FullError("full"), apsw.BusyError("busy"), apsw.LockedError("locked")])
def test_a_checkpoint_that_can_not_be_made_now_is_tried_again_and_costs_nobody_an_answer(
    store: CodeIndex, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quanma.platform.pool.sqlite.writer.CHECKPOINT_PAGES", 1)
    store.db.fails = failure
    for number in (1, 2):
        assert run(_outcomes(store.writer, [store.keep(number)])) == [number]
    store.db.fails = None
    assert run(_outcomes(store.writer, [store.keep(3)])) == [3]
    assert store.db.checkpoints == 3
    assert (store.stored(), store.rebuilt) == ([1, 2, 3], 0)


def test_after_a_checkpoint_whose_write_failed_nothing_is_acknowledged(
    store: CodeIndex, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("quanma.platform.pool.sqlite.writer.CHECKPOINT_PAGES", 1)
    store.db.fails = apsw.IOError("disk I/O error")
    (first,) = run(_outcomes(store.writer, [store.keep(1)]))
    store.db.fails = None
    (second,) = run(_outcomes(store.writer, [store.keep(2)]))
    assert [type(one) for one in (first, second)] == [StoreUnavailable, StoreUnavailable]
    assert "restart the platform once the disk is sound" in str(second)
    assert caplog.text.count("the store failed (IOError: disk I/O error)") == 1
