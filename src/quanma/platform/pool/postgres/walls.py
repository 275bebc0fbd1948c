"""Whose a stock is, before anything of it is touched: another merchant's is refused as one that is not there.

Both cost the same: the same statements, the same number of rows, and no lock. So neither the answer nor its time tells
a merchant which stocks others have, and nobody can keep a stock from its own merchants. The merchants of a
stock never change: what was read once is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ...coupons.product.changes import Caller
from ...coupons.responses import no_stock
from ...coupons.stocks import Product
from .connections import Connection, Connections
from .queries import query
from .stock_transaction import refuse

KEPT_MAX = 50_000
"""Stocks whose merchants are kept in memory, the latest ones; each is about 300 bytes."""


class Merchants(NamedTuple):
    """A stock's, and the product that it is addressed by."""

    creator: str
    owner: str
    product: Product | None


class Entry(NamedTuple):
    """Who asks for which stock, and as what."""

    mchid: str
    stock_id: str
    product: Product | None = None
    by_owner: bool = False
    """Whether the stock's owner may ask too, and not its creator alone."""

    def is_open(self, stock: Merchants) -> bool:
        if stock.product != self.product:
            return False
        return self.mchid == stock.creator or (self.by_owner and self.mchid == stock.owner)


class _Made(NamedTuple):
    """A stock of 商品券, of whatever product coupon, if this caller made it."""

    caller: Caller
    stock_id: str

    def is_open(self, stock: Merchants) -> bool:
        product = stock.product
        return product is not None and (stock.creator, product.brand_id) == (self.caller.mchid, self.caller.brand_id)


class Walls:
    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._kept: dict[str, Merchants] = {}

    def keep(self, stock_id: str, merchants: Merchants) -> None:
        """Note the merchants of a stock that is there."""
        if len(self._kept) >= KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[stock_id] = merchants

    async def before_transaction(self, entry: Entry) -> None:
        """Let nobody but a stock's merchants wait for its lock. Raises ResourceNotExists."""
        if not self._is_known(entry):
            # What this reads is not told to anyone: the transaction reads it again, or the refusal is the same anyway.
            await self._connections.call(
                lambda connection: self._look_as_a_transaction_does(connection, entry), writes=True
            )

    async def check(self, connection: Connection, entry: Entry) -> None:
        """As `before_transaction`, for what locks no stock."""
        if not self._is_known(entry):
            await self._find(connection, entry)
            if not self._is_known(entry):
                raise no_stock(entry.stock_id)

    async def made_by(self, connection: Connection, caller: Caller, stock_ids: Iterable[str]) -> list[str]:
        """Which of these stocks of 商品券 this caller has made. Of each other one, as much is read as of none."""
        return [one for one in stock_ids if await self._is_made_by(connection, _Made(caller, one))]

    async def _is_made_by(self, connection: Connection, made: _Made) -> bool:
        if not self._is_known(made):
            await self._find(connection, made)
        return self._is_known(made)

    def _is_known(self, entry: Entry | _Made) -> bool:
        """For another merchant it is as if nothing had been kept."""
        kept = self._kept.get(entry.stock_id)
        return kept is not None and entry.is_open(kept)

    async def _look_as_a_transaction_does(self, connection: Connection, entry: Entry) -> None:
        """Refuse in the order in which a transaction does. A stock of which this host has a mark is missing."""
        is_there = await self._find(connection, entry)
        if self._is_known(entry):
            return
        await refuse(connection, self._connections, entry.stock_id, is_there=is_there)

    async def _find(self, connection: Connection, entry: Entry | _Made) -> bool:
        """Read a stock's merchants, and keep them if it is open to who asks. Return whether the stock is there."""
        row = await connection.fetchrow(_NEAREST, entry.stock_id)
        if row is None or row[0] != entry.stock_id:
            return False
        _, stock_no, creator, owner, product_coupon_id, brand_id = row
        product = None if product_coupon_id is None else Product(product_coupon_id, brand_id)
        stock = Merchants(creator, owner, product)
        if entry.is_open(stock):
            self.keep(entry.stock_id, stock)
            self._connections.numbers.keep(entry.stock_id, stock_no)
        return True


_NEAREST = query("nearest_stock")
