"""Every step of a coupon, where it leads from each state, and a request that asks for it."""

from __future__ import annotations

from typing import Any

from quanma.api.coupons import AssociateOrder, DeactivateCoupon, DisassociateOrder, ReturnCoupon, UseCoupon
from quanma.api.subsidy import PaySubsidy, ReturnSubsidy
from quanma.platform.coupons.states import ASSOCIATE, DEACTIVATE, DISASSOCIATE, RETURN, USE
from quanma.platform.coupons.step import Step
from quanma.platform.coupons.subsidies import PAY, TAKE_BACK
from tests.support.platform import APPID, MCHID

STATES = ("SENDED", "USED", "EXPIRED", "DEACTIVATED")
LEADS_TO: dict[str, dict[str, str]] = {
    "use": {"SENDED": "USED"},
    "return": {"USED": "SENDED"},
    "deactivate": {"SENDED": "DEACTIVATED"},
    "associate": {"SENDED": "SENDED"},
    "disassociate": {state: state for state in STATES},
    "pay": {"USED": "USED"},
    "take back": {state: state for state in STATES},
}
"""The drawing in platform/coupons/states.py: by step, the states that it starts from, and where it leads."""
STEP: dict[str, Step[Any, Any]] = {
    "use": USE,
    "return": RETURN,
    "deactivate": DEACTIVATE,
    "associate": ASSOCIATE,
    "disassociate": DISASSOCIATE,
    "pay": PAY,
    "take back": TAKE_BACK,
}
ORDER, TRANSACTION = "order-1", "4200000913202101152566792388"
"""The order that a coupon is tied to, and the transaction in which it was paid for."""


def request_of(step: str, stock_id: str, coupon_code: str, number: str) -> Any:
    """A request that nothing but the coupon's state can be wrong with."""
    coupon = {"stock_id": stock_id, "coupon_code": coupon_code}
    subsidy: dict[str, Any] = {
        **coupon,
        "transaction_id": TRANSACTION,
        "payer_merchant": MCHID,
        "payee_merchant": MCHID,
        "amount": 10,
        "description": "d",
    }
    requests: dict[str, Any] = {
        "use": lambda: UseCoupon(**coupon, appid=APPID, use_time="2026-09-21T22:13:20+08:00", use_request_no=number),
        "return": lambda: ReturnCoupon(**coupon, return_request_no=number),
        "deactivate": lambda: DeactivateCoupon(**coupon, deactivate_request_no=number, deactivate_reason="lost"),
        "associate": lambda: AssociateOrder(**coupon, out_trade_no=ORDER, out_request_no=number),
        "disassociate": lambda: DisassociateOrder(**coupon, out_trade_no=ORDER, out_request_no=number),
        "pay": lambda: PaySubsidy(**subsidy, out_subsidy_no=number),
        "take back": lambda: ReturnSubsidy(**subsidy, refund_id="r1", out_subsidy_return_no=number),
    }
    return requests[step]()
