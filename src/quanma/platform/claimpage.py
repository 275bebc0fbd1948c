"""A page where a user claims a coupon, as the H5 page does: the parameters are signed with the merchant's V2 key.

Source: parameters, signature and error numbers are documented or reported; what the page looks like is ours.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from html import escape
from typing import NamedTuple
from urllib.parse import parse_qsl

import msgspec

from ..api.claims import read_claim
from ..api.coupons import SendCoupon
from ..api.events import CHANNEL_H5
from ..errors import Misconfigured, ParamError, PlatformError, RateLimited, RequestInvalid, StoreUnavailable
from ..serving.redact import trace_of
from ..wire import v2sign
from .coupons.draws import issue_of
from .coupons.requests import check_time
from .keys.keystore import KeyStore
from .limits import RateLimit
from .pool.contract import CodePool

log = logging.getLogger(__name__)

PATH = "/busifavor/getcouponinfo"
H5_APPID = "H5"
_SIGN_MAX = 128
_NOBODYS_KEY = secrets.token_hex(v2sign.KEY_CHARACTERS // 2)
"""Whoever is unknown, or has no V2 key, is checked all the same: the time taken does not tell who uses claims."""
_WRONG_PARAMETER, _WRONG_SIGN = 268435461, 272758293


class Page(NamedTuple):
    status: int
    html: bytes
    headers: str = ""
    """Lines, each ended by CR LF."""


async def claim(pool: CodePool, keystore: KeyStore, query: bytes, now: float, limit: RateLimit | None = None) -> Page:
    """Give a coupon to the user that the signed parameters name, and show it. The same number shows the same coupon.

    `limit` counts it for the merchant that issues, once it is known that this merchant signed it. Never raises.
    """
    fields = _fields(query)
    asked = _claim(fields)
    if asked is None:
        return page(400, "参数错误", f"错误码 {_WRONG_PARAMETER}")
    merchant = keystore.known(asked.send_merchant)
    apiv2_key = merchant.apiv2_key if merchant else None
    signed = _signed(apiv2_key or _NOBODYS_KEY, fields)
    if merchant is None or apiv2_key is None or not signed:
        return page(403, "签名错误", f"错误码 {_WRONG_SIGN}")
    issue = issue_of(asked.sending, merchant.mchid, CHANNEL_H5, also=asked.customize_send_time)
    try:
        if limit is not None:
            limit.check(merchant.mchid, now)
        coupon = await pool.send_coupon(merchant.mchid, issue, int(now))
    except RateLimited as refused:
        wait = f"Retry-After: {int(refused.retry_after_seconds or 1)}\r\n"
        return page(429, "领取的人太多", "请稍后再试")._replace(headers=wait)
    except PlatformError as refused:
        return page(refused.status_code, "领取失败", refused.message)
    except StoreUnavailable as problem:
        log.error("the store can't answer a claim: %s", problem)
        return page(503, "服务不可用", "请稍后再试")  # The same link then: its number gives the same coupon.
    except Exception as error:
        log.error("a claim failed: %s", trace_of(error))
        return page(500, "系统错误", "请稍后再试")
    return page(200, "领取成功", f"券 {coupon.coupon_code}")


def issuer(keystore: KeyStore, query: bytes) -> str:
    """Return the merchant that a claim says it is issued by, if it is one of ours, else "". Nothing is verified yet."""
    asked = _claim(_fields(query))
    return asked.send_merchant if asked and keystore.known(asked.send_merchant) else ""


def _fields(query: bytes) -> Mapping[str, str]:
    """The parameters, each once; none at all where they can't be read."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        return {}
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else {}


class Asked(NamedTuple):
    """What a claim asks for, as the API's call that sends a coupon would."""

    sending: SendCoupon
    send_merchant: str
    customize_send_time: str


def _claim(fields: Mapping[str, str]) -> Asked | None:
    """The claim that a page's parameters make, or None: they make none, or one that `coupons/send` would refuse."""
    if not 0 < len(fields.get("sign", "")) <= _SIGN_MAX:
        return None
    try:
        claim = read_claim({name: value for name, value in fields.items() if name != "sign"})
        if claim.customize_send_time is not None:
            check_time("customize_send_time", claim.customize_send_time)
        sending = {
            "stock_id": claim.stock_id,
            "openid": claim.open_id,
            "appid": H5_APPID,
            "out_request_no": claim.out_request_no,
            "coupon_code": claim.coupon_code,
        }
        return Asked(msgspec.convert(sending, SendCoupon), claim.send_coupon_merchant, claim.customize_send_time or "")
    except (RequestInvalid, ParamError, msgspec.ValidationError):
        return None


def _signed(apiv2_key: str, fields: Mapping[str, str]) -> bool:
    try:
        return v2sign.holds(apiv2_key, fields)
    except Misconfigured:
        return False


def page(status: int, title: str, text: str) -> Page:
    html = (
        '<!doctype html><html lang="zh-CN"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><h1>{escape(title)}</h1><p>{escape(text)}</p></html>"
    )
    return Page(status, html.encode())
