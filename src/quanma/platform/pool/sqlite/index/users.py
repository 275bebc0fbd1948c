"""Which coupons of one stock a user has, in memory: a draw asks this first, and mostly the answer is none.

It may name a coupon of another user whose openid has the same hash; the caller reads the coupon and sees.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .hash_index import HashIndex


class UserIndex:
    def __init__(self, hash_text: Callable[[str], int] = hash) -> None:
        self._index = HashIndex(hash_text)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def nbytes(self) -> int:
        return self._index.nbytes

    def add(self, openids: Sequence[str], first_coupon_id: int) -> None:
        """Users, and coupons of consecutive ids."""
        if len(openids) == 1:
            self._index.add_one(openids[0], first_coupon_id)
        else:
            self._index.add(self._index.hashes(openids), first_coupon_id)

    def restore(self, openids: Sequence[str], coupon_ids: Sequence[int]) -> None:
        """Add many at once, for a rebuild: they are found after `restored`."""
        self._index.add_later(self._index.hashes(openids), np.array(coupon_ids, np.uint32))

    def restored(self) -> None:
        self._index.complete()

    def may_have(self, openids: Sequence[str]) -> list[bool]:
        """For each user: False only if there is no coupon."""
        return self._index.may_hold(openids)

    def of(self, openid: str) -> list[int]:
        """The ids of the coupons that a user may have, the earliest first."""
        return sorted(self._index.numbers(openid))
