"""The control endpoints under `/_sandbox/`: one table, from which routes, checks and their OpenAPI follow."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from .. import errors as platform_errors
from ..api.events import CHANNEL_H5
from ..api.operation import Operation
from ..errors import QuanmaError, RequestInvalid
from ..platform.chance import Chance
from ..platform.coupons.draws import Issue
from ..platform.handlers import HANDLERS
from ..serving.messages import Outcome, Request
from ..wire import keys, signature
from ..wire.times import rfc3339
from . import credentials, exports, redeliver
from .explain import Explanation
from .faults import STATUSES, Rule, Shown
from .journal import Delivery, Exchange, Filter
from .operations import name_of

if TYPE_CHECKING:
    from .app import SandboxApp

BASE = "/_sandbox"
_CHANCE = Chance("signed for others")
_NAME = re.compile(r"[0-9A-Za-z_-]{1,64}")


class ClockChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One of these; with `freeze`, also a moment."""

    freeze: bool | None = None
    """Stand still; false: run on."""
    at: str | None = None
    """A moment to stand at, or to run on from: RFC 3339."""
    shift_seconds: float | None = None
    real: bool = False
    """The system's time again."""


class ClockShown(msgspec.Struct, kw_only=True):
    now: str
    unix: float
    frozen: bool
    delivered: list[str] = []
    """Events whose delivery was tried because the clock moved, before this answer."""


class Wait(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    count: Annotated[int, msgspec.Meta(ge=1)] = 1
    seconds: Annotated[float, msgspec.Meta(ge=0, le=60)] = 10
    where: Filter = Filter()


class Text(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    message: str
    """The text that the caller signed."""


class Settings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    fault_header: bool | None = None
    """Whether a request may ask for its own fault, in the header Sandbox-Fault."""


class Claim(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A user who claims a coupon on the H5 page."""

    stock_id: str
    openid: str
    appid: str = "wx0000000000000001"
    out_request_no: str | None = None
    """Absent: a new one."""
    mchid: str | None = None
    """Who issues. Absent: the first merchant."""


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """An empty object."""


class Ask(NamedTuple):
    """One control request."""

    sandbox: SandboxApp
    in_path: dict[str, str]
    query: dict[str, str]
    body: Any
    request: Request


class Endpoint(NamedTuple):
    verb: str
    path: str
    summary: str
    body: Any
    """Its type; None: there is none."""
    does: Callable[[Ask], Awaitable[Any]]


class Control:
    def __init__(self, sandbox: SandboxApp) -> None:
        self._sandbox = sandbox
        self._routes = [(re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", one.path)), one) for one in ENDPOINTS]

    async def answer(self, request: Request) -> Outcome:
        """What was asked for, or why not. Nothing is raised, and nothing changed by what is refused."""
        if (refused := self._sandbox.guard.refusal(request)) is not None:
            return _problem(refused.status, refused.message)
        path = request.path.decode("latin-1")[len(BASE) :] or "/"
        if path.startswith("/as/"):
            return await _signed_for(self._sandbox, request, path)
        verb = "GET" if request.verb == "HEAD" else request.verb
        found = [(match, one) for pattern, one in self._routes if (match := pattern.fullmatch(path))]
        for match, endpoint in found:
            if endpoint.verb == verb:
                return await self._done(match.groupdict(), endpoint, request)
        if found:
            return _problem(405, f"{path} takes {', '.join(one.verb for _, one in found)}")
        return _problem(404, "there is no such control endpoint: GET /_sandbox/openapi.json lists them")

    async def _done(self, in_path: dict[str, str], endpoint: Endpoint, request: Request) -> Outcome:
        if request.body is None or len(request.body) > 16 * 1024 * 1024:
            return _problem(400, "the body did not arrive whole, or is too long")
        try:
            query = dict(parse_qsl(request.query.decode("latin-1"), strict_parsing=bool(request.query)))
            body = None if endpoint.body is None else msgspec.json.decode(request.body or b"{}", type=endpoint.body)
            answer = await endpoint.does(Ask(self._sandbox, in_path, query, body, request))
        except (msgspec.MsgspecError, ValueError, RequestInvalid) as problem:
            return _problem(400, str(problem))
        except NotFound as problem:
            return _problem(404, str(problem))
        except QuanmaError as problem:
            return _problem(409, str(problem))
        if isinstance(answer, Outcome):
            return answer
        return Outcome(200, msgspec.json.encode(answer), signed=False)


class NotFound(Exception):
    """There is nothing under this id."""


def _problem(status: int, message: str) -> Outcome:
    code = {401: "UNAUTHORIZED", 403: "FORBIDDEN", 404: "NOT_FOUND"}.get(status, "BAD_REQUEST")
    return Outcome(status, msgspec.json.encode({"code": code, "message": message}), signed=False)


async def _status(ask: Ask) -> Any:
    sandbox = ask.sandbox
    return {
        "sandbox": "quanma",
        "base_url": sandbox.base_url(),
        "clock": _clock(sandbox),
        "seed": sandbox.seed,
        "merchants": sandbox.world.mchids,
        "requests": len(sandbox.requests),
        "deliveries": len(sandbox.deliveries),
        "faults": [one.id for one in sandbox.faults.shown(sandbox.clock()) if one.left != 0],
        "fault_header": sandbox.takes_fault_header,
    }


async def _openapi(ask: Ask) -> Any:
    return document()


async def _errors(ask: Ask) -> Any:
    """Every declared error of every operation, with the rule that provokes it."""
    return {
        name_of(one): [
            {"code": error.error_code, "status": error.status, "rule": _provoking(one, error)} for error in one.errors
        ]
        for one in HANDLERS
    }


def _provoking(operation: Operation[..., Any, Any, Any], error: type[platform_errors.PlatformError]) -> Any:
    return {"when": {"operation": name_of(operation)}, "do": {"error": error.error_code, "status": error.status}}


async def _env(ask: Ask) -> Any:
    sandbox = ask.sandbox
    mchid = ask.query.get("mchid", sandbox.world.mchids[0])
    return credentials.of(sandbox.world.merchant(mchid, sandbox.base_url()))


async def _faults(ask: Ask) -> list[Shown]:
    return ask.sandbox.faults.shown(ask.sandbox.clock())


async def _replace_faults(ask: Ask) -> list[Shown]:
    ask.sandbox.faults.replace(ask.body, ask.sandbox.clock())
    return await _faults(ask)


async def _add_fault(ask: Ask) -> Shown:
    number = ask.sandbox.faults.add(ask.body, ask.sandbox.clock())
    return next(one for one in await _faults(ask) if one.id == number)


async def _remove_faults(ask: Ask) -> Any:
    return {"removed": ask.sandbox.faults.remove()}


async def _fault(ask: Ask) -> Shown:
    for one in await _faults(ask):
        if one.id == ask.in_path["id"]:
            return one
    raise NotFound(f"there is no rule {ask.in_path['id']!r}")


async def _remove_fault(ask: Ask) -> Any:
    if not ask.sandbox.faults.remove(ask.in_path["id"]):
        raise NotFound(f"there is no rule {ask.in_path['id']!r}")
    return {"removed": 1}


def _clock(sandbox: SandboxApp, delivered: list[str] | None = None) -> ClockShown:
    now = sandbox.clock()
    return ClockShown(now=rfc3339(int(now)), unix=now, frozen=sandbox.clock.is_frozen, delivered=delivered or [])


async def _show_clock(ask: Ask) -> ClockShown:
    return _clock(ask.sandbox)


async def _move_clock(ask: Ask) -> ClockShown:
    change, clock = ask.body, ask.sandbox.clock
    at = None if change.at is None else _moment(change.at)
    if sum((change.real, change.shift_seconds is not None, at is not None or change.freeze is not None)) != 1:
        raise RequestInvalid("say one of `freeze` or `at`, `shift_seconds`, `real`")
    if change.real:
        clock.real()
    elif change.shift_seconds is not None:
        clock.shift(change.shift_seconds)
    else:
        if change.freeze:
            clock.freeze(at)
        elif change.freeze is False:
            clock.run()
            if at is not None:
                clock.move_to(at)
        elif at is not None:
            clock.move_to(at)
    last = ask.sandbox.deliveries.find(Filter(limit=1))
    await ask.sandbox.platform.notifier.deliver_due()
    behind = Filter(after=last[0].id if last else None)
    return _clock(ask.sandbox, [one.event for one in ask.sandbox.deliveries.find(behind)])


def _moment(text: str) -> float:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise RequestInvalid("`at` is no time like 2026-11-24T00:00:00+08:00") from None
    if at.tzinfo is None:
        raise RequestInvalid("`at` has no offset: write it like 2026-11-24T00:00:00+08:00")
    return at.timestamp()


def _filter(ask: Ask) -> Filter:
    return msgspec.convert({k: v for k, v in ask.query.items() if k != "format"}, Filter, strict=False)


async def _requests(ask: Ask) -> list[Exchange]:
    return ask.sandbox.requests.find(_filter(ask))


async def _find_requests(ask: Ask) -> list[Exchange]:
    return ask.sandbox.requests.find(ask.body)


async def _count_requests(ask: Ask) -> Any:
    return {"count": len(ask.sandbox.requests.find(ask.body))}


async def _wait_requests(ask: Ask) -> Any:
    found = await ask.sandbox.requests.wait(ask.body.where, ask.body.count, ask.body.seconds)
    return {"met": len(found) >= ask.body.count, "count": len(found), "found": found}


async def _forget_requests(ask: Ask) -> Any:
    return {"removed": ask.sandbox.requests.clear(ask.query.get("merchant"))}


async def _export(ask: Ask) -> Outcome:
    entries = ask.sandbox.requests.find(_filter(ask))
    kind, text = exports.written(ask.query.get("format", "curl"), entries, ask.sandbox.base_url())
    return Outcome(200, text.encode(), f"X-Content-Kind: {kind}\r\n", signed=False)


async def _deliveries(ask: Ask) -> list[Delivery]:
    return ask.sandbox.deliveries.find(_filter(ask))


async def _find_deliveries(ask: Ask) -> list[Delivery]:
    return ask.sandbox.deliveries.find(ask.body)


async def _wait_deliveries(ask: Ask) -> Any:
    found = await ask.sandbox.deliveries.wait(ask.body.where, ask.body.count, ask.body.seconds)
    return {"met": len(found) >= ask.body.count, "count": len(found), "found": found}


async def _send_deliveries(ask: Ask) -> list[Delivery]:
    return [await redeliver.send(ask.sandbox, one, ask.body.kind) for one in ask.body.deliveries]


async def _explain(ask: Ask) -> Explanation:
    return _known(ask, ask.sandbox.explain(ask.in_path["id"]))


async def _compare(ask: Ask) -> Explanation:
    return _known(ask, ask.sandbox.explain(ask.in_path["id"], ask.body.message))


def _known(ask: Ask, found: Explanation | None) -> Explanation:
    if found is None:
        raise NotFound(f"no signature was refused under {ask.in_path['id']!r}, or too many since")
    return found


async def _claim(ask: Ask) -> Any:
    """As the H5 page does, behind its signature: the event tells of it."""
    asked, sandbox = ask.body, ask.sandbox
    number = asked.out_request_no or f"claim-{_CHANCE.token_hex(8)}"
    mchid = asked.mchid or sandbox.world.mchids[0]
    issue = Issue(asked.stock_id, asked.openid, asked.appid, number, None, mchid, CHANNEL_H5)
    coupon = await sandbox.platform.pool.send_coupon(mchid, issue, int(sandbox.clock()))
    return {"stock_id": coupon.stock_id, "coupon_code": coupon.coupon_code, "out_request_no": number}


async def _reset(ask: Ask) -> Any:
    await ask.sandbox.reset()
    return await _status(ask)


def _snapshot_folder(ask: Ask) -> Any:
    if not _NAME.fullmatch(ask.in_path["name"]):
        raise RequestInvalid("a snapshot's name is 1 to 64 letters, digits, _ and -")
    return ask.sandbox.world.folder / "snapshots" / ask.in_path["name"]


async def _snapshot(ask: Ask) -> Any:
    await ask.sandbox.snapshot(_snapshot_folder(ask))
    return {"snapshot": ask.in_path["name"]}


async def _restore(ask: Ask) -> Any:
    await ask.sandbox.restore(_snapshot_folder(ask))
    return {"restored": ask.in_path["name"], "clock": _clock(ask.sandbox)}


async def _rotate(ask: Ask) -> Any:
    ask.sandbox.rotated = True
    return {"public_key_id": await asyncio.to_thread(ask.sandbox.world.rotate_key)}


async def _settings(ask: Ask) -> Any:
    if ask.body.fault_header is not None:
        ask.sandbox.takes_fault_header = ask.body.fault_header
    return await _status(ask)


async def _signed_for(sandbox: SandboxApp, request: Request, path: str) -> Outcome:
    """Sign a request in a merchant's name, and hand on the answer: for whatever can't sign by itself."""
    mchid, slash, rest = path.removeprefix("/as/").partition("/")
    try:
        merchant = sandbox.world.merchant(mchid, sandbox.base_url())
    except RequestInvalid as problem:
        return _problem(404, str(problem))
    if not slash:
        return _problem(404, f"write the path behind the merchant: /_sandbox/as/{mchid}/v3/…")
    query = "&".join(part for part in request.query.decode("latin-1").split("&") if part and part != "explain=1")
    target = f"/{rest}?{query}" if query else f"/{rest}"
    body, timestamp, nonce = request.body or b"", str(int(sandbox.clock())), _CHANCE.token_hex(16)
    message = signature.request_message(request.verb, target, timestamp, nonce, body)
    key = keys.load_private_key(merchant.private_key.encode(), "private_key")
    fields = signature.Authorization(mchid, merchant.serial_no, nonce, timestamp, signature.sign(key, message))
    headers = [(b"authorization", signature.authorization(fields).encode()), (b"accept", b"application/json")]
    headers += [one for one in request.headers if one[0] in (b"content-type", b"sandbox-fault", b"wechatpay-serial")]
    asked = Request(request.verb, target.encode("latin-1"), headers, body)
    asked.began = request.began
    reply = sandbox.finish(asked, await sandbox.answer_platform(asked))
    if b"explain=1" not in request.query.split(b"&"):
        more = "".join(
            f"{line}\r\n" for line in reply.headers.split("\r\n") if line.startswith(("Retry-After", "Sandbox"))
        )
        return Outcome(reply.status, reply.body, more, signed=False)
    answered = {name: value for name, _, value in (line.partition(": ") for line in reply.headers.split("\r\n"))}
    shown = {
        "request_message": message.decode("utf-8", "replace"),
        "authorization": headers[0][1].decode(),
        "status": reply.status,
        "answer_message": signature.answer_message(
            answered.get("Wechatpay-Timestamp", ""), answered.get("Wechatpay-Nonce", ""), reply.body
        ).decode("utf-8", "replace"),
        "answer_headers": {name: value for name, value in answered.items() if name.startswith("Wechatpay-")},
    }
    return Outcome(200, msgspec.json.encode(shown), signed=False)


ENDPOINTS = (
    Endpoint("GET", "/", "What this sandbox is: clock, seed, merchants, counts", None, _status),
    Endpoint("GET", "/openapi.json", "This list, as OpenAPI 3.1", None, _openapi),
    Endpoint("GET", "/errors", "Every declared error of every operation, with a rule that provokes it", None, _errors),
    Endpoint("GET", "/env", "A merchant's credentials", None, _env),
    Endpoint("PUT", "/settings", "Switch on or off what is off at the start", Settings, _settings),
    Endpoint("GET", "/faults", "The rules, with what they hit and have left", None, _faults),
    Endpoint("PUT", "/faults", "Put these rules in place of all", list[Rule], _replace_faults),
    Endpoint("POST", "/faults", "Add a rule", Rule, _add_fault),
    Endpoint("DELETE", "/faults", "Remove all rules", None, _remove_faults),
    Endpoint("GET", "/faults/{id}", "One rule", None, _fault),
    Endpoint("DELETE", "/faults/{id}", "Remove one rule", None, _remove_fault),
    Endpoint("GET", "/clock", "The time", None, _show_clock),
    Endpoint("PUT", "/clock", "Move the time; what is due then is done before the answer", ClockChange, _move_clock),
    Endpoint("GET", "/requests", "The journal of requests", None, _requests),
    Endpoint("DELETE", "/requests", "Forget the journal, or a merchant's part", None, _forget_requests),
    Endpoint("POST", "/requests/find", "Those that fit", Filter, _find_requests),
    Endpoint("POST", "/requests/count", "How many fit", Filter, _count_requests),
    Endpoint("POST", "/requests/wait", "Answer once so many fit, or at the end of the time", Wait, _wait_requests),
    Endpoint("GET", "/requests/export", "As `format`: pytest, http, curl or har", None, _export),
    Endpoint("GET", "/deliveries", "The journal of events", None, _deliveries),
    Endpoint("POST", "/deliveries/find", "Those that fit", Filter, _find_deliveries),
    Endpoint("POST", "/deliveries/wait", "Answer once so many fit, or at the end of the time", Wait, _wait_deliveries),
    Endpoint(
        "POST", "/deliveries/send", "Send events again, in this order, in a way", redeliver.Redeliver, _send_deliveries
    ),
    Endpoint("GET", "/explain/{id}", "Why a signature was refused", None, _explain),
    Endpoint("POST", "/explain/{id}", "How a text differs from what had to be signed", Text, _compare),
    Endpoint("POST", "/snapshots/{name}", "Keep all as it is", Nothing, _snapshot),
    Endpoint("POST", "/snapshots/{name}/restore", "Let all be as it was", Nothing, _restore),
    Endpoint("POST", "/claims", "A user claims a coupon on the H5 page", Claim, _claim),
    Endpoint("POST", "/reset", "An empty world, with the same keys", Nothing, _reset),
    Endpoint("POST", "/keys/rotate", "Sign with a new key from now on", Nothing, _rotate),
)


def document() -> dict[str, Any]:
    """The control endpoints as an OpenAPI 3.1 document."""
    bodies = {one.body for one in ENDPOINTS if one.body is not None}
    schemas, components = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    of_body = dict(zip(bodies, schemas, strict=True))
    paths: dict[str, Any] = {}
    for one in ENDPOINTS:
        described: dict[str, Any] = {
            "summary": one.summary,
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in re.findall(r"\{(\w+)\}", one.path)
            ],
            "responses": {"200": {"description": "done"}, "400": {"description": "refused; nothing was changed"}},
        }
        if one.body is not None:
            described["requestBody"] = {"content": {"application/json": {"schema": of_body[one.body]}}}
        paths.setdefault(BASE + one.path, {})[one.verb.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": "quanma sandbox", "version": "1"},
        "paths": paths,
        "components": {"schemas": components},
        "x-error-codes": STATUSES,
    }
