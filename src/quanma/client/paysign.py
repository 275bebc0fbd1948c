"""What a page or an app needs to open WeChat Pay for an order: its prepay_id, signed with the merchant's key.

Source: documented (JSAPI调起支付, 小程序调起支付, APP调起支付). Compute it on the server only, new for each opening.
"""

from __future__ import annotations

import re
from typing import Literal

from ..errors import RequestInvalid
from ..wire import signature
from ..wire.keys import PrivateKey

Channel = Literal["jsapi", "mini_program", "app"]
_WORD = re.compile(r"[!-~]{1,128}")
"""Visible characters. A line feed would let one signature hold for other fields."""


def pay_sign(
    key: PrivateKey, mchid: str, *, appid: str, prepay_id: str, channel: Channel, timestamp: str, nonce: str
) -> dict[str, str]:
    """Return the parameters as the front end takes them.

    Raises:
        RequestInvalid: appid or prepay_id is empty, too long, or has blanks in it; the channel is none of the three.
    """
    for name, value in (("appid", appid), ("prepay_id", prepay_id)):
        if not _WORD.fullmatch(value):
            raise RequestInvalid(f"{name} of a payment is 1 to 128 visible characters")
    if channel == "app":
        return {
            "appid": appid,
            "partnerid": mchid,
            "prepayid": prepay_id,
            "package": "Sign=WXPay",
            "noncestr": nonce,
            "timestamp": timestamp,
            "sign": _signed(key, appid, timestamp, nonce, prepay_id),
        }
    if channel not in ("jsapi", "mini_program"):
        raise RequestInvalid(f"channel is jsapi, mini_program or app, not {channel!r}")
    package = f"prepay_id={prepay_id}"
    return {
        "appId": appid,
        "timeStamp": timestamp,
        "nonceStr": nonce,
        "package": package,
        "signType": "RSA",
        "paySign": _signed(key, appid, timestamp, nonce, package),
    }


def _signed(key: PrivateKey, *lines: str) -> str:
    return signature.sign(key, "".join(f"{line}\n" for line in lines).encode())
