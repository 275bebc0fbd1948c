"""What every back end of the code pool promises. One test suite holds them all to it."""

from __future__ import annotations

from typing import Protocol

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
from ...api.coupons import Coupon, SendCoupon, SentCoupon, ShowCoupon, UseCoupon, UsedCoupon
from ...api.stocks import CreatedStock, CreateStock, Stock
from ..rules import Product


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

    async def create_stock(self, mchid: str, request: CreateStock, now: int) -> CreatedStock:
        """Make a stock. Raises ParamError, ResourceAlreadyExists (the number was used)."""
        ...

    async def declare_stock(self, mchid: str, stock_id: str, product: Product, request: CreateStock, now: int) -> None:
        """Make a 商品券 stock, if it is not there. Raises RequestRefused: the stock_id is another one's."""
        ...

    async def show_stock(self, mchid: str, stock_id: str, now: int, product: Product | None = None) -> Stock:
        """Return a stock with its counts, all of one moment."""
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

    async def send_coupon(self, mchid: str, request: SendCoupon, now: int) -> SentCoupon:
        """Give one free code to a user, drawn uniformly at random; no two coupons ever carry one code.

        Raises:
            NotEnough: nothing is free, or a limit of the stock is reached. The number does not remember it.
            RuleLimit: the user's limit is reached. The number does not remember it.
            RequestRefused: the number was used with other fields, or the stock gives out no coupons.
        """
        ...

    async def use_coupon(self, mchid: str, request: UseCoupon, now: int) -> UsedCoupon:
        """Redeem a coupon.

        Raises:
            ResourceAlreadyExists: it was used under another number.
            RequestRefused: the number was used with other fields, or the coupon is another user's.
            RuleLimit: now is outside its validity.
        """
        ...

    async def show_coupon(self, mchid: str, request: ShowCoupon, now: int) -> Coupon:
        """Return a user's coupon by its code, among all stocks of the merchant; the latest, if two carry the code."""
        ...

    async def take_nonce(self, mchid: str) -> int:
        """Return a number that was never returned for this merchant before, and never will be again."""
        ...

    def check(self) -> None:
        """Raises StoreUnavailable: the pool can't answer."""
        ...

    async def close(self) -> None:
        """Finish what was asked, then let the store go."""
        ...
