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
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

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
BODY_SECONDS = 8.0
_TRUNCATED = 64


Route = tuple[re.Pattern[str], Operation[..., Any, Any, Any], Callable[[Visit, Any], Awaitable[Any]]]


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
    ) -> None:
        """`explain`: tell a caller why its signature failed. Otherwise every cause has one answer."""
        self._pool = pool
        self._keyroom = keyroom
        self._clock = clock
        self._explain = explain
        self._limit = RateLimit(requests_per_second)
        self._certificates = tuple(keyroom.certificates)
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
        if scope["method"] == "GET" and (plain := self._plain(scope["path"])) is not None:
            return await _respond(send, plain, [("Content-Type", "text/plain; charset=utf-8")])
        body = await _read_body(receive)
        if body is None:
            return None  # The client went away, or never finished: nothing was executed.
        now = self._clock()
        outcome = await self._outcome(scope, body, now)
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
            *outcome.headers,
            # To strangers too: a signed refusal costs and tells as much as an unsigned one would save.
            *self._keyroom.sign(wanted, str(int(now)), outcome.body),
        ]
        await _respond(send, outcome, headers)
        self.metrics.count(scope["method"], outcome.status, time.perf_counter() - began)
        return None

    def _plain(self, path: str) -> Outcome | None:
        if path == "/healthz":
            try:
                self._pool.check()
            except StoreUnavailable as problem:
                return Outcome(503, f"{problem}\n".encode())
            return Outcome(200, b"ok\n")
        return Outcome(200, self.metrics.text()) if path == "/metrics" else None

    async def _outcome(self, scope: Scope, body: bytes | PlatformError, now: float) -> Outcome:
        try:
            if isinstance(body, PlatformError):
                return _failure(body, ("Connection", "close"))  # The rest of the body is not waited for.
            operation, response = await self._answer(scope, body, now)
            return Outcome(204 if operation.response is type(None) else 200, codec.encode_answer(response))
        except PlatformError as error:
            return _failure(error)
        except StoreUnavailable as problem:
            return _failure(PlatformUnavailable(f"服务不可用: {problem}"))
        except Exception as error:
            log.error("a request failed: %s", trace_of(error))
            return _failure(PlatformFailed("系统错误: the platform failed, send the same request again"))

    async def _answer(self, scope: Scope, body: bytes, now: float) -> tuple[Operation[..., Any, Any, Any], Any]:
        # raw_path, not path: a code may hold an escaped slash, and the signature is over what was sent.
        path, query = scope["raw_path"].decode("latin-1"), scope["query_string"]
        target = f"{path}?{query.decode('latin-1')}" if query else path
        authorizations = [value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"]
        try:
            merchant = self._keyroom.verify(scope["method"], target, authorizations, body, now)
        except SignatureInvalid as reason:
            raise self._sign_error(scope["method"], target, body, str(reason)) from None
        self._limit.check(merchant.mchid, now)
        for pattern, operation, handler in self._routes.get(scope["method"], ()):
            if match := pattern.fullmatch(path):
                request = codec.decode_request(operation, match.groupdict(), query, body)
                visit = Visit(merchant, int(now), self._pool, self._certificates)
                return operation, await handler(visit, request)
        raise ResourceNotExists(f"there is no operation {scope['method']} on this path")

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
                await send({"type": "lifespan.startup.complete"})
            else:
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


async def _read_body(receive: Receive) -> bytes | PlatformError | None:
    """Return the body, the refusal of one that is too long, or None where the client went away or never finished it."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                if len(body) > BODY_BYTES_MAX:
                    return ParamError(f"the body is longer than {BODY_BYTES_MAX} bytes")
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        return ParamError(f"the body did not arrive within {BODY_SECONDS:.0f} s")


def _header(scope: Scope, wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), None)


async def _respond(send: SendMessage, outcome: Outcome, headers: list[tuple[str, str]]) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    if outcome.status != 204:
        raw.append((b"Content-Length", str(len(outcome.body)).encode()))
    await send({"type": "http.response.start", "status": outcome.status, "headers": raw})
    await send({"type": "http.response.body", "body": outcome.body})
