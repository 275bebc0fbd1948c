"""商品券 over HTTP: every operation as a provider and as a brand, and what each is told who does it wrongly."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quanma import Wechatpay
from quanma.client import config
from quanma.client.config import Settings
from quanma.errors import NoAuth, RequestRefused, ResourceNotExists
from quanma.platform.keys.environment import make_environment
from quanma.reasons import Reason
from tests.support.platform import MCHID, OTHER_MCHID, InProcess, merchant_config
from tests.support.productcoupons import APPID, DISPLAY, new_bundle, new_single

BRAND = "120344"
CALLBACK = "https://merchant.example/notify"
ORDER = {"transaction_id": "4200000001"}
_numbers = itertools.count(1)


def valid_now(body: dict[str, Any]) -> dict[str, Any]:
    """The body, valid from a month ago for half a year."""
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    period = {
        "available_begin_time": (now - datetime.timedelta(days=30)).isoformat(),
        "available_end_time": (now + datetime.timedelta(days=180)).isoformat(),
    }
    for stock, rule in (("stock", "single_usage_rule"), ("stock_bundle", "progressive_bundle_usage_rule")):
        if stock in body:
            body = {**body, stock: {**body[stock], rule: {**body[stock][rule], "coupon_available_period": period}}}
    return body


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("products") / "world"
    now = datetime.datetime.now(datetime.UTC)
    make_environment(folder, port=8460, mchids=[MCHID, OTHER_MCHID], brands=[BRAND], now=now)
    return folder


@pytest.fixture(scope="module")
def platform(world: Path) -> Iterator[InProcess]:
    running = InProcess(world, f"sqlite:///{world / 'products.db'}")
    yield running
    running.close()


class Calls:
    """Calls as a provider, who names the brand, or as the brand itself."""

    def __init__(self, platform: InProcess, world: Path, who: str) -> None:
        if who == "brand":
            brand = config.load_brand(world / "brands" / BRAND / "quanma.toml")
            self.wxpay = Wechatpay(Settings(None, brand), transport=platform.transport())
            self.product_coupon: Any = self.wxpay.brand.marketing.product_coupon
            self.brand: dict[str, str] = {}
        else:
            mchid = MCHID if who == "provider" else OTHER_MCHID
            self.wxpay = Wechatpay(config.load(merchant_config(world, mchid)), transport=platform.transport())
            self.product_coupon = self.wxpay.v3.marketing.partner.product_coupon
            self.brand = {"brand_id": BRAND}

    def no(self) -> str:
        return f"number_{next(_numbers)}"

    def create(self, body: dict[str, Any]) -> Any:
        self.product_coupon.notify_configs.post(notify_url=CALLBACK)
        return self.product_coupon.product_coupons.post(out_request_no=self.no(), **valid_now(body), **self.brand)


@pytest.fixture(params=["provider", "brand"])
def calls(platform: InProcess, world: Path, request: pytest.FixtureRequest) -> Calls:
    return Calls(platform, world, request.param)


def test_a_coupon_lives_from_its_creation_to_its_return(calls: Calls) -> None:
    made = calls.create(new_single())
    coupons = calls.product_coupon.product_coupons[made.product_coupon_id]
    stock = coupons.stocks[made.stock.stock_id]
    users = calls.product_coupon.users["oUser1"]
    ids = {"product_coupon_id": made.product_coupon_id, "stock_id": made.stock.stock_id, "appid": APPID, **calls.brand}

    uploaded = stock.upload_coupon_codes.post(
        out_request_no=calls.no(), code_list=["AAA111", "bad code"], **calls.brand
    )
    sent = users.coupons.post(send_request_no=calls.no(), attach="座位3", **ids)
    coupon = users.coupons[sent.coupon_code]
    confirmed = coupon.confirm.post(out_request_no=calls.no(), **ids)
    used = coupon.use.post(
        out_request_no=calls.no(), use_time="2026-12-01T10:00:00+08:00", associated_order_info=ORDER, **ids
    )
    returned = coupon.return_.post(out_request_no=calls.no(), **ids)
    shown = coupon.get(**ids)
    listed = users.coupons.get(appid=APPID, product_coupon_id=made.product_coupon_id, **calls.brand)
    ended = coupon.deactivate.post(out_request_no=calls.no(), deactivate_reason="退款", **ids)

    assert uploaded.success_code_list == ["AAA111"]
    assert [one.coupon_code for one in uploaded.failed_code_list] == ["bad code"]
    states = [one.coupon_state for one in (sent, confirmed, used, returned, shown, *listed.user_coupon_list, ended)]
    assert states == ["CONFIRMING", "EFFECTIVE", "USED", "EFFECTIVE", "EFFECTIVE", "EFFECTIVE", "DEACTIVATED"]
    assert (shown.coupon_code, shown.attach) == ("AAA111", "座位3")
    assert shown.brand_id == calls.brand.get("brand_id")
    assert coupons.get(**calls.brand).state == "EFFECTIVE"
    assert stock.get(**calls.brand).sent_count_info.total_count == 1


def test_what_was_made_is_changed_and_ended(calls: Calls) -> None:
    made = calls.create(new_single("WECHATPAY", store_scope="SPECIFIC"))
    coupons = calls.product_coupon.product_coupons[made.product_coupon_id]
    stock = coupons.stocks[made.stock.stock_id]
    again = valid_now(new_single("WECHATPAY"))["stock"]

    added = coupons.stocks.post(out_request_no=calls.no(), stock=again, **calls.brand)
    first = coupons.stocks.get(page_size=1, **calls.brand)
    second = coupons.stocks.get(page_size=1, page_token=first.next_page_token, **calls.brand)
    modified = stock.patch(out_request_no=calls.no(), remark="新", **calls.brand)
    budget = stock.update_budget.post(
        out_request_no=calls.no(), update_mode="MAX_COUNT", current_max_count=1000, target_max_count=7, **calls.brand
    )
    stores = [{"store_id": f"{number:03}"} for number in (1, 2, 3, 2)]
    associated = stock.associate_stores.post(store_list=stores, **calls.brand)
    stock.disassociate_stores.post(store_list=[{"store_id": "002"}], **calls.brand)
    shown = stock.associated_stores.get(page_size=1, **calls.brand)
    rest = stock.associated_stores.get(page_token=shown.next_page_token, **calls.brand)
    renamed = coupons.patch(out_request_no=calls.no(), display_info={**DISPLAY, "name": "新名字"}, **calls.brand)
    stopped = stock.deactivate.post(out_request_no=calls.no(), deactivate_reason="x", **calls.brand)
    ended = coupons.deactivate.post(out_request_no=calls.no(), deactivate_reason="x", **calls.brand)

    assert {first.stock_list[0].stock_id, second.stock_list[0].stock_id} == {made.stock.stock_id, added.stock_id}
    assert (first.total_count, second.next_page_token) == (2, None)
    assert (modified.remark, budget.stock_send_rule.max_count) == ("新", 7)
    assert associated.total_count == 3
    assert [one.store_id for one in (*shown.store_list, *rest.store_list)] == ["001", "003"]
    assert (renamed.display_info.name, stopped.state, ended.state) == ("新名字", "DEACTIVATED", "DEACTIVATED")
    assert coupons.stocks.get(state="DEACTIVATED", **calls.brand).total_count == 2


def test_a_bundle_lives_round_by_round(calls: Calls) -> None:
    made = calls.create(new_bundle(interval_days=0))
    coupons = calls.product_coupon.product_coupons[made.product_coupon_id]
    bundle_id = made.stock_bundle.stock_bundle_id
    for index, one in enumerate(made.stock_bundle.stock_list):
        codes = [f"R{index}_{code}_code" for code in range(3)]
        coupons.stocks[one.stock_id].upload_coupon_codes.post(out_request_no=calls.no(), code_list=codes, **calls.brand)
    users = calls.product_coupon.users["oUser2"]
    ids = {"product_coupon_id": made.product_coupon_id, "appid": APPID, **calls.brand}

    sent = users.coupon_bundles.post(send_request_no=calls.no(), stock_bundle_id=bundle_id, **ids)
    for one in sent.user_product_coupon_list[:2]:
        coupon = users.coupons[one.coupon_code]
        coupon.confirm.post(out_request_no=calls.no(), stock_id=one.stock.stock_id, **ids)
        coupon.use.post(
            out_request_no=calls.no(),
            use_time="2026-12-01T10:00:00+08:00",
            stock_id=one.stock.stock_id,
            associated_pay_score_order_info={"order_id": "1234"},
            **ids,
        )
    ended = users.coupon_bundles[sent.user_coupon_bundle_id].deactivate.post(
        out_request_no=calls.no(), stock_bundle_id=bundle_id, deactivate_reason="x", **ids
    )
    listed = users.coupons.get(appid=APPID, user_coupon_bundle_id=sent.user_coupon_bundle_id, **calls.brand)

    assert [one.coupon_state for one in ended.user_product_coupon_list] == ["USED", "USED", "DEACTIVATED"]
    assert listed.total_count == 3
    assert {one.user_product_coupon_bundle_info.used_count for one in listed.user_coupon_list} == {2}
    assert coupons.stocks.get(stock_bundle_id=bundle_id, **calls.brand).total_count == 3
    budget = {"update_mode": "MAX_COUNT", "current_max_count": 1000, "target_max_count": 5}
    bundle = coupons.stock_bundles[bundle_id]
    assert len(bundle.update_budget.post(out_request_no=calls.no(), **budget, **calls.brand).stock_list) == 3
    assert len(bundle.patch(out_request_no=calls.no(), remark="新", **calls.brand).stock_list) == 3


def test_a_token_gives_its_user_the_coupon_once(calls: Calls, platform: InProcess) -> None:
    made = calls.create(new_single("WECHATPAY"))
    users = calls.product_coupon.users["oUser3"]
    ids = {"product_coupon_id": made.product_coupon_id, "stock_id": made.stock.stock_id, "appid": APPID, **calls.brand}

    token = users.pre_send_coupon.post(send_request_no=calls.no(), **ids).token
    pages = [platform.ask("GET", f"/product-coupon/receive?token={token}", []) for _ in range(2)]

    listed = users.coupons.get(appid=APPID, product_coupon_id=made.product_coupon_id, **calls.brand)
    (coupon,) = listed.user_coupon_list
    assert [page.status_code for page in pages] == [200, 200]
    assert coupon.coupon_code in pages[0].body.decode()
    assert pages[0].body == pages[1].body
    assert coupon.send_channel == "RECEIVE_COMPONENT"
    assert platform.ask("GET", "/product-coupon/receive?token=bm9uZQ", []).status_code == 400


def test_a_picture_gets_an_address_and_a_task_its_picture(calls: Calls, platform: InProcess, world: Path) -> None:
    image = calls.product_coupon.media.upload_image.post(file=b"\x89PNG\r\n\x1a\n" + b"0" * 100, filename="a.png")
    assert image.image_url.startswith("https://")

    provider = Calls(platform, world, "provider")
    tasks = provider.product_coupon.image_generation_tasks
    started = {"image_generation_type": "CUT_OUT", "cut_out": {"image_url": image.image_url}, **provider.brand}
    task_id = provider.no()
    tasks.post(task_id=task_id, **started)
    shown = tasks[task_id].get(image_generation_type="CUT_OUT", **provider.brand)
    assert (shown.task_state, shown.brand_id) == ("SUCCESS", BRAND)


def test_a_callback_address_is_shown_as_it_was_set(calls: Calls) -> None:
    was_set = calls.product_coupon.notify_configs.post(notify_url=CALLBACK)
    assert calls.product_coupon.notify_configs.get() == was_set


def test_a_provider_without_a_grant_is_refused_with_the_platforms_number(platform: InProcess, world: Path) -> None:
    stranger = Calls(platform, world, "another provider")
    with pytest.raises(NoAuth) as refused:
        stranger.product_coupon.product_coupons["1000000013"].get(**stranger.brand)
    assert refused.value.reason is Reason.NO_PERMISSION
    assert str(refused.value.request_id).endswith("-268579803")


def test_providers_and_brands_do_not_see_what_the_other_made(platform: InProcess, world: Path) -> None:
    one, other = Calls(platform, world, "provider"), Calls(platform, world, "brand")
    made = one.create(new_single("WECHATPAY"))

    with pytest.raises(ResourceNotExists) as refused:
        other.product_coupon.product_coupons[made.product_coupon_id].get()

    assert refused.value.reason is Reason.OBJECT_UNKNOWN


def test_a_refusal_ends_in_the_number_that_says_why(calls: Calls) -> None:
    made = calls.create(new_single("WECHATPAY", stock_send_rule={"max_count": 9, "max_count_per_user": 1}))
    users = calls.product_coupon.users["oUser4"]
    ids = {"product_coupon_id": made.product_coupon_id, "stock_id": made.stock.stock_id, "appid": APPID, **calls.brand}
    sent = users.coupons.post(send_request_no=calls.no(), **ids)
    coupon = users.coupons[sent.coupon_code]

    def reason(call: Any, **fields: Any) -> Any:
        with pytest.raises(RequestRefused) as refused:
            call(**fields, **ids)
        return refused.value.reason

    use = {"use_time": "2026-12-01T10:00:00+08:00", "associated_order_info": ORDER}
    assert reason(users.coupons.post, send_request_no=calls.no()) is Reason.USER_LIMIT
    assert reason(coupon.use.post, out_request_no=calls.no(), **use) is Reason.COUPON_STATE
    assert reason(users.coupons["NOBODYS"].get) is Reason.COUPON_UNKNOWN
    coupon.confirm.post(out_request_no=calls.no(), **ids)
    coupon.use.post(out_request_no=calls.no(), **use, **ids)
    assert reason(coupon.use.post, out_request_no=calls.no(), **use) is Reason.COUPON_USED
