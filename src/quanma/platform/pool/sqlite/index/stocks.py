"""Stocks in memory, and whose they are: a merchant finds its own here, and work for it is done on no other's.

A stock of another merchant and one that is not there are looked up alike, and cost the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .....wire.times import beijing_day
from ....coupons.stocks import StockFacts
from .codes import SentCodeIndex, Texts, UploadedCodeIndex
from .users import UserIndex

ASKED_ONE_BY_ONE_MAX = 64
"""So many of a merchant's stocks are asked for a user's coupons one by one, in about 1 µs each. Those beyond share an
index besides, which costs each of their coupons 11 to 16 bytes, and each draw in them 5 µs."""


class StockIndex:
    """A stock in memory: its facts, its codes, and what it gave out: to whom, and how much on each day in Beijing."""

    def __init__(self, facts: StockFacts, texts: Texts) -> None:
        self.facts = facts
        self.codes: UploadedCodeIndex | SentCodeIndex = (
            UploadedCodeIndex(texts) if facts.takes_uploads else SentCodeIndex(texts)
        )
        self.users = UserIndex()
        self.shared: list[UserIndex] = []
        """Indexes over several stocks that this one's coupons stand in as well."""
        # Every day, not only the last: a clock that goes back over midnight must not open that day's limit anew.
        self._sent_on: Counter[int] = Counter()

    @property
    def uploaded(self) -> UploadedCodeIndex:
        """The codes of a stock that takes uploads. To ask only where it was seen that it does."""
        assert isinstance(self.codes, UploadedCodeIndex)
        return self.codes

    @property
    def sent(self) -> int:
        return len(self.users)

    def give(self, openids: Sequence[str], first_coupon_id: int, sent_at: int) -> None:
        self.users.add(openids, first_coupon_id)
        for users in self.shared:
            users.add(openids, first_coupon_id)
        self._sent_on[beijing_day(sent_at)] += len(openids)

    def restore(self, openids: Sequence[str], coupon_ids: Sequence[int], sent_at: Sequence[int]) -> None:
        self.users.restore(openids, coupon_ids)
        for users in self.shared:
            users.restore(openids, coupon_ids)
        self._sent_on.update(map(beijing_day, sent_at))

    def sent_today(self, now: int) -> int:
        return self._sent_on[beijing_day(now)]


class MerchantIndex:
    """A merchant's stocks: those that it made, and those that it owns."""

    def __init__(self) -> None:
        self.stocks: dict[str, StockIndex] = {}
        self.made = 0
        """How many stocks it made by a call."""
        self._asked: list[UserIndex] = []
        self.rest = UserIndex()
        """Who has coupons of the stocks that are not asked one by one."""

    def add(self, stock: StockIndex) -> None:
        """Before anything of the stock is given out."""
        self.stocks[stock.facts.stock_id] = stock
        if len(self._asked) < ASKED_ONE_BY_ONE_MAX:
            self._asked.append(stock.users)
        else:
            stock.shared.append(self.rest)

    def coupons_of(self, openid: str) -> list[int]:
        """The ids of the coupons that a user may have of these stocks, the latest first: the caller reads them."""
        ids = self.rest.of(openid)
        for users in self._asked:
            ids += users.of(openid)
        return sorted(ids, reverse=True)
