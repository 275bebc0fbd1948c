"""How many events may be on their way to each merchant at once: a fair share, and little to who does not answer. Pure.

An address that is new gets few at a time, and more with each one that it receives. One that fails gets less. One that
failed several times in a row is probed: one event at a time, after a pause that doubles; the others wait, untried. So
an address that is silent holds few places for a short time, however many events wait for it.

Of those who wait, the merchants with the fewest on their way come first, and of these the one whose turn was longest
ago: who has many waiting is not before who has one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

from ..pool.contract import RETRIES, Waiting

FIRST = 2
EACH_MAX = 16
FAILURES_MAX = 3
"""So many in a row, and an address is probed. Our choice, all three."""
PAUSE_SECONDS = 1.0
ANSWERED_PART = 60
"""An address that answers, but not with a receipt, is worth less of a pause: a 60th of that of a silent one."""


class Standing:
    """How a merchant's address has answered lately."""

    def __init__(self, notify_url: str) -> None:
        self.under_way = 0
        self.turn = 0
        """When it was last given a place. The higher, the later."""
        self.become(notify_url)

    def become(self, notify_url: str) -> None:
        """Another address: what is known of the old one does not count."""
        self.notify_url = notify_url
        self.share = FIRST
        self.failures = 0
        """In a row."""
        self.pause = 0.0
        """Above 0: it is probed."""
        self.ready_at = 0.0


class Attempt:
    """One event on its way to an address. It ends once, with one of the three."""

    def __init__(self, standing: Standing, clock: Callable[[], float], pause_max: float) -> None:
        self._standing = standing
        self._clock = clock
        self._pause_max = pause_max
        self._notify_url = standing.notify_url
        self._pause = standing.pause
        standing.under_way += 1

    def received(self) -> None:
        standing = self._standing
        standing.under_way -= 1
        if standing.notify_url == self._notify_url:
            standing.failures, standing.pause = 0, 0.0
            standing.share = min(EACH_MAX, standing.share + 1)

    def failed(self, *, answered: bool = False, for_long: bool = False) -> None:
        """`answered`: something answered, but it was no receipt. `for_long`: it won't be better in a moment."""
        standing = self._standing
        standing.under_way -= 1
        if standing.notify_url != self._notify_url:
            return
        standing.failures += 1
        standing.share = max(1, standing.share // 2)
        # What was on its way before the address was known to fail is no new step.
        if standing.pause != self._pause:
            return
        if for_long:
            self._wait(self._pause_max, self._pause_max)
        elif standing.failures >= FAILURES_MAX:
            part = 1 / ANSWERED_PART if answered else 1.0
            pause = min(max(2 * standing.pause, PAUSE_SECONDS * part), self._pause_max * part)
            self._wait(pause, pause)

    def not_made(self, seconds: float) -> None:
        """It was not tried, and is not worth a try for so long."""
        self._standing.under_way -= 1
        if self._standing.notify_url == self._notify_url:
            self._wait(seconds, max(seconds, self._standing.pause))

    def _wait(self, seconds: float, pause: float) -> None:
        self._standing.pause = pause
        self._standing.ready_at = self._clock() + seconds


class Shares:
    def __init__(self, clock: Callable[[], float], pause_max: float = RETRIES.seconds) -> None:
        """`pause_max`: how long a failing address is left alone at most, in seconds."""
        self._clock = clock
        self._pause_max = pause_max
        self._standings: dict[str, Standing] = {}
        self._turns = count(1)

    def share_out(self, waiting: Sequence[Waiting], places: int) -> dict[str, int]:
        """Return how many events of each merchant to take, so many places in all. Nobody's: it is left out."""
        standings = [(one.mchid, self._of(one.mchid, one.notify_url)) for one in waiting]
        standings.sort(key=lambda one: (one[1].under_way, one[1].turn))
        room = {mchid: self._room(standing) for mchid, standing in standings}
        given: dict[str, int] = {}
        while places and room:
            for mchid, standing in standings:
                if places and room.get(mchid, 0):
                    places -= 1
                    room[mchid] -= 1
                    given[mchid] = given.get(mchid, 0) + 1
                    standing.turn = next(self._turns)
            room = {mchid: left for mchid, left in room.items() if left > 0}
        return given

    def begin(self, mchid: str, notify_url: str) -> Attempt:
        return Attempt(self._of(mchid, notify_url), self._clock, self._pause_max)

    def _of(self, mchid: str, notify_url: str) -> Standing:
        standing = self._standings.get(mchid)
        if standing is None:
            standing = self._standings[mchid] = Standing(notify_url)
        elif standing.notify_url != notify_url:
            standing.become(notify_url)
        return standing

    def _room(self, standing: Standing) -> int:
        if not standing.pause:
            return max(0, standing.share - standing.under_way)
        until = standing.ready_at - self._clock()
        # Further ahead than its pause: the clock was set back.
        return 0 if standing.under_way or 0 < until <= standing.pause else 1
