"""Ready-made applications that receive events: ASGI, and WSGI. Both call a function with each new event.

An event whose function raises is answered 500, and the platform sends it again. So `handle` must have done its work
when it returns. Of deliveries that tell of one coupon, also at the same moment, one is handled; those that come while
it is are put off with a 500. A process remembers the last 100,000 events: see `events.Seen`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import msgspec

from ..errors import SignatureInvalid
from .events import BODY_BYTES_MAX, Event, Receiver, Seen, keys_of

log = logging.getLogger(__name__)

_Answer = tuple[int, bytes]
_RECEIVED: _Answer = (204, b"")


class AsgiReceiver:
    """An ASGI application for one callback address. `handle` is awaited."""

    def __init__(self, receiver: Receiver, handle: Callable[[Event], Awaitable[None]]) -> None:
        self._receiver = receiver
        self._handle = handle
        self._once = _Once()

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            return await _lifespan(receive, send)
        body, more = b"", True
        while more and len(body) <= BODY_BYTES_MAX:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        status, answer = await self._answer(scope, body)
        headers = [(b"content-type", b"application/json")] if answer else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})
        return None

    async def _answer(self, scope: MutableMapping[str, Any], body: bytes) -> _Answer:
        try:
            event = self._receiver.receive(scope["headers"], body)
        except SignatureInvalid as problem:
            return _refused(problem)
        if (answer := self._once.begin(event)) is not None:
            return answer
        handled = False
        try:
            await self._handle(event)
            handled = True
        except Exception:
            return _failed(event)
        finally:
            self._once.end(event, handled=handled)
        return _RECEIVED


class WsgiReceiver:
    """A WSGI application for one callback address."""

    def __init__(self, receiver: Receiver, handle: Callable[[Event], None]) -> None:
        self._receiver = receiver
        self._handle = handle
        self._once = _Once()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH") or "0"
        body = (
            environ["wsgi.input"].read(min(int(length), BODY_BYTES_MAX + 1))
            if length.isascii() and length.isdigit()
            else b""
        )
        status, answer = self._answer(environ, body)
        reasons = {204: "204 No Content", 401: "401 Unauthorized", 500: "500 Internal Server Error"}
        start_response(reasons[status], [("Content-Type", "application/json")] if answer else [])
        return [answer] if answer else []

    def _answer(self, environ: dict[str, Any], body: bytes) -> _Answer:
        headers = [(name, value) for name, value in environ.items() if name.startswith("HTTP_")]
        try:
            event = self._receiver.receive(headers, body)
        except SignatureInvalid as problem:
            return _refused(problem)
        if (answer := self._once.begin(event)) is not None:
            return answer
        handled = False
        try:
            self._handle(event)
            handled = True
        except Exception:
            return _failed(event)
        finally:
            self._once.end(event, handled=handled)
        return _RECEIVED


class _Once:
    """Lets each event through once. A WSGI server calls from many threads."""

    def __init__(self) -> None:
        self._seen = Seen()
        self._in_hand: set[str] = set()
        self._lock = threading.Lock()

    def begin(self, event: Event) -> _Answer | None:
        """Return the answer to an event that is not to be handled, or None: handle it, then call `end`."""
        keys = keys_of(event)
        with self._lock:
            if self._seen.known(event):
                return _RECEIVED
            if not self._in_hand.isdisjoint(keys):
                return 500, msgspec.json.encode({"code": "FAIL", "message": "处理中"})
            self._in_hand.update(keys)
        return None

    def end(self, event: Event, *, handled: bool) -> None:
        with self._lock:
            self._in_hand.difference_update(keys_of(event))
            if handled:
                self._seen.add(event)


def _refused(problem: SignatureInvalid) -> _Answer:
    log.warning("an event was refused: %s", problem)
    return 401, msgspec.json.encode({"code": "FAIL", "message": "签名或内容不对"})


def _failed(event: Event) -> _Answer:
    log.exception("event %s could not be handled, and will come again", event.id)
    return 500, msgspec.json.encode({"code": "FAIL", "message": "处理失败"})


async def _lifespan(
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
