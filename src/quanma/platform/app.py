"""The platform as an application: routes, checks and bytes follow from the declared operations.

A request is verified over the bytes and the target received, then read, then handled; its answer is signed over the
bytes sent, errors too. Every error becomes a status and a body here, and nowhere else.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from ..api import openapi
from ..api.media import IMAGE_BYTES_MAX
from ..api.operation import Operation
from ..errors import (
    Misconfigured,
    ParamError,
    PlatformError,
    PlatformFailed,
    PlatformUnavailable,
    RateLimited,
    ResourceNotExists,
    SignatureInvalid,
    SignError,
    StoreUnavailable,
)
from ..serving.messages import Outcome, Reply, Request
from ..serving.redact import trace_of
from ..wire import codec, signature
from ..wire.times import rfc3339
from . import claimpage, tokenpage
from .chance import Chance
from .config import ProductCouponStock
from .coupons.product.refusals import PREFIXES, as_refused
from .coupons.requests import check_texts
from .keys.keystore import KeyStore, Merchant
from .keys.refusals import NotBelieved, RefusalLog
from .keys.reload import AsOf
from .limits import HOUR_SECONDS, RateLimit
from .notify.addresses import Network
from .observe.metrics import CONTENT_TYPE, Metrics
from .observe.probe import Probe
from .observe.spans import Spans
from .pool.contract import CodePool, HostsAsked
from .productstocks import declare_stocks
from .replays import Came, Replays, digest
from .visit import PRODUCT_RULES, Handlers, ProductRules, Visit

log = logging.getLogger(__name__)
_CHANCE = Chance("answers")

GET, HEAD = "GET", "HEAD"
_READS = (GET, HEAD)
"""HEAD is answered as GET is, without the body: monitors and load balancers ask so."""
BODY_BYTES_MAX = 1024 * 1024
PICTURE_BODY_BYTES_MAX = IMAGE_BYTES_MAX + 64 * 1024
COME_AGAIN_SECONDS = (1, 2, 3)
ASKED_SECONDS_MAX = 30.0
"""How long a start waits for the word of other hosts. They are given up, and the pool is fenced, long before."""
"""What refused callers are told, each one of these: they must not all come back at once."""
_TRUNCATED = 64
_TEXT = "Content-Type: text/plain; charset=utf-8\r\n"
_METRICS = f"Content-Type: {CONTENT_TYPE}\r\n"
_JSON = "Content-Type: application/json; charset=utf-8\r\n"
_HTML = (
    "Content-Type: text/html; charset=utf-8\r\n"
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n"
    "Referrer-Policy: no-referrer\r\n"  # The address holds an openid and a signature.
    "Cache-Control: no-store\r\n"
    "X-Content-Type-Options: nosniff\r\n"
)
_ANSWER = (
    "Content-Type: application/json; charset=utf-8\r\n"
    "Content-Language: zh-CN\r\n"
    "Cache-Control: no-cache, must-revalidate\r\n"
    "X-Content-Type-Options: nosniff\r\n"
)


class Beside(Protocol):
    """Work that runs while the platform serves."""

    def start(self) -> None: ...
    async def stop(self) -> None: ...


class Found:
    """The operation that a request asks for."""

    def __init__(self, route: Route, in_path: dict[str, str]) -> None:
        self.name = route.name
        self.operation = route.operation
        self.handler = route.handler
        self.in_path = in_path


class Route:
    """An operation, the paths that ask for it, and who answers."""

    def __init__(
        self, operation: Operation[..., Any, Any, Any], handler: Callable[[Visit, Any], Awaitable[Any]]
    ) -> None:
        self.name = f"{operation.verb} {operation.path}"
        self.operation = operation
        self.handler = handler
        self.pattern = re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(operation.path)))


class App:
    def __init__(
        self,
        handlers: Handlers,
        pool: CodePool,
        keystore: KeyStore,
        *,
        clock: Callable[[], float] = time.time,
        explain: bool = False,
        requests_per_second: float | None = None,
        stocks_per_hour: float | None = None,
        refuse_replays: bool = False,
        private_callbacks: bool = False,
        refused_networks: Sequence[Network] = (),
        product_stocks: Sequence[ProductCouponStock] = (),
        product_rules: ProductRules = PRODUCT_RULES,
        beside: Sequence[Beside] = (),
        metrics: Metrics | None = None,
        settings_as_of: Callable[[], AsOf] | None = None,
    ) -> None:
        """`explain`: tell a caller why its signature failed. Otherwise every cause has one answer.

        `private_callbacks`: take callback addresses that are not https or not public. `refused_networks`: take none
        there. `product_stocks`: are made at the start, if they are not there. `beside`: what runs as long.
        `settings_as_of`: is shown to operators.
        """
        self._pool = pool
        self._keystore = keystore
        self._clock = clock
        self._explain = explain
        self._limit = None if requests_per_second is None else RateLimit(requests_per_second)
        self._stock_limit = None if stocks_per_hour is None else RateLimit(stocks_per_hour, HOUR_SECONDS)
        self._replays = Replays(pool.nonces, refuse=refuse_replays, began_at=clock())
        self._callbacks = private_callbacks, tuple(refused_networks)
        self._product_stocks = product_stocks
        self._product_rules = product_rules
        self._beside = beside
        self._openapi = _openapi(tuple(handlers))
        self.metrics = metrics or Metrics()
        self._settings_as_of = settings_as_of
        self._probe = Probe(pool)
        self._draining = False
        self._spans = Spans()
        self._refusal_log = RefusalLog()
        self._refusals: dict[str, tuple[int, str, bytes]] = {}
        self._fixed: dict[tuple[str, bytes], Found] = {}
        """By verb and path, where nothing in the path varies."""
        self._varying: dict[tuple[str, int], list[Route]] = {}
        """By verb and number of slashes."""
        self._verbs = frozenset({"GET", "HEAD"}.union(operation.verb for operation in handlers))
        for operation, handler in handlers.items():
            route, path = Route(operation, handler), operation.path.encode()
            if b"{" in path:
                self._varying.setdefault((operation.verb, path.count(b"/")), []).append(route)
            else:
                self._fixed[operation.verb, path] = Found(route, {})

    async def start(self) -> None:
        """Raises Misconfigured, StoreUnavailable: it can't serve like this."""
        until = asyncio.get_running_loop().time() + ASKED_SECONDS_MAX
        while True:
            try:
                await self._pool.check()
                break
            except HostsAsked as asked:
                if asyncio.get_running_loop().time() > until:
                    raise
                log.warning("waiting: %s", asked)
        await declare_stocks(self._pool, self._product_stocks, int(self._clock()))
        for one in self._beside:
            one.start()

    def drain(self) -> None:
        self._draining = True

    async def stop(self) -> None:
        for one in self._beside:
            await one.stop()
        await self._pool.close()

    def body_bytes_max(self, verb: str, path: bytes) -> int:
        found = self._find(verb, path)
        return PICTURE_BODY_BYTES_MAX if found and found.operation.multipart else BODY_BYTES_MAX

    @property
    def verbs(self) -> frozenset[str]:
        return self._verbs

    def share(self, request: Request) -> str:
        """The merchant that the request says it is from; for a claim, the merchant that issues."""
        if request.path == _CLAIM:
            return claimpage.issuer(self._keystore, request.query)
        said = request.fields.get(b"authorization")
        if said is None or (len(request.fields) < len(request.headers) and len(request.all(b"authorization")) > 1):
            return ""
        return self._keystore.named(said)

    async def answer(self, request: Request) -> Outcome:
        """Verify, read and handle a request. What went wrong is an outcome too: nothing is raised."""
        try:
            if request.verb in _READS and (plain := await self._plain(request)) is not None:
                return plain
            now = self._clock()
            try:
                if self._spans.wanted:
                    with self._spans.around(request):
                        response = await self._answer(request, now)
                else:
                    response = await self._answer(request, now)
                return Outcome(204 if response is None else 200, codec.encode_answer(response))
            except PlatformError as error:
                return _failure(as_refused(error) if request.path.startswith(PREFIXES) else error)
            except (StoreUnavailable, Misconfigured) as problem:  # The database may not let us in any more.
                # Not to be told to merchants: it may name files, tables, other merchants' stocks.
                log.error("the store can't answer: %s", problem, extra={"operation": request.operation})
                return _failure(PlatformUnavailable("服务不可用: the store can't answer, send the same request again"))
        except GeneratorExit:
            raise  # Nobody waits for an outcome any more.
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # It is this request that was cancelled, and not something that it waited for.
            log.error("a request failed: %s", trace_of(error), extra={"operation": request.operation})
            return _FAILED

    def finish(self, request: Request, outcome: Outcome) -> Reply:
        """Sign an answer, to strangers too: a signed refusal costs and tells as much as an unsigned one would save."""
        if not outcome.signed:
            return Reply(outcome.status, outcome.headers, outcome.body)
        timestamp = str(int(self._clock()))
        chance = _CHANCE.token_hex(32)  # Once for both: the system is asked each time.
        brand = (
            self._keystore.brand_named(request.all(b"authorization"))
            if request.path.startswith(signature.BRAND_PATHS.encode())
            else None
        )
        wanted = request.header(b"wechatpay-serial")
        signed = self._keystore.sign(wanted, timestamp, outcome.body, chance[:32], brand)
        headers = f"{_ANSWER}{_request_id(outcome.reason, chance[32:])}{_lines(signed)}{outcome.headers}"
        if request.span is not None:
            self._spans.end(request, outcome.status)
        self.metrics.count(request.operation, outcome.status, time.perf_counter() - request.began)
        return Reply(outcome.status, headers, outcome.body)

    def note(self, *, under_way: int, connections: int) -> None:
        self.metrics.note(under_way=under_way, connections=connections)
        if self._settings_as_of is not None:
            self.metrics.note_settings(self._settings_as_of().at)

    def refusal(self, request: Request) -> Reply | None:
        """Refuse one request too many, before anything is verified or done.

        What is signed says nothing of the request, so that one signature a second is enough for all: it must cost less
        than what it refuses.
        """
        if request.verb in _READS and request.path in _WITHOUT_WORK:
            return None
        wanted, now = request.header(b"wechatpay-serial"), int(self._clock())
        # Under what was asked for as long as that is a key's name, or nothing.
        if (known := self._refusals.get(wanted or "")) is None or known[0] != now:
            known = self._refuse(wanted, now)
        _, headers, body = known
        chance = random.getrandbits(128)  # No secret: the system is not asked.
        wait = COME_AGAIN_SECONDS[chance % len(COME_AGAIN_SECONDS)]
        self.metrics.count_overload()
        return Reply(429, f"{headers}{_request_id(429, f'{chance:032x}')}Retry-After: {wait}\r\n", body)

    def _refuse(self, wanted: str | None, now: int) -> tuple[int, str, bytes]:
        name = self._keystore.signer(wanted, now)
        if (known := self._refusals.get(name)) is None or known[0] != now:
            body = codec.encode_answer(
                {"code": RateLimited.error_code, "message": "频率限制: too many requests at once"}
            )
            self._refusals[name] = known = now, _ANSWER + _lines(self._keystore.sign(wanted, str(now), body)), body
        if not wanted:
            self._refusals[""] = known
        return known

    async def _plain(self, request: Request) -> Outcome | None:
        """The pages that nobody signs for."""
        path = request.path
        if path == b"/healthz":
            well = await self._probe.well(kept=True)
            return Outcome(200 if well else 503, b"ok\n" if well else _UNWELL, _TEXT, signed=False)
        if path == b"/readyz":
            why_not = await self._why_not_ready()
            said = f"{why_not}\n" if why_not else f"ready\n{self._away_said()}"
            said += self._settings_said()
            return Outcome(503 if why_not else 200, said.encode(), _TEXT, signed=False)
        if path == b"/metrics":
            store_up = await self._probe.well(kept=True)
            text = self.metrics.text(store_up=store_up, fenced=self._pool.fence() is not None)
            return Outcome(200, text, _METRICS, signed=False)
        if path == b"/openapi.json":
            return Outcome(200, self._openapi, _JSON, signed=False)
        if path == _RECEIVE:
            if request.verb == HEAD:
                return Outcome(200, b"", _HTML, signed=False)
            paused = self._product_rules.paused
            page = await tokenpage.receive(self._pool, request.query, paused, int(self._clock()))
            return Outcome(page.status, page.html, _HTML + page.headers, signed=False)
        if path == _CLAIM:
            if request.verb == HEAD:
                return Outcome(200, b"", _HTML, signed=False)  # To look at a link must not claim its coupon.
            page = await claimpage.claim(self._pool, self._keystore, request.query, self._clock(), self._limit)
            return Outcome(page.status, page.html, _HTML + page.headers, signed=False)
        return None

    def _away_said(self) -> str:
        """A line for operators: what part of the store is away, while the rest of it answers."""
        away = ", ".join(self._pool.away())
        return f"away: {away}: requests for the stocks there are refused until it is back\n" if away else ""

    def _settings_said(self) -> str:
        """A line for operators: whether a change of theirs was taken."""
        if self._settings_as_of is None:
            return ""
        at, newer = self._settings_as_of()
        problem = "; there are newer ones, which can't be used: the log says why" if newer else ""
        return f"settings as of {rfc3339(int(at))}{problem}\n"

    async def _why_not_ready(self) -> str | None:
        """Why no requests should be sent here now, or None."""
        if self._draining:
            return "the platform is ending"
        if not await self._probe.well():
            return _UNWELL.decode().strip()
        return self._pool.fence()

    def _find(self, verb: str, path: bytes) -> Found | None:
        # The path as it was sent: a code may hold an escaped slash.
        if verb == HEAD:
            verb = GET
        if (found := self._fixed.get((verb, path))) is not None:
            return found
        text = path.decode("latin-1")
        for route in self._varying.get((verb, path.count(b"/")), ()):
            if match := route.pattern.fullmatch(text):
                return Found(route, match.groupdict())
        return None

    async def _answer(self, request: Request, now: float) -> Any:
        found = self._find(request.verb, request.path)
        if found is not None:
            request.operation = found.name
        body = _whole(request, PICTURE_BODY_BYTES_MAX if found and found.operation.multipart else BODY_BYTES_MAX)
        # As it came: the signature is over what was sent.
        target = request.target.decode("latin-1")
        content_type, wanted = request.header(b"content-type") or "", request.header(b"wechatpay-serial")
        signed = codec.signed_body(found.operation if found else None, content_type, body)
        try:
            merchant = self._keystore.verify(request.verb, target, request.all(b"authorization"), signed, now)
        except NotBelieved as refused:
            self.metrics.count_refusal(refused.cause)
            self._refusal_log.tell(refused.cause, request.operation, now)
            raise self._sign_error(request.verb, target, signed, str(refused)) from None
        if merchant.brand_key is not None and wanted != merchant.brand_key.name:
            # Source: documented as mandatory, and checked. Who asks is known here, and may be told.
            raise SignError(
                f"the header Wechatpay-Serial must be the brand's own public key, {merchant.brand_key.name}: "
                "no answer for a brand is signed with another"
            )
        if self._limit is not None:
            self._limit.check(merchant.mchid, now)
        if self._replays.refuse:
            try:
                await self._replays.check(self._came(merchant, request), now)
            except SignatureInvalid as reason:
                raise self._sign_error(request.verb, target, signed, str(reason)) from None
        if found is None:
            raise ResourceNotExists(f"there is no operation {request.verb} on this path")
        asked = codec.decode_request(found.operation, found.in_path, request.query, body, content_type)
        if b"\\u0000" in body or "%00" in target:
            check_texts(asked)
        visit = Visit(
            merchant,
            int(now),
            self._pool,
            tuple(self._keystore.certificates),
            self._stock_limit,
            lambda: self._keystore.sensitive_fields(merchant, request.all(b"authorization"), wanted),
            *self._callbacks,
            self._keystore.knows_brands,
            self._product_rules,
        )
        if found.operation.verb in codec.IN_QUERY or found.operation.number is not None:
            return await found.handler(visit, asked)
        # Without a number of its own, a repeat of it is known by its nonce.
        what = digest(request.verb, target, signed)
        came = self._came(merchant, request)
        return await self._replays.once(came, what, int(now), lambda: found.handler(visit, asked))

    def _came(self, merchant: Merchant, request: Request) -> Came:
        return Came(merchant.mchid, *self._keystore.nonce_and_time(request.all(b"authorization")))

    def _sign_error(self, method: str, target: str, body: bytes, reason: str) -> SignError:
        # Source: the shape was seen in the field. The length is that of a nonce of 32 characters, whatever was sent:
        # one cause must not look different from another. `body`: as a signature covers it.
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


_UNWELL = b"the store can't answer; the log says why\n"
_CLAIM = claimpage.PATH.encode()
_RECEIVE = tokenpage.PATH.encode()
_WITHOUT_WORK = frozenset({b"/healthz", b"/readyz", b"/metrics", b"/openapi.json"})


@functools.cache
def _openapi(operations: tuple[Operation[..., Any, Any, Any], ...]) -> bytes:
    return codec.encode_answer(openapi.document(operations))


def _whole(request: Request, bytes_max: int) -> bytes:
    if request.body is None:
        raise ParamError("the body did not arrive in time")
    if len(request.body) > bytes_max:
        raise ParamError(f"the body is longer than {bytes_max} bytes")
    return request.body


def _failure(error: PlatformError) -> Outcome:
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.detail is not None:
        body["detail"] = error.detail
    wait = error.retry_after_seconds
    headers = "" if wait is None else f"Retry-After: {int(wait)}\r\n"
    reason = error.reason if error.reason is not None else error.status_code
    return Outcome(error.status_code, codec.encode_answer(body), headers, reason=reason)


_FAILED = _failure(PlatformFailed("系统错误: the platform failed, send the same request again"))


def _request_id(reason: int, chance: str) -> str:
    # Source: the number at the end is 0 for success (documented). For a failure it is the reason, where 商品券 has
    # numbers for them, and else the HTTP status: ours.
    return f"Request-ID: {chance.upper()}-{reason}\r\n"


def _lines(headers: Sequence[tuple[str, str]]) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in headers])
