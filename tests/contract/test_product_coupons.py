"""商品券 in every back end: from the creation to the till, alone and as a bundle."""

from __future__ import annotations

import msgspec
import pytest

from quanma.api.productcoupon.bundles import StockBundles, UpdateBundleBudgetNode
from quanma.api.productcoupon.coupons import DeactivateProductCouponNode, ProductCouponNode, ProductCoupons
from quanma.api.productcoupon.stocks import DeactivateStockNode, ProductStockNode, ProductStocks, UpdateStockBudgetNode
from quanma.api.productcoupon.usercoupons import DeactivateUserCouponBundleNode, SendUserCoupon
from quanma.errors import AlreadyExists, NotEnough, RequestRefused, ResourceNotExists, RuleLimit
from quanma.platform.coupons.product.bundles import members_of
from quanma.platform.coupons.product.changes import Caller, Rules
from quanma.platform.coupons.product.objects import CHANGES
from quanma.platform.productcoupons import given
from quanma.reasons import Reason
from tests.contract.driver import DAY, NOW, DrivenPool
from tests.support.productcoupons import BRAND, PROVIDER, DrivenProducts, new_bundle, new_single

pytestmark = pytest.mark.both_back_ends


@pytest.fixture
def products(pool: DrivenPool) -> DrivenProducts:
    return DrivenProducts(pool)


def test_a_coupon_is_drawn_confirmed_used_returned_and_deactivated(products: DrivenProducts) -> None:
    made = products.create()
    ids = made.product_coupon_id, made.stock.stock_id
    products.upload(*ids, ["AAA111", "BBB222"])

    sent = products.send(*ids)

    assert sent.coupon_state == "CONFIRMING"
    assert sent.coupon_code in ("AAA111", "BBB222")
    assert sent.stock.coupon_code_count_info.available_count == 1
    assert products.confirm(sent).coupon_state == "EFFECTIVE"
    used = products.use(sent)
    assert used.coupon_state == "USED"
    assert used.single_usage_detail.associated_order_info.transaction_id == "4200000001"
    assert products.give_back(sent).coupon_state == "EFFECTIVE"
    assert products.deactivate(sent).coupon_state == "DEACTIVATED"


def test_a_coupon_that_was_not_confirmed_can_not_be_used(products: DrivenProducts) -> None:
    made = products.create(new_single("WECHATPAY"))
    sent = products.send(made.product_coupon_id, made.stock.stock_id)

    with pytest.raises(RequestRefused, match="confirm it first") as refused:
        products.use(sent)

    assert refused.value.reason is Reason.COUPON_STATE


def test_a_repeated_number_has_the_first_answer_after_a_restart_too(pool: DrivenPool, products: DrivenProducts) -> None:
    body = {**new_single("WECHATPAY"), "out_request_no": "create_1"}
    made = products.create(body)
    ids = made.product_coupon_id, made.stock.stock_id
    sent = products.send(*ids, no="send_1")
    confirmed = products.confirm(sent, out_request_no="confirm_1")
    used = products.use(sent, out_request_no="use_001")

    pool.reopen()

    assert products.create(body) == made
    assert products.send(*ids, no="send_1").coupon_code == sent.coupon_code
    assert products.confirm(sent, out_request_no="confirm_1") == confirmed
    assert products.use(sent, out_request_no="use_001") == used


def test_a_number_that_was_used_with_other_fields_is_refused(products: DrivenProducts) -> None:
    made = products.create({**new_single("WECHATPAY"), "out_request_no": "create_1"})
    sent = products.send(made.product_coupon_id, made.stock.stock_id)
    products.confirm(sent)
    products.use(sent, out_request_no="use_001")

    with pytest.raises(AlreadyExists):
        products.create({**new_single("UPLOAD"), "out_request_no": "create_1"})
    with pytest.raises(RequestRefused):
        products.use(sent, out_request_no="use_001", saved_amount=5)
    with pytest.raises(RequestRefused) as refused:
        products.use(sent, out_request_no="use_002")
    assert refused.value.reason is Reason.COUPON_USED


def test_a_code_that_the_caller_assigns_is_given_once(products: DrivenProducts) -> None:
    made = products.create(new_single("API_ASSIGN"))
    ids = made.product_coupon_id, made.stock.stock_id

    assert products.send(*ids, coupon_code="MINE_1").coupon_code == "MINE_1"
    with pytest.raises(RequestRefused):
        products.send(*ids, coupon_code="MINE_1", openid="oUser2")


def test_what_another_made_is_not_there(pool: DrivenPool, products: DrivenProducts) -> None:
    made = products.create(new_single("WECHATPAY"))
    ids = made.product_coupon_id, made.stock.stock_id
    sent = products.send(*ids)

    for other in (BRAND, Caller("1900000009", "120344"), Caller(PROVIDER.mchid, "120999")):
        stranger = DrivenProducts(pool, other)
        with pytest.raises(ResourceNotExists):
            stranger.send(*ids)
        with pytest.raises(ResourceNotExists):
            stranger.confirm(sent)
        with pytest.raises(ResourceNotExists):
            stranger.upload(*ids, ["AAA111"])
        with pytest.raises(ResourceNotExists):
            stranger.change(DeactivateProductCouponNode.post, product_coupon_id=ids[0], deactivate_reason="x")


def test_limits_hold_for_unconfirmed_coupons_too(products: DrivenProducts) -> None:
    rule = {"max_count": 2, "max_count_per_user": 1}
    made = products.create(new_single("WECHATPAY", stock_send_rule=rule))
    ids = made.product_coupon_id, made.stock.stock_id
    products.send(*ids)

    with pytest.raises(RuleLimit):
        products.send(*ids)
    products.send(*ids, openid="oUser2")
    with pytest.raises(NotEnough):
        products.send(*ids, openid="oUser3")


def test_codes_beyond_a_lower_budget_are_kept_for_a_higher_one(products: DrivenProducts) -> None:
    made = products.create(new_single(stock_send_rule={"max_count": 1, "max_count_per_user": 100}))
    ids = made.product_coupon_id, made.stock.stock_id
    products.upload(*ids, ["AAA111", "BBB222"])
    products.send(*ids)
    budget = {"product_coupon_id": ids[0], "stock_id": ids[1], "update_mode": "MAX_COUNT"}

    with pytest.raises(NotEnough):
        products.send(*ids)
    with pytest.raises(RequestRefused, match="真实值不符"):
        products.change(UpdateStockBudgetNode.post, **budget, current_max_count=5, target_max_count=9)
    products.change(UpdateStockBudgetNode.post, **budget, current_max_count=1, target_max_count=2)
    products.send(*ids)
    with pytest.raises(RequestRefused, match="不能小于已发放数量"):
        products.change(UpdateStockBudgetNode.post, **budget, current_max_count=2, target_max_count=1)


def test_a_deactivated_product_coupon_ends_its_stocks_and_no_users_coupon(
    pool: DrivenPool, products: DrivenProducts
) -> None:
    made = products.create(new_single("WECHATPAY"))
    product_coupon_id = made.product_coupon_id
    second = products.change(
        ProductStocks.post, product_coupon_id=product_coupon_id, stock=new_single("WECHATPAY")["stock"]
    )
    sent = products.send(product_coupon_id, made.stock.stock_id)

    ended = products.change(
        DeactivateProductCouponNode.post, product_coupon_id=product_coupon_id, deactivate_reason="结束"
    )
    pool.reopen()

    assert ended.state == "DEACTIVATED"
    for stock_id in (made.stock.stock_id, second.stock_id):
        with pytest.raises(RequestRefused) as refused:
            products.send(product_coupon_id, stock_id)
        assert refused.value.reason is Reason.STOCK_NOT_SENDING
    assert products.confirm(sent).coupon_state == "EFFECTIVE"


def test_a_stock_that_was_modified_shows_it_and_a_deactivated_one_gives_nothing(products: DrivenProducts) -> None:
    made = products.create(new_single("WECHATPAY"))
    named_stock = {"product_coupon_id": made.product_coupon_id, "stock_id": made.stock.stock_id}

    modified = products.change(ProductStockNode.patch, **named_stock, remark="新")
    ended = products.change(DeactivateStockNode.post, **named_stock, deactivate_reason="结束")

    assert (modified.remark, modified.state) == ("新", "SENDING")
    assert (ended.remark, ended.state) == ("新", "DEACTIVATED")
    with pytest.raises(RequestRefused):
        products.send(made.product_coupon_id, made.stock.stock_id)


def test_the_display_of_a_product_coupon_is_replaced(products: DrivenProducts) -> None:
    made = products.create(new_single("WECHATPAY"))
    display = {"name": "新名字", "image_url": "https://images.example/3", "background_url": "https://images.example/4"}

    modified = products.change(ProductCouponNode.patch, product_coupon_id=made.product_coupon_id, display_info=display)

    assert modified.display_info.name == "新名字"
    assert products.send(made.product_coupon_id, made.stock.stock_id).product_coupon.display_info.name == "新名字"


# Bundles


def bundle(products: DrivenProducts, codes: int = 4, rounds: int = 3, interval_days: int = 1) -> tuple[str, str]:
    """A bundle with so many codes in each member. Returns the product coupon's id, and the bundle's."""
    made = products.create(new_bundle(rounds=rounds, interval_days=interval_days))
    for index, stock in enumerate(made.stock_bundle.stock_list):
        products.upload(made.product_coupon_id, stock.stock_id, [f"R{index}_code_{one}" for one in range(codes)])
    return made.product_coupon_id, made.stock_bundle.stock_bundle_id


def test_a_bundle_gives_one_code_of_each_members_own_pool(products: DrivenProducts) -> None:
    ids = bundle(products)

    sent = products.send_bundle(*ids, no="bundle_1")

    assert [one.coupon_code[:2] for one in sent.user_product_coupon_list] == ["R0", "R1", "R2"]
    assert [one.user_product_coupon_bundle_info.user_coupon_bundle_index for one in sent.user_product_coupon_list] == [
        0,
        1,
        2,
    ]
    assert [one.stock.coupon_code_count_info.available_count for one in sent.user_product_coupon_list] == [3, 3, 3]
    assert products.send_bundle(*ids, no="bundle_1") == sent


def test_a_bundle_is_given_whole_or_not_at_all(products: DrivenProducts) -> None:
    product_coupon_id, stock_bundle_id = bundle(products, codes=2)
    *_, last = members_of(stock_bundle_id)
    products.upload(product_coupon_id, members_of(stock_bundle_id)[0], ["extra_1"])
    for openid in ("oUser1", "oUser2"):
        products.send_bundle(product_coupon_id, stock_bundle_id, openid=openid)

    with pytest.raises(NotEnough):
        products.send_bundle(product_coupon_id, stock_bundle_id, openid="oUser3")

    products.upload(product_coupon_id, last, ["extra_2"])
    with pytest.raises(NotEnough):
        products.send_bundle(product_coupon_id, stock_bundle_id, openid="oUser3")
    products.upload(product_coupon_id, members_of(stock_bundle_id)[1], ["extra_3"])
    sent = products.send_bundle(product_coupon_id, stock_bundle_id, openid="oUser3")
    assert [one.coupon_code for one in sent.user_product_coupon_list][1:] == ["extra_3", "extra_2"]


def test_many_bundles_at_once_carry_no_code_twice(pool: DrivenPool, products: DrivenProducts) -> None:
    product_coupon_id, stock_bundle_id = bundle(products, codes=30)
    members = members_of(stock_bundle_id)

    outcomes = pool.together(
        *(products.giving(product_coupon_id, members, f"oUser{one % 25}", f"number_{one}") for one in range(40))
    )

    given = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
    codes = [held.coupon.coupon_code for group in given for held in group.held]
    assert len(given) == 30
    assert len(codes) == len(set(codes)) == 90


def test_rounds_are_used_in_order_with_days_between_and_the_last_is_returned(products: DrivenProducts) -> None:
    first, second, third = products.send_bundle(*bundle(products)).user_product_coupon_list
    for one in (first, second, third):
        products.confirm(one)

    with pytest.raises(RequestRefused, match="comes first"):
        products.use(second)
    products.use(first)
    with pytest.raises(RequestRefused, match="days apart"):
        products.use(second, now=NOW + 60)
    used = products.use(second, now=NOW + DAY)
    assert used.user_product_coupon_bundle_info.used_count == 2
    with pytest.raises(RequestRefused, match="used last"):
        products.give_back(first, now=NOW + DAY)
    assert products.give_back(second, now=NOW + DAY).coupon_state == "EFFECTIVE"


def test_a_users_bundle_is_deactivated_but_for_what_was_used(products: DrivenProducts) -> None:
    product_coupon_id, stock_bundle_id = bundle(products)
    sent = products.send_bundle(product_coupon_id, stock_bundle_id)
    first = sent.user_product_coupon_list[0]
    products.confirm(first)
    products.use(first)
    fields = {
        "product_coupon_id": product_coupon_id,
        "stock_bundle_id": stock_bundle_id,
        "user_coupon_bundle_id": sent.user_coupon_bundle_id,
        "deactivate_reason": "退款",
    }

    ended = products.step(DeactivateUserCouponBundleNode.post, **fields)

    assert [one.coupon_state for one in ended.user_product_coupon_list] == ["USED", "DEACTIVATED", "DEACTIVATED"]
    with pytest.raises(ResourceNotExists):
        products.step(DeactivateUserCouponBundleNode.post, **{**fields, "user_coupon_bundle_id": "1" * 30})


def test_a_bundles_budget_changes_in_every_member(products: DrivenProducts) -> None:
    product_coupon_id, stock_bundle_id = bundle(products)
    budget = {"product_coupon_id": product_coupon_id, "stock_bundle_id": stock_bundle_id, "update_mode": "MAX_COUNT"}

    changed = products.change(UpdateBundleBudgetNode.post, **budget, current_max_count=1000, target_max_count=5)

    assert [one.stock_send_rule.max_count for one in changed.stock_list] == [5, 5, 5]


def test_a_later_round_must_not_be_less_generous(products: DrivenProducts) -> None:
    body = new_bundle()
    benefits = body["stock_bundle"]["progressive_bundle_usage_rule"]["normal_coupon_list"]
    benefits[2] = {"threshold": 10000, "discount_amount": 1}

    with pytest.raises(RequestRefused) as refused:
        products.create(body)

    assert refused.value.reason is Reason.ROUND_LESS_GENEROUS


def test_a_member_of_a_bundle_is_not_changed_alone(products: DrivenProducts) -> None:
    product_coupon_id, stock_bundle_id = bundle(products)
    member = members_of(stock_bundle_id)[0]

    with pytest.raises(RequestRefused, match="member of a bundle"):
        products.change(ProductStockNode.patch, product_coupon_id=product_coupon_id, stock_id=member, remark="新")


def test_a_second_bundle_is_added(products: DrivenProducts) -> None:
    product_coupon_id, _ = bundle(products)

    added = products.change(
        StockBundles.post, product_coupon_id=product_coupon_id, stock_bundle=new_bundle()["stock_bundle"]
    )

    assert len(added.stock_list) == 3


def test_what_is_new_is_audited_for_as_long_as_it_is_set(pool: DrivenPool, products: DrivenProducts) -> None:
    (change,) = [one for one in CHANGES if one.called is ProductCoupons.post.as_brand()]
    request = msgspec.convert({**new_single("WECHATPAY"), "out_request_no": "create_1"}, change.called.request)

    made = pool.run(pool.pool.change_product(PROVIDER, change, request, NOW, Rules(audit_seconds=60)))

    assert (made.state, made.stock.state) == ("AUDITING", "AUDITING")
    with pytest.raises(RequestRefused, match="AUDITING") as refused:
        products.send(made.product_coupon_id, made.stock.stock_id, now=NOW + 59)
    assert refused.value.reason is Reason.STOCK_NOT_SENDING
    sent = products.send(made.product_coupon_id, made.stock.stock_id, now=NOW + 60)
    assert (sent.product_coupon.state, sent.stock.state) == ("EFFECTIVE", "SENDING")


def test_a_stock_that_platform_toml_pauses_gives_nothing_out(pool: DrivenPool, products: DrivenProducts) -> None:
    made = products.create(new_single("WECHATPAY"))
    request = SendUserCoupon(
        openid="oUser1",
        product_coupon_id=made.product_coupon_id,
        stock_id=made.stock.stock_id,
        appid="wx0123456789abcdef",
        send_request_no="send_1",
    )

    with pytest.raises(RequestRefused, match="PAUSED") as refused:
        pool.run(given(pool.pool, PROVIDER, request, "API", NOW, frozenset({made.stock.stock_id})))

    assert refused.value.reason is Reason.STOCK_NOT_SENDING
    assert pool.run(given(pool.pool, PROVIDER, request, "API", NOW, frozenset())).held[0].coupon.openid == "oUser1"
