"""Requests for one stock, gathered: what waits while a transaction is under way goes together in the next one.

So the costs of a transaction, its lock, its counters and its commit, are shared by as many requests as come meanwhile,
and a lonely one waits for nobody. Transactions at different stocks go on side by side.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from typing import Any, Generic, NamedTuple, TypeVar

from ....errors import QuanmaError, StoreUnavailable
from ....serving.redact import trace_of
from .connections import Connection, Connections
from .stock_transaction import StockTransaction, StockTransactions

log = logging.getLogger(__name__)

REQUESTS_MAX = 256

Together = Callable[[StockTransaction, Sequence[Any]], Awaitable[list[Any]]]
"""Work on many requests of one kind: each one's answer, or the refusal to raise. A refused one has changed nothing."""


Req = TypeVar("Req")


class Asked(NamedTuple, Generic[Req]):
    """A request: who asks, what, and when."""

    mchid: str
    request: Req
    now: int


class Ask(NamedTuple):
    work: Together
    request: Any
    future: asyncio.Future[Any]


class StockQueues:
    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._waiting: dict[tuple[str, ...], list[Ask]] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def ask(self, stock_ids: tuple[str, ...], work: Together, request: Any) -> Any:
        """Have a request worked on in the stock's transaction, and return its answer once that is committed.

        Several stocks are a queue of their own, and are locked together: `work` gets their transactions then.

        Raises:
            StoreUnavailable: it could not be committed, or whether it was is not known.
        """
        ask = Ask(work, request, asyncio.get_running_loop().create_future())
        if (queue := self._waiting.get(stock_ids)) is not None:
            queue.append(ask)
        else:
            self._waiting[stock_ids] = [ask]
            task = asyncio.create_task(self._drive(stock_ids))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await ask.future

    async def close(self) -> None:
        """Finish what was asked."""
        while self._running:
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _drive(self, stock_ids: tuple[str, ...]) -> None:
        queue = self._waiting[stock_ids]
        while queue:
            group: list[Ask] = []
            _join(group, queue)
            outcomes = await self._outcomes(stock_ids, group, queue)
            for ask, outcome in zip(group, outcomes, strict=True):
                if ask.future.done():  # The caller went away; what was done stays done.
                    continue
                if isinstance(outcome, BaseException):
                    ask.future.set_exception(outcome)
                else:
                    ask.future.set_result(outcome)
        del self._waiting[stock_ids]

    async def _outcomes(self, stock_ids: tuple[str, ...], group: list[Ask], queue: list[Ask]) -> list[Any]:
        """Work on a group, and on whoever comes before the stock is locked."""

        locked: StockTransactions

        async def in_transaction(connection: Connection) -> list[Any]:
            nonlocal locked
            locked = await StockTransactions.begin(connection, self._connections, stock_ids)
            # Another worker may have had the lock until now.
            _join(group, queue)
            outcomes: list[Any] = []
            for work, asks in groupby(group, key=lambda ask: ask.work):
                subject: Any = locked.each[0] if len(stock_ids) == 1 else locked.each
                outcomes += await work(subject, [ask.request for ask in asks])
            await locked.end()
            return outcomes

        try:
            return await self._connections.transaction(
                in_transaction, lambda: locked.acknowledge(), lambda: locked.acknowledge_what_was_read()
            )
        except QuanmaError as problem:
            return [problem] * len(group)
        except Exception as error:
            if len(group) == 1:
                log.error("a request was undone: %s", trace_of(error))
                return [StoreUnavailable("the request was undone")]
        # One of them can't be done, and must not take the others with it.
        return [outcome for ask in group for outcome in await self._outcomes(stock_ids, [ask], [])]


def _join(group: list[Ask], queue: list[Ask]) -> None:
    room = REQUESTS_MAX - len(group)
    group += queue[:room]
    del queue[:room]


def singly(work: Callable[[StockTransaction, Any], Awaitable[Any]]) -> Together:
    """Requests that share a transaction, and nothing else."""

    async def one_by_one(transaction: StockTransaction, requests: Sequence[Any]) -> list[Any]:
        outcomes: list[Any] = []
        for request in requests:
            try:
                outcomes.append(await work(transaction, request))
            except QuanmaError as refusal:
                outcomes.append(refusal)
        return outcomes

    return one_by_one
