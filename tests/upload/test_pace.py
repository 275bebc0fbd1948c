"""The pace against simulated limiters: no clock, no network, ten minutes in a blink."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

import pytest

from quanma.upload.pace import Pace
from tests.support.every import every_row

LATENCY_SECONDS = 0.05
CONCURRENCY = 8
SETTLED_SECONDS, END_SECONDS = 30.0, 630.0


class Limiter(Protocol):
    def takes(self, now: float) -> bool: ...


class TokenBucket:
    """A second's worth of requests at once, then so many a second."""

    def __init__(self, rate: float) -> None:
        self._rate, self._tokens, self._at = rate, rate, 0.0

    def takes(self, now: float) -> bool:
        self._tokens = min(max(1.0, self._rate), self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class FixedWindow:
    """So many in each second of the clock."""

    def __init__(self, rate: float) -> None:
        self._rate, self._window, self._count = rate, 0, 0

    def takes(self, now: float) -> bool:
        if int(now) != self._window:
            self._window, self._count = int(now), 0
        self._count += 1
        return self._count <= self._rate


class SlidingWindow:
    """So many in any second that ends now; refused ones don't count."""

    def __init__(self, rate: float) -> None:
        self._rate, self._taken = rate, deque[float]()

    def takes(self, now: float) -> bool:
        while self._taken and self._taken[0] <= now - 1:
            self._taken.popleft()
        if len(self._taken) >= self._rate:
            return False
        self._taken.append(now)
        return True


class Unlimited:
    def takes(self, now: float) -> bool:
        return True


class Answered(NamedTuple):
    sent_at: float
    taken: bool


def simulate(
    pace: Pace, limiter: Limiter, *, retry_after_seconds: float | None = None, end_seconds: float = END_SECONDS
) -> list[Answered]:
    """Send as the uploader does, to a platform that answers within 50 ms."""
    now, answers, log = 0.0, list[tuple[float, float, bool]](), list[Answered]()
    while now < end_seconds:
        while answers and answers[0][0] <= now:
            at, sent_at, taken = heapq.heappop(answers)
            log.append(Answered(sent_at, taken))
            pace.taken(at) if taken else pace.refused(at, retry_after_seconds)
        free = len(answers) < (1 if pace.one_at_a_time else CONCURRENCY)
        wait_seconds = pace.wait_seconds(now) if free else float("inf")
        if wait_seconds <= 0:
            heapq.heappush(answers, (now + LATENCY_SECONDS, now, limiter.takes(now)))
        else:
            now = min(now + wait_seconds, answers[0][0] if answers else float("inf"))
    return sorted(log)


def taken_per_second(log: list[Answered], since: float = SETTLED_SECONDS, until: float = END_SECONDS) -> float:
    return sum(one.taken for one in log if since <= one.sent_at < until) / (until - since)


def refused_share(log: list[Answered], since: float = 0.0) -> float:
    answered = [one.taken for one in log if one.sent_at >= since]
    return answered.count(False) / len(answered)


LIMITERS: dict[str, Callable[[float], Limiter]] = {
    "token bucket": TokenBucket,
    "fixed window": FixedWindow,
    "sliding window": SlidingWindow,
}


@pytest.mark.parametrize("retry_after_seconds", [None, 1.0])
@pytest.mark.parametrize("kind", LIMITERS)
@pytest.mark.parametrize(
    ("allowed", "seed"),
    [
        pytest.param(1, 1),
        pytest.param(20, 1, marks=pytest.mark.slow),
        *(pytest.param(allowed, 2, marks=pytest.mark.slow) for allowed in (1, 5, 20, 100)),
    ],
)
def test_it_settles_at_what_is_allowed_and_is_hardly_refused(
    kind: str, allowed: int, retry_after_seconds: float | None, seed: int
) -> None:
    settled = SETTLED_SECONDS if allowed <= 20 else 2 * SETTLED_SECONDS
    log = simulate(Pace(random.Random(seed).random), LIMITERS[kind](allowed), retry_after_seconds=retry_after_seconds)
    assert taken_per_second(log, since=settled) >= 0.9 * allowed
    assert refused_share(log, since=settled) < 0.02
    assert refused_share(log) < (0.02 if allowed > 1 else 0.04)


@every_row("retry_after_seconds", [None, 1.0])
@every_row("seed", range(5))
def test_a_saved_up_burst_does_not_keep_it_from_settling(seed: int, retry_after_seconds: float | None) -> None:
    pace = Pace(random.Random(seed).random)
    log = simulate(pace, TokenBucket(20.0), retry_after_seconds=retry_after_seconds, end_seconds=90.0)
    taken = [taken_per_second(log, since, since + 5.0) for since in range(30, 85, 5)]
    assert min(taken) >= 0.9 * 20.0, taken
    assert refused_share(log) < 0.02


def test_without_a_limit_it_soon_sends_as_fast_as_answers_come() -> None:
    log = simulate(Pace(random.Random(1).random), Unlimited(), end_seconds=60)
    assert taken_per_second(log, since=45, until=60) > 0.9 * CONCURRENCY / LATENCY_SECONDS


def test_it_begins_low() -> None:
    log = simulate(Pace(random.Random(1).random), Unlimited(), end_seconds=1)
    assert len(log) <= 6


def test_it_sends_evenly() -> None:
    log = simulate(Pace(random.Random(1).random, rate_max=20), Unlimited(), end_seconds=60)
    times = [one.sent_at for one in log if one.sent_at > 30]
    assert min(after - before for before, after in itertools.pairwise(times)) > 0.9 / 20


@every_row("retry_after_seconds", [1.0, 7.0, 60.0])
def test_nothing_is_sent_before_the_time_that_was_named(retry_after_seconds: float) -> None:
    log = simulate(
        Pace(random.Random(1).random), TokenBucket(20), retry_after_seconds=retry_after_seconds, end_seconds=300
    )
    refusals = [one.sent_at + LATENCY_SECONDS for one in log if not one.taken]
    assert refusals
    for at in refusals:
        assert not [one for one in log if at < one.sent_at < at + retry_after_seconds]


def test_the_cap_holds_in_every_second() -> None:
    log = simulate(Pace(random.Random(1).random, rate_max=7.0), Unlimited(), end_seconds=120)
    times = [one.sent_at for one in log]
    assert max(sum(start <= at < start + 1 for at in times) for start in times) <= 8
    assert taken_per_second(log, since=10, until=120) == pytest.approx(7.0, rel=0.02)


def test_the_cap_holds_over_what_was_learned() -> None:
    log = simulate(Pace(random.Random(1).random, rate_max=2.0, learned_rate=50.0), Unlimited(), end_seconds=20)
    assert len(log) <= 41


@pytest.mark.slow
def test_the_next_start_begins_with_what_was_learned() -> None:
    first = Pace(random.Random(1).random)
    simulate(first, TokenBucket(20))
    again = Pace(random.Random(2).random, learned_rate=first.ceiling)
    log = simulate(again, TokenBucket(20), end_seconds=5)
    assert taken_per_second(log, since=0, until=5) >= 0.9 * 20


@pytest.mark.slow
def test_a_limit_that_was_raised_is_found() -> None:
    pace = Pace(random.Random(1).random, learned_rate=5.0)
    log = simulate(pace, TokenBucket(20), end_seconds=630)
    assert taken_per_second(log, since=600, until=630) >= 0.9 * 20


def test_a_limit_that_was_lowered_is_found() -> None:
    log = simulate(Pace(random.Random(1).random, learned_rate=100.0), TokenBucket(20))
    assert taken_per_second(log) >= 0.9 * 20
    assert refused_share(log, since=SETTLED_SECONDS) < 0.02


class TestFailures:
    def pauses(self, seed: int, failures: int) -> list[float]:
        pace, now, found = Pace(random.Random(seed).random), 0.0, list[float]()
        for _ in range(failures):
            found.append(pace.failed(now))
            now += found[-1]
            assert pace.wait_seconds(now) == 0
        return found

    def test_each_pause_is_longer_up_to_a_bound(self) -> None:
        pauses = self.pauses(1, 9)
        for pause, least in zip(pauses, (0.5, 1, 2, 4, 8, 16, 20, 20, 20), strict=True):
            assert least <= pause <= least * 1.3

    def test_uploaders_do_not_come_back_at_the_same_instant(self) -> None:
        last = sorted(self.pauses(seed, 7)[-1] for seed in range(200))
        assert last[-1] - last[0] >= 0.2 * last[0]
        assert max(after - before for before, after in itertools.pairwise(last)) < 0.05 * last[0]

    def test_those_that_were_under_way_together_fail_once(self) -> None:
        pace = Pace(random.Random(1).random, learned_rate=100.0)
        pace.wait_seconds(0.0)
        pace.taken(0.1)
        pauses = [pace.failed(0.2) for _ in range(8)]
        assert max(pauses) <= 0.5 * 1.3

    def test_a_single_request_asks_whether_the_platform_is_back(self) -> None:
        pace = Pace(random.Random(1).random)
        pace.taken(0.0)
        assert not pace.one_at_a_time
        pace.failed(1.0)
        assert pace.one_at_a_time
        pace.taken(2.0)
        assert not pace.one_at_a_time

    def test_an_outage_of_an_hour_costs_few_requests(self) -> None:
        pace, now, requests = Pace(random.Random(1).random), 0.0, 0
        while now < 3600:
            if (wait_seconds := pace.wait_seconds(now)) > 0:
                now += wait_seconds
                continue
            requests += 1
            pace.failed(now)
        assert requests < 200

    def test_the_first_request_after_an_outage_is_soon(self) -> None:
        pace, now = Pace(random.Random(1).random), 0.0
        for _ in range(50):
            now += pace.wait_seconds(now)
            pace.wait_seconds(now)
            pace.failed(now)
        assert pace.wait_seconds(now) <= 26


@every_row(("times", "least"), [(1, 60), (2, 90), (3, 120), (4, 180), (5, 240), (6, 240)])
def test_a_stock_that_is_being_created_is_given_time(times: int, least: float) -> None:
    pauses = [Pace(random.Random(seed).random).not_ready(0.0, times) for seed in range(100)]
    assert least <= min(pauses)
    assert least * 1.2 < max(pauses) <= least * 1.3
