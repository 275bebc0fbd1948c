"""Receiving callbacks: raw bytes and headers in, a verified, typed event out.

    receiver = Receiver.from_config("quanma.toml")
    event = receiver.receive(headers, body)         # raises: answer 4xx, and the platform sends it again
    ...                                             # act on event.id once: a delivery may come twice
    return 204

Hand over the body as it came, not parsed and written again: the signature is over the bytes. Headers may be a
mapping or pairs, names in any case, also as WSGI spells them (HTTP_WECHATPAY_NONCE).
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Self

import msgspec

from ..api.events import COUPON_SEND, CouponSent, Envelope
from ..errors import Misconfigured, SignatureInvalid
from ..wire import sealed
from ..wire.keys import KeyRing
from . import config

BODY_BYTES_MAX = 1024 * 1024


class Event(NamedTuple):
    """One event. `content` is a CouponSent for COUPON.SEND, else the plain JSON object."""

    id: str
    event_type: str
    create_time: str
    content: CouponSent | dict[str, Any]


class Receiver:
    """Verifies and opens events with a merchant's keys."""

    def __init__(self, ring: KeyRing, apiv3_key: str, clock: Callable[[], float] = time.time) -> None:
        self._ring = ring
        self._apiv3_key = apiv3_key
        self._clock = clock

    @classmethod
    def from_config(cls, path: str | os.PathLike[str] | None = None, **settings: Any) -> Self:
        """Make a receiver from a quanma.toml. Raises Misconfigured: there is no apiv3_key, or a key is wrong."""
        merchant = config.load(path, **settings)
        if merchant.apiv3_key is None:
            raise Misconfigured("events are sealed with apiv3_key, and the settings have none: add it to quanma.toml")
        ring = KeyRing.from_pem({name: pem.encode() for name, pem in merchant.platform_keys.items()})
        return cls(ring, merchant.apiv3_key)

    def receive(self, headers: Mapping[str, Any] | Iterable[tuple[Any, Any]], body: bytes) -> Event:
        """Return the event that a request carries, once its signature held and its content opened.

        Raises:
            SignatureInvalid: it is not the platform's, too old, changed, or a WECHATPAY/SIGNTEST/ probe. Answer 4xx:
                the platform sends a right one again.
        """
        if len(body) > BODY_BYTES_MAX:
            raise SignatureInvalid(f"the event is longer than {BODY_BYTES_MAX} bytes")
        self._ring.verify(_pairs(headers), body, self._clock())
        try:
            envelope = msgspec.json.decode(body, type=Envelope)
            resource = envelope.resource
            if resource.algorithm != sealed.ALGORITHM:
                raise SignatureInvalid(f"the event is sealed with {resource.algorithm[:40]!r}, not {sealed.ALGORITHM}")
            text = sealed.unseal(self._apiv3_key, resource.nonce, resource.associated_data, resource.ciphertext)
            kind: Any = CouponSent if envelope.event_type == COUPON_SEND else dict[str, Any]
            content = msgspec.json.decode(text, type=kind)
        except (msgspec.MsgspecError, RecursionError) as problem:
            raise SignatureInvalid(f"the event is signed but not what it should be: {problem}") from problem
        return Event(envelope.id, envelope.event_type, envelope.create_time, content)


class Seen:
    """Which events came before, the last `size` of them. In one process: a database's unique key does it for many."""

    def __init__(self, size: int = 100_000) -> None:
        self._size = size
        self._ids: set[str] = set()
        self._events: deque[list[str]] = deque()

    def known(self, event: Event) -> bool:
        """Whether this event came before. A COUPON.SEND is known by its stock and code too: two ids may tell of one."""
        return not self._ids.isdisjoint(keys_of(event))

    def add(self, event: Event) -> None:
        """Remember an event: once it was acted on, not before."""
        new = [key for key in keys_of(event) if key not in self._ids]
        if not new:
            return
        self._ids.update(new)
        self._events.append(new)
        if len(self._events) > self._size:
            self._ids.difference_update(self._events.popleft())


def keys_of(event: Event) -> list[str]:
    """What an event is known by. Two events that share one of these are the same."""
    if isinstance(event.content, CouponSent):
        return [event.id, f"{event.content.stock_id}\n{event.content.coupon_code}"]
    return [event.id]


def _pairs(headers: Mapping[str, Any] | Iterable[tuple[Any, Any]]) -> list[tuple[str, str]]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [(_text(name).upper().removeprefix("HTTP_").replace("_", "-"), _text(value)) for name, value in pairs]


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
