"""Events as bytes: read as far as they can be. Pure; whether one is believed is decided elsewhere.

What is signed and opens must not be lost for a side field, since the platform gives up after eleven refusals. So an
envelope needs what opens it, and a coupon its stock and code; all else may be absent, null or of another type, and
counts as absent then. No limit holds, and no reading but this one: json, which takes more than msgspec does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from msgspec import convert, structs

from ..api.events import CouponSent, Envelope, Resource
from ..api.productcoupon.events import ProductCouponSent
from ..errors import EventUnreadable
from . import sealed


def read_envelope(body: bytes) -> Envelope:
    """Raises EventUnreadable: it lacks what opens it, or is sealed in another way. `id` is empty if it has none."""
    fields = _read(body, _object)
    resource = fields.get("resource")
    if not isinstance(resource, _Object):
        raise EventUnreadable("the event is signed, and has no resource")
    algorithm = resource.get("algorithm")
    if isinstance(algorithm, str) and algorithm not in ("", sealed.ALGORITHM):
        raise EventUnreadable(f"the event is sealed with {algorithm[:40]!r}, not {sealed.ALGORITHM}")
    return Envelope(
        id=_text(fields, "id"),
        create_time=_text(fields, "create_time"),
        event_type=_text(fields, "event_type"),
        resource_type=_text(fields, "resource_type"),
        summary=_text(fields, "summary"),
        resource=Resource(
            original_type=_text(resource, "original_type"),
            algorithm=sealed.ALGORITHM,
            ciphertext=_needed(resource, "ciphertext"),
            nonce=_needed(resource, "nonce"),
            associated_data=_text(resource, "associated_data"),
        ),
    )


def read_coupon(plaintext: bytes) -> CouponSent:
    """Raises EventUnreadable: it lacks stock or code, or has two of them. The message holds neither."""
    fields = _read(plaintext, _object)
    return CouponSent(
        event_type=_text(fields, "event_type"),
        coupon_code=_needed(fields, "coupon_code"),
        stock_id=_needed(fields, "stock_id"),
        send_time=_text(fields, "send_time"),
        send_channel=_text(fields, "send_channel"),
        send_merchant=_text(fields, "send_merchant"),
        openid=_text(fields, "openid") or None,
        unionid=_text(fields, "unionid") or None,
        act_id=_text(fields, "act_id") or None,
        attach_info=_mapping(fields.get("attach_info")),
    )


def read_product_coupon(plaintext: bytes) -> ProductCouponSent:
    """Raises EventUnreadable: it lacks code, coupon or stock, or has two of one. The message holds none of them."""
    fields = _read(plaintext, _object)
    needed = ("coupon_code", "product_coupon_id", "stock_id")
    optional = {one.name for one in structs.fields(ProductCouponSent) if one.default is None}
    said = {
        name: _text(fields, name) or (None if name in optional else "")
        for name in ProductCouponSent.__struct_fields__
        if name not in needed
    }
    return convert({**said, **{name: _needed(fields, name) for name in needed}}, ProductCouponSent)


def read_plain(plaintext: bytes) -> dict[str, Any]:
    """Return the content of an event of another type.

    Raises:
        EventUnreadable: it is no JSON object, or a name stands twice with different values: nobody knows which counts.
    """
    content: dict[str, Any] = _read(plaintext, _agreeing)
    return content


class _Object(dict[str, Any]):
    """A JSON object. `twofold`: the names that stand in it more than once, with different values."""

    twofold: frozenset[str] = frozenset()


def _read(text: bytes, hook: Callable[[list[tuple[str, Any]]], Any]) -> Any:
    """Return a JSON object. What is no UTF-8 becomes U+FFFD, and half a surrogate pair too: neither can be written."""
    readable = _ESCAPE.sub(_whole, text.decode("utf-8-sig", "replace"))
    try:
        value = json.loads(readable, object_pairs_hook=hook, strict=False)
    except (ValueError, RecursionError) as problem:
        raise EventUnreadable(f"the event is signed but not what it should be: {_without_text(problem)}") from None
    if not isinstance(value, dict):
        raise EventUnreadable("the event is signed but not what it should be: not a JSON object")
    return value


_ESCAPE = re.compile(r"\\u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|\\u[dD][89a-fA-F]\w\w|\\.")
"""Of JSON: a surrogate pair, half of one, or any other escape, an escaped backslash too."""


def _whole(escape: re.Match[str]) -> str:
    half = len(escape[0]) == len(r"\ud800")
    return r"\ufffd" if half else escape[0]


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    made = _Object(pairs)
    if len(made) != len(pairs):
        made.twofold = frozenset(name for name, value in pairs if made[name] != value)
    return made


def _agreeing(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if _object(pairs).twofold:
        raise ValueError("a name stands twice, with different values")
    return dict(pairs)


def _needed(fields: _Object, name: str) -> str:
    if name in fields.twofold:
        raise EventUnreadable(f"the event is signed, and has two different values of {name}")
    text = _text(fields, name)
    if not text or "\ufffd" in text:
        raise EventUnreadable(f"the event is signed, and has no {name} that can be read")
    return text


def _text(fields: _Object, name: str) -> str:
    """A number is taken as its digits. What is neither text nor number is as good as absent."""
    value = fields.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) else ""


def _mapping(value: Any) -> dict[str, Any] | None:
    """An object, or an object that was written as text."""
    text = value if isinstance(value, str) else json.dumps(value)
    try:
        mapping: dict[str, Any] = _read(text.encode(), dict)
    except EventUnreadable:
        return None
    return mapping


def _without_text(problem: Exception) -> str:
    return f"{problem.msg} at {problem.pos}" if isinstance(problem, json.JSONDecodeError) else str(problem)[:80]
