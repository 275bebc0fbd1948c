"""A pool of any back end, driven from plain functions: each call here is one request, awaited to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from quanma.api.couponcodes import (
    CodeDetail,
    CodePage,
    DeleteCode,
    DeletedCode,
    ListCodes,
    ShowCode,
    UploadCodes,
    UploadedCodes,
)
from quanma.api.coupons import Coupon, CouponPage, ListCoupons, ShowCoupon, UseCoupon, UsedCoupon
from quanma.api.events import CHANNEL_API
from quanma.api.stockrules import CouponAvailableTime, CouponUseRule, FixedNormalCoupon
from quanma.api.stocks import Stock
from quanma.errors import QuanmaError
from quanma.platform.coupons.responses import coupon_page, latest_coupon
from quanma.platform.coupons.states import USE
from quanma.platform.pool.contract import CodePool, Issue
from tests.support import leftopen
from tests.support.platform import APPID, MCHID, new_stock

T = TypeVar("T")

NOW = 1_790_000_000
"""2026-09-21 in Beijing, 22:13:20: inside the validity of `USE_RULE`."""
DAY = 86400
USE_RULE = CouponUseRule(
    coupon_available_time=CouponAvailableTime(
        available_begin_time="2026-09-01T00:00:00+08:00", available_end_time="2027-03-01T00:00:00+08:00"
    ),
    use_method="OFF_LINE",
    fixed_normal_coupon=FixedNormalCoupon(discount_amount=100, transaction_minimum=1000),
)
ENDS_AT = 1_803_830_400
"""2027-03-01T00:00:00+08:00."""


class DrivenPool:
    """A pool that can be closed and opened again. Without a number of its own, each request gets a fresh one."""

    def __init__(self, open_it: Callable[[], CodePool]) -> None:
        self._open = open_it
        self._loop = asyncio.new_event_loop()
        self._numbers = 0
        leftopen.note(self)
        try:
            self.pool = open_it()
        except BaseException:
            self._loop.close()
            raise

    def run(self, request: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(asyncio.wait_for(request, 60))

    def together(self, *requests: Coroutine[Any, Any, T]) -> list[T | QuanmaError]:
        """All at the same moment; a refusal stands among the answers, any other error is raised."""

        async def gathered() -> list[Any]:
            return list(await asyncio.gather(*requests, return_exceptions=True))

        outcomes: list[T | QuanmaError] = self.run(gathered())
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, QuanmaError):
                raise outcome
        return outcomes

    def reopen(self) -> None:
        """As a restart of the platform."""
        self.run(self.pool.close())
        self.pool = self._open()

    def close(self) -> None:
        """The second time does nothing."""
        if not self._loop.is_closed():
            try:
                self.run(self.pool.close())
            finally:
                self._loop.close()

    def fresh(self) -> str:
        self._numbers += 1
        return f"n{self._numbers}"

    # Requests

    def create(self, *, mchid: str = MCHID, now: int = NOW, **changes: Any) -> str:
        request = new_stock(changes.pop("out_request_no", self.fresh()), **{"coupon_use_rule": USE_RULE, **changes})
        return self.run(self.pool.create_stock(mchid, request, now)).stock_id

    def stock(self, stock_id: str, *, mchid: str = MCHID, now: int = NOW) -> Stock:
        return self.run(self.pool.show_stock(mchid, stock_id, now))

    def counts(self, stock_id: str) -> tuple[int, int]:
        """Codes in the stock, and codes that can still be drawn."""
        count = self.stock(stock_id).coupon_code_count
        assert count is not None
        return count.total_count, count.available_count

    def upload(
        self, stock_id: str, codes: list[str], no: str | None = None, *, mchid: str = MCHID, now: int = NOW
    ) -> UploadedCodes:
        request = UploadCodes(stock_id=stock_id, coupon_code_list=codes, upload_request_no=no or self.fresh())
        return self.run(self.pool.upload_codes(mchid, request, now))

    def page(self, stock_id: str, *, mchid: str = MCHID, **fields: Any) -> CodePage:
        return self.run(self.pool.list_codes(mchid, ListCodes(stock_id=stock_id, **fields)))

    def codes(self, stock_id: str, **fields: Any) -> list[str]:
        options: dict[str, Any] = {"limit": 1000, **fields}
        return [code.code for code in self.page(stock_id, **options).data]

    def show(self, stock_id: str, coupon_code: str, *, mchid: str = MCHID, now: int = NOW) -> CodeDetail:
        return self.run(self.pool.show_code(mchid, ShowCode(stock_id=stock_id, coupon_code=coupon_code), now))

    def delete(
        self, stock_id: str, coupon_code: str, no: str | None = None, *, mchid: str = MCHID, now: int = NOW
    ) -> DeletedCode:
        request = DeleteCode(stock_id=stock_id, coupon_code=coupon_code, delete_request_no=no or self.fresh())
        return self.run(self.pool.delete_code(mchid, request, now))

    def sending(
        self,
        stock_id: str,
        openid: str = "oUser",
        no: str | None = None,
        *,
        mchid: str = MCHID,
        now: int = NOW,
        appid: str = APPID,
        coupon_code: str | None = None,
    ) -> Coroutine[Any, Any, str]:
        """A request to give out a coupon, not sent yet; its answer is the code."""
        issue = Issue(stock_id, openid, appid, no or self.fresh(), coupon_code, mchid, CHANNEL_API)
        return _code_of(self.pool, mchid, issue, now)

    def send(self, stock_id: str, openid: str = "oUser", no: str | None = None, **options: Any) -> str:
        return self.run(self.sending(stock_id, openid, no, **options))

    def use(
        self,
        stock_id: str | None,
        coupon_code: str,
        no: str | None = None,
        *,
        mchid: str = MCHID,
        now: int = NOW,
        **fields: Any,
    ) -> UsedCoupon:
        return self.run(self.using(stock_id, coupon_code, no, mchid=mchid, now=now, **fields))

    def using(
        self,
        stock_id: str | None,
        coupon_code: str,
        no: str | None = None,
        *,
        mchid: str = MCHID,
        now: int = NOW,
        **fields: Any,
    ) -> Coroutine[Any, Any, UsedCoupon]:
        """A request to use a coupon, not sent yet."""
        given = {"appid": APPID, "use_time": "2026-09-21T22:13:20+08:00", **fields}
        request = UseCoupon(stock_id=stock_id, coupon_code=coupon_code, use_request_no=no or self.fresh(), **given)
        return self.pool.step(mchid, USE, request, now)

    def coupon(self, openid: str, coupon_code: str, *, mchid: str = MCHID, now: int = NOW) -> Coupon:
        request = ShowCoupon(openid=openid, coupon_code=coupon_code, appid=APPID)
        return self.run(show_coupon(self.pool, mchid, request, now))


async def list_coupons(pool: CodePool, mchid: str, request: ListCoupons, now: int) -> CouponPage:
    return coupon_page(await pool.coupons_of(mchid, request.openid), request, mchid, now)


async def show_coupon(pool: CodePool, mchid: str, request: ShowCoupon, now: int) -> Coupon:
    return latest_coupon(await pool.coupons_of(mchid, request.openid), request.coupon_code, mchid, now)


async def _code_of(pool: CodePool, mchid: str, issue: Issue, now: int) -> str:
    coupon = await pool.send_coupon(mchid, issue, now)
    assert (coupon.stock_id, coupon.out_request_no) == (issue.stock_id, issue.out_request_no)
    return coupon.coupon_code
