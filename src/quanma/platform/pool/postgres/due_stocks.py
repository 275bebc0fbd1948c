"""On a Citus cluster: which stocks may have events due, so that no node is asked in vain, nor waits for another.

The stocks are listed in `due_stock`, which is not spread: whoever looks at it asks no other node. A worker lists a
stock before it writes an event of it, in a transaction of its own, and for a minute: so nothing is committed on two
nodes.
What is listed is asked on its node, and goes from the list when that minute is over and nothing of it waits any more.
The nodes are asked side by side. One that does not answer is left alone for a while, with its stocks.

A COMMIT that waits longer than the minute, and a pool that was spread only now, may have events of stocks that are not
listed. So each process looks through all nodes once when it starts, and then every ten minutes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from ....errors import StoreUnavailable
from .queries import query

Connection = Any
T = TypeVar("T")

log = logging.getLogger(__name__)

LISTED_SECONDS = 60
AGAIN_SECONDS = 20.0
"""When a worker lists a stock again that it still draws from: what it began before that is over within the minute."""
LOOK_THROUGH_SECONDS = 600.0
NODE_SECONDS = 2.0
"""For the stocks of one node to say what waits. Longer, and the node is taken to be away."""
AWAY_SECONDS = 5.0
"""How long a node that is away is left alone."""
KEPT_MAX = 50_000
"""Stocks of which this worker remembers when it listed them, the latest ones."""

_LIST, _LISTED, _UNLIST = query("list_due_stock"), query("listed_stocks"), query("unlist_due_stock")
_LOOK_LATER, _NEXT, _THROUGH = query("look_later"), query("next_due"), query("stocks_on_nodes")
_NUMBERED = query("stocks_numbered")


class NotListed(Exception):
    """A stock must be listed before an event of it is written: list it, and begin again."""

    def __init__(self, stock_no: int, stock_id: str, mchid: str) -> None:
        super().__init__()
        self.stock: dict[str, Any] = {"stock_no": stock_no, "stock_id": stock_id, "mchid": mchid}


class WaitingStock(NamedTuple):
    """A stock with events due, and the node that has it."""

    stock_id: str
    mchid: str
    node: str


class _Listed(NamedTuple):
    stock_no: int
    stock_id: str
    mchid: str
    until: Any
    is_over: bool
    node: str


class DueStocks:
    def __init__(
        self,
        call: Callable[[Callable[[Connection], Awaitable[Any]]], Awaitable[Any]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`call` runs work on a connection, as `Connections.call` does for what writes."""
        self._call = call
        self._clock = clock
        self._listed_at: dict[int, float] = {}
        self._away_until: dict[str, float] = {}
        self._through_at: float | None = None
        self._waiting: list[WaitingStock] = []
        self._looked_at: int | None = None

    def check(self, stock_no: int, stock_id: str, mchid: str) -> None:
        """Raises NotListed: events of the stock may not be written yet."""
        listed_at = self._listed_at.get(stock_no)
        if listed_at is None or self._clock() - listed_at > AGAIN_SECONDS:
            raise NotListed(stock_no, stock_id, mchid)

    async def list_stock(self, connection: Connection, stock_no: int, stock_id: str, mchid: str) -> None:
        """List a stock: in a transaction of its own."""
        began = self._clock()
        await connection.execute(_LIST, stock_no, stock_id, mchid, LISTED_SECONDS)
        if len(self._listed_at) >= KEPT_MAX:
            del self._listed_at[next(iter(self._listed_at))]
        self._listed_at[stock_no] = began

    async def look(self, now: int, ahead: int) -> Sequence[WaitingStock]:
        """Return the stocks with events that are due now, or later than `ahead`, longest due first.

        Those of a node that is away are left out, and told of in the log.
        """
        if self._through_at is None or self._clock() - self._through_at > LOOK_THROUGH_SECONDS:
            await self._call(self._look_through)
            self._through_at = self._clock()
        rows = await self._call(lambda connection: connection.fetch(_LISTED, now, ahead))
        of_node: defaultdict[str, list[_Listed]] = defaultdict(list)
        for row in rows:
            of_node[row["node"]].append(_Listed(*row))
        asked = [node for node in of_node if not self.is_away(node)]
        found = await asyncio.gather(*(self._ask(node, of_node[node], now, ahead) for node in asked))
        self._waiting, self._looked_at = [stock for _, stock in sorted(one for of in found for one in of)], now
        return self._waiting

    async def found(self, now: int, ahead: int) -> Sequence[WaitingStock]:
        """As `look`, which need not be done again if it was just done: what it found is told once."""
        looked_at, self._looked_at = self._looked_at, None
        return self._waiting if looked_at == now else await self.look(now, ahead)

    def is_away(self, node: str) -> bool:
        return self._clock() < self._away_until.get(node, 0.0)

    async def on_node(self, node: str, work: Callable[[], Awaitable[T]]) -> T | None:
        """Do something at a node. None: it does not answer, and is left alone for a while."""
        try:
            async with asyncio.timeout(NODE_SECONDS):
                done = await work()
        except (TimeoutError, StoreUnavailable) as problem:
            if node not in self._away_until:
                log.error("node %s of the database does not answer: the events of its stocks wait (%s)", node, problem)
            self._away_until[node] = self._clock() + AWAY_SECONDS
            return None
        if self._away_until.pop(node, None) is not None:
            log.info("node %s of the database answers again", node)
        return done

    async def _ask(self, node: str, stocks: Sequence[_Listed], now: int, ahead: int) -> list[tuple[int, WaitingStock]]:
        async def ask(connection: Connection) -> list[tuple[int, WaitingStock]]:
            waiting: list[tuple[int, WaitingStock]] = []
            for stock in stocks:
                first, last = await connection.fetchrow(_NEXT, stock.stock_no, stock.mchid)
                if first is not None and (first <= now or last > ahead):
                    waiting.append((first, WaitingStock(stock.stock_id, stock.mchid, node)))
                elif first is None and stock.is_over:
                    # Only as it was read: a worker may have listed it again since.
                    await connection.execute(_UNLIST, stock.stock_no, stock.until)
                elif stock.is_over:
                    await connection.execute(_LOOK_LATER, stock.stock_no, stock.until, first)
            return waiting

        return await self.on_node(node, lambda: self._call(ask)) or []

    async def _look_through(self, connection: Connection) -> None:
        """List every stock that has an event which is not delivered. A node that is away says nothing."""
        numbers = {
            int(number)
            for (told,) in await connection.fetch(_THROUGH)
            for number in (told or "").split(",")
            if number.strip().isdigit()
        }
        for stock_no, stock_id, mchid in await connection.fetch(_NUMBERED, sorted(numbers)) if numbers else []:
            await connection.execute(_LIST, stock_no, stock_id, mchid, LISTED_SECONDS)
