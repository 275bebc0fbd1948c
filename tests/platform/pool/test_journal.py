"""The SQLite pool's commits: what a group shares, and who is told what when one of it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import apsw
import pytest

from quanma.errors import RequestRefused, StoreUnavailable
from quanma.platform.pool.journal import GROUP_MAX, Journal


class Shelf:
    """A journal over a real file of numbers, with what is in memory beside it."""

    def __init__(self, path: Path) -> None:
        self._db = apsw.Connection(str(path))
        self._db.execute("PRAGMA journal_mode = wal").fetchall()
        self._db.execute("CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT)")
        self._db.execute("CREATE TABLE kept (number INTEGER PRIMARY KEY)")
        self.rebuilt = 0
        self.in_memory: list[int] = []
        self.journal = Journal(self._db, self._rebuild)

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
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "numbers.db")


def run(request: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(request, 30))


async def _outcomes(journal: Journal, works: list[Callable[[], Any]]) -> list[Any]:
    return await asyncio.gather(*map(journal.do, works), return_exceptions=True)


def refused() -> None:
    raise RequestRefused("no")


def failing() -> None:
    raise ZeroDivisionError


def test_a_refusal_leaves_the_others_of_its_group_alone(shelf: Shelf) -> None:
    outcomes = run(_outcomes(shelf.journal, [shelf.keep(1), refused, shelf.keep(2)]))
    assert (outcomes[0], outcomes[2]) == (1, 2)
    assert isinstance(outcomes[1], RequestRefused)
    assert shelf.stored() == [1, 2]


def test_an_unexpected_error_undoes_its_group_tells_everyone_in_it_and_the_next_group_goes_on(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        assert await shelf.journal.do(shelf.keep(1)) == 1
        outcomes = await _outcomes(shelf.journal, [shelf.keep(2), failing, shelf.keep(3), refused])
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 4
        assert shelf.stored() == [1]
        assert (shelf.in_memory, shelf.rebuilt) == ([1], 1)
        assert await _outcomes(shelf.journal, [shelf.keep(2), shelf.keep(4)]) == [2, 4]
        shelf.journal.check()

    run(story())
    assert shelf.stored() == [1, 2, 4]
    assert "ZeroDivisionError" in caplog.text


def test_an_unexpected_error_undoes_no_other_group(shelf: Shelf) -> None:
    works: list[Callable[[], Any]] = [shelf.keep(number) for number in range(2 * GROUP_MAX)]
    works[GROUP_MAX + 5] = failing
    outcomes = run(_outcomes(shelf.journal, works))
    assert outcomes[:GROUP_MAX] == list(range(GROUP_MAX))
    assert {type(outcome) for outcome in outcomes[GROUP_MAX:]} == {StoreUnavailable}
    assert shelf.stored() == list(range(GROUP_MAX))


def test_a_caller_that_goes_away_takes_nobody_along_and_what_it_asked_is_done(shelf: Shelf) -> None:
    async def story() -> None:
        gone = asyncio.create_task(shelf.journal.do(shelf.keep(1)))
        stays = asyncio.create_task(shelf.journal.do(shelf.keep(2)))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays == 2
        assert await shelf.journal.do(shelf.keep(3)) == 3

    run(story())
    assert shelf.stored() == [1, 2, 3]


def test_closing_finishes_what_was_asked(shelf: Shelf) -> None:
    async def story() -> None:
        asked = [asyncio.create_task(shelf.journal.do(shelf.keep(number))) for number in range(GROUP_MAX + 10)]
        await asyncio.sleep(0)
        await shelf.journal.close()
        assert [await one for one in asked] == list(range(GROUP_MAX + 10))

    run(story())
    assert len(shelf.stored()) == GROUP_MAX + 10
