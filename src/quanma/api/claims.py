"""The fields of a claim: what a signed link, a mini-program and JSAPI carry, with the limits of the API's own calls."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ..errors import RequestInvalid
from .coupons import OutRequestNo
from .fields import CouponCode, Mchid, Openid, Rfc3339, StockId
from .record import Record


class ClaimFields(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One coupon to be claimed. Source: documented, with the limits of `coupons/send`, which gives the same coupon."""

    stock_id: StockId
    out_request_no: OutRequestNo
    send_coupon_merchant: Mchid
    open_id: Openid | None = None
    coupon_code: CouponCode | None = None
    customize_send_time: Rfc3339 | None = None


def read_claim(fields: Mapping[str, str]) -> ClaimFields:
    """Return the claim that these fields make.

    An "&" is refused in each: the signature joins raw values, so that one with an "&" could be read in two ways, and
    one signature would hold for two claims.

    Raises:
        RequestInvalid: a field is missing, unknown, or breaks its limits; the message names it.
    """
    try:
        claim = msgspec.convert(fields, ClaimFields)
    except msgspec.ValidationError as problem:
        raise RequestInvalid(f"a claim: {problem}") from None
    for name, value in fields.items():
        if "&" in value or "\0" in value:
            raise RequestInvalid(f"a claim: {name} holds an & or a NUL: its signature could be read in two ways")
    return claim
