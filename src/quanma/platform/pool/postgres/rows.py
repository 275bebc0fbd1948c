"""A coupon as its row has it, and what many coupons of a stock have in common. Pure.

Who gave a coupon out, for which app and until when is nearly always the same. It stands once in `terms`, as JSON, and a
coupon names it by its number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from ....api.stocks import CreateStock
from ...coupons.coupon import LATER, CouponFacts, first_state
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


def coupon_of(stock_id: str, row: Mapping[str, Any]) -> CouponFacts:
    """Read `{coupon}`, by the names of its columns: see queries.py."""
    its, sent_at = _read(row["terms"]), row["sent_at"]
    return CouponFacts(
        coupon_id=row["coupon_id"],
        stock_id=stock_id,
        position=row["position"],
        coupon_code=row["coupon_code"],
        openid=row["openid"],
        appid=its.appid,
        out_request_no=row["out_request_no"],
        request=row["request"] or None,
        send_merchant=its.send_merchant,
        send_channel=its.send_channel,
        sent_at=sent_at,
        starts_at=sent_at if its.starts_at is None else its.starts_at,
        expires_at=sent_at + (its.expires_in or 0) if its.expires_at is None else its.expires_at,
        **{field: row[field] for field in LATER} if row["coupon_state"] else _at_first(its.send_channel),
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


def _at_first(send_channel: str) -> dict[str, Any]:
    """What a coupon without a step has."""
    return {"coupon_state": first_state(send_channel)}


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
