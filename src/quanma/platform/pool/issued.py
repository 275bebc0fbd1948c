"""Which coupons of one stock a user has, in memory: a draw asks this first, and mostly the answer is none.

It may name a coupon of another user whose openid has the same hash; the caller reads the coupon and sees.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

from .hashindex import HashIndex


class Issued:
    def __init__(self, hash_text: Callable[[str], int] = hash) -> None:
        self._index = HashIndex(hash_text)
        self._coupon_ids = array("I")

    def __len__(self) -> int:
        return len(self._coupon_ids)

    @property
    def nbytes(self) -> int:
        return self._index.nbytes + len(self._coupon_ids) * self._coupon_ids.itemsize

    def add(self, openids: Sequence[str], first_coupon_id: int) -> None:
        """Users, and coupons of consecutive ids."""
        self._index.append_few(openids)
        self._coupon_ids.extend(range(first_coupon_id, first_coupon_id + len(openids)))

    def restore(self, openids: Sequence[str], coupon_ids: Sequence[int]) -> None:
        """Add many at once, for a rebuild: they are found after `restored`."""
        self._index.append_unplaced(self._index.hashes(openids))
        self._coupon_ids.extend(coupon_ids)

    def restored(self) -> None:
        self._index.place_all()

    def may_have(self, openids: Sequence[str]) -> list[bool]:
        """For each user: False only if there is no coupon."""
        return self._index.may_hold(openids)

    def of(self, openid: str) -> list[int]:
        """The ids of the coupons that a user may have, the earliest first."""
        positions = self._index.positions(openid)
        return sorted(self._coupon_ids[position] for position in positions) if positions else positions
