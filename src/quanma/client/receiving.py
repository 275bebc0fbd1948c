"""Ready-made applications that receive events: ASGI, and WSGI. Both call a function with each new event.

An event whose function raises is answered 500, and the platform sends it again. So `handle` must have done its work
when it returns. Of deliveries that tell of one coupon, also at the same moment, one is handled; those that come while
it is are put off with a 500. A process remembers the last 100,000 events: see `events.Seen`.

No exception reaches the server: whatever goes wrong is logged, and answered.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple

import msgspec

from ..errors import EventUnreadable, SignatureInvalid
from .events import BODY_BYTES_MAX, Event, Receiver, Seen, keys_of

log = logging.getLogger(__name__)


class _Answer(NamedTuple):
    status: int
    message: str = ""

    @property
    def body(self) -> bytes:
        return msgspec.json.encode({"code": "FAIL", "message": self.message}) if self.message else b""


_RECEIVED = _Answer(204)
_BEING_HANDLED = _Answer(500, "处理中")
_NOT_HANDLED = _Answer(500, "处理失败")
_REFUSED = _Answer(401, "签名或内容不对")
_BROKEN_OFF = _Answer(400, "请求体不完整")
_LENGTH_REQUIRED = _Answer(411, "请求体没有长度")
_REASONS = {
    204: "204 No Content",
    400: "400 Bad Request",
    401: "401 Unauthorized",
    411: "411 Length Required",
    500: "500 Internal Server Error",
}


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
        try:
            if scope["type"] == "lifespan":
                await _lifespan(receive, send)
            elif scope["type"] == "http":
                await self._http(scope, receive, send)
            else:
                await send({"type": f"{scope['type']}.close"})  # A websocket that was not accepted.
        except Exception:
            log.exception("a request could not be answered")

    async def _http(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        try:
            body = await _asgi_body(receive)
        except Exception:
            log.warning("the body of a request could not be read, and will come again", exc_info=True)
            body = None
        answer = _BROKEN_OFF if body is None else await self._answer(scope["headers"], body)
        headers = [(b"content-type", b"application/json")] if answer.body else []
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, headers: Any, body: bytes) -> _Answer:
        event = _opened(self._receiver, headers, body)
        if isinstance(event, _Answer):
            return event
        if (answer := self._once.begin(event)) is not None:
            return answer
        handled = False
        try:
            done: Any = self._handle(event)
            if inspect.isawaitable(done):  # A function that is not async has done its work.
                await done
            handled = True
        except Exception:
            return _failed(event)
        finally:
            self._once.end(event, handled=handled)
        return _RECEIVED


class WsgiReceiver:
    """A WSGI application for one callback address."""

    def __init__(self, receiver: Receiver, handle: Callable[[Event], None]) -> None:
        """Raises TypeError: `handle` is async, so a call of it would do nothing."""
        if inspect.iscoroutinefunction(handle):
            raise TypeError("WsgiReceiver calls a function that is not async: give it one, or use AsgiReceiver")
        self._receiver = receiver
        self._handle = handle
        self._once = _Once()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            body = _wsgi_body(environ)
        except Exception:
            log.warning("the body of a request could not be read, and will come again", exc_info=True)
            body = _BROKEN_OFF
        answer = body if isinstance(body, _Answer) else self._answer(environ, body)
        start_response(_REASONS[answer.status], [("Content-Type", "application/json")] if answer.body else [])
        return [answer.body] if answer.body else []

    def _answer(self, environ: dict[str, Any], body: bytes) -> _Answer:
        event = _opened(self._receiver, [pair for pair in environ.items() if pair[0].startswith("HTTP_")], body)
        if isinstance(event, _Answer):
            return event
        if (answer := self._once.begin(event)) is not None:
            return answer
        handled = False
        try:
            done: Any = self._handle(event)
            if inspect.iscoroutine(done):
                done.close()
                raise TypeError("the function is async, and nothing was done: use AsgiReceiver")
            handled = True
        except Exception:
            return _failed(event)
        finally:
            self._once.end(event, handled=handled)
        return _RECEIVED


async def _asgi_body(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> bytes | None:
    """Return the body, or its first piece over the limit; None: its sender went away before its end."""
    body, more = bytearray(), True
    while more and len(body) <= BODY_BYTES_MAX:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


def _wsgi_body(environ: dict[str, Any]) -> bytes | _Answer:
    """Return the body, or its first piece over the limit.

    A server that sets `wsgi.input_terminated` ends the input itself, so a chunked body is read to its end. With any
    other, reading past Content-Length may wait for ever: a chunked body is refused then, and the log says why.
    """
    left = BODY_BYTES_MAX + 1
    length = environ.get("CONTENT_LENGTH") or ""
    if not environ.get("wsgi.input_terminated"):
        if not length and environ.get("HTTP_TRANSFER_ENCODING"):
            log.error(
                "an event came chunked, and this server does not say where it ends: have the proxy in front send "
                "Content-Length, or use a server that sets wsgi.input_terminated, like gunicorn"
            )
            return _LENGTH_REQUIRED
        left = min(left, int(length)) if length.isascii() and length.isdigit() else 0
    body = bytearray()
    while left and (piece := environ["wsgi.input"].read(left)):
        body += piece
        left -= len(piece)
    return bytes(body)


def _opened(receiver: Receiver, headers: Any, body: bytes) -> Event | _Answer:
    try:
        return receiver.receive(headers, body)
    except EventUnreadable as problem:
        # Not an attack: the platform signed it, and something is lost if nobody looks.
        log.error("an event of the platform can't be read: %s", problem)
        return _REFUSED
    except SignatureInvalid as problem:
        log.warning("an event was refused: %s", problem)
        return _REFUSED
    except Exception:
        log.exception("an event could not be looked at, and will come again")
        return _NOT_HANDLED


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
                return _BEING_HANDLED
            self._in_hand.update(keys)
        return None

    def end(self, event: Event, *, handled: bool) -> None:
        with self._lock:
            self._in_hand.difference_update(keys_of(event))
            if handled:
                self._seen.add(event)


def _failed(event: Event) -> _Answer:
    log.exception("event %s could not be handled, and will come again", event.id)
    return _NOT_HANDLED


async def _lifespan(
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
