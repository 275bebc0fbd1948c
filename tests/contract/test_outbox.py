"""Events that are due: by merchant, each merchant's own share, and back again if nothing was tried."""

from __future__ import annotations

import pytest

from quanma.platform.pool.contract import Waiting
from tests.contract.driver import NOW, DrivenPool
from tests.support.platform import MCHID, OTHER_MCHID

pytestmark = pytest.mark.both_back_ends

RETRY_SECONDS = 60


def address(mchid: str) -> str:
    return f"https://{mchid}.example.com/events"


def with_events(pool: DrivenPool, mchid: str, count: int, *, now: int = NOW, stocks: int = 1) -> None:
    pool.run(pool.pool.set_callback(mchid, mchid, address(mchid), NOW))
    for number in range(stocks):
        stock_id = pool.create(mchid=mchid, belong_merchant=mchid)
        pool.upload(stock_id, [f"S{number}C{code}" for code in range(count)], mchid=mchid)
        for _ in range(count):
            pool.send(stock_id, mchid=mchid, now=now)


def waiting(pool: DrivenPool, now: int) -> set[Waiting]:
    found = pool.run(pool.pool.merchants_waiting(now))
    assert len(set(found)) == len(found)
    return set(found)


def taken(pool: DrivenPool, now: int, limit: int, shares: dict[str, int] | None = None) -> list[str]:
    """The merchants whose events were taken."""
    return sorted(event.mchid for event in pool.run(pool.pool.take_due_events(now, limit, shares)))


def test_who_waits_is_told_with_the_address_of_now(pool: DrivenPool) -> None:
    assert waiting(pool, NOW) == set()
    with_events(pool, MCHID, 3)
    with_events(pool, OTHER_MCHID, 1, now=NOW + 5)
    assert waiting(pool, NOW) == {Waiting(MCHID, address(MCHID))}
    pool.run(pool.pool.set_callback(MCHID, MCHID, "https://moved.example.com/", NOW))
    assert waiting(pool, NOW + 5) == {
        Waiting(MCHID, "https://moved.example.com/"),
        Waiting(OTHER_MCHID, address(OTHER_MCHID)),
    }


def test_of_each_merchant_its_share_is_taken_however_many_another_has(pool: DrivenPool) -> None:
    with_events(pool, MCHID, 20)
    with_events(pool, OTHER_MCHID, 2, now=NOW + 1)
    assert taken(pool, NOW + 1, 100, {MCHID: 3, OTHER_MCHID: 5}) == [MCHID] * 3 + [OTHER_MCHID] * 2
    assert taken(pool, NOW + 1, 100, {OTHER_MCHID: 5}) == []
    assert taken(pool, NOW + 1, 4, {MCHID: 100}) == [MCHID] * 4
    assert taken(pool, NOW + 1, 100) == [MCHID] * 13
    assert waiting(pool, NOW + 1) == set()


def test_a_share_goes_over_all_stocks_of_a_merchant(pool: DrivenPool) -> None:
    with_events(pool, MCHID, 3, stocks=4)
    assert taken(pool, NOW, 100, {MCHID: 7}) == [MCHID] * 7
    assert taken(pool, NOW, 100, {MCHID: 7}) == [MCHID] * 5


def test_what_was_taken_waits_again_after_one_retry(pool: DrivenPool) -> None:
    with_events(pool, MCHID, 2)
    (first,) = pool.run(pool.pool.take_due_events(NOW, 1, {MCHID: 1}))
    pool.reopen()
    (second,) = pool.run(pool.pool.take_due_events(NOW, 5, {MCHID: 5}))
    assert first.id != second.id
    assert waiting(pool, NOW + RETRY_SECONDS - 1) == set()
    again = pool.run(pool.pool.take_due_events(NOW + RETRY_SECONDS, 5, {MCHID: 5}))
    assert {event.id for event in again} == {first.id, second.id}
    assert {event.attempts for event in again} == {2}


def test_what_was_taken_before_the_clock_was_set_back_is_due(pool: DrivenPool) -> None:
    with_events(pool, MCHID, 1)
    assert taken(pool, NOW, 5) == [MCHID]
    assert waiting(pool, NOW - 86400) == {Waiting(MCHID, address(MCHID))}
    assert taken(pool, NOW - 86400, 5, {MCHID: 5}) == [MCHID]


def test_an_attempt_that_was_not_made_does_not_count(pool: DrivenPool) -> None:
    with_events(pool, MCHID, 1)
    for _ in range(20):
        (event,) = pool.run(pool.pool.take_due_events(NOW, 5, {MCHID: 5}))
        assert event.attempts == 1
        pool.run(pool.pool.event_not_tried(event, NOW))
    (state,) = pool.run(pool.pool.list_events(MCHID, 0, 5))
    assert (state.attempts, state.due_at) == (0, NOW)


def test_who_has_all_delivered_waits_no_more(pool: DrivenPool) -> None:
    with_events(pool, MCHID, 2)
    for event in pool.run(pool.pool.take_due_events(NOW, 5)):
        pool.run(pool.pool.event_delivered(event, NOW))
    assert waiting(pool, NOW + 10**6) == set()
    assert taken(pool, NOW + 10**6, 5, {MCHID: 5}) == []
