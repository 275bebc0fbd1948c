"""Which requests came, by merchant and nonce, for as long as their signatures hold: a second one is a replay.

A call without a number of its own is numbered by its nonce: so what it answered is kept with it.
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from typing import NamedTuple, Protocol

from ...errors import RateLimited

NONCE_SECONDS = 660
"""A signature holds from 300 s before its time to 300 s behind it; the clocks of several hosts may differ a little."""
_GENERATION_SECONDS = 60
_KEPT_MAX = 500_000
"""Requests of one process that are remembered: 750 a second. About 60 MB."""
_ANSWERS_MAX = 10_000


class Noted(NamedTuple):
    """What is known of a nonce that came before."""

    what: bytes
    """A digest of the request, or empty: that is not known."""
    answer: bytes | None
    """None: there is none yet, or it is not kept any more."""


class Nonces(Protocol):
    """Remembers requests for `NONCE_SECONDS`. Times are Unix seconds.

    Raises:
        StoreUnavailable: as the pool.
    """

    @property
    def durable(self) -> bool:
        """Whether what was noted before this process began is known."""
        ...

    async def note(self, mchid: str, nonce: str, what: bytes, now: int) -> Noted | None:
        """Note that a request came. Returns None: it is the first with this nonce.

        Raises:
            RateLimited: more can't be remembered.
        """
        ...

    async def answered(self, mchid: str, nonce: str, answer: bytes) -> None:
        """Keep what the first request was answered."""
        ...

    async def forget(self, mchid: str, nonce: str) -> None:
        """The first request took no effect: it may come again."""
        ...


class MemoryNonces:
    """`Nonces` of one process that serves alone, in its memory."""

    durable = False

    def __init__(self) -> None:
        self._generations: deque[tuple[int, dict[bytes, None]]] = deque([(0, {})])
        """Each with the second it began in, the latest first."""
        self._details: dict[bytes, Noted] = {}
        """Of the latest that may need an answer again."""

    async def note(self, mchid: str, nonce: str, what: bytes, now: int) -> Noted | None:
        self._turn_over(now)
        key = _key(mchid, nonce)
        if any(key in keys for _, keys in self._generations):
            return self._details.get(key, Noted(b"", None))
        if sum(len(keys) for _, keys in self._generations) >= _KEPT_MAX:
            raise RateLimited("频率限制: more requests than can be remembered", retry_after_seconds=_GENERATION_SECONDS)
        self._generations[0][1][key] = None
        if what:
            self._details[key] = Noted(what, None)
            if len(self._details) > _ANSWERS_MAX:
                del self._details[next(iter(self._details))]
        return None

    async def answered(self, mchid: str, nonce: str, answer: bytes) -> None:
        key = _key(mchid, nonce)
        if (noted := self._details.get(key)) is not None:
            self._details[key] = noted._replace(answer=answer)

    async def forget(self, mchid: str, nonce: str) -> None:
        key = _key(mchid, nonce)
        self._details.pop(key, None)
        for _, keys in self._generations:
            keys.pop(key, None)

    def _turn_over(self, now: int) -> None:
        # A clock that goes back begins no generation: what is kept is then kept for longer.
        if now - self._generations[0][0] >= _GENERATION_SECONDS:
            self._generations.appendleft((now, {}))
        # All of a generation are younger than the one behind it.
        while len(self._generations) > 1 and now - self._generations[-2][0] > NONCE_SECONDS:
            for key in self._generations.pop()[1]:
                self._details.pop(key, None)


def _key(mchid: str, nonce: str) -> bytes:
    return blake2b(f"{mchid}\n{nonce}".encode(), digest_size=16).digest()
