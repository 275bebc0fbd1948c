"""The platform as an ASGI application: routes, checks and bytes follow from the declared operations.

A request is verified over the bytes and the target received, then read, then handled; its answer is signed over the
bytes sent, errors too. Every error becomes a status and a body here, and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, NamedTuple, Protocol

from ..api import openapi
from ..api.media import IMAGE_BYTES_MAX
from ..api.operation import Operation
from ..errors import (
    ParamError,
    PlatformError,
    PlatformFailed,
    PlatformUnavailable,
    ResourceNotExists,
    SignatureInvalid,
    SignError,
    StoreUnavailable,
)
from ..wire import codec
from . import claimpage
from .handlers import Handlers, Visit
from .keyroom import KeyRoom
from .limits import RateLimit
from .metrics import Metrics
from .pool.contract import CodePool
from .traces import trace_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
SendMessage = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 1024 * 1024
PICTURE_BODY_BYTES_MAX = IMAGE_BYTES_MAX + 64 * 1024
BODY_SECONDS = 8.0
_TRUNCATED = 64
_TEXT = (("Content-Type", "text/plain; charset=utf-8"),)
_JSON = (("Content-Type", "application/json; charset=utf-8"),)
_HTML = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", "default-src 'none'"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
)


Route = tuple[re.Pattern[str], Operation[..., Any, Any, Any], Callable[[Visit, Any], Awaitable[Any]]]


class Beside(Protocol):
    """Work that runs while the platform serves."""

    def start(self) -> None: ...
    async def stop(self) -> None: ...


class Found:
    """The operation that a request asks for."""

    def __init__(
        self,
        operation: Operation[..., Any, Any, Any],
        handler: Callable[[Visit, Any], Awaitable[Any]],
        in_path: dict[str, str],
    ) -> None:
        self.operation = operation
        self.handler = handler
        self.in_path = in_path


class Outcome(NamedTuple):
    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class App:
    def __init__(
        self,
        handlers: Handlers,
        pool: CodePool,
        keyroom: KeyRoom,
        *,
        clock: Callable[[], float] = time.time,
        explain: bool = False,
        requests_per_second: float | None = None,
        private_callbacks: bool = False,
        beside: Sequence[Beside] = (),
    ) -> None:
        """`explain`: tell a caller why its signature failed. Otherwise every cause has one answer.

        `private_callbacks`: take callback addresses that are not https or not public. `beside`: what runs as long.
        """
        self._pool = pool
        self._keyroom = keyroom
        self._clock = clock
        self._explain = explain
        self._limit = RateLimit(requests_per_second)
        self._private_callbacks = private_callbacks
        self._beside = beside
        self._openapi = codec.encode_answer(openapi.document(handlers))
        self.metrics = Metrics()
        self._routes: dict[str, list[Route]] = {}
        for operation, handler in handlers.items():
            pattern = re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(operation.path)))
            self._routes.setdefault(operation.verb, []).append((pattern, operation, handler))

    async def __call__(self, scope: Scope, receive: Receive, send: SendMessage) -> None:
        if scope["type"] == "lifespan":
            return await self._lifespan(receive, send)
        if scope["type"] != "http":
            return None
        began = time.perf_counter()
        if scope["method"] == "GET" and (plain := await self._plain(scope)) is not None:
            return await _respond(send, plain, [])
        found = self._find(scope)
        body = await _read_body(receive, _body_bytes_max(found))
        if body is None:
            return None  # The client went away, or never finished: nothing was executed.
        now = self._clock()
        outcome = await self._outcome(scope, found, body, now)
        wanted = _header(scope, b"wechatpay-serial")
        headers = [
            ("Content-Type", "application/json; charset=utf-8"),
            ("Content-Language", "zh-CN"),
            ("Cache-Control", "no-cache, must-revalidate"),
            ("X-Content-Type-Options", "nosniff"),
            # Source: the number at the end is 0 for success (documented); ours is the HTTP status for a failure.
            (
                "Request-ID",
                f"{secrets.token_hex(16).upper()}-{0 if outcome.status < 300 else outcome.status}",
            ),
            # To strangers too: a signed refusal costs and tells as much as an unsigned one would save.
            *self._keyroom.sign(wanted, str(int(now)), outcome.body),
        ]
        await _respond(send, outcome, headers)
        self.metrics.count(scope["method"], outcome.status, time.perf_counter() - began)
        return None

    async def _plain(self, scope: Scope) -> Outcome | None:
        """The pages that nobody signs for."""
        path = scope["path"]
        if path == "/healthz":
            try:
                await self._pool.check()
            except StoreUnavailable as problem:
                return Outcome(503, f"{problem}\n".encode(), _TEXT)
            return Outcome(200, b"ok\n", _TEXT)
        if path == "/metrics":
            return Outcome(200, self.metrics.text(), _TEXT)
        if path == "/openapi.json":
            return Outcome(200, self._openapi, _JSON)
        if path == claimpage.PATH:
            page = await claimpage.claim(self._pool, self._keyroom, scope["query_string"], int(self._clock()))
            return Outcome(page.status, page.html, _HTML)
        return None

    def _find(self, scope: Scope) -> Found | None:
        # raw_path, not path: a code may hold an escaped slash.
        path = scope["raw_path"].decode("latin-1")
        for pattern, operation, handler in self._routes.get(scope["method"], ()):
            if match := pattern.fullmatch(path):
                return Found(operation, handler, match.groupdict())
        return None

    async def _outcome(self, scope: Scope, found: Found | None, body: bytes | PlatformError, now: float) -> Outcome:
        try:
            if isinstance(body, PlatformError):
                return _failure(body, ("Connection", "close"))  # The rest of the body is not waited for.
            response = await self._answer(scope, found, body, now)
            return Outcome(204 if response is None else 200, codec.encode_answer(response))
        except PlatformError as error:
            return _failure(error)
        except StoreUnavailable as problem:
            return _failure(PlatformUnavailable(f"服务不可用: {problem}"))
        except Exception as error:
            log.error("a request failed: %s", trace_of(error))
            return _failure(PlatformFailed("系统错误: the platform failed, send the same request again"))

    async def _answer(self, scope: Scope, found: Found | None, body: bytes, now: float) -> Any:
        # The target as it came: the signature is over what was sent.
        path, query = scope["raw_path"].decode("latin-1"), scope["query_string"]
        target = f"{path}?{query.decode('latin-1')}" if query else path
        content_type = _header(scope, b"content-type") or ""
        authorizations = [value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"]
        signed = codec.signed_body(found.operation if found else None, content_type, body)
        try:
            merchant = self._keyroom.verify(scope["method"], target, authorizations, signed, now)
        except SignatureInvalid as reason:
            raise self._sign_error(scope["method"], target, body, str(reason)) from None
        self._limit.check(merchant.mchid, now)
        if found is None:
            raise ResourceNotExists(f"there is no operation {scope['method']} on this path")
        request = codec.decode_request(found.operation, found.in_path, query, body, content_type)
        visit = Visit(merchant, int(now), self._pool, tuple(self._keyroom.certificates), self._private_callbacks)
        return await found.handler(visit, request)

    def _sign_error(self, method: str, target: str, body: bytes, reason: str) -> SignError:
        # Source: the shape was seen in the field. The length is that of a nonce of 32 characters, whatever was sent:
        # one cause must not look different from another.
        signed = f"{method}\n{target}\n"
        detail: dict[str, Any] = {
            "detail": {"issue": "sign not match"},
            "field": "signature",
            "location": "authorization",
            "sign_information": {
                "method": method,
                "url": target[:256],
                "sign_message_length": len(signed) + 10 + 1 + 32 + 1 + len(body) + 1,
                "truncated_sign_message": signed[:_TRUNCATED],
            },
        }
        return SignError(reason if self._explain else "错误的签名，导致验签失败", detail=detail)

    async def _lifespan(self, receive: Receive, send: SendMessage) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                for one in self._beside:
                    one.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                for one in self._beside:
                    await one.stop()
                await self._pool.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _failure(error: PlatformError, *headers: tuple[str, str]) -> Outcome:
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.detail is not None:
        body["detail"] = error.detail
    wait = error.retry_after_seconds
    if wait is not None:
        headers = (*headers, ("Retry-After", str(int(wait))))
    return Outcome(error.status_code, codec.encode_answer(body), headers)


def _body_bytes_max(found: Found | None) -> int:
    return PICTURE_BODY_BYTES_MAX if found and found.operation.multipart else BODY_BYTES_MAX


async def _read_body(receive: Receive, bytes_max: int) -> bytes | PlatformError | None:
    """Return the body, the refusal of one that is too long, or None where the client went away or never finished it."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                if len(body) > bytes_max:
                    return ParamError(f"the body is longer than {bytes_max} bytes")
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        return ParamError(f"the body did not arrive within {BODY_SECONDS:.0f} s")


def _header(scope: Scope, wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), None)


async def _respond(send: SendMessage, outcome: Outcome, headers: list[tuple[str, str]]) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in (*headers, *outcome.headers)]
    if outcome.status != 204:
        raw.append((b"Content-Length", str(len(outcome.body)).encode()))
    await send({"type": "http.response.start", "status": outcome.status, "headers": raw})
    await send({"type": "http.response.body", "body": outcome.body})
