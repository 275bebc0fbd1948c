"""A stock's number inside: what its id is in every row and index entry of what it holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .queries import query

KEPT_MAX = 50_000
"""Stocks whose numbers are kept in memory, the latest ones."""

_STOCK_NO, _STOCK_NUMBERS = query("stock_no"), query("stock_numbers")


async def numbers_of(connection: Any, stock_ids: Iterable[str]) -> dict[str, int]:
    """Return the numbers of those stocks that are there."""
    return dict(await connection.fetch(_STOCK_NUMBERS, list({*stock_ids})))


class Numbers:
    """The numbers of stocks, as this worker read them. Whoever uses one that was kept looks whose it is.

    A stock never changes its number. But a database that went back to before a stock was made may give its number to
    another one.
    """

    def __init__(self) -> None:
        self._kept: dict[str, int] = {}

    def keep(self, stock_id: str, stock_no: int) -> None:
        if len(self._kept) >= KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[stock_id] = stock_no

    def forget(self, stock_id: str) -> None:
        self._kept.pop(stock_id, None)

    async def of(self, connection: Any, stock_id: str) -> int | None:
        """Return a stock's number. None: there is no such stock."""
        if (kept := self._kept.get(stock_id)) is not None:
            return kept
        stock_no: int | None = await connection.fetchval(_STOCK_NO, stock_id)
        if stock_no is not None:
            self.keep(stock_id, stock_no)
        return stock_no
