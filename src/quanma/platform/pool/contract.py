"""What every back end of the code pool promises. One test suite holds them all to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

from ...api.couponcodes import (
    CodeDetail,
    CodePage,
    DeleteCode,
    DeletedCode,
    ListCodes,
    ShowCode,
    UploadCodes,
    UploadedCodes,
)
from ...api.coupons import SendCard, SentCard
from ...api.stocks import CreatedStock, CreateStock, Stock
from ...api.subsidy import PayReceipt, ReturnReceipt
from ...errors import StoreUnavailable
from ..coupons.coupon import CouponFacts
from ..coupons.draws import Issue as Issue
from ..coupons.product.changes import Caller, KnownStock, ProductChange, Rules
from ..coupons.product.life import Group
from ..coupons.responses import Owned
from ..coupons.step import OfCoupon, Payment, Step
from ..coupons.stocks import Change, OfStock, Product, StockFacts
from .nonces import Nonces

OfCouponT = TypeVar("OfCouponT", bound=OfCoupon)
OfStockT = TypeVar("OfStockT", bound=OfStock)
ChangeT = TypeVar("ChangeT")
Resp = TypeVar("Resp")
ReceiptT = TypeVar("ReceiptT", PayReceipt, ReturnReceipt)


class HostsAsked(StoreUnavailable):
    """The database was started anew or restored: nothing is given out before each host has said what it knows.

    That ends by itself, in a moment or in some seconds: the pool goes on then, or is fenced.
    """

    def __init__(self) -> None:
        super().__init__(
            "the database was started anew or restored: every host is asked what it knows: try again later"
        )


class CallbackAddress(NamedTuple):
    notify_url: str
    updated_at: int


class Retries(NamedTuple):
    """How often an event is posted until it is received. Source: every 60 s, 11 times in all (documented)."""

    seconds: int = 60
    attempts_max: int = 11


RETRIES = Retries()
STOCKS_PER_MERCHANT = 10_000
"""How many stocks a merchant may create. The platform publishes no maximum; this is our choice, and a setting."""


class Waiting(NamedTuple):
    """A merchant with events that are due, and where they are to be posted."""

    mchid: str
    notify_url: str


class DueEvent(NamedTuple):
    """An event to be delivered now, and what it tells of."""

    id: str
    mchid: str
    created_at: int
    attempts: int
    """This one included."""
    notify_url: str
    coupon: CouponFacts
    stock: StockFacts


class EventState(NamedTuple):
    """How the delivery of an event stands. `due_at` None: delivered, or given up."""

    id: str
    created_at: int
    attempts: int
    due_at: int | None
    delivered_at: int | None
    last_error: str | None


class CodePool(Protocol):
    """The stocks of all merchants, their codes, and the coupons that carry them.

    `mchid` is the merchant that asks, `now` the time in Unix seconds; `product` addresses a 商品券 stock. Every
    method returns or raises only once what it answers is durable. A request number remembers its success for as
    long as the stock lives, and the same number with the same fields gives the same answer, word for word; a
    refusal changes nothing.

    Raises, beside what each method names:
        ResourceNotExists: no such stock, or another merchant's: the two can't be told apart.
        StoreUnavailable: the store can't be written; whether this request took effect is not known.
    """

    @property
    def nonces(self) -> Nonces:
        """Which requests came: shared by all who serve this pool."""
        ...

    async def create_stock(self, mchid: str, request: CreateStock, now: int) -> CreatedStock:
        """Make a stock.

        Raises:
            ParamError: its rules contradict each other.
            ResourceAlreadyExists: the number was used.
            RuleLimit: the merchant has as many stocks as it may create.
        """
        ...

    async def declare_stock(self, mchid: str, stock_id: str, product: Product, request: CreateStock, now: int) -> None:
        """Make a 商品券 stock, if it is not there. Raises RequestRefused: the stock_id is another one's."""
        ...

    async def show_stock(self, mchid: str, stock_id: str, now: int) -> Stock:
        """Return a stock of 商家券 with its counts, all of one moment."""
        ...

    async def list_stocks(self, mchid: str, offset: int, limit: int) -> list[StockFacts]:
        """Return the busifavor stocks that a merchant created, the latest first."""
        ...

    async def change_stock(self, mchid: str, change: Change[OfStockT, Resp], request: OfStockT, now: int) -> Resp:
        """Change a stock: see coupons/stocks.py. Raises ParamError, RequestRefused: it can't be changed so."""
        ...

    async def upload_codes(
        self, mchid: str, request: UploadCodes, now: int, product: Product | None = None
    ) -> UploadedCodes:
        """Add the codes that the stock does not hold yet, all or none.

        Raises:
            RequestRefused: the stock takes no uploads, is full, or the number was used with other codes.
        """
        ...

    async def list_codes(self, mchid: str, request: ListCodes) -> CodePage:
        """Return a page of codes in upload order."""
        ...

    async def show_code(self, mchid: str, request: ShowCode, now: int) -> CodeDetail:
        """Return one code, and the coupon that carries it. Raises ResourceNotExists: no such code."""
        ...

    async def delete_code(self, mchid: str, request: DeleteCode, now: int) -> DeletedCode:
        """Take a free code out of the stock; it frees its room and may be uploaded again.

        Raises:
            RequestRefused: a coupon carries it, or the number deleted another code.
            ResourceNotExists: no such code.
        """
        ...

    async def send_coupon(self, mchid: str, issue: Issue, now: int) -> CouponFacts:
        """Give one coupon to a user; no two coupons of a stock ever carry one code.

        A MERCHANT_UPLOAD stock draws a free code uniformly at random; the event is written with the coupon.

        Raises:
            NotEnough: nothing is free, or a limit of the stock is reached. The number does not remember it.
            RuleLimit: the user's limit is reached. The number does not remember it.
            ResourceAlreadyExists: the code that was chosen was given out before.
            RequestRefused: the number was used with other fields, or the stock gives out no coupons.
        """
        ...

    async def give(self, caller: Caller, issues: Sequence[Issue], now: int) -> Group:
        """Give a user a coupon of 商品券, or one of each member of a bundle: all of them, or none.

        Raises: as `send_coupon`.
        """
        ...

    async def change_product(
        self, caller: Caller, change: ProductChange[ChangeT, Resp], request: ChangeT, now: int, rules: Rules
    ) -> Resp:
        """Make or change product coupons, stocks and bundles, in one transaction: see coupons/product/objects.py.

        Raises:
            ResourceNotExists: one that it names is not there, or another's.
            RequestRefused: the number was used with other fields, or what the change says.
        """
        ...

    async def documents(
        self, caller: Caller, kind: str, ids: Sequence[str] | None = None, *, after: str = "", limit: int = 1000
    ) -> dict[str, str]:
        """Return documents by their ids: those that were asked for, or those that follow one, in order."""
        ...

    async def count_documents(self, caller: Caller, kind: str) -> int:
        """Return how many of a kind there are."""
        ...

    async def product_stocks(self, caller: Caller, product_coupon_id: str, now: int) -> list[KnownStock]:
        """Return a product coupon's stocks with their counts, in the order in which they were made."""
        ...

    async def known_stocks(self, caller: Caller, stock_ids: Sequence[str], now: int) -> dict[str, KnownStock]:
        """Return those of these stocks that the caller has made for the brand, with their counts."""
        ...

    async def step(
        self,
        mchid: str,
        step: Step[OfCouponT, Resp],
        request: OfCouponT,
        now: int,
        caller: Caller | None = None,
        product_coupon_id: str = "",
    ) -> Resp:
        """Move a coupon one step, or record what belongs to it: see coupons/states.py, and coupons/product/life.py.

        `caller` and `product_coupon_id` address a coupon of 商品券.

        Raises:
            ResourceNotExists: nobody was given this coupon.
            RequestRefused: the number was used with other fields, or the coupon is in no state that it starts from.
            PlatformError: what the step says of this coupon.
        """
        ...

    async def send_card(self, mchid: str, request: SendCard) -> SentCard:
        """Give out a consumption card: the same number and time, the same card."""
        ...

    async def coupons_of(self, mchid: str, openid: str) -> list[Owned]:
        """Return a user's coupons of the stocks that the merchant created or owns, the latest first."""
        ...

    async def payments(self, mchid: str, stock_id: str, coupon_code: str) -> list[Payment]:
        """Return the payments for a coupon, by their ids."""
        ...

    async def receipt(self, mchid: str, kind: type[ReceiptT], receipt_id: str) -> ReceiptT:
        """Return one payment, or one return. Raises ResourceNotExists: none, or another merchant's."""
        ...

    async def set_callback(self, caller: str, mchid: str, notify_url: str, now: int) -> None:
        """Set where events are posted."""
        ...

    async def callback(self, caller: str, mchid: str) -> CallbackAddress:
        """Return what the caller has set. Raises ResourceNotExists: nothing."""
        ...

    async def merchants_waiting(self, now: int) -> list[Waiting]:
        """Return the merchants that have events due, in no order. What it costs does not grow with their events."""
        ...

    async def take_due_events(self, now: int, limit: int, shares: Mapping[str, int] | None = None) -> list[DueEvent]:
        """Take events to be delivered. Each is due again `Retries.seconds` later, whatever becomes of the taker.

        At most so many in all, and of each merchant as many as `shares` says, the longest due first. Without shares,
        of whoever has some.
        """
        ...

    async def event_not_tried(self, event: DueEvent, now: int) -> None:
        """Note that an event was taken and nothing was tried: it is due at once, and the attempt does not count."""
        ...

    async def event_delivered(self, event: DueEvent, now: int) -> None:
        """Note that an event was received: it is not due any more."""
        ...

    async def event_failed(self, event: DueEvent, error: str) -> None:
        """Note a failed attempt. After `Retries.attempts_max` of them the event is given up."""
        ...

    async def list_events(self, mchid: str, offset: int, limit: int) -> list[EventState]:
        """Return how deliveries stand, the latest event first."""
        ...

    async def resend_event(self, mchid: str, event_id: str, now: int) -> None:
        """Make an event due again, under its old id. Raises ResourceNotExists: none, or another merchant's."""
        ...

    async def take_nonce(self, mchid: str) -> int:
        """Return a number that was never returned for this merchant before, and never will be again."""
        ...

    def fence(self) -> str | None:
        """Return why nothing new is given out, or None: a restored copy waits for `quanma reconcile`."""
        ...

    async def check(self) -> None:
        """Raises StoreUnavailable: the pool can't answer."""
        ...

    def away(self) -> Sequence[str]:
        """Return what part of the store did not answer the last `check`, while the rest of it does."""
        ...

    async def close(self) -> None:
        """Finish what was asked, then let the store go."""
        ...
