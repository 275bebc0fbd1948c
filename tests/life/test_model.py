"""The whole life of coupons, played over the HTTP API against a model of it, with time moving."""

from __future__ import annotations

import datetime
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from quanma import Wechatpay
from quanma.api.couponcodes import CouponCodeNode, CouponCodes, DeleteCode, ListCodes, ShowCode, UploadCodes
from quanma.api.coupons import (
    Associate,
    AssociateOrder,
    Deactivate,
    DeactivateCoupon,
    Disassociate,
    DisassociateOrder,
    ListCoupons,
    Return,
    ReturnCoupon,
    Send,
    SendCoupon,
    ShowCoupon,
    Use,
    UseCoupon,
    UserCouponAppid,
    UserCoupons,
)
from quanma.api.operation import Operation
from quanma.api.stockrules import (
    AvailableWeek,
    CouponAvailableTime,
    CouponUseRule,
    DayTime,
    FixedNormalCoupon,
    Span,
    StockSendRule,
)
from quanma.api.stocks import Budget, ChangeBudget, CreateStock, ModifyStock, ShowStock, StockNode, Stocks
from quanma.client.exchange import Clocks
from quanma.errors import PlatformError
from quanma.platform.app import App
from quanma.platform.handlers import HANDLERS
from quanma.platform.pool import open_pool
from tests.life.model import (
    ABSENT,
    BEIJING,
    CLOSED,
    DEACTIVATED,
    EXPIRED,
    FREE,
    NOT_THERE,
    OPEN,
    STATES,
    TIED,
    USED,
    WAITING,
    Model,
    Refusal,
    differs,
    fields_of,
)
from tests.support.platform import APPID, MCHID, OTHER_MCHID, InProcess, new_stock

pytestmark = pytest.mark.both_back_ends

OPERATIONS: dict[type[Any], Operation[..., Any, Any, Any]] = {
    CreateStock: Stocks.post,
    ShowStock: StockNode.get,
    ModifyStock: StockNode.patch,
    ChangeBudget: Budget.patch,
    UploadCodes: CouponCodes.post,
    ListCodes: CouponCodes.get,
    ShowCode: CouponCodeNode.get,
    DeleteCode: CouponCodeNode.delete,
    SendCoupon: Send.post,
    UseCoupon: Use.post,
    ReturnCoupon: Return.post,
    DeactivateCoupon: Deactivate.post,
    AssociateOrder: Associate.post,
    DisassociateOrder: Disassociate.post,
    ShowCoupon: UserCouponAppid.get,
    ListCoupons: UserCoupons.get,
}
NUMBERED = [struct for struct, operation in OPERATIONS.items() if operation.verb != "GET"]
CODE_CALLS: list[type[Any]] = [
    UploadCodes,
    DeleteCode,
    ShowCode,
    SendCoupon,
    UseCoupon,
    ReturnCoupon,
    DeactivateCoupon,
    AssociateOrder,
    DisassociateOrder,
    ShowCoupon,
]
MODES = ("MERCHANT_UPLOAD", "MERCHANT_API", "WECHATPAY_MODE")
MODE_OF: dict[type[Any], str] = {UploadCodes: MODES[0], SendCoupon: MODES[1]}
"""Where a code is named at all."""
BEFORE: dict[type[Any], str] = {DeleteCode: FREE, ReturnCoupon: USED, DisassociateOrder: TIED, SendCoupon: ABSENT}
"""From which state a call succeeds; from OPEN, those that are not here."""
KINDS = ("plain", "days", "hours", "seconds", "spans", "late", "owned", "short")
"""Of a stock's validity, or of whom it belongs to."""
USERS = 3
STOCKS_MAX = 6
"""That are made for nothing; more are where a code is wanted in a state that none is in."""
MONDAY_NOON = 1_900_000_000 - (1_900_000_000 + 8 * 3600) % 86400 + 4 * 86400 + 12 * 3600

# A code is chosen only where nothing is uploaded, so none is ever free there.
CODE_CELLS = [(state, call) for state in STATES for call in CODE_CALLS if (state, call) != (FREE, SendCoupon)]
CELLS = {
    *((state, call.__name__) for state, call in CODE_CELLS),
    *((number, struct.__name__) for number in ("new number", "same request", "other fields") for struct in NUMBERED),
    *(
        (f"{mode} {state}", struct.__name__)
        for mode in MODES
        for state in ("RUNNING", "STOPED")
        for struct in (ShowStock, ModifyStock, ChangeBudget, UploadCodes, ListCodes, SendCoupon)
    ),
    *((who, struct.__name__) for who in ("owner", "stranger") for struct in OPERATIONS if struct is not CreateStock),
}
"""P4: every call, at every state a code and a stock can be in, with every kind of number, from everyone."""


class MovingClock:
    def __init__(self) -> None:
        self.now = MONDAY_NOON

    def __call__(self) -> float:
        return float(self.now)


class Life(RuleBasedStateMachine):
    """One merchant creates stocks, another owns some of them and is a stranger to the others."""

    platform: ClassVar[InProcess]
    clock: ClassVar[MovingClock]
    merchants: ClassVar[dict[str, Wechatpay]]
    reached: ClassVar[Counter[tuple[str, str]]]
    example = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).example += 1
        self.clock.now = MONDAY_NOON
        self.model = Model()
        self.asked: list[tuple[str, Any]] = []
        self.created = 0

    # Stocks

    @initialize(kinds=st.tuples(*[st.sampled_from(KINDS)] * 3))
    def three_stocks(self, kinds: tuple[str, ...]) -> None:
        for mode, kind in zip(MODES, kinds, strict=True):
            self.create(mode, kind)
        self.upload(0, [0, 1, 2, 3], 0)

    @rule(
        mode=st.sampled_from(MODES),
        kind=st.sampled_from(KINDS),
    )
    def create(self, mode: str, kind: str) -> None:
        if len(self.model.stocks) < STOCKS_MAX:
            self._create(mode, kind)

    def _create(self, mode: str, kind: str) -> None:
        self.created += 1
        request = new_stock(
            f"life {self.example} {self.created}",
            coupon_code_mode=mode,
            coupon_use_rule=CouponUseRule(
                coupon_available_time=self._times(kind),
                use_method="OFF_LINE",
                fixed_normal_coupon=FixedNormalCoupon(discount_amount=100, transaction_minimum=1000),
            ),
            stock_send_rule=StockSendRule(max_coupons_per_user=4, max_coupons=9, max_coupons_by_day=5),
            belong_merchant=OTHER_MCHID if kind in ("owned", "hours") else MCHID,
        )
        self.ask(MCHID, request)

    def _times(self, kind: str) -> CouponAvailableTime:
        def at(days: float) -> str:
            return datetime.datetime.fromtimestamp(self.clock.now + int(days * 86400), BEIJING).isoformat()

        begins, ends = at(2 if kind == "late" else -1), at(1.5 if kind == "short" else 9)
        plain = CouponAvailableTime(available_begin_time=begins, available_end_time=ends)
        return {
            "days": msgspec.structs.replace(plain, available_day_after_receive=2, wait_days_after_receive=1),
            "hours": msgspec.structs.replace(
                plain,
                available_week=AvailableWeek(
                    week_day=[1, 2, 3, 4, 5], available_day_time=[DayTime(begin_time=6 * 3600, end_time=18 * 3600)]
                ),
            ),
            "seconds": msgspec.structs.replace(plain, available_second_after_receive=5 * 3600),
            "spans": msgspec.structs.replace(
                plain, irregulary_avaliable_time=[Span(begin_time=at(-0.5), end_time=at(0.5))]
            ),
        }.get(kind, plain)

    @rule(stock=st.integers(0, STOCKS_MAX - 1), by=st.booleans())
    def show_stock(self, stock: int, by: bool) -> None:
        self.ask(self._who(by), ShowStock(stock_id=self._stock(stock)))

    @rule(
        stock=st.integers(0, STOCKS_MAX - 1),
        number=st.integers(0, 30),
        word=st.sampled_from(["A", "B"]),
        by=st.booleans(),
    )
    def modify(self, stock: int, number: int, word: str, by: bool) -> None:
        stock_id = self._stock(stock)
        self.ask(self._who(by), ModifyStock(stock_id=stock_id, out_request_no=str(number), comment=word))

    @rule(
        stock=st.integers(0, STOCKS_MAX - 1),
        number=st.integers(0, 30),
        coupons=st.integers(1, 9),
        by_day=st.booleans(),
        wrong=st.sampled_from([0, 0, 0, 1]),
        by=st.integers(0, 3),
    )
    def change_budget(self, stock: int, number: int, coupons: int, by_day: bool, wrong: int, by: int) -> None:
        held = self.model.stocks[self._stock(stock)]
        if by_day:
            now_has = (held.by_day or 0) + wrong
            request = ChangeBudget(
                stock_id=held.stock_id,
                modify_budget_request_no=str(number),
                target_max_coupons_by_day=coupons,
                current_max_coupons_by_day=now_has,
            )
        else:
            request = ChangeBudget(
                stock_id=held.stock_id,
                modify_budget_request_no=str(number),
                target_max_coupons=coupons,
                current_max_coupons=held.max_coupons + wrong,
            )
        self.ask(self._who(by == 0), request)

    # Codes

    @rule(
        stock=st.integers(0, STOCKS_MAX - 1),
        codes=st.lists(st.integers(0, 14), min_size=1, max_size=6),
        number=st.integers(0, 30),
    )
    def upload(self, stock: int, codes: list[int], number: int) -> None:
        names = [{13: "x" * 33, 14: "tab\t"}.get(code, f"C/{code:02}") for code in codes]
        request = UploadCodes(stock_id=self._stock(stock), coupon_code_list=names, upload_request_no=str(number))
        self.ask(MCHID, request)

    @rule(
        stock=st.integers(0, STOCKS_MAX - 1),
        offset=st.integers(0, 4),
        limit=st.integers(1, 4),
        status=st.sampled_from([None, "AVAILABLE", "DISPATCHED"]),
        by=st.booleans(),
    )
    def list_codes(self, stock: int, offset: int, limit: int, status: Any, by: bool) -> None:
        request = ListCodes(stock_id=self._stock(stock), offset=offset, limit=limit, status=status)
        self.ask(self._who(by), request)

    # Coupons

    @rule(
        stock=st.integers(0, STOCKS_MAX - 1),
        user=st.integers(0, USERS - 1),
        number=st.integers(0, 30),
        by=st.integers(0, 9),
    )
    def send(self, stock: int, user: int, number: int, by: int) -> None:
        stock_id = self._stock(stock)
        chosen = f"M{len(self.asked):04}" if self.model.stocks[stock_id].mode == "MERCHANT_API" else None
        request = SendCoupon(
            openid=self._openid(user), appid=APPID, stock_id=stock_id, out_request_no=str(number), coupon_code=chosen
        )
        self.ask(self._who(by == 0), request)

    @rule(
        user=st.integers(0, USERS - 1),
        stock=st.integers(-5, STOCKS_MAX - 1),
        state=st.sampled_from([None, None, "SENDED", "USED", "EXPIRED", "DEACTIVATED"]),
        offset=st.integers(0, 2),
        limit=st.integers(1, 4),
        by=st.booleans(),
    )
    def list_coupons(self, user: int, stock: int, state: str | None, offset: int, limit: int, by: bool) -> None:
        who = self._who(by)
        request = ListCoupons(
            openid=self._openid(user),
            appid=APPID,
            stock_id=None if stock < 0 else self._stock(stock),
            coupon_state=state,
            creator_merchant=MCHID if who == MCHID else None,
            belong_merchant=OTHER_MCHID if who == OTHER_MCHID else None,
            offset=offset,
            limit=limit,
        )
        self.ask(who, request)

    # What names a code: one rule, that comes to every state with every call

    @rule(
        first=st.integers(0, len(CODE_CELLS) - 1),
        details=st.lists(
            st.tuples(st.integers(0, 9), st.integers(0, 30), st.integers(0, 9), st.integers(0, 3)),
            min_size=6,
            max_size=10,
        ),
    )
    def call_on_codes(self, first: int, details: list[tuple[int, int, int, int]]) -> None:
        """Several states, each with another call."""
        for place, (index, number, detail, by) in enumerate(details):
            wanted, call = CODE_CELLS[(first + 13 * place) % len(CODE_CELLS)]
            stock_id, code = self._pick(wanted, index, MODE_OF.get(call))
            self.ask(self._who(by == 0), self._request(call, stock_id, code, str(number), detail))

    @rule(
        call=st.sampled_from([UseCoupon, ReturnCoupon, DeactivateCoupon, AssociateOrder, DisassociateOrder]),
        wanted=st.sampled_from([OPEN, TIED, USED, WAITING]),
        index=st.integers(0, 9),
        number=st.integers(0, 30),
        detail=st.integers(0, 9),
    )
    def move_a_coupon(self, call: type[Any], wanted: str, index: int, number: int, detail: int) -> None:
        stock_id, code = self._pick(wanted, index)
        self.ask(MCHID, self._request(call, stock_id, code, str(number), detail))

    def _request(self, call: type[Any], stock_id: str, code: str, number: str, detail: int) -> Any:
        named = {"stock_id": stock_id, "coupon_code": code}
        coupon = self.model.stocks[stock_id].codes.get(code)
        # Mostly the right user and the right order.
        openid = self._openid(detail % USERS) if detail > 6 or coupon is None else coupon.openid
        order = (coupon and coupon.order) or "order-1" if detail <= 6 else "order-2"
        now = datetime.datetime.fromtimestamp(self.clock.now, BEIJING).isoformat()
        make: dict[type[Any], Callable[[], Any]] = {
            UploadCodes: lambda: UploadCodes(stock_id=stock_id, coupon_code_list=[code], upload_request_no=number),
            DeleteCode: lambda: DeleteCode(**named, delete_request_no=number),
            ShowCode: lambda: ShowCode(**named),
            SendCoupon: lambda: SendCoupon(**named, openid=openid, appid=APPID, out_request_no=number),
            UseCoupon: lambda: UseCoupon(
                **named,
                appid=APPID,
                use_time=now,
                use_request_no=number,
                openid=openid if detail % 2 else None,
            ),
            ReturnCoupon: lambda: ReturnCoupon(**named, return_request_no=number),
            DeactivateCoupon: lambda: DeactivateCoupon(**named, deactivate_request_no=number),
            AssociateOrder: lambda: AssociateOrder(**named, out_trade_no=order, out_request_no=number),
            DisassociateOrder: lambda: DisassociateOrder(**named, out_trade_no=order, out_request_no=number),
            ShowCoupon: lambda: ShowCoupon(openid=openid, coupon_code=code, appid=APPID),
        }
        return make[call]()

    # Numbers again

    @rule(call=st.sampled_from(NUMBERED), index=st.integers(0, 20))
    def repeat(self, call: type[Any], index: int) -> None:
        """Send an earlier request again, word for word."""
        self._again(call, index, lambda request: request)

    @rule(call=st.sampled_from(NUMBERED), index=st.integers(0, 20), field=st.integers(0, 3))
    def repeat_with_another_field(self, call: type[Any], index: int, field: int) -> None:
        self._again(call, index, lambda request: _changed(request, field))

    def _again(self, call: type[Any], index: int, change: Callable[[Any], Any]) -> None:
        """What did something comes first; if nothing did yet, something does now."""
        if not any(type(request) is call and self._did(who, request) for who, request in self.asked):
            self._do_something(call)
        asked = [(who, request) for who, request in self.asked if type(request) is call]
        asked.sort(key=lambda pair: not self._did(*pair))
        if asked:
            who, request = asked[index % len(asked)]
            self.ask(who, change(request))

    def _did(self, who: str, request: Any) -> bool:
        return self.model.number(who, request)[0] in self.model.done

    def _do_something(self, call: type[Any]) -> None:
        if call in CODE_CALLS:
            stock_id, code = self._pick(BEFORE.get(call, OPEN), 0, MODE_OF.get(call))
            self.ask(MCHID, self._request(call, stock_id, code, "first", 0))
        elif call is not CreateStock:
            stock_id = list(self.model.stocks)[-1]
            change: dict[type[Any], Any] = {
                ModifyStock: ModifyStock(stock_id=stock_id, out_request_no="first", comment="first"),
                ChangeBudget: ChangeBudget(
                    stock_id=stock_id,
                    modify_budget_request_no="first",
                    target_max_coupons_by_day=9,
                    current_max_coupons_by_day=self.model.stocks[stock_id].by_day,
                ),
            }
            self.ask(MCHID, change[call])

    # Time and power

    @rule(seconds=st.sampled_from([1, 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400]))
    def time_passes(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule(index=st.integers(0, 30), before=st.booleans())
    def time_passes_to_an_edge(self, index: int, before: bool) -> None:
        """To the second at which something begins or ends, or the one before it."""
        coupons = [coupon for stock in self.model.stocks.values() for coupon in stock.coupons]
        edges = {edge for coupon in coupons for edge in (coupon.starts_at, coupon.expires_at)}
        edges |= {stock.ends_at for stock in self.model.stocks.values()}
        ahead = sorted(edge - before for edge in edges if edge - before > self.clock.now)
        if ahead:
            self.clock.now = ahead[index % min(len(ahead), 3)]

    @rule(really=st.integers(0, 3))
    def restart(self, really: int) -> None:
        """What is in memory is made anew from the file."""
        if really == 0:
            platform = self.platform
            platform.run(platform.pool.close())
            platform.pool = open_pool(platform.database, platform.world)
            platform.app = App(HANDLERS, platform.pool, platform.keystore, clock=self.clock)

    # Every step

    def ask(self, mchid: str, request: Any) -> None:
        """Send one request, compare the answer with the model's, and count everything of the stock."""
        now = self.clock.now
        self._note(mchid, request)
        known = self.model.number(mchid, request)[0] in self.model.done
        status, code, fields = self._send(mchid, request)
        expected = self.model.answer(mchid, request, now, fields)
        shown = f"{mchid} {request} at {datetime.datetime.fromtimestamp(now, BEIJING)}"
        if isinstance(expected, Refusal):
            assert (status, code) == expected, shown
            if expected == NOT_THERE and self._note_of(mchid, request) == "stranger":
                self._can_not_be_told_from_absent(mchid, request)
        else:
            assert code is None, f"{shown} was refused with {status} {code}, and must be {expected}"
            assert status == (204 if isinstance(request, ModifyStock) else 200)
            assert (why := differs(expected, fields)) is None, f"{shown}: {why}"
            assert not known or fields == expected, f"{shown}: a repeat was answered in other words"
        if request not in [asked for _, asked in self.asked[-50:]]:
            self.asked.append((mchid, request))
        if type(request) in NUMBERED and type(request) is not CreateStock:
            self._count(request.stock_id)

    def _count(self, stock_id: str) -> None:
        """P3: the platform's own numbers add up, and are the model's; no code has two coupons."""
        now, stock = self.clock.now, self.model.stocks[stock_id]
        _, _, shown = self._send(MCHID, ShowStock(stock_id=stock_id))
        expected = self.model.answer(MCHID, ShowStock(stock_id=stock_id), now, {})
        assert (why := differs(expected, shown)) is None, why
        _, _, page = self._send(MCHID, ListCodes(stock_id=stock_id, limit=1000))
        coupons = [coupon for user in range(USERS) for coupon in self._coupons(user, stock_id)]
        free = [row["code"] for row in page["data"] if row["code_status"] == "AVAILABLE"]
        by_state = Counter(coupon["coupon_state"] for coupon in coupons)
        assert by_state == Counter(coupon.state(now) for coupon in stock.coupons)
        assert page["total_count"] == len(page["data"]) == len(free) + by_state.total()
        assert len({*free, *(coupon["coupon_code"] for coupon in coupons)}) == page["total_count"]
        if stock.mode == "MERCHANT_UPLOAD":
            assert shown["coupon_code_count"] == {"total_count": page["total_count"], "available_count": len(free)}
        assert shown["send_count_information"]["total_send_num"] == by_state.total()

    def teardown(self) -> None:
        for stock_id in self.model.stocks:
            self._count(stock_id)

    def _coupons(self, user: int, stock_id: str) -> list[dict[str, Any]]:
        request = ListCoupons(
            openid=self._openid(user), appid=APPID, stock_id=stock_id, creator_merchant=MCHID, limit=1000
        )
        rows: list[dict[str, Any]] = self._send(MCHID, request)[2]["data"]
        return rows

    def _can_not_be_told_from_absent(self, mchid: str, request: Any) -> None:
        """A7: another merchant's stock and none at all are answered in the same words."""
        if isinstance(request, ShowCoupon):
            absent = msgspec.structs.replace(request, openid="nobody", coupon_code=request.coupon_code)
            assert self._message(mchid, absent) == self._message(mchid, request)
        else:
            absent = msgspec.structs.replace(request, stock_id="404")
            assert self._message(mchid, absent).replace("404", request.stock_id) == self._message(mchid, request)

    def _send(self, mchid: str, request: Any) -> tuple[int, str | None, dict[str, Any]]:
        try:
            answer = self.merchants[mchid].send(OPERATIONS[type(request)], request)
        except PlatformError as refused:
            return refused.status_code, refused.code, {}
        return answer.status_code, None, fields_of(answer.data)

    def _message(self, mchid: str, request: Any) -> str:
        with pytest.raises(PlatformError) as refused:
            self.merchants[mchid].send(OPERATIONS[type(request)], request)
        return refused.value.message

    # Which cells were reached

    def _note(self, mchid: str, request: Any) -> None:
        call, now = type(request).__name__, self.clock.now
        self.reached.update((state, call) for state in self.model.stands(request, now))
        key, asked = self.model.number(mchid, request)
        if key:
            known = self.model.done.get(key)
            self.reached[
                "new number" if not known else "same request" if known[0] == asked else "other fields", call
            ] += 1
        if stock := self.model.stocks.get(getattr(request, "stock_id", None) or ""):
            self.reached[f"{stock.mode} {'RUNNING' if now < stock.ends_at else 'STOPED'}", call] += 1
        self.reached[self._note_of(mchid, request), call] += 1

    def _note_of(self, mchid: str, request: Any) -> str:
        if mchid == MCHID:
            return "creator"
        stock = self.model.stocks.get(getattr(request, "stock_id", None) or "")
        if isinstance(request, ShowCoupon):
            stock = next((one for one in self.model.stocks.values() if request.coupon_code in one.codes), None)
        return "owner" if stock and stock.belongs_to == mchid else "stranger"

    # Choosing: always by a place in a list, so that what was drawn at random changes no later choice.

    def _stock(self, index: int) -> str:
        return list(self.model.stocks)[index % len(self.model.stocks)]

    def _pick(self, wanted: str, index: int, mode: str | None = None) -> tuple[str, str]:
        """A code in the wanted state, brought there if there is none."""
        if not self._standing(wanted, mode):
            self._bring(wanted, mode)
        stocks = [stock for stock in self.model.stocks.values() if mode in (None, stock.mode)]
        standing = self._standing(wanted, mode) or [
            (stocks[index % len(stocks)].stock_id, f"none/{index}/{len(self.asked)}")
        ]
        return standing[index % len(standing)]

    def _standing(self, wanted: str, mode: str | None) -> list[tuple[str, str]]:
        stocks = [stock for stock in self.model.stocks.values() if mode in (None, stock.mode)]
        return [
            (stock.stock_id, code)
            for stock in stocks
            for code in stock.codes
            if stock.stands(code, self.clock.now) == wanted
        ]

    def _bring(self, wanted: str, mode: str | None) -> None:
        """Make a stock whose only coupon comes to stand in the wanted state, each step compared as any."""
        if wanted == ABSENT:
            return
        mode = mode or MODES[0]
        self._create(mode, {WAITING: "late", CLOSED: "hours", EXPIRED: "seconds"}.get(wanted, "owned"))
        stock_id, only = list(self.model.stocks)[-1], f"ONLY/{self.created}"
        if mode == MODES[0]:
            self.ask(MCHID, UploadCodes(stock_id=stock_id, coupon_code_list=[only], upload_request_no="only"))
        if wanted == FREE:
            return
        chosen = only if mode == MODES[1] else None
        self.ask(
            MCHID,
            SendCoupon(
                openid=self._openid(0), appid=APPID, stock_id=stock_id, out_request_no="only", coupon_code=chosen
            ),
        )
        (code,) = self.model.stocks[stock_id].codes
        named = {"stock_id": stock_id, "coupon_code": code}
        if wanted == TIED:
            self.ask(MCHID, AssociateOrder(**named, out_trade_no="order-1", out_request_no="only"))
        elif wanted == USED:
            now = datetime.datetime.fromtimestamp(self.clock.now, BEIJING).isoformat()
            self.ask(MCHID, UseCoupon(**named, appid=APPID, use_time=now, use_request_no="only"))
        elif wanted == DEACTIVATED:
            self.ask(MCHID, DeactivateCoupon(**named, deactivate_request_no="only"))
        elif wanted == EXPIRED:
            self.clock.now += 5 * 3600
        elif wanted == CLOSED:
            self.clock.now += 86400 - (self.clock.now + 8 * 3600 - 20 * 3600) % 86400  # To eight in the evening.

    def _openid(self, user: int) -> str:
        return f"o-{self.example}-{user}"

    @staticmethod
    def _who(other: bool) -> str:
        return OTHER_MCHID if other else MCHID


def _changed(request: Any, field: int) -> Any:
    """The same request with another value in one field that is not its number."""
    changes: dict[type[Any], list[dict[str, Any]]] = {
        CreateStock: [{"stock_name": "another"}],
        ModifyStock: [{"comment": "other"}, {"goods_name": "other"}],
        ChangeBudget: [{"target_max_coupons_by_day": 8, "current_max_coupons_by_day": 8}],
        UploadCodes: [{"coupon_code_list": ["C/00", "another"]}],
        DeleteCode: [{"coupon_code": "another"}],
        SendCoupon: [{"appid": "wx0000000000000000"}, {"coupon_code": "another"}],
        UseCoupon: [{"use_time": "2030-01-01T00:00:00Z"}, {"appid": "wx0000000000000000"}, {"coupon_code": "another"}],
        ReturnCoupon: [{"coupon_code": "another"}],
        DeactivateCoupon: [{"deactivate_reason": "another"}, {"coupon_code": "another"}],
        AssociateOrder: [{"out_trade_no": "another"}, {"coupon_code": "another"}],
        DisassociateOrder: [{"out_trade_no": "another"}, {"coupon_code": "another"}],
    }
    if isinstance(request, SendCoupon) and field == 3:  # Not the same number: a number is one user's.
        return msgspec.structs.replace(request, openid=f"{request.openid[:-1]}{(int(request.openid[-1]) + 1) % USERS}")
    choices = changes[type(request)]
    return msgspec.structs.replace(request, **choices[field % len(choices)])


@pytest.fixture
def life(world: Path, database: str) -> Iterator[type[Life]]:
    """The machine, on a platform of its own whose clock it moves."""
    clock = MovingClock()
    running = InProcess(world, database, clock=clock)
    clocks = Clocks(clock, time.monotonic)

    class LifeHere(Life):
        platform = running
        merchants: ClassVar = {mchid: running.wechatpay(mchid, clocks=clocks) for mchid in (MCHID, OTHER_MCHID)}
        reached: ClassVar = Counter()

    LifeHere.clock = clock
    yield LifeHere
    running.close()


def play(life: type[Life], *, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        life,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=True,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )


@pytest.mark.slow
def test_every_call_at_every_state_is_answered_as_the_model_does(life: type[Life]) -> None:
    """P4, one cell after the other."""
    tour = life()
    tour.three_stocks(("plain", "plain", "plain"))
    for place, (state, call) in enumerate(CODE_CELLS):
        for by in (False, True):
            stock_id, code = tour._pick(state, 0, MODE_OF.get(call))
            tour.ask(tour._who(by), tour._request(call, stock_id, code, f"{place}{by}", 0))
    for call in NUMBERED:
        tour.repeat(call, 0)
        tour.repeat_with_another_field(call, 0, 0)
    for mode in MODES:
        tour._create(mode, "short")
        tour._create(mode, "owned")
    for state in ("RUNNING", "STOPED"):
        for stock in range(len(tour.model.stocks) - 6, len(tour.model.stocks)):
            for by in (False, True):
                tour.show_stock(stock, by)
                tour.modify(stock, stock, state, by)
                tour.change_budget(stock, stock, 9, True, 0, not by)
                tour.upload(stock, [stock % 12], stock)
                tour.list_codes(stock, 0, 4, None, by)
                tour.list_coupons(0, stock, None, 0, 4, by)
                tour.send(stock, 1, 2 * stock + (state == "RUNNING"), not by)
        tour.clock.now += 10 * 86400
    tour.teardown()
    missing = sorted(CELLS - life.reached.keys())
    assert missing == [], missing


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_coupon_can_be_used_exactly_as_long_as_it_is_valid(life: type[Life], kind: str) -> None:
    """Tried twice a day, and at each edge and the second before it; what was used is given back."""
    tour = life()
    tour._create("WECHATPAY_MODE", kind)
    (stock,) = tour.model.stocks.values()
    tour.send(0, 0, 0, 1)
    (coupon,) = stock.coupons
    edges = {edge - before for edge in (coupon.starts_at, coupon.expires_at, stock.ends_at) for before in (0, 1)}
    noons = {MONDAY_NOON + half_day * 43200 for half_day in range(20)}
    for place, moment in enumerate(sorted(edge for edge in edges | noons if edge >= MONDAY_NOON)):
        tour.clock.now = moment
        for call in (UseCoupon, ReturnCoupon):
            tour.ask(MCHID, tour._request(call, stock.stock_id, coupon.code, str(place), 0))


@pytest.mark.slow
def test_the_platform_answers_as_the_model_of_a_coupons_life(life: type[Life]) -> None:
    play(life, examples=3, steps=15)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_platform_answers_as_the_model_over_many_lives(life: type[Life], back_end: str) -> None:
    # On PostgreSQL a request takes longer. A test of its own comes to each cell, see above.
    examples, share, enough = (20, 0.9, 3_000) if back_end == "sqlite" else (10, 0.8, 1_000)
    play(life, examples=examples, steps=50)
    # Chance leaves out a few cells, and comes to most of them many times, by many ways.
    assert len(CELLS & life.reached.keys()) > share * len(CELLS)
    assert life.reached.total() > enough
