"""What one merchant may take, and what it may not see of another: the limits of stocks, of pages, of a user's list."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from quanma.api.coupons import CouponPage, ListCoupons
from quanma.api.stockrules import DisplayPatternInfo
from quanma.api.subsidy import ListPayReceipts, PaySubsidy
from quanma.errors import RequestRefused, ResourceAlreadyExists, RuleLimit
from quanma.platform.coupons import subsidies
from quanma.platform.coupons.responses import PAGE_BYTES_MAX
from quanma.platform.coupons.subsidies import PAY, PAYMENTS_PER_COUPON
from quanma.platform.pool import open_pool
from quanma.platform.pool.sqlite.index.stocks import ASKED_ONE_BY_ONE_MAX
from tests.contract.driver import NOW, USE_RULE, DrivenPool, list_coupons
from tests.support.platform import APPID, MCHID, OTHER_MCHID, new_stock
from tests.support.postgres import Databases

pytestmark = pytest.mark.both_back_ends


@pytest.fixture
def three_stocks_each(back_end: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[DrivenPool]:
    """A pool in which a merchant may create three stocks."""
    databases: Databases | None = request.getfixturevalue("databases") if back_end != "sqlite" else None
    url = databases.fresh() if databases else "sqlite:///pool.db"
    driven = DrivenPool(lambda: open_pool(url, tmp_path, stocks_per_merchant=3))
    yield driven
    driven.close()
    if databases:
        databases.drop(url)


def test_a_merchant_creates_as_many_stocks_as_it_may_also_at_once_and_after_a_restart(
    three_stocks_each: DrivenPool,
) -> None:
    pool = three_stocks_each
    first = pool.create(out_request_no="first")
    pool.reopen()
    outcomes: list[Any] = pool.together(*(_creating(pool) for _ in range(4)))
    assert [type(outcome) for outcome in outcomes].count(RuleLimit) == 2
    with pytest.raises(RuleLimit, match="商户批次数已达上限: this merchant has created 3 stocks") as refusal:
        pool.create()
    assert (refusal.value.status_code, refusal.value.code) == (403, "RULELIMIT")
    with pytest.raises(ResourceAlreadyExists, match=first):
        pool.create(out_request_no="first")
    # Another's are counted for it, whoever owns them.
    assert pool.create(mchid=OTHER_MCHID, belong_merchant=MCHID)


async def _creating(pool: DrivenPool) -> str:
    request = new_stock(pool.fresh(), coupon_use_rule=USE_RULE)
    return (await pool.pool.create_stock(MCHID, request, NOW)).stock_id


@pytest.mark.slow
def test_a_page_of_coupons_ends_at_1_mib_and_says_how_many_it_holds(pool: DrivenPool) -> None:
    # Texts of characters that JSON writes with six bytes each, as long as a stock may have them.
    texts = DisplayPatternInfo(merchant_logo_url="\1" * 256, coupon_image_url="\1" * 256)
    stocks = [pool.create(display_pattern_info=texts, coupon_code_mode="WECHATPAY_MODE") for _ in range(4)]
    for stock_id in stocks:
        pool.together(*(pool.sending(stock_id) for _ in range(100)))
    found: list[str] = []
    while page := _listed(pool, "oUser", offset=len(found), limit=1000).data:
        assert len(msgspec.json.encode(page)) < PAGE_BYTES_MAX
        found += [str(coupon.coupon_code) for coupon in page]
    assert len(found) == len(set(found)) == 400
    first = _listed(pool, "oUser", limit=1000)
    assert first.total_count == 400
    assert first.limit == len(first.data) < 400
    assert len(msgspec.json.encode([*first.data, first.data[0]])) > PAGE_BYTES_MAX - 1024


@pytest.mark.slow
def test_a_page_of_codes_ends_at_1_mib_too(pool: DrivenPool) -> None:
    stock_id = pool.create(coupon_code_mode="WECHATPAY_MODE")
    # Longer than an openid may be, and than the pool looks at.
    pool.together(*(pool.sending(stock_id, f"{number:08}" + "\1" * 200) for number in range(1500)))
    first = pool.page(stock_id, limit=1000)
    assert first.total_count == 1500
    assert first.limit == len(first.data) < 1000
    assert len(msgspec.json.encode(first)) <= PAGE_BYTES_MAX


@pytest.mark.slow
def test_a_merchant_sees_a_users_coupons_of_all_its_stocks_however_many_they_are(pool: DrivenPool) -> None:
    made = [pool.create(coupon_code_mode="WECHATPAY_MODE") for _ in range(ASKED_ONE_BY_ONE_MAX + 2)]
    owned = pool.create(mchid=OTHER_MCHID, belong_merchant=MCHID, coupon_code_mode="WECHATPAY_MODE")
    stocks = [made[0], *made[-3:]]
    codes = [pool.send(stock_id) for stock_id in stocks]
    codes.append(pool.send(owned, mchid=OTHER_MCHID))
    pool.send(stocks[-1], "oAnother")

    def check() -> None:
        page = _listed(pool, "oUser")
        assert [coupon.coupon_code for coupon in page.data] == codes[::-1]
        assert page.total_count == 5
        assert [pool.coupon("oUser", code).stock_id for code in codes] == [*stocks, owned]
        assert [coupon.coupon_code for coupon in _listed(pool, "oUser", mchid=OTHER_MCHID).data] == codes[4:]
        assert [coupon.stock_id for coupon in _listed(pool, "oUser", stock_id=stocks[1]).data] == [stocks[1]]

    check()
    pool.reopen()
    check()


def test_a_users_list_costs_the_same_whatever_other_merchants_have(back_end: str, pool: DrivenPool) -> None:
    if back_end != "sqlite":
        pytest.skip("there, each statement names the caller's own stocks")
    pool.send(pool.create(mchid=OTHER_MCHID, coupon_code_mode="WECHATPAY_MODE"), "oUser", mchid=OTHER_MCHID)
    alone = _calls(lambda: _listed(pool, "oUser", mchid=OTHER_MCHID))
    for _ in range(100):
        pool.send(pool.create(coupon_code_mode="WECHATPAY_MODE"))
    assert _calls(lambda: _listed(pool, "oUser", mchid=OTHER_MCHID)) <= alone * 1.05


def _calls(work: Callable[[], object]) -> int:
    """How many functions are called: the least of a few times, for the writer may do something beside it."""

    def counted() -> int:
        calls = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            work()
        finally:
            sys.setprofile(None)
        return calls

    return min(counted() for _ in range(5))


def test_a_coupon_has_so_many_payments_that_their_list_is_an_answer(pool: DrivenPool) -> None:
    stock_id = pool.create(coupon_code_mode="WECHATPAY_MODE")
    code = pool.send(stock_id)
    pool.use(stock_id, code)

    def pay(number: int) -> None:
        request = PaySubsidy(
            stock_id=stock_id,
            coupon_code=code,
            transaction_id="4200000913202101152566792388",
            payer_merchant=MCHID,
            payee_merchant=MCHID,
            amount=1,
            description="\1" * 1024,
            out_subsidy_no=f"s{number}",
        )
        pool.run(pool.pool.step(MCHID, PAY, request, NOW))

    for number in range(PAYMENTS_PER_COUPON):
        pay(number)
    with pytest.raises(RequestRefused, match="补差付款单数已达上限"):
        pay(PAYMENTS_PER_COUPON)
    pay(0)  # A repeat of a payment is none.
    asked = ListPayReceipts(stock_id=stock_id, coupon_code=code)
    listed = subsidies.listed(pool.run(pool.pool.payments(MCHID, stock_id, code)), asked)
    assert len(listed.pay_receipt_list) == PAYMENTS_PER_COUPON
    assert len(msgspec.json.encode(listed)) <= PAGE_BYTES_MAX


def _listed(pool: DrivenPool, openid: str, *, mchid: str = MCHID, **fields: Any) -> CouponPage:
    return pool.run(list_coupons(pool.pool, mchid, ListCoupons(openid=openid, appid=APPID, **fields), NOW))
