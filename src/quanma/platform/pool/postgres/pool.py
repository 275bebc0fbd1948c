"""The code pool in a PostgreSQL database: for as many workers, on as many hosts, as one likes.

Nothing is kept in memory that another worker may change. Requests for one stock are gathered, and each group of them
is one transaction at the stock (`stock_queue`, `stock_transaction`); a draw is exactly uniform by slots (`slots`). A
connection that breaks is no answer: the group is done again over a new one, and each number knows whether it was done
before (`connections`). Why: docs/postgres.md.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ....api.couponcodes import (
    CodeDetail,
    CodePage,
    DeleteCode,
    DeletedCode,
    ListCodes,
    ShowCode,
    UploadCodes,
    UploadedCodes,
)
from ....api.coupons import SendCard, SentCard
from ....api.stocks import CreatedStock, CreateStock, Stock
from ....errors import ResourceNotExists
from ...coupons.coupon import CouponFacts
from ...coupons.draws import Issue
from ...coupons.product.bundles import beside
from ...coupons.product.changes import Caller, KnownStock, ProductChange, Rules
from ...coupons.product.life import Group
from ...coupons.responses import Owned, new_stock_id
from ...coupons.step import Payment, Step
from ...coupons.stocks import Change, Product, StockFacts
from ...coupons.subsidies import no_receipt, stock_of_receipt
from ..contract import (
    RETRIES,
    STOCKS_PER_MERCHANT,
    CallbackAddress,
    ChangeT,
    DueEvent,
    EventState,
    OfCouponT,
    OfStockT,
    ReceiptT,
    Resp,
    Retries,
    Waiting,
)
from ..nonces import Nonces
from . import codes, coupons, outbox, products, steps, stocks, subsidies
from .connections import Connection, Connections
from .mark_file import Mark
from .nonces import TableNonces
from .queries import query
from .seen import Seen
from .stock_queue import Asked, StockQueues, Together
from .walls import Entry, Merchants, Walls

T = TypeVar("T")

_RESERVE_NONCES = query("reserve_nonces")
NONCES_AT_ONCE = 1000
NONCES_A_SECOND_BITS = 16
"""A merchant's counter of nonces is never behind the clock times 2**16: a restored copy can't use one again."""


class PostgresPool:
    """`CodePool` in the database at `url`. Connects when it is first asked; an empty database gets its tables then.

    `folder`: where this host keeps its witness of what it acknowledged. `accept_lost_failover`: a URL of several hosts
    is taken, though none of them is a synchronous standby.

    Raises:
        Misconfigured: no URL of a PostgreSQL database.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        warmup_seconds: int = 0,
        retries: Retries = RETRIES,
        stocks_per_merchant: int = STOCKS_PER_MERCHANT,
        accept_lost_failover: bool = False,
    ) -> None:
        self._connections = Connections(url, folder, accept_lost_failover=accept_lost_failover)
        self._queues = StockQueues(self._connections)
        self._walls = Walls(self._connections)
        self._warmup_seconds = warmup_seconds
        self._retries = retries
        self._stocks_per_merchant = stocks_per_merchant
        self._nonces: dict[str, list[int]] = {}
        self.nonces: Nonces = TableNonces(self._connections)

    def fence(self) -> str | None:
        return self._connections.fenced

    def away(self) -> Sequence[str]:
        return self._connections.nodes_away

    async def check(self) -> None:
        await self._connections.check()

    async def close(self) -> None:
        await self._queues.close()
        await self._connections.close()

    async def _in_stock(self, entry: Entry, work: Together, request: Any, now: int) -> Any:
        await self._walls.before_transaction(entry)
        return await self._queues.ask((entry.stock_id,), work, Asked(entry.mchid, request, now))

    async def _read(self, entry: Entry, work: Callable[[Connection], Awaitable[T]]) -> T:
        async def read(connection: Connection) -> T:
            await self._walls.check(connection, entry)
            return await work(connection)

        return await self._connections.call(read)

    async def create_stock(self, mchid: str, request: CreateStock, now: int) -> CreatedStock:
        stock_id, connections = new_stock_id(), self._connections
        seen: Seen
        epoch = ""

        async def create(open_: Connection) -> CreatedStock:
            nonlocal seen, epoch
            connections.witness.reserve(stock_id)
            epoch = connections.witness.host.epoch
            seen = await connections.epochs.enter(open_)
            return await stocks.create(open_, stock_id, mchid, request, now, self._stocks_per_merchant)

        def acknowledge() -> bool:
            if seen.is_fenced:
                connections.witness.note_under_fence(epoch, seen.history)
            else:
                connections.witness.note(seen.epoch, seen.history, stock_id, Mark("stock", "", 0, now))
            return True

        created = await connections.transaction(create, acknowledge)
        self._walls.keep(stock_id, Merchants(mchid, request.belong_merchant, None))
        return created

    async def declare_stock(self, mchid: str, stock_id: str, product: Product, request: CreateStock, now: int) -> None:
        await self._connections.transaction(lambda open_: stocks.declare(open_, mchid, stock_id, product, request, now))

    async def show_stock(self, mchid: str, stock_id: str, now: int) -> Stock:
        return await self._read(Entry(mchid, stock_id), lambda open_: stocks.show(open_, mchid, stock_id, now))

    async def list_stocks(self, mchid: str, offset: int, limit: int) -> list[StockFacts]:
        return await self._connections.call(lambda open_: stocks.list_own(open_, mchid, offset, limit))

    async def change_stock(self, mchid: str, change: Change[OfStockT, Resp], request: OfStockT, now: int) -> Resp:
        changing = stocks.Changing(change, request)
        changed: Resp = await self._in_stock(Entry(mchid, request.stock_id), stocks.CHANGE, changing, now)
        return changed

    async def upload_codes(
        self, mchid: str, request: UploadCodes, now: int, product: Product | None = None
    ) -> UploadedCodes:
        upload = codes.Upload(request, product, self._warmup_seconds)
        uploaded: UploadedCodes = await self._in_stock(
            Entry(mchid, request.stock_id, product), codes.upload, upload, now
        )
        return uploaded

    async def list_codes(self, mchid: str, request: ListCodes) -> CodePage:
        return await self._read(Entry(mchid, request.stock_id), lambda open_: codes.list_page(open_, mchid, request))

    async def show_code(self, mchid: str, request: ShowCode, now: int) -> CodeDetail:
        return await self._read(Entry(mchid, request.stock_id), lambda open_: codes.show(open_, mchid, request, now))

    async def delete_code(self, mchid: str, request: DeleteCode, now: int) -> DeletedCode:
        deleted: DeletedCode = await self._in_stock(Entry(mchid, request.stock_id), codes.DELETE, request, now)
        return deleted

    async def send_coupon(self, mchid: str, issue: Issue, now: int) -> CouponFacts:
        coupon: CouponFacts = await self._in_stock(Entry(mchid, issue.stock_id), coupons.send, issue, now)
        return coupon

    async def give(self, caller: Caller, issues: Sequence[Issue], now: int) -> Group:
        stock_ids = tuple(issue.stock_id for issue in issues)
        given: Group = await self._in_stocks(caller, stock_ids, issues[0].product, products.give, (caller, issues), now)
        return given

    async def _in_stocks(
        self,
        caller: Caller,
        stock_ids: tuple[str, ...],
        product: Product | None,
        work: Together,
        request: Any,
        now: int,
    ) -> Any:
        for stock_id in stock_ids:
            await self._walls.before_transaction(Entry(caller.mchid, stock_id, product))
        return await self._queues.ask(stock_ids, work, Asked(caller.mchid, request, now))

    async def change_product(
        self, caller: Caller, change: ProductChange[ChangeT, Resp], request: ChangeT, now: int, rules: Rules
    ) -> Resp:
        product = caller.product(getattr(request, "product_coupon_id", ""))
        for stock_id in change.stocks(request):
            await self._walls.before_transaction(Entry(caller.mchid, stock_id, product))
        changing = products.Changing(self._connections, caller, change, request, now, rules)
        answer: Resp = await self._connections.transaction(changing.work, changing.acknowledge)
        return answer

    async def documents(
        self, caller: Caller, kind: str, ids: Sequence[str] | None = None, *, after: str = "", limit: int = 1000
    ) -> dict[str, str]:
        return await self._connections.call(lambda open_: products.documents(open_, caller, kind, ids, after, limit))

    async def count_documents(self, caller: Caller, kind: str) -> int:
        return await self._connections.call(lambda open_: products.count_documents(open_, caller, kind))

    async def product_stocks(self, caller: Caller, product_coupon_id: str, now: int) -> list[KnownStock]:
        return await self._connections.call(lambda open_: products.stocks_of(open_, caller, product_coupon_id, now))

    async def known_stocks(self, caller: Caller, stock_ids: Sequence[str], now: int) -> dict[str, KnownStock]:
        async def known(open_: Connection) -> dict[str, KnownStock]:
            mine = await self._walls.made_by(open_, caller, dict.fromkeys(stock_ids))
            return await products.known_stocks(open_, mine, now)

        return await self._connections.call(known)

    async def step(
        self,
        mchid: str,
        step: Step[OfCouponT, Resp],
        request: OfCouponT,
        now: int,
        caller: Caller | None = None,
        product_coupon_id: str = "",
    ) -> Resp:
        stock_id = step.stock_of(request)
        answer: Resp
        if caller is None:
            entry = Entry(mchid, stock_id, by_owner=True)
            answer = await self._in_stock(entry, steps.STEP, steps.Stepping(step, request), now)
        else:
            product = caller.product(product_coupon_id)
            stepping = steps.Stepping(step, request, caller, product)
            answer = await self._in_stocks(caller, beside(stock_id), product, steps.STEP, stepping, now)
        return answer

    async def send_card(self, mchid: str, request: SendCard) -> SentCard:
        return await self._connections.transaction(
            lambda open_: coupons.send_card(open_, self._connections, mchid, request)
        )

    async def coupons_of(self, mchid: str, openid: str) -> list[Owned]:
        return await self._connections.call(lambda open_: coupons.of_user(open_, self._connections, mchid, openid))

    async def payments(self, mchid: str, stock_id: str, coupon_code: str) -> list[Payment]:
        return await self._read(
            Entry(mchid, stock_id, by_owner=True),
            lambda open_: subsidies.payments(open_, mchid, stock_id, coupon_code),
        )

    async def receipt(self, mchid: str, kind: type[ReceiptT], receipt_id: str) -> ReceiptT:
        try:
            return await self._read(
                Entry(mchid, stock_of_receipt(receipt_id), by_owner=True),
                lambda open_: subsidies.receipt(open_, kind, receipt_id),
            )
        except ResourceNotExists:
            raise no_receipt(receipt_id) from None

    async def set_callback(self, caller: str, mchid: str, notify_url: str, now: int) -> None:
        await self._connections.call(
            lambda open_: outbox.set_callback(open_, caller, mchid, notify_url, now), writes=True
        )

    async def callback(self, caller: str, mchid: str) -> CallbackAddress:
        return await self._connections.call(lambda open_: outbox.callback(open_, caller, mchid))

    async def merchants_waiting(self, now: int) -> list[Waiting]:
        return await outbox.waiting(self._connections, now, self._retries.seconds)

    async def take_due_events(self, now: int, limit: int, shares: Mapping[str, int] | None = None) -> list[DueEvent]:
        return await outbox.take_due(self._connections, now, limit, shares, self._retries.seconds)

    async def event_not_tried(self, event: DueEvent, now: int) -> None:
        await self._connections.call(lambda open_: outbox.not_tried(open_, self._connections, event, now), writes=True)

    async def event_delivered(self, event: DueEvent, now: int) -> None:
        await self._connections.call(lambda open_: outbox.delivered(open_, self._connections, event, now), writes=True)

    async def event_failed(self, event: DueEvent, error: str) -> None:
        attempts_max = self._retries.attempts_max
        await self._connections.call(
            lambda open_: outbox.failed(open_, self._connections, event, error, attempts_max), writes=True
        )

    async def list_events(self, mchid: str, offset: int, limit: int) -> list[EventState]:
        return await self._connections.call(
            lambda open_: outbox.list_events(open_, self._connections, mchid, offset, limit)
        )

    async def resend_event(self, mchid: str, event_id: str, now: int) -> None:
        await self._connections.call(
            lambda open_: outbox.resend(open_, self._connections, mchid, event_id, now), writes=True
        )

    async def take_nonce(self, mchid: str) -> int:
        if not self._nonces.get(mchid):
            first = await self._connections.call(lambda open_: _reserve_nonces(open_, mchid), writes=True)
            self._nonces[mchid] = list(range(first + NONCES_AT_ONCE - 1, first - 1, -1))
        return self._nonces[mchid].pop()


async def _reserve_nonces(connection: Connection, mchid: str) -> int:
    """Take a run of nonces for this process alone. What it does not use is never used."""
    floor = int(time.time()) << NONCES_A_SECOND_BITS
    first: int = await connection.fetchval(
        _RESERVE_NONCES,
        mchid,
        floor,
        NONCES_AT_ONCE,
    )
    return first
