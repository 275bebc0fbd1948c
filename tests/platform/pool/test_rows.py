"""What coupons of a stock have in common, and a coupon as its row has it: see rows.py."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import asdict, replace

from quanma.platform.coupons.coupon import LATER, CouponFacts
from quanma.platform.pool.postgres.rows import KnownTerms, coupon_of, terms_of

COUPON = CouponFacts(
    coupon_id=7,
    stock_id="98065001",
    position=4,
    coupon_code="ABC9588200",
    openid="oUser",
    appid="wx1",
    out_request_no="n1",
    send_merchant="1900000001",
    send_channel="BUSICOUPON_SEND_CHANNEL_API",
    sent_at=1000,
    starts_at=1000,
    expires_at=5000,
    coupon_state="SENDED",
)


def read(coupon: CouponFacts, terms: str) -> CouponFacts:
    row: dict[str, Any] = asdict(coupon) | dict.fromkeys(LATER) | {"request": coupon.request or "", "terms": terms}
    return coupon_of("98065001", row)


@pytest.mark.parametrize(
    "changes",
    [{}, {"starts_at": 3000}, {"sent_at": 900, "starts_at": 900}, {"expires_at": 253_402_271_999}, {"request": "A1\n"}],
    ids=["usual", "from a day on", "sooner", "until the year 9999", "with a chosen code"],
)
@pytest.mark.parametrize("lasts_seconds", [None, 4000])
def test_a_coupon_is_read_as_it_was_given_out(changes: dict[str, Any], lasts_seconds: int | None) -> None:
    coupon = replace(COUPON, **changes)
    assert read(coupon, terms_of(coupon, lasts_seconds)) == coupon


def test_coupons_that_last_as_long_as_each_other_have_the_same_terms() -> None:
    later = replace(COUPON, sent_at=2000, starts_at=2000, expires_at=6000)
    assert terms_of(COUPON, 4000) == terms_of(later, 4000)
    assert read(later, terms_of(COUPON, 4000)) == later


def test_coupons_that_end_together_have_the_same_terms() -> None:
    later = replace(COUPON, sent_at=2000, starts_at=2000)
    assert terms_of(COUPON, None) == terms_of(later, None)
    assert read(later, terms_of(COUPON, None)) == later


def test_terms_that_are_known_keep_their_number_and_new_ones_get_the_next() -> None:
    known = KnownTerms(["2\nb", "1\na"])
    assert [known.number_of(terms) for terms in ("a", "b", "c", "c", "d")] == [1, 2, 3, 3, 4]
    assert known.take_added() == ([3, 4], ["c", "d"])
    assert known.take_added() == ([], [])


def test_the_first_terms_of_a_stock_have_the_number_1() -> None:
    assert KnownTerms([]).number_of("a") == 1
