"""A page where a user takes what a pre-send token stands for, as in the component. What it looks like is ours."""

from __future__ import annotations

import logging
from urllib.parse import parse_qs

import msgspec

from ..errors import PlatformError, StoreUnavailable
from ..serving.redact import trace_of
from .claimpage import Page, page
from .coupons.product.changes import Caller
from .coupons.product.tokens import TOKEN, PreSent, holder
from .pool.contract import CodePool
from .productcoupons import CHANNEL_COMPONENT, given

log = logging.getLogger(__name__)

PATH = "/product-coupon/receive"


async def receive(pool: CodePool, query: bytes, paused: frozenset[str], now: int) -> Page:
    """Give the user the coupon, or the bundle, of a token. The same token shows the same coupons. Never raises."""
    token = parse_qs(query.decode("latin-1")).get("token", [""])[0]
    if (caller := holder(token)) is None:
        return page(400, "参数错误", "token 无效")
    try:
        return await _received(pool, caller, token, paused, now)
    except PlatformError as refused:
        return page(refused.status_code, "领取失败", refused.message)
    except StoreUnavailable as problem:
        log.error("the store can't answer a token: %s", problem)
        return page(503, "服务不可用", "请稍后再试")
    except Exception as error:
        log.error("a token failed: %s", trace_of(error))
        return page(500, "系统错误", "请稍后再试")


async def _received(pool: CodePool, caller: Caller, token: str, paused: frozenset[str], now: int) -> Page:
    body = (await pool.documents(caller, TOKEN, [token])).get(token)
    kept = None if body is None else msgspec.json.decode(body, type=PreSent)
    request = None if kept is None else kept.coupon or kept.bundle
    if kept is None or request is None:
        return page(404, "参数错误", "token 无效")
    if now >= kept.until:
        return page(403, "领取失败", "token 已过期")
    group = await given(pool, caller, request, CHANNEL_COMPONENT, now, paused)
    return page(200, "领取成功", "券 " + "、".join(one.coupon.coupon_code for one in group.held))
