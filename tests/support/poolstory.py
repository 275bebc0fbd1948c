"""A pool in which everything happened, and every question about it with the true answer: for damage, and for moves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec

from quanma.api.couponcodes import DeleteCode, ListCodes, ShowCode, UploadCodes
from quanma.api.coupons import (
    AssociateOrder,
    DeactivateCoupon,
    ListCoupons,
    ReturnCoupon,
    SendCard,
    ShowCoupon,
    UseCoupon,
)
from quanma.api.events import CHANNEL_API
from quanma.api.productcoupon.coupons import CreateProductCoupon
from quanma.api.productcoupon.entities import UserCoupon
from quanma.api.stocks import ChangeBudget, ModifyStock
from quanma.api.subsidy import PayReceipt, PaySubsidy, ReturnReceipt, ReturnSubsidy
from quanma.errors import QuanmaError, StoreUnavailable
from quanma.platform.coupons.coupon import CouponFacts
from quanma.platform.coupons.product import life
from quanma.platform.coupons.product.changes import Caller, Rules
from quanma.platform.coupons.product.objects import CHANGES
from quanma.platform.coupons.states import ASSOCIATE, DEACTIVATE, RETURN, USE
from quanma.platform.coupons.stocks import CHANGE_BUDGET, MODIFY, Product
from quanma.platform.coupons.subsidies import PAY, TAKE_BACK
from quanma.platform.pool.contract import CodePool, Issue
from tests.contract.driver import NOW, USE_RULE, list_coupons, show_coupon
from tests.support import productcoupons
from tests.support.platform import APPID, MCHID, OTHER_MCHID, new_stock

USE_TIME = "2026-09-21T22:13:20+08:00"
LATER = NOW + 3600

Ask = Callable[[CodePool], Awaitable[Any]]


class Story:
    """Tells itself to an empty pool. `asks` are repeats of what was asked, and reads; the same ever after."""

    def __init__(self, name: str = "story", seed: int = 7, users: int = 12) -> None:
        self._name = name
        self.asks: list[Ask] = []
        self.stock_id = ""
        self._chance = random.Random(seed)
        self._users = [f"o{name}{number:0{27 - len(name)}}" for number in range(users)]

    async def tell(self, pool: CodePool) -> None:
        await pool.set_callback(MCHID, MCHID, "https://pay.example.com/events", NOW)
        stock = new_stock(f"{self._name}1", coupon_use_rule=USE_RULE, max_coupons=1000, max_coupons_per_user=10)
        self.stock_id = stock_id = (await pool.create_stock(MCHID, stock, NOW)).stock_id
        given = new_stock(f"{self._name}2", coupon_use_rule=USE_RULE, coupon_code_mode="WECHATPAY_MODE")
        given_id = (await pool.create_stock(MCHID, given, NOW)).stock_id
        await self._do(pool, _modify(stock_id))
        await self._do(pool, _budget(stock_id))
        for number in range(6):
            await self._do(pool, self._upload(stock_id, number))
        for number, openid in enumerate(self._users * 3):
            await self._do(pool, _send(stock_id, openid, f"s{number}"))
        for openid in self._users[:3]:
            await self._do(pool, _send(given_id, openid, "g1"))
        await self._do(pool, _card(self._name))
        await self._later_steps(pool, stock_id)
        await self._product_coupons(pool)
        await self._deliver(pool)
        for number in range(3):
            await pool.take_nonce(MCHID if number else OTHER_MCHID)
        self._reads(stock_id, given_id)

    async def _product_coupons(self, pool: CodePool) -> None:
        """A coupon of 商品券 alone, and a bundle: made, uploaded, sent, confirmed, used, ended."""
        caller = productcoupons.PROVIDER
        for body in (productcoupons.new_single(), productcoupons.new_bundle()):
            number = f"{self._name}_{body['usage_mode']}"
            made = await self._do(pool, _make(caller, {**body, "out_request_no": number}))
            stocks = [made.stock] if made.stock else made.stock_bundle.stock_list
            product = caller.product(made.product_coupon_id)
            for stock in stocks:
                codes = [f"P{number}" for number in range(5)]
                upload = UploadCodes(stock_id=stock.stock_id, coupon_code_list=codes, upload_request_no="upload_1")
                await self._do(pool, _upload_to(product, upload))
            issues = [
                Issue(stock.stock_id, self._users[0], APPID, "send_1", None, MCHID, "API", "", product)
                for stock in stocks
            ]
            coupon = (await self._do(pool, _give(caller, issues)))[0]
            fields = {
                "openid": self._users[0],
                "appid": APPID,
                "product_coupon_id": made.product_coupon_id,
                "stock_id": coupon.stock.stock_id,
                "coupon_code": coupon.coupon_code,
            }
            use = {"use_time": USE_TIME, "associated_order_info": {"transaction_id": "1"}}
            for step, more in ((life.CONFIRM, {}), (life.USE, use), (life.RETURN, {}), (life.USE, use)):
                number = f"step_{len(self.asks)}"
                await self._do(pool, _product_step(caller, step, {**fields, **more, "out_request_no": number}))

    async def answers(self, pool: CodePool) -> list[Any]:
        """What the pool says to every ask: an answer, a refusal in words, or the error of its store."""
        return [await _outcome(ask(pool)) for ask in self.asks]

    async def _do(self, pool: CodePool, ask: Ask) -> Any:
        self.asks.append(ask)
        return await ask(pool)

    def _upload(self, stock_id: str, number: int) -> Ask:
        width = self._chance.choice([6, 14])
        codes = [f"{number}{line:0{width}d}" for line in range(40)] + ["0" * 33, f"{number}{0:0{width}d}"]
        if number % 2:
            codes += [f"DIFFERENT{line}" for line in range(number)]
        return lambda pool: pool.upload_codes(
            MCHID, UploadCodes(stock_id=stock_id, coupon_code_list=codes, upload_request_no=f"u{number}"), LATER
        )

    async def _later_steps(self, pool: CodePool, stock_id: str) -> None:
        used: list[str] = []
        for number, openid in enumerate(self._users):
            issue = _issue(stock_id, openid, f"s{number}")
            code = (await pool.send_coupon(MCHID, issue, LATER)).coupon_code
            kind = number % 4
            if kind in (0, 1):
                await self._do(pool, _use(stock_id, code, f"use{number}"))
                used.append(code)
            if kind == 1:
                await self._do(pool, _return(stock_id, code, f"return{number}"))
                used.remove(code)
            if kind == 2:
                await self._do(pool, _deactivate(stock_id, code, f"off{number}"))
            if kind == 3:
                await self._do(pool, _associate(stock_id, code, f"order{number}"))
        for number, code in enumerate(used):
            paid = await self._do(pool, _pay(stock_id, code, f"pay{number}"))
            self.asks.append(partial(_receipt, paid.subsidy_receipt_id))
            if number:
                back = await self._do(pool, _take_back(stock_id, code, f"back{number}", 40 * number))
                self.asks.append(partial(_return_receipt, back.subsidy_return_receipt_id))
            self.asks.append(partial(_paid, stock_id, code))
        free = [code.code for code in (await pool.list_codes(MCHID, _listed(stock_id, status="AVAILABLE"))).data]
        for number, code in enumerate(self._chance.sample(free, 5)):
            await self._do(pool, _delete(stock_id, code, f"delete{number}"))

    async def _deliver(self, pool: CodePool) -> None:
        for event in await pool.take_due_events(LATER, 20):
            if self._chance.random() < 0.5:
                await pool.event_delivered(event, LATER + 1)
            else:
                await pool.event_failed(event, "503")

    def _reads(self, stock_id: str, given_id: str) -> None:
        self.asks += [
            lambda pool: pool.show_stock(MCHID, stock_id, LATER),
            lambda pool: pool.show_stock(MCHID, given_id, LATER),
            lambda pool: pool.show_stock(OTHER_MCHID, stock_id, LATER),
            lambda pool: pool.callback(MCHID, MCHID),
            lambda pool: pool.list_stocks(MCHID, 0, 100),
            lambda pool: pool.list_events(MCHID, 0, 100),
            lambda pool: pool.list_codes(MCHID, _listed(given_id)),
        ]
        self.asks += [partial(_page, stock_id, status) for status in ("AVAILABLE", "DISPATCHED", None)]
        self.asks += [partial(_coupons, openid) for openid in self._users]

    async def ask_each_code(self, pool: CodePool) -> None:
        """Add a question about each code, and each coupon, that the pool has now."""
        for code in (await pool.list_codes(MCHID, _listed(self.stock_id))).data:
            self.asks.append(partial(_shown, self.stock_id, code.code))
            if code.openid:
                self.asks.append(partial(_coupon, code.openid, code.code))


async def _outcome(awaited: Awaitable[Any]) -> Any:
    try:
        answer = await asyncio.wait_for(awaited, 60)
        # A back end's own number, and no answer's.
        return msgspec.structs.replace(answer, coupon_id=0) if isinstance(answer, CouponFacts) else answer
    except StoreUnavailable as problem:
        return problem
    except QuanmaError as refusal:
        return f"{type(refusal).__name__}: {refusal}"


def _listed(stock_id: str, **fields: Any) -> ListCodes:
    return ListCodes(stock_id=stock_id, limit=1000, **fields)


async def _page(stock_id: str, status: str | None, pool: CodePool) -> Any:
    return await pool.list_codes(MCHID, _listed(stock_id, status=status))


async def _coupons(openid: str, pool: CodePool) -> Any:
    return await list_coupons(pool, MCHID, ListCoupons(openid=openid, appid=APPID), LATER)


async def _receipt(receipt_id: str, pool: CodePool) -> Any:
    return await pool.receipt(MCHID, PayReceipt, receipt_id)


async def _return_receipt(receipt_id: str, pool: CodePool) -> Any:
    return await pool.receipt(MCHID, ReturnReceipt, receipt_id)


async def _shown(stock_id: str, code: str, pool: CodePool) -> Any:
    return await pool.show_code(MCHID, ShowCode(stock_id=stock_id, coupon_code=code), LATER)


async def _coupon(openid: str, code: str, pool: CodePool) -> Any:
    return await show_coupon(pool, MCHID, ShowCoupon(openid=openid, coupon_code=code, appid=APPID), LATER)


async def _paid(stock_id: str, code: str, pool: CodePool) -> Any:
    return await pool.payments(MCHID, stock_id, code)


def _issue(stock_id: str, openid: str, no: str) -> Issue:
    return Issue(stock_id, openid, APPID, no, None, MCHID, CHANNEL_API, "" if no.endswith("1") else "x")


def _send(stock_id: str, openid: str, no: str) -> Ask:
    return lambda pool: pool.send_coupon(MCHID, _issue(stock_id, openid, no), NOW)


def _make(caller: Caller, body: dict[str, Any]) -> Ask:
    request = msgspec.convert(body, CreateProductCoupon)
    return lambda pool: pool.change_product(caller, CHANGES[0], request, NOW, Rules())


def _upload_to(product: Product, upload: UploadCodes) -> Ask:
    return lambda pool: pool.upload_codes(MCHID, upload, NOW, product)


def _give(caller: Caller, issues: list[Issue]) -> Ask:
    async def give(pool: CodePool) -> list[UserCoupon]:
        group = await pool.give(caller, issues, NOW)
        return [life.user_coupon(group, one.coupon, NOW) for one in group.held]

    return give


def _product_step(caller: Caller, step: life.ProductStep[Any], body: dict[str, Any]) -> Ask:
    request = msgspec.convert(body, step.operation.request)
    return lambda pool: pool.step(caller.mchid, step, request, NOW, caller, body["product_coupon_id"])


def _modify(stock_id: str) -> Ask:
    request = ModifyStock(stock_id=stock_id, out_request_no="m1", comment="since changed")
    return lambda pool: pool.change_stock(MCHID, MODIFY, request, NOW)


def _budget(stock_id: str) -> Ask:
    request = ChangeBudget(
        stock_id=stock_id, modify_budget_request_no="b1", current_max_coupons=1000, target_max_coupons=900
    )
    return lambda pool: pool.change_stock(MCHID, CHANGE_BUDGET, request, NOW)


def _card(name: str) -> Ask:
    request = SendCard(card_id="c1", appid=APPID, openid="o1", out_request_no=name, send_time=USE_TIME)
    return lambda pool: pool.send_card(MCHID, request)


def _use(stock_id: str, code: str, no: str) -> Ask:
    request = UseCoupon(coupon_code=code, stock_id=stock_id, appid=APPID, use_time=USE_TIME, use_request_no=no)
    return lambda pool: pool.step(MCHID, USE, request, LATER)


def _return(stock_id: str, code: str, no: str) -> Ask:
    request = ReturnCoupon(coupon_code=code, stock_id=stock_id, return_request_no=no)
    return lambda pool: pool.step(MCHID, RETURN, request, LATER)


def _deactivate(stock_id: str, code: str, no: str) -> Ask:
    request = DeactivateCoupon(coupon_code=code, stock_id=stock_id, deactivate_request_no=no, deactivate_reason="lost")
    return lambda pool: pool.step(MCHID, DEACTIVATE, request, LATER)


def _associate(stock_id: str, code: str, no: str) -> Ask:
    request = AssociateOrder(coupon_code=code, stock_id=stock_id, out_trade_no=f"t{no}", out_request_no=no)
    return lambda pool: pool.step(MCHID, ASSOCIATE, request, LATER)


def _delete(stock_id: str, code: str, no: str) -> Ask:
    request = DeleteCode(stock_id=stock_id, coupon_code=code, delete_request_no=no)
    return lambda pool: pool.delete_code(MCHID, request, LATER)


def _pay(stock_id: str, code: str, no: str) -> Ask:
    request = PaySubsidy(
        stock_id=stock_id,
        coupon_code=code,
        transaction_id=f"4200000913202101152566{no}",
        payer_merchant=MCHID,
        payee_merchant=MCHID,
        amount=100,
        description="d",
        out_subsidy_no=no,
    )
    return lambda pool: pool.step(MCHID, PAY, request, LATER)


def _take_back(stock_id: str, code: str, no: str, amount: int) -> Ask:
    request = ReturnSubsidy(
        stock_id=stock_id,
        coupon_code=code,
        transaction_id=f"4200000913202101152566pay{no.removeprefix('back')}",
        refund_id=f"r{no}",
        payer_merchant=MCHID,
        payee_merchant=MCHID,
        amount=amount,
        description="d",
        out_subsidy_return_no=no,
    )
    return lambda pool: pool.step(MCHID, TAKE_BACK, request, LATER)
