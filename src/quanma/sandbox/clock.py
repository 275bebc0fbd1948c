"""The one clock of a sandbox: validity, expiry, retries, signatures and the journal go by it."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """Unix seconds. It runs with the system's clock, so many seconds apart from it, or it stands still."""

    def __init__(self, system: Callable[[], float] = time.time) -> None:
        self._system = system
        self.frozen_at: float | None = None
        self.ahead_seconds = 0.0

    def __call__(self) -> float:
        return self._system() + self.ahead_seconds if self.frozen_at is None else self.frozen_at

    @property
    def is_frozen(self) -> bool:
        return self.frozen_at is not None

    def freeze(self, at: float | None = None) -> None:
        """Stand still: at this moment, or now."""
        self.frozen_at = self() if at is None else at

    def move_to(self, at: float) -> None:
        """A frozen clock stays frozen there; one that runs, runs on from there."""
        if self.frozen_at is None:
            self.ahead_seconds = at - self._system()
        else:
            self.frozen_at = at

    def shift(self, seconds: float) -> None:
        self.move_to(self() + seconds)

    def run(self) -> None:
        """Run on from where it stands."""
        if self.frozen_at is not None:
            at, self.frozen_at = self.frozen_at, None
            self.move_to(at)

    def real(self) -> None:
        """Run with the system's clock again."""
        self.frozen_at, self.ahead_seconds = None, 0.0
