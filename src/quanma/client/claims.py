"""How a user claims a coupon outside the API: signed parameters for the H5 page, the mini-program plug-in and JSAPI.

Each channel signs in its own way, so each has a function. All use the V2 key of the merchant that issues; compute
them on the server only. Source: documented, but for JSAPI, which is reported.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

from ..api.claims import read_claim
from ..errors import Misconfigured, RequestInvalid
from ..wire import v2sign
from ..wire.times import unix_seconds

H5_PAGE = "https://action.weixin.qq.com/busifavor/getcouponinfo"
H5_FRAGMENT = "wechat_pay&wechat_redirect"
"""Without it the page answers error 268435461."""
PLUGIN_COUPONS_MAX = 10


class Claim(NamedTuple):
    """One coupon to be claimed.

    `coupon_code` is for a MERCHANT_API stock only, `customize_send_time` for relative validity only.
    """

    stock_id: str
    out_request_no: str
    coupon_code: str | None = None
    customize_send_time: str | datetime | None = None
    """A datetime has its offset."""

    def fields(self, suffix: str = "") -> dict[str, str]:
        """Raises RequestInvalid: a datetime without its offset."""
        given = self._asdict()
        if isinstance(self.customize_send_time, datetime):
            if self.customize_send_time.utcoffset() is None:
                raise RequestInvalid("a claim: customize_send_time is a datetime without its offset: give it a tzinfo")
            given["customize_send_time"] = self.customize_send_time.isoformat(timespec="seconds")
        return {f"{name}{suffix}": value for name, value in given.items() if value}


class Claims:
    """Makes claims of one merchant; on a client it is `wxpay.claims`."""

    def __init__(self, mchid: str, apiv2_key: str | None, h5_page: str = H5_PAGE) -> None:
        self._mchid = mchid
        self._apiv2_key = apiv2_key
        self._h5_page = h5_page

    def __repr__(self) -> str:
        return f"<Claims of {self._mchid}>"

    def h5_url(self, claim: Claim, open_id: str) -> str:
        """Return the address of the claim page for one coupon and one user. It opens inside WeChat only.

        Raises:
            RequestInvalid: a field breaks its limits, or holds an "&".
            Misconfigured: there is no apiv2_key, or it is none.
        """
        parameters = self._parameters(claim, open_id)
        return f"{self._h5_page}?{urlencode({**parameters, 'sign': self._sign(parameters)})}#{H5_FRAGMENT}"

    def mini_program(self, claims: Sequence[Claim]) -> dict[str, Any]:
        """Return the data of the mini-program plug-in, for up to ten coupons.

        Raises:
            RequestInvalid: none, or more than ten; a field breaks its limits, or holds an "&".
            Misconfigured: as `h5_url`.
        """
        return {
            "send_coupon_params": [claim.fields() for claim in self._checked(claims, None)],
            "send_coupon_merchant": self._mchid,
            "sign": self._sign(self._numbered(claims)),
        }

    def jsapi(self, claims: Sequence[Claim], open_id: str) -> list[dict[str, str]]:
        """Return the cardList of wx.addCard. The sign is over the numbered names of all; cardExt has the plain ones.

        Raises:
            RequestInvalid, Misconfigured: as `mini_program`.
        """
        sign = self._sign({**self._numbered(self._checked(claims, open_id)), "open_id": open_id})
        shared = {"send_coupon_merchant": self._mchid, "open_id": open_id, "sign": sign}
        return [
            {"cardId": claim.stock_id, "cardExt": json.dumps({**claim.fields(), **shared}, ensure_ascii=False)}
            for claim in claims
        ]

    def _numbered(self, claims: Sequence[Claim]) -> dict[str, str]:
        numbered = {"send_coupon_merchant": self._mchid}
        for number, claim in enumerate(claims):
            numbered |= claim.fields(str(number))
        return numbered

    def _checked(self, claims: Sequence[Claim], open_id: str | None) -> Sequence[Claim]:
        if not 1 <= len(claims) <= PLUGIN_COUPONS_MAX:
            raise RequestInvalid(f"{len(claims)} coupons in one claim: 1 to {PLUGIN_COUPONS_MAX} are allowed")
        for claim in claims:
            self._parameters(claim, open_id)
        return claims

    def _parameters(self, claim: Claim, open_id: str | None) -> dict[str, str]:
        """What is signed of one coupon, all its limits checked."""
        fields = {**claim.fields(), "send_coupon_merchant": self._mchid}
        if open_id is not None:
            fields["open_id"] = open_id
        read_claim(fields)
        if sent_at := fields.get("customize_send_time"):
            try:
                unix_seconds(sent_at)
            except ValueError:
                raise RequestInvalid(
                    "a claim: customize_send_time is not a time like 2015-05-20T13:29:35+08:00"
                ) from None
        return fields

    def _sign(self, parameters: dict[str, str]) -> str:
        if self._apiv2_key is None:
            raise Misconfigured("claims are signed with apiv2_key, and the settings have none: add it to quanma.toml")
        return v2sign.sign(self._apiv2_key, parameters)
