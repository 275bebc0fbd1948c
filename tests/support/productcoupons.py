"""A pool's 商品券, driven from plain functions: what a provider, or a brand, asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from quanma.api.couponcodes import UploadCodes, UploadedCodes
from quanma.api.operation import Operation
from quanma.api.productcoupon.callers import OfBoth
from quanma.api.productcoupon.coupons import ProductCoupons
from quanma.api.productcoupon.entities import UserCoupon
from quanma.api.productcoupon.usercoupons import (
    ConfirmUserCouponNode,
    DeactivateUserCouponNode,
    ReturnUserCouponNode,
    UseUserCouponNode,
)
from quanma.platform.coupons.draws import Issue
from quanma.platform.coupons.product.bundles import members_of
from quanma.platform.coupons.product.changes import Caller, Rules
from quanma.platform.coupons.product.life import PRODUCT_STEPS, Group, user_bundle, user_coupon
from quanma.platform.coupons.product.objects import CHANGES
from tests.contract.driver import NOW, DrivenPool

PROVIDER = Caller("1900000001", "120344")
BRAND = Caller("brand/120344", "120344")
OPENID, APPID = "oUser1", "wx0123456789abcdef"
DAY = 86400

PERIOD = {
    "available_begin_time": "2026-09-01T00:00:00+08:00",
    "available_end_time": "2027-03-01T00:00:00+08:00",
}
DISPLAY = {"name": "满100减10", "image_url": "https://images.example/1", "background_url": "https://images.example/2"}
SHOWN: dict[str, Any] = {
    "stock_send_rule": {"max_count": 1000, "max_count_per_user": 100},
    "usage_rule_display_info": {
        "coupon_usage_method_list": ["OFFLINE"],
        "usage_description": "到店使用",
        "coupon_available_store_info": {"description": "所有门店"},
    },
    "coupon_display_info": {"code_display_mode": "QRCODE"},
    "notify_config": {"notify_appid": APPID},
    "store_scope": "NONE",
}


def new_single(mode: str = "UPLOAD", **changes: Any) -> dict[str, Any]:
    """The body of a coupon of usage_mode SINGLE; `changes` are of its stock."""
    stock = {**SHOWN, "coupon_code_mode": mode, "single_usage_rule": {"coupon_available_period": PERIOD}, **changes}
    return {
        "scope": "ALL",
        "type": "NORMAL",
        "usage_mode": "SINGLE",
        "display_info": DISPLAY,
        "single_usage_info": {"normal_coupon": {"threshold": 10000, "discount_amount": 1000}},
        "stock": stock,
    }


def new_bundle(mode: str = "UPLOAD", rounds: int = 3, interval_days: int = 1, **changes: Any) -> dict[str, Any]:
    """The body of a coupon of usage_mode PROGRESSIVE_BUNDLE; `changes` are of its bundle."""
    benefits = [{"threshold": 10000, "discount_amount": 1000 + index} for index in range(rounds)]
    bundle = {
        **SHOWN,
        "coupon_code_mode": mode,
        "progressive_bundle_usage_rule": {"coupon_available_period": PERIOD, "normal_coupon_list": benefits},
        **changes,
    }
    return {
        "scope": "ALL",
        "type": "NORMAL",
        "usage_mode": "PROGRESSIVE_BUNDLE",
        "display_info": DISPLAY,
        "progressive_bundle_usage_info": {"count": rounds, "interval_days": interval_days},
        "stock_bundle": bundle,
    }


class DrivenProducts:
    """A provider's, or a brand's, requests to a pool. Without a number of its own, each gets a fresh one."""

    def __init__(self, driven: DrivenPool, caller: Caller = PROVIDER) -> None:
        self.driven = driven
        self.caller = caller

    def change(self, operation: OfBoth[..., Any, Any, ..., Any, Any, Any], **body: Any) -> Any:
        now = body.pop("now", NOW)
        called: Operation[..., Any, Any, Any] = operation.as_brand()
        request = msgspec.convert({"out_request_no": self._fresh(), **body}, called.request)
        (change,) = [one for one in CHANGES if one.called is called]
        return self.driven.run(self.driven.pool.change_product(self.caller, change, request, now, Rules()))

    def create(self, body: dict[str, Any] | None = None, **more: Any) -> Any:
        return self.change(ProductCoupons.post, **(body or new_single()), **more)

    def _fresh(self) -> str:
        return f"number_{self.driven.fresh()}"

    def upload(self, product_coupon_id: str, stock_id: str, codes: Sequence[str], now: int = NOW) -> UploadedCodes:
        request = UploadCodes(stock_id=stock_id, coupon_code_list=list(codes), upload_request_no=self._fresh())
        product = self.caller.product(product_coupon_id)
        return self.driven.run(self.driven.pool.upload_codes(self.caller.mchid, request, now, product))

    def give(
        self,
        product_coupon_id: str,
        stock_ids: Sequence[str],
        openid: str = OPENID,
        no: str | None = None,
        now: int = NOW,
        coupon_code: str | None = None,
    ) -> Group:
        group: Group = self.driven.run(self.giving(product_coupon_id, stock_ids, openid, no, now, coupon_code))
        return group

    def giving(
        self,
        product_coupon_id: str,
        stock_ids: Sequence[str],
        openid: str = OPENID,
        no: str | None = None,
        now: int = NOW,
        coupon_code: str | None = None,
    ) -> Any:
        product, number = self.caller.product(product_coupon_id), no or self._fresh()
        issues = [
            Issue(stock_id, openid, APPID, number, coupon_code, self.caller.mchid, "API", "", product)
            for stock_id in stock_ids
        ]
        return self.driven.pool.give(self.caller, issues, now)

    def send(self, product_coupon_id: str, stock_id: str, **more: Any) -> Any:
        group = self.give(product_coupon_id, [stock_id], **more)
        return user_coupon(group, group.held[0].coupon, more.get("now", NOW))

    def send_bundle(self, product_coupon_id: str, stock_bundle_id: str, **more: Any) -> Any:
        group = self.give(product_coupon_id, members_of(stock_bundle_id), **more)
        return user_bundle(group, more.get("now", NOW))

    def step(self, operation: OfBoth[..., Any, Any, ..., Any, Any, Any], **body: Any) -> Any:
        now = body.pop("now", NOW)
        called: Operation[..., Any, Any, Any] = operation.as_brand()
        fields = {"openid": OPENID, "appid": APPID, "out_request_no": self._fresh(), **body}
        request = msgspec.convert(fields, called.request)
        (step,) = [one for one in PRODUCT_STEPS if one.both is operation]
        return self.driven.run(
            self.driven.pool.step(self.caller.mchid, step, request, now, self.caller, request.product_coupon_id)
        )

    def confirm(self, coupon: UserCoupon, **more: Any) -> Any:
        return self.step(ConfirmUserCouponNode.post, **named(coupon), **more)

    def use(self, coupon: UserCoupon, **more: Any) -> Any:
        order: dict[str, Any] = {
            "associated_order_info": {"transaction_id": "4200000001"},
            "use_time": "2026-09-21T22:13:20+08:00",
        }
        return self.step(UseUserCouponNode.post, **named(coupon), **order, **more)

    def give_back(self, coupon: UserCoupon, **more: Any) -> Any:
        return self.step(ReturnUserCouponNode.post, **named(coupon), **more)

    def deactivate(self, coupon: UserCoupon, **more: Any) -> Any:
        return self.step(DeactivateUserCouponNode.post, **named(coupon), deactivate_reason="退款", **more)


def named(coupon: UserCoupon) -> dict[str, Any]:
    return {
        "product_coupon_id": coupon.product_coupon.product_coupon_id,
        "stock_id": coupon.stock.stock_id,
        "coupon_code": coupon.coupon_code,
    }
