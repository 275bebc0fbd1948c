"""How fast to send: the platform's limit is not published, so it is felt for. Pure: the clock is an argument.

- Sends are spaced evenly, so that the rate holds for any kind of limiter.
- The rate starts low and grows; a refusal (429) halves it for a moment, and what was taken in the second before
  becomes the known ceiling; refused again soon after, what was taken since the last refusal does. From then on the
  rate stays a little below the ceiling, and tries above it rarely.
- A failure (no answer, 5xx) says nothing about the rate: everything pauses, longer each time, and one request at a
  time asks whether the platform is back.
- Every wait is spread at random, so that many uploaders don't come back at the same instant.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

START_RATE = 5.0
RATE_MIN = 0.2
GROWTH_PER_SECOND = 1.2
"""Before a ceiling is known."""
BELOW_CEILING = 0.97
PROBE_SECONDS = 90.0
"""How long the rate keeps below a known ceiling before it tries above it."""
PROBE_GROWTH_PER_SECOND = 1.01
REFUSED_SECONDS = 1.0
SOON_SECONDS, SOON_DROP = 30.0, 0.8
"""A refusal so soon after the last one means that the ceiling is too high; it falls to 80 % of itself at the most."""
PAUSE_MIN_SECONDS, PAUSE_MAX_SECONDS = 0.5, 20.0
NOT_READY_SECONDS = (60.0, 90.0, 120.0, 180.0, 240.0)
"""Source: merchants report one to five minutes for a new stock; the platform publishes no figure."""


class Pace:
    def __init__(
        self, random: Callable[[], float], *, rate_max: float | None = None, learned_rate: float | None = None
    ) -> None:
        """`random` returns a number from 0 to 1. `rate_max` caps, `learned_rate` is an earlier run's ceiling."""
        self._random = random
        self._rate_max = rate_max
        self.ceiling = learned_rate
        self.rate = min(learned_rate * BELOW_CEILING if learned_rate else START_RATE, rate_max or float("inf"))
        self._next_at = 0.0
        self._grown_at: float | None = None
        self._ceiling_at = 0.0
        self._taken: deque[float] = deque()
        self._taken_since_refusal = 0
        self._failures = 0
        self._paused_until = float("-inf")
        self._ever_taken = False
        self._refused_at = float("-inf")

    @property
    def one_at_a_time(self) -> bool:
        """Whether only a single probe may be under way: the platform failed, or is not known to take codes yet."""
        return self._failures > 0 or not self._ever_taken

    def wait_seconds(self, now: float) -> float:
        """Return how long to wait before the next send; 0 takes the turn."""
        self._grow(now)
        if now < self._next_at:
            return self._next_at - now
        # A late start does not earn a burst: the next turn counts from now.
        self._next_at = max(self._next_at, now - 1 / self.rate) + 1 / self.rate
        return 0.0

    def taken(self, now: float) -> None:
        """The platform answered."""
        self._ever_taken = True
        if self._failures:
            self._failures = 0
            self._grown_at = now
        self._taken.append(now)
        self._taken_since_refusal += 1
        self._forget(now)

    def refused(self, now: float, retry_after_seconds: float | None) -> None:
        """The platform said 429. Nothing is sent before the time it named."""
        self._forget(now)
        # Requests sent before the last refusal come back refused too: they say nothing new.
        if now - self._refused_at > REFUSED_SECONDS:
            self.ceiling = max(RATE_MIN, self._felt(now))
            self.rate = max(RATE_MIN, self.rate / 2)
            self._ceiling_at = self._refused_at = now
            self._taken_since_refusal = 0
        wait_seconds = max(retry_after_seconds or 0.0, REFUSED_SECONDS * 0.5)
        self._next_at = max(self._next_at, now + wait_seconds + self._spread(wait_seconds * 0.3))
        self._grown_at = self._next_at

    def _felt(self, now: float) -> float:
        """The rate that the platform seems to take."""
        felt = min(self.rate, float(len(self._taken))) or self.rate / 2
        since = now - self._refused_at
        if self.ceiling is None or since > SOON_SECONDS:
            return felt
        # Refused again so soon: the last second still had what a limiter saves up for a burst. Between two refusals
        # it saved nothing, so what it took in all of that time is its true rate, less what the pause let run over.
        return min(felt, max(self._taken_since_refusal / since, self.ceiling * SOON_DROP))

    def failed(self, now: float, retry_after_seconds: float | None = None) -> float:
        """No answer, or a failure of the platform. Returns how long everything pauses, in seconds.

        Nothing is sent before the time that the platform named, if it named one.
        """
        if now + (retry_after_seconds or 0.0) < self._paused_until:
            # It was under way when another one failed: that is one failure, not two.
            return self._paused_until - now
        self._failures += 1
        pause = min(PAUSE_MAX_SECONDS, PAUSE_MIN_SECONDS * 2 ** min(self._failures - 1, 10))
        return self._pause(now, max(pause, retry_after_seconds or 0.0))

    def not_ready(self, now: float, times: int) -> float:
        """The stock is still being created, said the platform for the `times`-th time. Returns the pause."""
        self._failures += 1
        return self._pause(now, NOT_READY_SECONDS[min(times, len(NOT_READY_SECONDS)) - 1])

    def _pause(self, now: float, seconds: float) -> float:
        seconds += self._spread(seconds * 0.3)
        self._paused_until = now + seconds
        self._next_at = max(self._next_at, self._paused_until)
        self._grown_at = self._next_at
        return seconds

    def _grow(self, now: float) -> None:
        since, self._grown_at = self._grown_at, max(now, self._grown_at or now)
        if since is None or now <= since:
            return
        growth = GROWTH_PER_SECOND ** (now - since)
        if self.ceiling is None:
            self.rate *= growth
        elif self.rate < self.ceiling * BELOW_CEILING:
            self.rate = min(self.rate * GROWTH_PER_SECOND ** (4 * (now - since)), self.ceiling * BELOW_CEILING)
        elif now - self._ceiling_at > PROBE_SECONDS:
            self.rate *= PROBE_GROWTH_PER_SECOND ** (now - since)
        if self._rate_max is not None:
            self.rate = min(self.rate, self._rate_max)

    def _forget(self, now: float) -> None:
        while self._taken and self._taken[0] <= now - 1:
            self._taken.popleft()

    def _spread(self, seconds: float) -> float:
        return seconds * self._random()
