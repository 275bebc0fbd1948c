"""Receiving callbacks: raw bytes and headers in, a verified, typed event out.

    receiver = Receiver.from_config("quanma.toml")
    event = receiver.receive(headers, body)         # raises: answer 4xx, and the platform sends it again
    ...                                             # act on event.id once: a delivery may come twice
    return 204

Hand over the body as it came, not parsed and written again: the signature is over the bytes. Headers may be a
mapping, any object with `items()` as the standard library's are, or pairs; names in any case, also as WSGI spells them
(HTTP_WECHATPAY_NONCE); a value may be a list, as API gateways give them.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from ..api.events import COUPON_SEND, ORIGINAL_TYPE, CouponSent
from ..api.productcoupon.events import PRODUCT_COUPON_SENDS, ProductCouponSent
from ..errors import Misconfigured, NotAsReceived, SettingsAbsent, SignatureInvalid
from ..wire import eventbody, sealed
from ..wire.keys import load_ring
from ..wire.signature import KeyRing
from . import config

BODY_BYTES_MAX = 1024 * 1024


class HasItems(Protocol):
    """Headers that are no Mapping: those of `http.server`, `email.message` and `wsgiref`."""

    def items(self) -> Iterable[tuple[Any, Any]]: ...


class Event(NamedTuple):
    """One event. `content` is a CouponSent for COUPON.SEND, a ProductCouponSent for PRODUCT_COUPON.SEND and
    PRODUCT_COUPON_SP.SEND, else the plain JSON object.

    `id` is the platform's; of an event that came without one, it is made of the content, so the same each time.
    """

    id: str
    event_type: str
    create_time: str
    content: CouponSent | ProductCouponSent | dict[str, Any]


class Opening(NamedTuple):
    """What verifies and opens one caller's events."""

    ring: KeyRing
    key: str


class Receiver:
    """Verifies and opens events with a merchant's keys, or a brand's, or both: of coupons, of payments, of any kind."""

    _later: Callable[[], tuple[Opening, Opening | None]] | None = None

    def __init__(
        self,
        ring: KeyRing,
        apiv3_key: str,
        clock: Callable[[], float] = time.time,
        *,
        brand: tuple[KeyRing, str] | None = None,
    ) -> None:
        """`brand`: its ring and its brand key. A brand alone gives these two in place of a merchant's.

        Raises Misconfigured: one can't be an APIv3 key or brand key.
        """
        sealed.check_key(apiv3_key)
        self._ring = ring
        self._apiv3_key = apiv3_key
        self._brand = brand and Opening(*brand)
        if self._brand is not None:
            sealed.check_key(self._brand.key)
        self._clock = clock

    @classmethod
    def from_config(cls, path: str | os.PathLike[str] | None = None, **settings: Any) -> Self:
        """Make a receiver from a quanma.toml. Settings that are not there yet are read when the first event comes.

        Raises:
            Misconfigured: there is no apiv3_key, or a key is wrong.
        """
        try:
            first, brand = _keys(path, settings)
            return cls(*first, brand=brand)
        except SettingsAbsent:
            waiting = cls.__new__(cls)
            waiting._clock, waiting._later = time.time, lambda: _keys(path, settings)
            return waiting

    if not TYPE_CHECKING:  # For the keys, where the settings were not there at first.

        def __getattr__(self, name: str) -> Any:
            if name not in ("_ring", "_apiv3_key", "_brand") or self._later is None:
                raise AttributeError(f"{type(self).__name__} has no {name!r}")
            first, brand = self._later()
            self.__init__(*first, self._clock, brand=brand)
            return object.__getattribute__(self, name)

    def __repr__(self) -> str:
        if self._later is not None and "_ring" not in self.__dict__:
            return f"<{type(self).__name__}, its settings not read yet>"
        return f"<{type(self).__name__} with {', '.join(self._ring.names) or 'no keys'}>"

    def _opening(self, pairs: list[tuple[str, str]]) -> Opening:
        """Whose event it says it is: a brand has a key of its own, and its name comes with the event."""
        named = [value for name, value in pairs if name.lower() == "wechatpay-serial"]
        ours = Opening(self._ring, self._apiv3_key)  # Asked for first: it reads settings that were not there.
        return self._brand if self._brand is not None and any(map(self._brand.ring.knows, named)) else ours

    def receive(self, headers: Mapping[str, Any] | HasItems | Iterable[tuple[Any, Any]], body: bytes) -> Event:
        """Return the event that a request carries, once its signature held and its content opened.

        Raises:
            SignatureInvalid: it is not the platform's, too old, changed, or a WECHATPAY/SIGNTEST/ probe. Answer 4xx:
                the platform sends a right one again.
            EventUnreadable: a SignatureInvalid, though signed rightly: it does not open, or lacks stock or code.
            NotAsReceived: these are not a request's headers, or not a raw body.
        """
        body = _raw(body)
        if len(body) > BODY_BYTES_MAX:
            raise SignatureInvalid(f"the event is longer than {BODY_BYTES_MAX} bytes")
        pairs = _pairs(headers)
        ring, key = self._opening(pairs)
        ring.verify(pairs, body, self._clock())
        envelope = eventbody.read_envelope(body)
        resource = envelope.resource
        text = sealed.unseal(key, resource.nonce, resource.associated_data, resource.ciphertext)
        event_type = envelope.event_type or (COUPON_SEND if resource.original_type == ORIGINAL_TYPE else "")
        content: CouponSent | ProductCouponSent | dict[str, Any]
        if event_type in PRODUCT_COUPON_SENDS:
            content = eventbody.read_product_coupon(text)
        else:
            content = eventbody.read_coupon(text) if event_type == COUPON_SEND else eventbody.read_plain(text)
        name = envelope.id or hashlib.sha256(text).hexdigest()[:32]
        return Event(name, event_type, envelope.create_time, content)


def _keys(path: str | os.PathLike[str] | None, settings: dict[str, Any]) -> tuple[Opening, Opening | None]:
    """The merchant's and the brand's, or of one of them alone first. Raises Misconfigured: a key is missing."""
    merchant, brand = config.load_both(path, **settings)
    found: list[Opening] = []
    if merchant is not None:
        if merchant.apiv3_key is None and (brand is None or brand.brand_key is None):
            raise Misconfigured("events are sealed with apiv3_key, and the settings have none: add it to quanma.toml")
        if merchant.apiv3_key is not None:
            found.append(Opening(_ring_of(merchant.platform_keys), merchant.apiv3_key))
    if brand is not None and (brand.brand_key is not None or not found):
        if brand.brand_key is None:
            raise Misconfigured("a brand's events are sealed with brand_key, and [brand] has none: add it")
        found.append(Opening(_ring_of(brand.platform_keys), brand.brand_key))
    return found[0], found[1] if len(found) > 1 else None


def _ring_of(platform_keys: Mapping[str, str]) -> KeyRing:
    return load_ring({name: pem.encode() for name, pem in platform_keys.items()})


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
    if isinstance(event.content, CouponSent | ProductCouponSent):
        return [event.id, f"{event.content.stock_id}\n{event.content.coupon_code}"]
    return [event.id]


def _raw(body: object) -> bytes:
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    kind = "text" if isinstance(body, str) else "parsed" if isinstance(body, dict) else f"a {type(body).__name__}"
    raise NotAsReceived(
        f"the body is {kind}, and the signature is over bytes: give the raw body as it came, not decoded or parsed "
        "(Flask: request.get_data(); Django: request.body; FastAPI: await request.body())"
    )


def _pairs(headers: object) -> list[tuple[str, str]]:
    items = getattr(headers, "items", None)
    pairs = items() if callable(items) else headers
    try:
        return [
            (_text(name).upper().removeprefix("HTTP_").replace("_", "-"), _text(one))
            for name, value in _each(pairs)
            for one in (value if isinstance(value, list | tuple) else [value])
        ]
    except (TypeError, ValueError):
        raise NotAsReceived(
            f"the headers are a {type(headers).__name__}: give a mapping, an object with items(), or pairs of name and "
            "value, as the framework has them (request.headers; of ASGI scope['headers']; of WSGI the environ)"
        ) from None


def _each(pairs: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(pairs, str | bytes):
        raise TypeError("a text has no names and values")
    for name, value in pairs:
        if not isinstance(name, str | bytes):
            raise TypeError("a name is a text")
        yield name, value


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
