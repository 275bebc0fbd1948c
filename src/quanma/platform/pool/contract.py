"""What every back end of the code pool promises. One test suite holds them all to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

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
from ...api.coupons import (
    AssociatedOrder,
    AssociateOrder,
    Coupon,
    CouponPage,
    DeactivateCoupon,
    DeactivatedCoupon,
    DisassociatedOrder,
    DisassociateOrder,
    ListCoupons,
    ReturnCoupon,
    ReturnedCoupon,
    SendCard,
    SentCard,
    ShowCoupon,
    UseCoupon,
    UsedCoupon,
)
from ...api.stocks import ChangeBudget, ChangedBudget, CreatedStock, CreateStock, ModifyStock, Stock
from ...api.subsidy import (
    ListPayReceipts,
    PayReceipt,
    PayReceiptList,
    PaySubsidy,
    ReturnReceipt,
    ReturnSubsidy,
    ShowPayReceipt,
    ShowReturnReceipt,
)
from ...errors import StoreUnavailable
from ..life import CouponFacts
from ..rules import Product, StockFacts
from .nonces import Nonces


class HostsAsked(StoreUnavailable):
    """The database was started anew or restored: nothing is given out before each host has said what it knows.

    That ends by itself, in a moment or in some seconds: the pool goes on then, or is fenced.
    """

    def __init__(self) -> None:
        super().__init__(
            "the database was started anew or restored: every host is asked what it knows: try again later"
        )


class Issue(NamedTuple):
    """A coupon to be given out, whichever call or page asks for it."""

    stock_id: str
    openid: str
    appid: str
    out_request_no: str
    coupon_code: str | None
    send_merchant: str
    send_channel: str
    also: str = ""
    """The call's other fields: a repeat of the number must have the same."""


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
    notify_appid: str | None
    """The event carries the openid only if its stock has this."""


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

    async def show_stock(self, mchid: str, stock_id: str, now: int, product: Product | None = None) -> Stock:
        """Return a stock with its counts, all of one moment."""
        ...

    async def list_stocks(self, mchid: str, offset: int, limit: int) -> list[StockFacts]:
        """Return the busifavor stocks that a merchant created, the latest first."""
        ...

    async def modify_stock(self, mchid: str, request: ModifyStock, now: int) -> None:
        """Change what a stock shows. Raises ParamError, RequestRefused: the stock is past its end."""
        ...

    async def change_budget(self, mchid: str, request: ChangeBudget, now: int) -> ChangedBudget:
        """Set a limit, if it still is what the caller thinks. Raises ParamError, RequestRefused: it is not."""
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

    async def use_coupon(self, mchid: str, request: UseCoupon, now: int) -> UsedCoupon:
        """Redeem a coupon: SENDED → USED.

        Raises:
            ResourceAlreadyExists: it was used under another number.
            RequestRefused: the number was used with other fields, or the coupon is another user's.
            RuleLimit: now is outside its validity.
        """
        ...

    async def return_coupon(self, mchid: str, request: ReturnCoupon, now: int) -> ReturnedCoupon:
        """USED → SENDED. Raises RequestRefused: it is not USED."""
        ...

    async def deactivate_coupon(self, mchid: str, request: DeactivateCoupon, now: int) -> DeactivatedCoupon:
        """SENDED → DEACTIVATED. Raises RequestRefused: it is not SENDED, or has expired."""
        ...

    async def associate_order(self, mchid: str, request: AssociateOrder, now: int) -> AssociatedOrder:
        """Tie an unused coupon to an order. Raises RequestRefused: it is not SENDED, or has expired."""
        ...

    async def disassociate_order(self, mchid: str, request: DisassociateOrder, now: int) -> DisassociatedOrder:
        """Untie it. Raises RequestRefused: it is not tied to this order."""
        ...

    async def send_card(self, mchid: str, request: SendCard) -> SentCard:
        """Give out a consumption card: the same number and time, the same card."""
        ...

    async def show_coupon(self, mchid: str, request: ShowCoupon, now: int) -> Coupon:
        """Return a user's coupon by its code, among the stocks the merchant may see; the latest, if two carry it."""
        ...

    async def list_coupons(self, mchid: str, request: ListCoupons, now: int) -> CouponPage:
        """Return a page of a user's coupons, of those the merchant may see, the latest first."""
        ...

    async def pay_subsidy(self, mchid: str, request: PaySubsidy, now: int) -> PayReceipt:
        """Record a payment.

        Raises:
            RequestRefused: the coupon is not used, the amount is above its discount, or it has payments enough.
        """
        ...

    async def return_subsidy(self, mchid: str, request: ReturnSubsidy, now: int) -> ReturnReceipt:
        """Record a return. Raises RequestRefused: more than is left of what was paid. ResourceNotExists: none was."""
        ...

    async def list_pay_receipts(self, mchid: str, request: ListPayReceipts) -> PayReceiptList:
        """Return the payments for a coupon."""
        ...

    async def show_pay_receipt(self, mchid: str, request: ShowPayReceipt) -> PayReceipt:
        """Return one payment. Raises ResourceNotExists: none, or another merchant's."""
        ...

    async def show_return_receipt(self, mchid: str, request: ShowReturnReceipt) -> ReturnReceipt:
        """Return one return. Raises ResourceNotExists: none, or another merchant's."""
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

    async def close(self) -> None:
        """Finish what was asked, then let the store go."""
        ...
