"""The code pool in one SQLite file, with an index in memory.

The file holds everything, in tables that are appended to. The index (index/README.md) knows which code is where and
which are free, and is made anew from the file at the start. So an upload writes one row, and so do the draws of a
group, and neither touches a page that depends on the code: the cost does not grow with the pool. Why: docs/pool.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

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
from ...coupons.coupon import CouponFacts
from ...coupons.draws import Issue
from ...coupons.product.changes import Caller, KnownStock, ProductChange, Rules
from ...coupons.product.life import Group
from ...coupons.responses import Owned
from ...coupons.step import Payment, Step
from ...coupons.stocks import Change, Product, StockFacts
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
from ..nonces import MemoryNonces, Nonces
from . import codes, coupons, fence, outbox, pool_file, preflight, products, steps, stocks, subsidies
from .rows import NONCE, NonceRow
from .store import Store
from .writer import Writer

P = ParamSpec("P")
T = TypeVar("T")


class SqlitePool:
    """`CodePool` in the file at `path`, made if it is not there. One process at a time: a second one is refused.

    Raises:
        StoreUnavailable: the file is in use, damaged, of another version, or on ground that can't keep promises.
    """

    def __init__(
        self,
        path: Path,
        *,
        warmup_seconds: int = 0,
        retries: Retries = RETRIES,
        stocks_per_merchant: int = STOCKS_PER_MERCHANT,
    ) -> None:
        with pool_file.readable(path), contextlib.ExitStack() as opened:
            opened.enter_context(preflight.lock(path))
            db = pool_file.connect(path)
            opened.callback(db.close)
            self._store = Store(db, warmup_seconds, retries)
            opened.callback(fence.watch(self._store, path))
            self._opened = opened.pop_all()
        self._stocks_per_merchant = stocks_per_merchant
        store = self._store
        self.nonces: Nonces = MemoryNonces()
        self._send = partial(coupons.send, store)
        self._upload = partial(codes.upload, store)
        self._give = partial(products.give, store)
        self._writer = Writer(db, store.rebuild, store.texts.settle, store.probe, store.commits)

    def fence(self) -> str | None:
        return self._store.fenced

    async def check(self) -> None:
        self._writer.check()

    def away(self) -> Sequence[str]:
        return ()

    async def close(self) -> None:
        await self._writer.close()
        self._opened.close()

    async def _do(self, work: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a part's function in the writer's turn."""
        return await self._writer.do(partial(work, self._store, *args, **kwargs))

    async def create_stock(self, mchid: str, request: CreateStock, now: int) -> CreatedStock:
        return await self._do(stocks.create, mchid, request, now, self._stocks_per_merchant)

    async def declare_stock(self, mchid: str, stock_id: str, product: Product, request: CreateStock, now: int) -> None:
        await self._do(stocks.declare, mchid, stock_id, product, request, now)

    async def show_stock(self, mchid: str, stock_id: str, now: int) -> Stock:
        return await self._do(stocks.show, mchid, stock_id, now)

    async def list_stocks(self, mchid: str, offset: int, limit: int) -> list[StockFacts]:
        return await self._do(stocks.list_own, mchid, offset, limit)

    async def change_stock(self, mchid: str, change: Change[OfStockT, Resp], request: OfStockT, now: int) -> Resp:
        return await self._do(stocks.change, mchid, change, request, now)

    async def upload_codes(
        self, mchid: str, request: UploadCodes, now: int, product: Product | None = None
    ) -> UploadedCodes:
        asked = mchid, request.stock_id, product, now
        return await self._writer.do_together(self._upload, asked, request)

    async def list_codes(self, mchid: str, request: ListCodes) -> CodePage:
        return await self._do(codes.list_page, mchid, request)

    async def show_code(self, mchid: str, request: ShowCode, now: int) -> CodeDetail:
        return await self._do(codes.show, mchid, request, now)

    async def delete_code(self, mchid: str, request: DeleteCode, now: int) -> DeletedCode:
        return await self._do(codes.delete, mchid, request, now)

    async def send_coupon(self, mchid: str, issue: Issue, now: int) -> CouponFacts:
        return await self._writer.do_together(self._send, (mchid, issue.stock_id, now), issue)

    async def give(self, caller: Caller, issues: Sequence[Issue], now: int) -> Group:
        asked = caller, tuple(issue.stock_id for issue in issues), now
        return await self._writer.do_together(self._give, asked, issues)

    async def change_product(
        self, caller: Caller, change: ProductChange[ChangeT, Resp], request: ChangeT, now: int, rules: Rules
    ) -> Resp:
        return await self._do(products.change, caller, change, request, now, rules)

    async def documents(
        self, caller: Caller, kind: str, ids: Sequence[str] | None = None, *, after: str = "", limit: int = 1000
    ) -> dict[str, str]:
        return await self._do(products.documents, caller, kind, ids, after, limit)

    async def count_documents(self, caller: Caller, kind: str) -> int:
        return await self._do(products.count_documents, caller, kind)

    async def product_stocks(self, caller: Caller, product_coupon_id: str, now: int) -> list[KnownStock]:
        return await self._do(products.stocks_of, caller, product_coupon_id, now)

    async def known_stocks(self, caller: Caller, stock_ids: Sequence[str], now: int) -> dict[str, KnownStock]:
        return await self._do(products.known_stocks, caller, stock_ids, now)

    async def step(
        self,
        mchid: str,
        step: Step[OfCouponT, Resp],
        request: OfCouponT,
        now: int,
        caller: Caller | None = None,
        product_coupon_id: str = "",
    ) -> Resp:
        return await self._do(steps.step, mchid, step, request, now, caller, product_coupon_id)

    async def send_card(self, mchid: str, request: SendCard) -> SentCard:
        return await self._do(coupons.send_card, mchid, request)

    async def coupons_of(self, mchid: str, openid: str) -> list[Owned]:
        return await self._do(coupons.of_user, mchid, openid)

    async def payments(self, mchid: str, stock_id: str, coupon_code: str) -> list[Payment]:
        return await self._do(subsidies.payments, mchid, stock_id, coupon_code)

    async def receipt(self, mchid: str, kind: type[ReceiptT], receipt_id: str) -> ReceiptT:
        return await self._do(subsidies.receipt, mchid, kind, receipt_id)

    async def set_callback(self, caller: str, mchid: str, notify_url: str, now: int) -> None:
        await self._do(outbox.set_callback, caller, mchid, notify_url, now)

    async def callback(self, caller: str, mchid: str) -> CallbackAddress:
        return await self._do(outbox.callback, caller, mchid)

    async def merchants_waiting(self, now: int) -> list[Waiting]:
        return await self._do(outbox.waiting, now)

    async def take_due_events(self, now: int, limit: int, shares: Mapping[str, int] | None = None) -> list[DueEvent]:
        return await self._do(outbox.take_due, now, limit, shares)

    async def event_not_tried(self, event: DueEvent, now: int) -> None:
        await self._do(outbox.not_tried, event, now)

    async def event_delivered(self, event: DueEvent, now: int) -> None:
        await self._do(outbox.delivered, event, now)

    async def event_failed(self, event: DueEvent, error: str) -> None:
        await self._do(outbox.failed, event, error)

    async def list_events(self, mchid: str, offset: int, limit: int) -> list[EventState]:
        return await self._do(outbox.list_events, mchid, offset, limit)

    async def resend_event(self, mchid: str, event_id: str, now: int) -> None:
        await self._do(outbox.resend, mchid, event_id, now)

    async def take_nonce(self, mchid: str) -> int:
        return await self._do(_take_nonce, mchid)


def _take_nonce(store: Store, mchid: str) -> int:
    known = store.rows.read(NONCE, "mchid = ?", mchid)
    taken = max(known[0].next if known else 0, store.nonce_floor)
    if known:
        store.rows.change(NONCE, known[0], next=taken + 1)
    else:
        store.rows.add(NONCE, NonceRow(mchid, taken + 1))
    return taken
