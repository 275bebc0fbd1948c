"""The sandbox as an application: the platform's own, with a place where a fault may act, and the control endpoints.

A fault acts inside the platform, behind the check of the signature and before or after the work, and on the answer's
way out. The platform itself is that of `quanma serve`, unchanged.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..api.operation import Operation
from ..errors import RequestInvalid, RequestRefused
from ..platform import chance
from ..platform.app import App
from ..platform.handlers import HANDLERS, Handlers, Visit
from ..platform.notify.notifier import Posted
from ..serving.messages import Outcome, Reply, Request
from ..wire import signature
from . import wire
from .clock import Clock
from .control import Control
from .explain import Explanation, Known, compare, explain
from .faults import Do, Faults, Met, error_of
from .guard import Guard
from .journal import Delivery, Exchange, Journal, kept, without_secrets, without_users
from .operations import name_of
from .world import World

PREFIX = b"/_sandbox"
FAULT_HEADER = b"sandbox-fault"
REFUSED_KEPT = 200
STALE_SECONDS = 600
ABSURD_SECONDS = 1_000_000_000
DATE_AHEAD_SECONDS = 5
_JSON = (
    "Content-Type: application/json; charset=utf-8\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
)
_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n"
_UPLOADS = ("coupon_code_list", "code_list")
"""The field of codes in each kind of upload."""


class Passing:
    """A request on its way through the sandbox."""

    def __init__(self, number: str, at: float) -> None:
        self.number, self.at = number, at
        self.began = time.perf_counter()
        self.operation = self.merchant = self.fault = ""
        self.do: Do | None = None
        self.by_header: Do | None = None


class State(NamedTuple):
    """What a snapshot holds besides the pool."""

    rules: list[Any]
    clock: tuple[float | None, float]
    numbers: set[tuple[str, ...]]
    rotated: bool
    chance: dict[str, Any]


_PASSING: ContextVar[Passing] = ContextVar("passing")


class SandboxApp:
    """See `serving.messages.Application`."""

    def __init__(
        self, world: World, clock: Clock, *, guard: Guard, seed: int, foreseen: bool, base_url: Callable[[], str]
    ) -> None:
        """`foreseen`: all chance follows from the seed, and not that of the faults alone."""
        self.world, self.clock, self.seed = world, clock, seed
        self.guard = guard
        self._foreseen = foreseen
        if foreseen:
            chance.foresee(seed)
        self.base_url = base_url
        self.faults = Faults(tuple(HANDLERS), seed)
        self.requests: Journal[Exchange] = Journal("r")
        self.deliveries: Journal[Delivery] = Journal("d")
        self.takes_fault_header = False
        self.rotated = False
        self._numbers: set[tuple[str, ...]] = set()
        self._states: dict[str, State] = {}
        self._handlers = Handlers({one: self._faulty(one, handler) for one, handler in HANDLERS.items()})
        self._passing: dict[int, Passing] = {}
        self._refused: OrderedDict[str, Request] = OrderedDict()
        self._under_way = 0
        self._quiet = asyncio.Condition()
        self._changing = False
        self.platform = world.open(self._handlers, self._posted)
        self._control = Control(self)
        self._merchants = _known(world)

    # What a connection asks.

    @property
    def inner(self) -> App:
        return self.platform.app

    @property
    def verbs(self) -> frozenset[str]:
        return self.inner.verbs | {"PUT", "POST", "DELETE", "PATCH"}

    def share(self, request: Request) -> str:
        return "" if _is_control(request) else self.inner.share(request)

    def body_bytes_max(self, verb: str, path: bytes) -> int:
        return self.inner.body_bytes_max(verb, path)

    def refusal(self, request: Request) -> Reply | None:
        return None if _is_control(request) else self.inner.refusal(request)

    def note(self, *, under_way: int, connections: int) -> None:
        self.inner.note(under_way=under_way, connections=connections)

    async def start(self) -> None:
        await self.inner.start()

    def drain(self) -> None:
        self.inner.drain()

    async def stop(self) -> None:
        await self.inner.stop()

    async def answer(self, request: Request) -> Outcome:
        if _is_control(request):
            return await self._control.answer(request)
        return await self.answer_platform(request)

    def finish(self, request: Request, outcome: Outcome) -> Reply:
        date = f"Date: {formatdate(self.clock(), usegmt=True)}\r\n"
        passing = self._passing.pop(id(request), None)
        if passing is None:
            return Reply(outcome.status, _JSON + outcome.headers, outcome.body, date=date)
        reply = self._finished(request, outcome, passing)
        self._note(request, reply, passing)
        return reply._replace(date=date)

    # The platform, with faults.

    async def answer_platform(self, request: Request) -> Outcome:
        """As the platform answers, but for the faults."""
        passing = Passing(self.requests.next_id(), self.clock())
        self._passing[id(request)] = passing
        token = _PASSING.set(passing)
        try:
            passing.by_header = self._asked_for(request)
            async with self._shared():
                outcome = await self.inner.answer(request)
        except RequestInvalid as problem:
            return Outcome(400, _json({"code": "PARAM_ERROR", "message": f"Sandbox-Fault: {problem}"}))
        except BaseException:
            self._passing.pop(id(request), None)
            raise
        finally:
            _PASSING.reset(token)
        do = passing.do
        if outcome.status == 401 and outcome.signed:
            outcome = self._explained(request, outcome, passing)
        if do is None:
            return outcome
        if do.answers_error:
            outcome = outcome._replace(headers=_retry_after(do, self.clock()))
        if do.rotate_key:
            self.rotated = True
            await asyncio.to_thread(self.world.rotate_key)
        if do.delay_seconds is not None:
            await asyncio.sleep(do.delay_seconds)
        return outcome

    def _faulty(
        self, operation: Operation[..., Any, Any, Any], handler: Callable[[Visit, Any], Awaitable[Any]]
    ) -> Callable[[Visit, Any], Awaitable[Any]]:
        """The handler, with a place before and behind it where a fault may act."""

        name, path = name_of(operation), f"{operation.verb} {operation.path}"

        async def faulty(visit: Visit, request: Any) -> Any:
            passing = _PASSING.get()
            passing.merchant = visit.mchid
            fields = msgspec.structs.asdict(request) if isinstance(request, msgspec.Struct) else {}
            met = self.faults.meet(Met(name, path, visit.mchid, fields), self.clock())
            if passing.by_header is not None:
                passing.fault, passing.do = "header", passing.by_header
            elif met is not None:
                passing.fault, passing.do = met
            do = passing.do
            if do is not None and do.stops:
                raise error_of(do)
            answer = await self._worked(operation, handler, visit, request, fields, do)
            if do is not None and do.answers_error:
                raise error_of(do)
            return answer

        return faulty

    async def _worked(
        self,
        operation: Operation[..., Any, Any, Any],
        handler: Callable[[Visit, Any], Awaitable[Any]],
        visit: Visit,
        request: Any,
        fields: Mapping[str, Any],
        do: Do | None,
    ) -> Any:
        if operation.number is None:
            return await handler(visit, request)
        key = (visit.mchid, name_of(operation), str(fields.get("stock_id")), str(fields.get(operation.number)))
        if do is not None and do.repeat is not None and key in self._numbers:
            if do.repeat == "refuse":
                raise RequestRefused(f"参数错误: {operation.number} was used before")
            if any(field in fields for field in _UPLOADS):
                # Another number, so that the codes are looked at again: those that are there are told of as such.
                again = f"{str(fields[operation.number])[:20]}-{len(self.requests)}"
                request = msgspec.structs.replace(request, **{operation.number: again})
        answer = await handler(visit, request)
        self._numbers.add(key)
        return answer

    def _asked_for(self, request: Request) -> Do | None:
        """The fault that the caller asks for itself. Raises RequestInvalid: it is none."""
        said = request.fields.get(FAULT_HEADER)
        if said is None or not self.takes_fault_header:
            return None
        if b"{" not in said:
            said = b'{"%b":"%b"}' % tuple(said.partition(b"=")[::2])
        try:
            return msgspec.json.decode(said, type=Do, strict=False)
        except msgspec.MsgspecError as problem:
            raise RequestInvalid(str(problem)) from None

    def _finished(self, request: Request, outcome: Outcome, passing: Passing) -> Reply:
        do = passing.do or Do()
        if self.rotated and (wanted := b"wechatpay-serial") in request.fields:
            request = _without(request, wanted)
        passing.operation = request.operation
        if do.non_json:
            return Reply(200, f"Content-Type: text/html\r\nSandbox-Fault: {passing.fault}\r\n", _PAGE)
        reply = self.inner.finish(request, outcome)
        headers = reply.headers
        if do.signature is not None:
            headers = self._wrongly_signed(do.signature, headers, request, reply.body)
        if passing.fault:
            headers += f"Sandbox-Fault: {passing.fault}\r\n"
        if passing.number in self._refused:
            headers += f"Sandbox-Explain: /_sandbox/explain/{passing.number}\r\n"
        return reply._replace(headers=headers, sender=wire.sender(do))

    def _wrongly_signed(self, how: str, headers: str, request: Request, body: bytes) -> str:
        lines = [line for line in headers.split("\r\n")[:-1] if not line.startswith("Wechatpay-")]
        kept_lines = "".join(f"{line}\r\n" for line in lines)
        if how == "absent":
            return kept_lines
        now = int(self.clock())
        timestamp = str(now - STALE_SECONDS if how == "stale" else now)
        signed_body = body + b" " if how in ("wrong", "probe") else body
        signed = dict(self.world.keystore.sign(request.header(b"wechatpay-serial"), timestamp, signed_body))
        if how == "unknown_serial":
            signed["Wechatpay-Serial"] = "PUB_KEY_ID_" + "9" * 34
        if how == "probe":
            signed["Wechatpay-Signature"] = signature.PROBE + signed["Wechatpay-Signature"]
        return kept_lines + "".join(f"{name}: {value}\r\n" for name, value in signed.items())

    def _explained(self, request: Request, outcome: Outcome, passing: Passing) -> Outcome:
        """A refused signature, with the address of its explanation."""
        self._refused[passing.number] = request
        while len(self._refused) > REFUSED_KEPT:
            self._refused.popitem(last=False)
        body = msgspec.json.decode(outcome.body)
        if not isinstance(body, dict):
            return outcome
        body["message"] = f"{body.get('message')}; GET /_sandbox/explain/{passing.number} shows what had to be signed"
        return outcome._replace(body=_json(body))

    def _note(self, request: Request, reply: Reply, passing: Passing) -> None:
        do = passing.do or Do()
        said = _said(reply.body) if reply.status >= 400 else {}
        lost = do.cut in ("before", "after_commit")
        operation = next((name_of(one) for one in HANDLERS if f"{one.verb} {one.path}" == request.operation), "")
        self.requests.add(
            Exchange(
                id=passing.number,
                at=passing.at,
                verb=request.verb,
                target=without_users(request.target.decode("latin-1")),
                operation=operation,
                merchant=passing.merchant,
                status=0 if lost else reply.status,
                code="" if lost else str(said.get("code", "")),
                message="cut by a fault" if lost else str(said.get("message", "")),
                fault=passing.fault,
                milliseconds=round((time.perf_counter() - passing.began) * 1000, 2),
                request=kept(request.body or b""),
                answer=kept(reply.body),
                headers=without_secrets(request.headers),
                explain=f"/_sandbox/explain/{passing.number}" if passing.number in self._refused else "",
            )
        )

    def explain(self, number: str, message: str | None = None) -> Explanation | None:
        """Why a signature was refused; or how `message` differs from what had to be signed. None: it is not known."""
        request = self._refused.get(number)
        if request is None:
            return None
        if message is not None:
            return compare(request, message)
        return explain(request, self._merchants, self.clock())

    def _posted(self, posted: Posted) -> None:
        self.deliveries.add(
            Delivery(
                id=self.deliveries.next_id(),
                at=self.clock(),
                event=posted.event.id,
                merchant=posted.event.mchid,
                url=posted.event.notify_url,
                kind="attempt",
                status=posted.status,
                problem="" if posted.status else "nobody answered",
                headers=list(posted.headers.items()),
                body=posted.body.decode(),
            )
        )

    # Times at which nothing else is under way.

    @contextlib.asynccontextmanager
    async def _shared(self) -> AsyncGenerator[None, None]:
        async with self._quiet:
            await self._quiet.wait_for(lambda: not self._changing)
            self._under_way += 1
        try:
            yield
        finally:
            async with self._quiet:
                self._under_way -= 1
                self._quiet.notify_all()

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncGenerator[None, None]:
        async with self._quiet:
            await self._quiet.wait_for(lambda: not self._changing)
            self._changing = True
            await self._quiet.wait_for(lambda: not self._under_way)
        try:
            yield
        finally:
            async with self._quiet:
                self._changing = False
                self._quiet.notify_all()

    async def reset(self) -> None:
        """An empty pool, no rules, an empty journal, the clock of the system, the keys of the start."""
        async with self._alone():
            await self.inner.stop()
            self.world.empty()
            self.world.first_keys()
            self._forget()
            if self._foreseen:
                chance.foresee(self.seed)
            self.platform = self.world.open(self._handlers, self._posted)
            await self.inner.start()

    def _forget(self) -> None:
        self.faults = Faults(tuple(HANDLERS), self.seed)
        self.requests.clear()
        self.deliveries.clear()
        self.clock.real()
        self.takes_fault_header = self.rotated = False
        self._numbers.clear()
        self._refused.clear()

    async def snapshot(self, folder: Path) -> None:
        """Keep all as it is: pool, clock, rules and their dice."""
        async with self._alone():
            await self.inner.stop()
            try:
                await asyncio.to_thread(self.world.copy_to, folder)
            finally:
                self.platform = self.world.open(self._handlers, self._posted)
                await self.inner.start()
            kept_clock = self.clock.frozen_at, self.clock.ahead_seconds
            self._states[folder.name] = State(
                self.faults.state(), kept_clock, set(self._numbers), self.rotated, chance.state()
            )

    async def restore(self, folder: Path) -> None:
        """Raises RequestInvalid: there is no such snapshot."""
        async with self._alone():
            await self.inner.stop()
            try:
                await asyncio.to_thread(self.world.put_back, folder)
            finally:
                self.platform = self.world.open(self._handlers, self._posted)
                await self.inner.start()
            if (state := self._states.get(folder.name)) is not None:
                self.faults.restore(state.rules)
                self.clock.frozen_at, self.clock.ahead_seconds = state.clock
                self._numbers, self.rotated = set(state.numbers), state.rotated
                chance.restore(state.chance)


def _known(world: World) -> dict[str, Known]:
    found: dict[str, Known] = {}
    for mchid in world.mchids:
        merchant = world.keystore.merchant(mchid)
        found[mchid] = Known(mchid, merchant.verifying)
    return found


def _is_control(request: Request) -> bool:
    return request.path == PREFIX or request.path.startswith(PREFIX + b"/")


def _without(request: Request, name: bytes) -> Request:
    made = Request(request.verb, request.target, [one for one in request.headers if one[0] != name], request.body)
    made.operation, made.began, made.span = request.operation, request.began, request.span
    return made


def _retry_after(do: Do, now: float) -> str:
    wanted = do.retry_after
    if wanted is None or wanted == "absent":
        return ""
    if wanted == "date":
        return f"Retry-After: {formatdate(now + DATE_AHEAD_SECONDS, usegmt=True)}\r\n"
    return f"Retry-After: {ABSURD_SECONDS if wanted == 'absurd' else wanted}\r\n"


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _said(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}
