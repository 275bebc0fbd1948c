"""What a platform must answer to the calls of a coupon's life, as plain dictionaries.

Written from the documentation, and from what was decided where it is silent; not from the platform's own code.

A call is a request struct, an answer is a `Refusal`, or the fields that must be in it. The one thing a model can't
know is which code a draw gave: it is told, and says whether that code was free.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from quanma.api.couponcodes import DeleteCode, ListCodes, ShowCode, UploadCodes
from quanma.api.coupons import (
    AssociateOrder,
    DeactivateCoupon,
    DisassociateOrder,
    ListCoupons,
    ReturnCoupon,
    SendCoupon,
    ShowCoupon,
    UseCoupon,
)
from quanma.api.stocks import ChangeBudget, CreateStock, ModifyStock, ShowStock

BEIJING = datetime.timezone(datetime.timedelta(hours=8))

ABSENT, FREE, WAITING, CLOSED, OPEN, TIED, USED, EXPIRED, DEACTIVATED = STATES = (
    "absent",
    "free",
    "waiting",
    "closed",
    "open",
    "tied",
    "used",
    "expired",
    "deactivated",
)
"""Where a code can stand: the platform's five states, with SENDED taken apart by what `use` makes of it."""


class Refusal(NamedTuple):
    status: int
    code: str


PARAM_ERROR = Refusal(400, "PARAM_ERROR")
INVALID = Refusal(400, "INVALID_REQUEST")
EXISTS_ALREADY = Refusal(400, "RESOURCE_ALREADY_EXISTS")
RULELIMIT = Refusal(403, "RULELIMIT")
NOT_ENOUGH = Refusal(403, "NOT_ENOUGH")
NOT_THERE = Refusal(404, "RESOURCE_NOT_EXISTS")

Fields = dict[str, Any]


class ModelCoupon:
    def __init__(self, code: str, request: SendCoupon, sent_at: int, starts_at: int, expires_at: int) -> None:
        self.code = code
        self.openid = request.openid
        self.number = request.out_request_no
        self.sent_at, self.starts_at, self.expires_at = sent_at, starts_at, expires_at
        self.step = "SENDED"
        self.order: str | None = None

    def state(self, now: int) -> str:
        return "EXPIRED" if self.step == "SENDED" and now >= self.expires_at else self.step


class ModelStock:
    def __init__(self, stock_id: str, mchid: str, request: CreateStock) -> None:
        self.stock_id, self.mchid = stock_id, mchid
        self.belongs_to = request.belong_merchant
        self.mode = request.coupon_code_mode
        self.times = request.coupon_use_rule.coupon_available_time
        self.begins_at = _seconds(self.times.available_begin_time)
        self.ends_at = _seconds(self.times.available_end_time)
        self.per_user = request.stock_send_rule.max_coupons_per_user
        self.max_coupons = request.stock_send_rule.max_coupons or 1_000_000_000
        self.by_day = request.stock_send_rule.max_coupons_by_day
        self.comment = request.comment
        self.codes: dict[str, ModelCoupon | None] = {}
        """In upload order, or in that of issue where nothing is uploaded. None: free."""

    @property
    def coupons(self) -> list[ModelCoupon]:
        return [coupon for coupon in self.codes.values() if coupon is not None]

    @property
    def free(self) -> set[str]:
        return {code for code, coupon in self.codes.items() if coupon is None}

    def sent_on(self, day: datetime.date) -> int:
        return sum(_day(coupon.sent_at) == day for coupon in self.coupons)

    def validity(self, now: int) -> tuple[int, int]:
        starts_at, expires_at = max(self.begins_at, now), self.ends_at
        times = self.times
        if times.available_day_after_receive is not None:
            first = _day(now) + datetime.timedelta(days=times.wait_days_after_receive or 0)
            after = first + datetime.timedelta(days=times.available_day_after_receive)
            starts_at, expires_at = max(starts_at, _midnight(first)), min(expires_at, _midnight(after))
        if times.available_second_after_receive is not None:
            expires_at = min(expires_at, now + times.available_second_after_receive)
        return starts_at, expires_at

    def open_at(self, now: int) -> bool:
        week, spans = self.times.available_week, self.times.irregulary_avaliable_time or []
        if any(_seconds(span.begin_time) <= now <= _seconds(span.end_time) for span in spans):
            return True
        if week is None:
            return not spans
        moment = datetime.datetime.fromtimestamp(now, BEIJING)
        sunday_is_zero = int(f"{moment:%w}")
        second = (moment - moment.replace(hour=0, minute=0, second=0)).seconds
        hours = week.available_day_time or []
        return (not week.week_day or sunday_is_zero in week.week_day) and (
            not hours or any(hour.begin_time <= second <= hour.end_time for hour in hours)
        )

    def stands(self, code: str, now: int) -> str:
        """Which of `STATES` a code is in."""
        if code not in self.codes:
            return ABSENT
        coupon = self.codes[code]
        if coupon is None:
            return FREE
        state = coupon.state(now)
        if state != "SENDED":
            return {"USED": USED, "EXPIRED": EXPIRED, "DEACTIVATED": DEACTIVATED}[state]
        if now < coupon.starts_at:
            return WAITING
        if not self.open_at(now):
            return CLOSED
        return TIED if coupon.order else OPEN


class Model:
    """All stocks, and what each number did."""

    def __init__(self) -> None:
        self.stocks: dict[str, ModelStock] = {}
        self.done: dict[tuple[Any, ...], tuple[Any, Fields]] = {}
        """(operation, its scope, number) → what was asked, and what was answered."""
        self._answers: dict[type[Any], Callable[[str, Any, int, Fields], Refusal | Fields]] = {
            CreateStock: self._create,
            ShowStock: self._show_stock,
            ModifyStock: self._modify,
            ChangeBudget: self._budget,
            UploadCodes: self._upload,
            ListCodes: self._list_codes,
            ShowCode: self._show_code,
            DeleteCode: self._delete,
            SendCoupon: self._send,
            UseCoupon: self._use,
            ReturnCoupon: self._return,
            DeactivateCoupon: self._deactivate,
            AssociateOrder: self._associate,
            DisassociateOrder: self._disassociate,
            ShowCoupon: self._show_coupon,
            ListCoupons: self._list_coupons,
        }

    def answer(self, mchid: str, request: Any, now: int, told: Fields) -> Refusal | Fields:
        """Return what must be answered to a merchant, and change what a success changes.

        `told` is the platform's own answer, empty for a refusal: of a draw, the code is taken from it. A number that
        did something before has that answer again, whole.
        """
        key, asked = self.number(mchid, request)
        if key in self.done and self._sees(mchid, request):
            if isinstance(request, CreateStock):
                return EXISTS_ALREADY
            first, fields = self.done[key]
            return fields if first == asked else INVALID
        fields_or_not = self._answers[type(request)](mchid, request, now, told)
        if key and not isinstance(fields_or_not, Refusal):
            self.done[key] = (asked, told)
        return fields_or_not

    def number(self, mchid: str, request: Any) -> tuple[tuple[Any, ...], Any]:
        """Return what makes a request the same as an earlier one, and what its repeat must then have the same."""
        name = type(request).__name__
        match request:
            case CreateStock():
                return (name, mchid, request.out_request_no), request
            case UploadCodes():
                return (name, request.stock_id, request.upload_request_no), set(request.coupon_code_list)
            case SendCoupon():
                return (name, request.stock_id, request.openid, request.out_request_no), request
            case DeleteCode():
                return (name, request.stock_id, request.delete_request_no), request
            case UseCoupon():
                return (name, request.stock_id, request.use_request_no), request
            case ReturnCoupon():
                return (name, request.stock_id, request.return_request_no), request
            case DeactivateCoupon():
                return (name, request.stock_id, request.deactivate_request_no), request
            case ChangeBudget():
                return (name, request.stock_id, request.modify_budget_request_no), request
            case ModifyStock() | AssociateOrder() | DisassociateOrder():
                return (name, request.stock_id, request.out_request_no), request
            case _:
                return (), request

    def stands(self, request: Any, now: int) -> list[str]:
        """Which states the codes are in that a request names."""
        stock = self.stocks.get(getattr(request, "stock_id", ""))
        codes = getattr(request, "coupon_code_list", None) or [getattr(request, "coupon_code", None)]
        if isinstance(request, ShowCoupon):
            stock = next((one for one in self.stocks.values() if request.coupon_code in one.codes), None)
        return [stock.stands(code, now) if stock else ABSENT for code in codes if code is not None]

    def coupons_of(self, openid: str) -> list[tuple[ModelStock, ModelCoupon]]:
        """The latest first."""
        mine = [
            (stock, coupon) for stock in self.stocks.values() for coupon in stock.coupons if coupon.openid == openid
        ]
        return sorted(mine, key=lambda pair: self.issued.index((pair[0].stock_id, pair[1].code)), reverse=True)

    @property
    def issued(self) -> list[tuple[str, str]]:
        """Every coupon, in the order of issue: numbers are remembered in the order in which they did something."""
        sent = [fields["send_coupon_result"] for key, (_, fields) in self.done.items() if key[0] == "SendCoupon"]
        return [(result["stock_id"], result["coupon_code"]) for result in sent]

    # Who may what: the creator everything, the owner what concerns coupons. A stock's detail is its creator's.

    def _sees(self, mchid: str, request: Any) -> bool:
        if isinstance(request, CreateStock):
            return True
        shared = isinstance(request, UseCoupon | ReturnCoupon | DeactivateCoupon | AssociateOrder | DisassociateOrder)
        stock = self.stocks.get(request.stock_id)
        return stock is not None and (mchid == stock.mchid or (shared and mchid == stock.belongs_to))

    # Stocks

    def _create(self, mchid: str, request: CreateStock, now: int, told: Fields) -> Refusal | Fields:
        stock_id = told.get("stock_id", "")
        assert stock_id not in self.stocks
        self.stocks[stock_id] = ModelStock(stock_id, mchid, request)
        return {"stock_id": stock_id, "create_time": _text(now)}

    def _show_stock(self, mchid: str, request: ShowStock, now: int, told: Fields) -> Refusal | Fields:
        if not self._sees(mchid, request):
            return NOT_THERE
        stock = self.stocks[request.stock_id]
        fields: Fields = {
            "stock_id": stock.stock_id,
            "stock_state": "RUNNING" if now < stock.ends_at else "STOPED",
            "comment": stock.comment,
            "coupon_code_count": None,
        }
        if stock.mode == "MERCHANT_UPLOAD":
            fields["coupon_code_count"] = {"total_count": len(stock.codes), "available_count": len(stock.free)}
        sent, today = len(stock.coupons), stock.sent_on(_day(now))
        fields["send_count_information"] = {
            "total_send_num": sent,
            "total_send_amount": sent * 100,
            "today_send_num": today,
            "today_send_amount": today * 100,
        }
        return fields

    def _modify(self, mchid: str, request: ModifyStock, now: int, told: Fields) -> Refusal | Fields:
        if not self._sees(mchid, request):
            return NOT_THERE
        stock = self.stocks[request.stock_id]
        if now >= stock.ends_at:
            return INVALID
        stock.comment = request.comment or stock.comment
        return {}

    def _budget(self, mchid: str, request: ChangeBudget, now: int, told: Fields) -> Refusal | Fields:
        if not self._sees(mchid, request):
            return NOT_THERE
        stock = self.stocks[request.stock_id]
        if now >= stock.ends_at:
            return INVALID
        if request.target_max_coupons is not None:
            if request.current_max_coupons != stock.max_coupons or request.target_max_coupons < len(stock.coupons):
                return INVALID
            stock.max_coupons = request.target_max_coupons
        else:
            if request.current_max_coupons_by_day != stock.by_day:
                return INVALID
            stock.by_day = request.target_max_coupons_by_day
        return {"max_coupons": stock.max_coupons, "max_coupons_by_day": stock.by_day}

    # Codes

    def _upload(self, mchid: str, request: UploadCodes, now: int, told: Fields) -> Refusal | Fields:
        if not self._sees(mchid, request):
            return NOT_THERE
        stock = self.stocks[request.stock_id]
        if stock.mode != "MERCHANT_UPLOAD" or now >= stock.ends_at:
            return INVALID
        codes = request.coupon_code_list
        distinct = list(dict.fromkeys(codes))
        good = [code for code in distinct if re.fullmatch(r"[0-9A-Za-z \\/=|_-]{1,32}", code)]
        new = [code for code in good if code not in stock.codes]
        if new and len(stock.codes) + len(new) > stock.max_coupons:
            return INVALID
        exist = [code for code in good if code in stock.codes]
        repeated = [code for code in distinct if codes.count(code) > 1]
        stock.codes |= dict.fromkeys(new)
        return {
            "stock_id": stock.stock_id,
            "total_count": len(distinct),
            "success_count": len(new),
            "success_codes": new,
            "success_time": _text(now),
            "fail_count": len(distinct) - len(good),
            "exist_codes": exist,
            "duplicate_codes": repeated,
        }

    def _list_codes(self, mchid: str, request: ListCodes, now: int, told: Fields) -> Refusal | Fields:
        if not self._sees(mchid, request):
            return NOT_THERE
        stock = self.stocks[request.stock_id]
        rows = [self._code(stock, code) for code in stock.codes]
        page = [row for row in rows if request.status in (None, row["code_status"])]
        page = page[request.offset : request.offset + request.limit]
        return {"total_count": len(rows), "offset": request.offset, "limit": len(page), "data": page}

    def _show_code(self, mchid: str, request: ShowCode, now: int, told: Fields) -> Refusal | Fields:
        if not self._sees(mchid, request) or request.coupon_code not in self.stocks[request.stock_id].codes:
            return NOT_THERE
        stock = self.stocks[request.stock_id]
        coupon = stock.codes[request.coupon_code]
        return {
            "code_information": self._code(stock, request.coupon_code),
            "coupon_information": coupon and self._coupon(stock, coupon, now),
        }

    def _delete(self, mchid: str, request: DeleteCode, now: int, told: Fields) -> Refusal | Fields:
        if not self._sees(mchid, request) or request.coupon_code not in self.stocks[request.stock_id].codes:
            return NOT_THERE
        stock = self.stocks[request.stock_id]
        if stock.codes[request.coupon_code] is not None:
            return INVALID
        del stock.codes[request.coupon_code]
        return {"stock_id": stock.stock_id, "delete_time": _text(now)}

    # Coupons

    def _send(self, mchid: str, request: SendCoupon, now: int, told: Fields) -> Refusal | Fields:
        if not self._sees(mchid, request):
            return NOT_THERE
        stock = self.stocks[request.stock_id]
        chosen = request.coupon_code
        if (stock.mode == "MERCHANT_API") != (chosen is not None) or now >= stock.ends_at:
            return INVALID
        if len(stock.coupons) >= stock.max_coupons:
            return NOT_ENOUGH
        if stock.by_day is not None and stock.sent_on(_day(now)) >= stock.by_day:
            return NOT_ENOUGH
        if sum(coupon.openid == request.openid for coupon in stock.coupons) >= stock.per_user:
            return RULELIMIT
        if stock.mode == "MERCHANT_UPLOAD" and not stock.free:
            return NOT_ENOUGH
        if chosen in stock.codes:
            return EXISTS_ALREADY
        code = told.get("send_coupon_result", {}).get("coupon_code") if chosen is None else chosen
        if stock.mode == "MERCHANT_UPLOAD":
            assert code in stock.free, f"{code} was drawn, and was not free"
        else:
            assert code not in stock.codes
            assert stock.mode == "MERCHANT_API" or re.fullmatch("[0-9]{22}", code or "")
        stock.codes[code] = ModelCoupon(code, request, now, *stock.validity(now))
        result = {"stock_id": stock.stock_id, "out_request_no": request.out_request_no, "coupon_code": code}
        return {"send_coupon_result": result}

    def _use(self, mchid: str, request: UseCoupon, now: int, told: Fields) -> Refusal | Fields:
        found = self._find(mchid, request)
        if isinstance(found, Refusal):
            return found
        stock, coupon = found
        if request.openid not in (None, coupon.openid):
            return INVALID
        stands = stock.stands(request.coupon_code, now)
        if stands == USED:
            return EXISTS_ALREADY
        if stands == DEACTIVATED:
            return INVALID
        if stands in (WAITING, CLOSED, EXPIRED):
            return RULELIMIT
        coupon.step = "USED"
        return {"stock_id": stock.stock_id, "openid": coupon.openid, "wechatpay_use_time": _text(now)}

    def _return(self, mchid: str, request: ReturnCoupon, now: int, told: Fields) -> Refusal | Fields:
        found = self._find(mchid, request)
        if isinstance(found, Refusal):
            return found
        if found[1].step != "USED":
            return INVALID
        found[1].step = "SENDED"
        return {"wechatpay_return_time": _text(now)}

    def _deactivate(self, mchid: str, request: DeactivateCoupon, now: int, told: Fields) -> Refusal | Fields:
        found = self._find(mchid, request)
        if isinstance(found, Refusal):
            return found
        if found[1].state(now) != "SENDED":
            return INVALID
        found[1].step = "DEACTIVATED"
        return {"wechatpay_deactivate_time": _text(now)}

    def _associate(self, mchid: str, request: AssociateOrder, now: int, told: Fields) -> Refusal | Fields:
        found = self._find(mchid, request)
        if isinstance(found, Refusal):
            return found
        if found[1].state(now) != "SENDED":
            return INVALID
        found[1].order = request.out_trade_no
        return {"wechatpay_associate_time": _text(now)}

    def _disassociate(self, mchid: str, request: DisassociateOrder, now: int, told: Fields) -> Refusal | Fields:
        found = self._find(mchid, request)
        if isinstance(found, Refusal):
            return found
        if found[1].order != request.out_trade_no:
            return INVALID
        found[1].order = None
        return {"wechatpay_disassociate_time": _text(now)}

    def _find(self, mchid: str, request: Any) -> Refusal | tuple[ModelStock, ModelCoupon]:
        if not self._sees(mchid, request):
            return NOT_THERE
        stock = self.stocks[request.stock_id]
        coupon = stock.codes.get(request.coupon_code)
        return NOT_THERE if coupon is None else (stock, coupon)

    def _show_coupon(self, mchid: str, request: ShowCoupon, now: int, told: Fields) -> Refusal | Fields:
        for stock, coupon in self.coupons_of(request.openid):
            if coupon.code == request.coupon_code and mchid in (stock.mchid, stock.belongs_to):
                return self._coupon(stock, coupon, now)
        return NOT_THERE

    def _list_coupons(self, mchid: str, request: ListCoupons, now: int, told: Fields) -> Refusal | Fields:
        rows = [
            self._coupon(stock, coupon, now)
            for stock, coupon in self.coupons_of(request.openid)
            if mchid in (stock.mchid, stock.belongs_to)
            and request.stock_id in (None, stock.stock_id)
            and request.coupon_state in (None, coupon.state(now))
            and request.creator_merchant in (None, stock.mchid)
            and request.belong_merchant in (None, stock.belongs_to)
        ]
        page = rows[request.offset : request.offset + request.limit]
        return {"total_count": len(rows), "offset": request.offset, "limit": len(page), "data": page}

    # How codes and coupons are shown

    def _code(self, stock: ModelStock, code: str) -> Fields:
        coupon = stock.codes[code]
        if coupon is None:
            return {"code": code, "code_status": "AVAILABLE", "openid": None, "coupon_code": None}
        fields = {"code": code, "code_status": "DISPATCHED", "openid": coupon.openid, "coupon_code": code}
        return fields | {"dispatched_time": _text(coupon.sent_at)}

    def _coupon(self, stock: ModelStock, coupon: ModelCoupon, now: int) -> Fields:
        return {
            "stock_id": stock.stock_id,
            "coupon_code": coupon.code,
            "coupon_state": coupon.state(now),
            "belong_merchant": stock.belongs_to,
            "send_request_no": coupon.number,
            "available_start_time": _text(coupon.starts_at),
            "expire_time": _text(coupon.expires_at),
            "receive_time": _text(coupon.sent_at),
            "associate_out_trade_no": coupon.order,
            "comment": stock.comment,
        }


def differs(expected: Any, told: Any, at: str = "answer") -> str | None:
    """Return where an answer lacks what is expected of it. None: an absent field is as good as one that is null."""
    if isinstance(expected, dict) and isinstance(told, dict):
        return next(
            (why for name in expected if (why := differs(expected[name], told.get(name), f"{at}.{name}"))), None
        )
    if isinstance(expected, list) and isinstance(told, list) and len(expected) == len(told):
        pairs = enumerate(zip(expected, told, strict=True))
        return next((why for number, (one, other) in pairs if (why := differs(one, other, f"{at}[{number}]"))), None)
    return None if expected == told else f"{at} is {told!r}, and must be {expected!r}"


def fields_of(answer: Any) -> Fields:
    """An answer as plain dictionaries."""
    read: Fields = msgspec.to_builtins(answer) if answer is not None else {}
    return read


def _text(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, BEIJING).strftime("%Y-%m-%dT%H:%M:%S+08:00")


def _seconds(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text).timestamp())


def _day(seconds: int) -> datetime.date:
    return datetime.datetime.fromtimestamp(seconds, BEIJING).date()


def _midnight(day: datetime.date) -> int:
    return int(datetime.datetime.combine(day, datetime.time(), BEIJING).timestamp())
