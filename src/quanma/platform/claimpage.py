"""A page where a user claims a coupon, as the H5 page does: the parameters are signed with the merchant's V2 key.

Source: parameters, signature and error numbers are documented or reported; what the page looks like is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import NamedTuple
from urllib.parse import parse_qsl

from ..api.events import CHANNEL_H5
from ..errors import Misconfigured, RequestRefused, StoreUnavailable
from ..wire import v2sign
from .keyroom import KeyRoom
from .pool.contract import CodePool, Issue

PATH = "/busifavor/getcouponinfo"
H5_APPID = "H5"
_WANTED = ("stock_id", "out_request_no", "sign", "send_coupon_merchant", "open_id")
_OPTIONAL = ("coupon_code", "customize_send_time")
_WRONG_PARAMETER, _WRONG_SIGN = 268435461, 272758293


class Page(NamedTuple):
    status: int
    html: bytes


async def claim(pool: CodePool, keyroom: KeyRoom, query: bytes, now: int) -> Page:
    """Give a coupon to the user that the signed parameters name, and show it. The same number shows the same coupon."""
    fields = _fields(query)
    if fields is None:
        return _page(400, "参数错误", f"错误码 {_WRONG_PARAMETER}")
    merchant = keyroom.known(fields["send_coupon_merchant"])
    if merchant is None or merchant.apiv2_key is None or not _signed(merchant.apiv2_key, fields):
        return _page(403, "签名错误", f"错误码 {_WRONG_SIGN}")
    issue = Issue(
        fields["stock_id"],
        fields["open_id"],
        H5_APPID,
        fields["out_request_no"],
        fields.get("coupon_code"),
        merchant.mchid,
        CHANNEL_H5,
        also=fields.get("customize_send_time", ""),
    )
    try:
        coupon = await pool.send_coupon(merchant.mchid, issue, now)
    except RequestRefused as refused:
        return _page(refused.status_code, "领取失败", refused.message)
    except StoreUnavailable:
        return _page(503, "服务不可用", "请稍后再试")  # The same link then: its number gives the same coupon.
    return _page(200, "领取成功", f"券 {coupon.coupon_code}")


def _fields(query: bytes) -> Mapping[str, str] | None:
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        return None
    fields = dict(pairs)
    known = {*_WANTED, *_OPTIONAL}
    if len(fields) != len(pairs) or not set(_WANTED) <= fields.keys() or not fields.keys() <= known:
        return None
    return fields if all(0 < len(value) <= 128 and "\0" not in value for value in fields.values()) else None


def _signed(apiv2_key: str, fields: Mapping[str, str]) -> bool:
    try:
        return v2sign.holds(apiv2_key, fields)
    except Misconfigured:
        return False


def _page(status: int, title: str, text: str) -> Page:
    html = (
        '<!doctype html><html lang="zh-CN"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><h1>{escape(title)}</h1><p>{escape(text)}</p></html>"
    )
    return Page(status, html.encode())
