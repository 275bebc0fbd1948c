"""How many requests a second a merchant may make. The platform publishes none; ours is a setting, off by default."""

from __future__ import annotations

import math

from ..errors import RateLimited


class RateLimit:
    """A bucket for each merchant, full at first, that holds one second's worth of requests."""

    def __init__(self, requests_per_second: float | None) -> None:
        self._rate = requests_per_second
        self._buckets: dict[str, tuple[float, float]] = {}

    def check(self, mchid: str, now: float) -> None:
        """Count one request.

        Raises:
            RateLimited: there were too many; it says when to come again.
        """
        if self._rate is None:
            return
        room = max(1.0, self._rate)
        left, at = self._buckets.get(mchid, (room, now))
        left = min(room, left + max(0.0, now - at) * self._rate)
        if left < 1:
            self._buckets[mchid] = (left, now)
            wait_seconds = max(1, math.ceil((1 - left) / self._rate))
            raise RateLimited("频率限制: too many requests", retry_after_seconds=wait_seconds)
        self._buckets[mchid] = (left - 1, now)
