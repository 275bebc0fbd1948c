"""Who is being answered: so many requests at once, and no merchant has all the places.

Source: the documentation says nothing of shares. Ours: alone, a merchant leaves an eighth of the places free for
whoever comes next; while others come, it has at most half. Whose share a request takes is what it says of itself, since
nothing is verified yet: a lie can take the share of the merchant it names, and never more than that.
"""

from __future__ import annotations

from collections import Counter

PLACES = 128
"""Requests that are being answered. More of them at once would keep a refusal from being written within 50 ms."""
OTHERS_SECONDS = 5.0
"""So long after its last request a merchant still counts as one that comes. A refused one is told to wait less."""
FOR_EACH_FREE_PLACE = 7
"""Nobody takes another place who holds so many times the free ones: of 128, one alone takes 112, of two each 59."""
_NOBODY = ""
"""The share of all who name no merchant that is known."""


class Places:
    def __init__(self, count: int) -> None:
        self._count = count
        self._share_of: dict[object, str] = {}
        """By who holds a place."""
        self._held: Counter[str] = Counter()
        self._came: dict[str, float] = {}
        """When a merchant came last: the latest at the end."""

    def __len__(self) -> int:
        return len(self._share_of)

    def take(self, holder: object, share: str, now: float) -> bool:
        """Take a place, if this share has one left. `now` in seconds, of a clock that never goes back."""
        if share != _NOBODY:  # Strangers must not make a merchant's share smaller.
            self._came.pop(share, None)
            self._came[share] = now
        held = self._held.get(share, 0)
        if held >= FOR_EACH_FREE_PLACE * (self._count - len(self._share_of)):
            return False
        if held >= self._count // 2 and self._others_come(share, now):
            return False
        self._put(holder, share)
        return True

    def take_all_the_same(self, holder: object) -> None:
        """For what costs next to nothing: it is nobody's share, and may be one too many."""
        self._put(holder, _NOBODY)

    def give_back(self, holder: object) -> None:
        """Nothing happens to whoever has none."""
        share = self._share_of.pop(holder, None)
        if share is not None:
            self._held[share] -= 1

    def _put(self, holder: object, share: str) -> None:
        self._share_of[holder] = share
        self._held[share] += 1

    def _others_come(self, share: str, now: float) -> bool:
        for other, at in reversed(self._came.items()):
            if other != share:
                return now - at < OTHERS_SECONDS
        return False
