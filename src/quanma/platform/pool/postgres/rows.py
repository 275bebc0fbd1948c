"""A coupon as its row has it, and what many coupons of a stock have in common. Pure.

Who gave a coupon out, for which app and until when is nearly always the same. It stands once in `terms`, as JSON, and a
coupon names it by its number.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from ....api.stocks import CreateStock
from ...coupons.coupon import CouponFacts, first_state
from ...coupons.product.terms import ProductTerms


class Terms(msgspec.Struct, frozen=True, array_like=True):
    """What coupons have in common. Times are Unix seconds."""

    appid: str
    send_merchant: str
    send_channel: str
    starts_at: int | None
    """None: when it is given out."""
    expires_at: int | None
    """None: `expires_in` seconds after it was given out."""
    expires_in: int | None


def coupon_of(stock_id: str, row: Sequence[Any]) -> CouponFacts:
    """Read `{coupon}`: see queries.py."""
    coupon_id, coupon_code, openid, out_request_no, request, sent_at, terms, state, *later = row
    its = _read(terms)
    return CouponFacts(
        coupon_id,
        stock_id,
        coupon_code,
        openid,
        its.appid,
        out_request_no,
        request or None,
        its.send_merchant,
        its.send_channel,
        sent_at,
        sent_at if its.starts_at is None else its.starts_at,
        sent_at + (its.expires_in or 0) if its.expires_at is None else its.expires_at,
        state or first_state(its.send_channel),
        *later,
    )


def terms_of(coupon: CouponFacts, lasts_seconds: int | None) -> str:
    """What a coupon has in common with others. `lasts_seconds`: how long its stock's coupons last, if it says that."""
    lasts = coupon.expires_at - coupon.sent_at == lasts_seconds
    return msgspec.json.encode(
        Terms(
            coupon.appid,
            coupon.send_merchant,
            coupon.send_channel,
            None if coupon.starts_at == coupon.sent_at else coupon.starts_at,
            None if lasts else coupon.expires_at,
            lasts_seconds if lasts else None,
        )
    ).decode()


def lasts_seconds(stock: CreateStock | ProductTerms) -> int | None:
    """How long a stock's coupons last, if it says that."""
    if isinstance(stock, ProductTerms):
        return stock.period.available_seconds
    return stock.coupon_use_rule.coupon_available_time.available_second_after_receive


@lru_cache(4096)
def _read(terms: str) -> Terms:
    return msgspec.json.decode(terms, type=Terms)


class KnownTerms:
    """A stock's latest terms by their numbers, and those that are new.

    Terms that are among many older ones only are taken for new, and get another number: harmless, and seldom.
    """

    def __init__(self, latest: Sequence[str]) -> None:
        """`latest`: number and terms, a line each; the latest first."""
        self._numbers: dict[str, int] = {}
        for one in reversed(latest):
            number, _, terms = one.partition("\n")
            self._numbers[terms] = int(number)
        self._last = max(self._numbers.values(), default=0)
        self._added: list[str] = []

    def number_of(self, terms: str) -> int:
        if (number := self._numbers.get(terms)) is None:
            self._last += 1
            number = self._numbers[terms] = self._last
            self._added.append(terms)
        return number

    def take_added(self) -> tuple[list[int], list[str]]:
        """Those that are not written yet: to be written now."""
        added, self._added = self._added, []
        return [self._numbers[terms] for terms in added], added
