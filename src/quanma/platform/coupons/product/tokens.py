"""Pre-sends: a token with which a user takes a coupon, or a bundle, on a page. Pure.

Source: a token lives for 5 minutes (the SDK). What it holds is not published. Ours says whose document it names.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import msgspec

from ....api.productcoupon.usercoupons import (
    PreSendUserCoupon,
    PreSendUserCouponBundle,
    PreSendUserCouponBundleNode,
    PreSendUserCouponNode,
    PreSentUserCoupon,
)
from ...chance import Chance
from ..stocks import check_open
from .changes import Caller, Changed, Document, Known, ProductChange
from .objects import single_stock, stocks_of_bundle

_CHANCE = Chance("product-tokens")
TOKEN = "pre-send-token"
"""The kind of a document that is a `PreSent`."""
TOKEN_SECONDS = 300


class PreSent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a token stands for."""

    until: int
    """Unix seconds."""
    coupon: PreSendUserCoupon | None = None
    bundle: PreSendUserCouponBundle | None = None


def _pre_send(known: Known, request: PreSendUserCoupon | PreSendUserCouponBundle) -> Changed[PreSentUserCoupon]:
    """Raises RequestRefused: a stock is not SENDING."""
    for one in known.stocks:
        check_open(one.facts, known.now)
    token = _token(known.caller)
    until = known.now + TOKEN_SECONDS
    # Without brand_id: the document is of the caller, and the caller of a brand.
    plain = msgspec.to_builtins(request)
    if isinstance(request, PreSendUserCouponBundle):
        kept = PreSent(until=until, bundle=msgspec.convert(plain, PreSendUserCouponBundle))
    else:
        kept = PreSent(until=until, coupon=msgspec.convert(plain, PreSendUserCoupon))
    return Changed(PreSentUserCoupon(token=token), [Document(TOKEN, token, msgspec.json.encode(kept).decode())])


def _token(caller: Caller) -> str:
    said = "\n".join((*caller, _CHANCE.token_urlsafe(24)))
    return base64.urlsafe_b64encode(said.encode()).decode().rstrip("=")


def holder(token: str) -> Caller | None:
    """Return whose document a token names, or None: it is none of ours."""
    try:
        mchid, brand_id, _ = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode().split("\n")
    except ValueError:
        return None
    return Caller(mchid, brand_id)


def _stocks(request: Any) -> Sequence[str]:
    return stocks_of_bundle(request) if isinstance(request, PreSendUserCouponBundle) else single_stock(request)


PRE_SENDS: tuple[ProductChange[Any, Any], ...] = (
    ProductChange(PreSendUserCouponNode.post, _pre_send, stocks=_stocks),
    ProductChange(PreSendUserCouponBundleNode.post, _pre_send, stocks=_stocks),
)
