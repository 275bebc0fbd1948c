"""商品券: one declaration for a brand and for a provider; what must go together in a request."""

from __future__ import annotations

from typing import Any

import pytest

from quanma.api.operation import Operation, build
from quanma.api.productcoupon import checks
from quanma.api.productcoupon.benefits import ProgressiveBundleUsageRule
from quanma.api.productcoupon.coupons import CreateProductCoupon, ProductCoupons
from quanma.api.productcoupon.stocks import UpdateStockBudget
from quanma.api.productcoupon.usercoupons import UseUserCoupon, UseUserCouponNode
from quanma.api.tree import OPERATIONS
from quanma.errors import AlreadyExists, RateLimitExceeded, RequestInvalid, RequestRefused, named
from quanma.reasons import Reason
from quanma.wire import codec
from tests.support.every import every, every_row

PROVIDERS, BRANDS = "/v3/marketing/partner/product-coupon", "/brand/marketing/product-coupon"
WITHOUT_BRAND_ID = ("/notify-configs", "/media/upload-image")
IMAGE = "https://wxpaylogo.qpic.cn/wxpaylogo/xxxxx/xxx"
PERIOD = {"available_begin_time": "2026-11-01T00:00:00+08:00", "available_end_time": "2026-12-01T00:00:00+08:00"}
NORMAL = {"threshold": 10000, "discount_amount": 1000}
STOCK: dict[str, Any] = {
    "coupon_code_mode": "UPLOAD",
    "stock_send_rule": {"max_count": 10000, "max_count_per_user": 1},
    "usage_rule_display_info": {
        "coupon_usage_method_list": ["OFFLINE"],
        "usage_description": "全场可用",
        "coupon_available_store_info": {"description": "所有门店可用"},
    },
    "coupon_display_info": {"code_display_mode": "QRCODE"},
    "notify_config": {"notify_appid": "wx233544546545989"},
    "store_scope": "NONE",
}
SINGLE_STOCK = {**STOCK, "single_usage_rule": {"coupon_available_period": PERIOD}}
ALL: dict[str, Any] = {
    "out_request_no": "CREATE_1",
    "scope": "ALL",
    "type": "NORMAL",
    "usage_mode": "SINGLE",
    "display_info": {"name": "全场满100减10", "image_url": IMAGE, "background_url": IMAGE},
    "single_usage_info": {"normal_coupon": NORMAL},
    "stock": SINGLE_STOCK,
}
OWN_RULE = {"coupon_available_period": PERIOD, "normal_coupon": NORMAL}
BUNDLE = {
    **STOCK,
    "progressive_bundle_usage_rule": {
        "coupon_available_period": PERIOD,
        "normal_coupon_list": [{"threshold": 10000, "discount_amount": amount} for amount in (1000, 1500, 2000)],
    },
}
OF_BUNDLE = {
    **{name: value for name, value in ALL.items() if name not in ("single_usage_info", "stock")},
    "usage_mode": "PROGRESSIVE_BUNDLE",
    "progressive_bundle_usage_info": {"count": 3, "interval_days": 1},
    "stock_bundle": BUNDLE,
}


def pairs() -> list[tuple[Operation[..., Any, Any, Any], Operation[..., Any, Any, Any]]]:
    """A brand's operation and the provider's."""
    by_place = {(one.verb, one.path): one for one in OPERATIONS}
    brands = [one for one in OPERATIONS if one.path.startswith(BRANDS)]
    return [(one, by_place[one.verb, one.path.replace(BRANDS, PROVIDERS)]) for one in brands]


@every(pairs(), repr)
def test_a_provider_gives_a_brand_id_and_nothing_else_is_different(
    pair: tuple[Operation[..., Any, Any, Any], Operation[..., Any, Any, Any]],
) -> None:
    brands, providers = pair
    added = set() if brands.path.endswith(WITHOUT_BRAND_ID) else {"brand_id"}
    assert set(providers.request.__struct_fields__) - set(brands.request.__struct_fields__) == added
    assert (providers.response, providers.summary, providers.number, providers.errors, providers.check) == (
        brands.response,
        brands.summary,
        brands.number,
        brands.errors,
        brands.check,
    )


def test_all_35_operations_of_a_provider_and_33_of_a_brand_are_declared() -> None:
    assert len([one for one in OPERATIONS if one.path.startswith(PROVIDERS)]) == 35
    assert len(pairs()) == 33


@every_row(
    "body",
    [
        ALL,
        OF_BUNDLE,
        {**ALL, "scope": "SINGLE", "single_usage_info": None, "stock": {**SINGLE_STOCK, "single_usage_rule": OWN_RULE}},
    ],
)
def test_a_coupon_with_its_benefit_in_its_place_is_taken(body: dict[str, Any]) -> None:
    request = build(CreateProductCoupon, body)
    assert checks.of_creation(request) is None
    codec.encode_request(ProductCoupons.post.as_brand(), request)


def stock_with(**changes: Any) -> dict[str, Any]:
    return {"stock": {**SINGLE_STOCK, **changes}}


def period_with(**changes: Any) -> dict[str, Any]:
    return stock_with(single_usage_rule={"coupon_available_period": {**PERIOD, **changes}})


@every_row(
    ("body", "told"),
    [
        ({**ALL, "type": "EXCHANGE"}, "EXCHANGE is only for scope SINGLE"),
        ({**ALL, "single_usage_info": None}, "give single_usage_info.normal_coupon"),
        ({**ALL, "type": "DISCOUNT"}, "type DISCOUNT has discount_coupon in single_usage_info"),
        ({**ALL, **stock_with(single_usage_rule=OWN_RULE)}, "none in stock.single_usage_rule"),
        ({**ALL, "scope": "SINGLE"}, "leave single_usage_info out"),
        ({**ALL, "scope": "SINGLE", "single_usage_info": None}, "normal_coupon in stock.single_usage_rule"),
        ({**ALL, "stock": None}, "usage_mode SINGLE has a stock"),
        ({**ALL, "stock_bundle": BUNDLE}, "no stock_bundle"),
        ({**ALL, "progressive_bundle_usage_info": {"count": 3}}, "no progressive_bundle_usage_info"),
        ({**ALL, "display_info": {**ALL["display_info"], "original_price": 100}}, "only for scope SINGLE"),
        ({**OF_BUNDLE, "stock_bundle": None}, "PROGRESSIVE_BUNDLE has a stock_bundle"),
        ({**OF_BUNDLE, "stock": SINGLE_STOCK}, "and no stock"),
        ({**OF_BUNDLE, "progressive_bundle_usage_info": None}, "needs progressive_bundle_usage_info"),
        ({**OF_BUNDLE, "progressive_bundle_usage_info": {"count": 4}}, "has 3 rounds, and count is 4"),
        ({**OF_BUNDLE, "type": "DISCOUNT"}, "discount_coupon_list in stock_bundle.progressive_bundle_usage_rule"),
        ({**OF_BUNDLE, "single_usage_info": {"normal_coupon": NORMAL}}, "has no single_usage_info"),
        ({**ALL, **period_with(wait_days_after_receive=1)}, "needs available_days"),
        ({**ALL, **period_with(available_end_time="2027-12-01T00:00:00+08:00")}, "more than a year"),
        ({**ALL, **period_with(available_end_time="2026-10-01T00:00:00+08:00")}, "not after available_begin_time"),
        (
            {**ALL, **period_with(weekly_available_period={"day_period_list": [{"begin_time": 0, "end_time": 9}]})},
            "day_list",
        ),
        (
            {
                **ALL,
                **period_with(available_days=3, irregular_available_period_list=[{"begin_time": "a", "end_time": "b"}]),
            },
            "goes without available_days",
        ),
        (
            {
                **ALL,
                **stock_with(
                    usage_rule_display_info={
                        **STOCK["usage_rule_display_info"],
                        "coupon_usage_method_list": ["MINI_PROGRAM"],
                    }
                ),
            },
            "needs mini_program_appid",
        ),
        (
            {**ALL, **stock_with(usage_rule_display_info={**STOCK["usage_rule_display_info"], "app_path": "/a"})},
            "goes with app_path",
        ),
    ],
)
def test_what_does_not_go_together_is_told_before_it_is_sent_and_refused_where_it_arrives(
    body: dict[str, Any], told: str
) -> None:
    operation = ProductCoupons.post.as_brand()
    with pytest.raises(RequestInvalid, match=told):
        codec.encode_request(operation, build(CreateProductCoupon, body))
    arrived = build(CreateProductCoupon, body).to_json().encode()
    with pytest.raises(RequestRefused, match=told) as refused:
        codec.decode_request(operation, {}, b"", arrived)
    assert (refused.value.code, refused.value.reason) == ("INVALID_REQUEST", Reason.BAD_PARAMETER)


USE = {
    "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    "coupon_code": "Code_1",
    "product_coupon_id": "1000000013",
    "stock_id": "1000000013001",
    "appid": "wx233544546545989",
    "use_time": "2026-11-01T00:00:00+08:00",
    "out_request_no": "USE_0001",
}
ORDER = {"transaction_id": "4200000913202101152566792388"}


@every_row(
    ("orders", "told"),
    [
        ({}, "a use needs an order"),
        ({"associated_order_info": ORDER, "associated_pay_score_order_info": {"order_id": "1"}}, "not both"),
        ({"associated_order_info": {}}, "names no order: give transaction_id, or out_trade_no with mchid"),
        ({"associated_order_info": {"out_trade_no": "1"}}, "out_trade_no needs its mchid"),
        ({"associated_pay_score_order_info": {"out_order_no": "1"}}, "out_order_no needs its mchid"),
    ],
)
def test_a_use_names_exactly_one_order(orders: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestInvalid, match=told):
        codec.encode_request(UseUserCouponNode.post.as_brand(), build(UseUserCoupon, {**USE, **orders}))


def test_a_use_with_one_order_is_sent() -> None:
    request = build(UseUserCoupon, {**USE, "associated_order_info": ORDER})
    assert b"transaction_id" in codec.encode_request(UseUserCouponNode.post.as_brand(), request).body


BUDGET = {"product_coupon_id": "1", "stock_id": "1", "out_request_no": "BUDGET_1"}


@every_row(
    ("budget", "told"),
    [
        ({"update_mode": "MAX_COUNT", "target_max_count": 10}, "needs current_max_count, as it is now"),
        (
            {"update_mode": "MAX_COUNT_PER_DAY", "current_max_count": 1, "target_max_count": 2},
            "current_max_count_per_day",
        ),
        (
            {"update_mode": "MAX_COUNT", "current_max_count": 1, "target_max_count": 2, "target_max_count_per_day": 2},
            "goes without current_max_count_per_day",
        ),
    ],
)
def test_a_budget_has_the_pair_that_its_mode_names(budget: dict[str, Any], told: str) -> None:
    assert told in str(checks.of_budget(build(UpdateStockBudget, {**BUDGET, **budget})))


@every_row(("amounts", "round_"), [((10, 10, 20), None), ((10, 9, 20), 1), ((10, 20, 15), 2)])
def test_a_round_that_gives_less_than_the_one_before_is_found(amounts: tuple[int, ...], round_: int | None) -> None:
    rounds = [{"threshold": 100, "discount_amount": amount} for amount in amounts]
    rule = build(ProgressiveBundleUsageRule, {"coupon_available_period": PERIOD, "normal_coupon_list": rounds})
    assert checks.less_generous(rule) == round_


@every_row(
    ("request_id", "reason"),
    [
        ("08F2D3-268578367", Reason.COUPON_STATE),
        ("08F2D3-272756745", Reason.COUPON_USED),
        ("08F2D3-0", None),
        ("08F2D3", None),
        ("", None),
        (None, None),
        ("-" + "9" * 9000, None),
    ],
)
def test_the_number_at_the_end_of_a_request_id_says_why(request_id: str | None, reason: Reason | None) -> None:
    error = RequestRefused("no", request_id=request_id)
    assert error.reason is reason
    assert (reason.meaning in str(error)) if reason else error.reason is None


def test_the_codes_of_product_coupons_have_their_classes() -> None:
    assert named(400, "ALREADY_EXISTS") is AlreadyExists
    assert named(429, "RATELIMIT_EXCEEDED") is RateLimitExceeded


def test_words_and_fields_of_tomorrow_in_an_answer_are_let_through() -> None:
    body = (
        b'{"product_coupon_id":"1","scope":"CITY","type":"GIFT","usage_mode":"SEQUENTIAL","state":"REJECTED","new":1,'
        b'"display_info":{"name":"n","image_url":"","background_url":"","new":1}}'
    )
    coupon = codec.decode_answer(ProductCoupons.post.as_brand(), body)
    assert (coupon.scope, coupon.usage_mode, coupon.display_info.name) == ("CITY", "SEQUENTIAL", "n")
