"""kill -9 of `quanma serve` in the life of a bundle of 5 rounds: given whole or not at all, and each number once."""

from __future__ import annotations

import secrets
import threading
from typing import Any

import pytest

from quanma.errors import NotSent, OutcomeUnknown, TryAgain
from tests.platform.test_product_coupons import CALLBACK, valid_now
from tests.support.platform import APPID, Served
from tests.support.productcoupons import new_bundle
from tests.support.under_load import client

ROUNDS, USERS, KILLS = 5, 4, 4
BRAND = {"brand_id": "120344"}

pytestmark = [pytest.mark.both_back_ends, pytest.mark.timeout(180)]


class Killed:
    """Calls that are made, killed after, and made again under their numbers: each must have its first answer."""

    def __init__(self, serving: Served) -> None:
        self.serving = serving

    def ask(self, call: Any, **fields: Any) -> Any:
        with client(self.serving) as wxpay:
            first = call(wxpay)(**fields)
        self.serving.kill()
        self.serving.start()
        with client(self.serving) as wxpay:
            assert call(wxpay)(**fields) == first
        return first


@pytest.mark.slow
def test_a_bundle_of_five_rounds_lives_through_kills(serving: Served) -> None:
    with client(serving) as wxpay:
        provider: Any = wxpay.v3.marketing.partner.product_coupon
        provider.notify_configs.post(notify_url=CALLBACK)
        made = provider.product_coupons.post(
            out_request_no="create_1", **valid_now(new_bundle(rounds=ROUNDS, interval_days=0)), **BRAND
        )
        bundle = made.stock_bundle
        assert bundle is not None
        for index, stock in enumerate(bundle.stock_list):
            codes = [f"R{index}_{number:03}_code" for number in range(200)]
            product = provider.product_coupons[made.product_coupon_id]
            product.stocks[stock.stock_id].upload_coupon_codes.post(out_request_no="upload_1", code_list=codes, **BRAND)
    ids: dict[str, Any] = {"product_coupon_id": made.product_coupon_id, "appid": APPID, **BRAND}
    given = _given_through_kills(serving, bundle.stock_bundle_id, ids)
    with client(serving) as wxpay:
        product = wxpay.v3.marketing.partner.product_coupon.product_coupons[made.product_coupon_id]
        members = product.stocks.get(stock_bundle_id=bundle.stock_bundle_id, **BRAND).stock_list
    # Whole or not at all: each member has given out as many.
    assert {one.sent_count_info.total_count for one in members if one.sent_count_info} == {len(given)}
    codes = [one.coupon_code for sent in given.values() for one in sent.user_product_coupon_list]
    assert len(codes) == len(set(codes)) == ROUNDS * len(given)
    assert len(given) > KILLS

    (openid, _), sent = next(iter(given.items()))
    killed = Killed(serving)
    for one in sent.user_product_coupon_list[:4]:
        named = {**ids, "stock_id": one.stock.stock_id}

        def coupon(wxpay: Any, code: str = one.coupon_code) -> Any:
            return wxpay.v3.marketing.partner.product_coupon.users[openid].coupons[code]

        with client(serving) as wxpay:
            coupon(wxpay).confirm.post(out_request_no=f"confirm_{one.coupon_code}", **named)
        used = killed.ask(
            lambda wxpay, coupon=coupon: coupon(wxpay).use.post,
            out_request_no=f"use_{one.coupon_code}",
            use_time="2026-12-01T10:00:00+08:00",
            associated_order_info={"transaction_id": "4200000001"},
            **named,
        )
        assert used.coupon_state == "USED"
    last = sent.user_product_coupon_list[3]
    returned = killed.ask(
        lambda wxpay: wxpay.v3.marketing.partner.product_coupon.users[openid].coupons[last.coupon_code].return_.post,
        out_request_no=f"return_{last.coupon_code}",
        stock_id=last.stock.stock_id,
        **ids,
    )
    assert returned.user_product_coupon_bundle_info.used_count == 3
    ended = killed.ask(
        lambda wxpay: (
            wxpay.v3.marketing.partner.product_coupon.users[openid]
            .coupon_bundles[sent.user_coupon_bundle_id]
            .deactivate.post
        ),
        out_request_no="deactivate_1",
        stock_bundle_id=bundle.stock_bundle_id,
        deactivate_reason="退款",
        **ids,
    )
    assert [one.coupon_state for one in ended.user_product_coupon_list] == ["USED"] * 3 + ["DEACTIVATED"] * 2
    assert serving.stop() == 0


def _given_through_kills(serving: Served, stock_bundle_id: str, ids: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """Send bundles from several threads, and kill the server in between; then settle what has no answer."""
    answered: dict[tuple[str, str], Any] = {}
    asked: set[tuple[str, str]] = set()
    lock = threading.Lock()

    def send(wxpay: Any, key: tuple[str, str]) -> Any:
        openid, number = key
        users = wxpay.v3.marketing.partner.product_coupon.users[openid]
        return users.coupon_bundles.post(send_request_no=number, stock_bundle_id=stock_bundle_id, **ids)

    def work(thread: int, round_no: int, killing: threading.Event) -> None:
        with client(serving) as wxpay:
            for number in range(8):
                key = f"oUser{thread}", f"r{round_no}_t{thread}_n{number}"
                with lock:
                    asked.add(key)
                try:
                    answer = send(wxpay, key)
                except (OutcomeUnknown, NotSent, TryAgain):
                    return
                with lock:
                    answered[key] = answer
                if killing.is_set():
                    return

    for round_no in range(KILLS):
        killing = threading.Event()
        threads = [threading.Thread(target=work, args=(user, round_no, killing)) for user in range(USERS)]
        for thread in threads:
            thread.start()
        killing.wait(0.02 + secrets.randbelow(100) / 500)
        serving.kill()
        killing.set()
        for thread in threads:
            thread.join()
        serving.start()
    with client(serving) as wxpay:
        for key in sorted(asked):
            again = send(wxpay, key)
            first = answered.setdefault(key, again)
            assert [one.coupon_code for one in again.user_product_coupon_list] == [
                one.coupon_code for one in first.user_product_coupon_list
            ]
    return answered
