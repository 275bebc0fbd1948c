"""How many requests a merchant may make, and how many stocks, in a time. Settings of ours; by default, no limit.

Source: of requests the platform publishes nothing; of new stocks, 1000 a minute.
"""

from __future__ import annotations

import math

from ..errors import RateLimited

HOUR_SECONDS = 3600


class RateLimit:
    """A bucket for each merchant, full at first, that holds so many requests and fills in so many seconds."""

    def __init__(self, requests: float, seconds: float = 1.0) -> None:
        self._requests = requests
        self._seconds = seconds
        self._buckets: dict[str, tuple[float, float]] = {}

    def check(self, mchid: str, now: float) -> None:
        """Count one request.

        Raises:
            RateLimited: there were too many; it says when to come again.
        """
        room, rate = max(1.0, self._requests), self._requests / self._seconds
        left, at = self._buckets.get(mchid, (room, now))
        left = min(room, left + max(0.0, now - at) * rate)
        if left < 1:
            self._buckets[mchid] = (left, now)
            wait_seconds = max(1, math.ceil((1 - left) / rate))
            raise RateLimited("频率限制: too many requests", retry_after_seconds=wait_seconds)
        self._buckets[mchid] = (left - 1, now)
