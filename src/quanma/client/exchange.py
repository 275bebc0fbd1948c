"""One call as a conversation: what to send, how long to wait, when it is over.

It knows no socket and no sleep, so the sync and the async client share it, and tests play the network.
All decisions about repeating are here:

- 429 and no connection: it was not accepted, so it is repeated, whatever the operation. A stock that is still being
  created takes minutes, so it is the caller's to wait for.
- 500, 502, 503, a broken connection, an answer that can't be trusted: the request may have been executed, so it is
  repeated only where a repeat is harmless, with the same bytes. Each attempt has a fresh signature.
- Everything ends within the call's deadline, waits included.
- An error speaks for the whole call: if an earlier attempt may have been executed, so may the call.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from logging import INFO
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from ..api.certificates import Certificates as Certified
from ..api.operation import Answer, Operation
from ..errors import (
    AnswerUntrusted,
    ClientClosed,
    ClockSkewed,
    ClockWrong,
    Misconfigured,
    NoAnswer,
    NotSent,
    NotThePlatform,
    PlatformError,
    QuanmaError,
    SignatureInvalid,
    SignError,
    TryAgain,
)
from ..wire import codec, signature
from ..wire.keys import PrivateKey
from ..wire.signature import KeyRing
from . import between
from .attempts import Attempt, Watch, log, shown_path, tell
from .certificates import Certificates, Fetch, ListUnreadable, NotBefore, Theirs
from .compressed import GZIP_BEGINS, plain
from .transport import Reply, Request

Resp = TypeVar("Resp")
T = TypeVar("T")

ATTEMPTS_MAX = 4
BACKOFF_SECONDS = (1.0, 2.0, 4.0)
"""Source: the platform's advice, 1 s, 2 s, 4 s. Each is spread over 80 % to 120 %: clients must not march in step."""
USER_AGENT = "quanma/0.1 (+https://pypi.org/project/quanma/)"


_LIST_CERTIFICATES = codec.Parts("GET", Certified.path, b"")


class Send(NamedTuple):
    request: Request
    timeout_seconds: float


class Wait(NamedTuple):
    seconds: float


class Join(NamedTuple):
    """Wait for what another call does, no longer than so many seconds."""

    over: Future[None]
    seconds: float


class Failed(NamedTuple):
    error: QuanmaError


Step = Send | Wait | Join
_Steps = Generator[Step, Reply | Failed | None, T]
Talk = Generator[Step, Reply | Failed | None, Answer[Resp]]


class Identity(NamedTuple):
    """Who signs, and whose answers are believed."""

    mchid: str
    """The merchant's; a brand's is its brand_id."""
    serial_no: str
    private_key: PrivateKey
    ring: KeyRing
    scheme: str = signature.SCHEME


class Patience(NamedTuple):
    """How long a call may take in all, and one attempt of it."""

    deadline_seconds: float = 30.0
    attempt_seconds: float = 15.0
    attempts_max: int = ATTEMPTS_MAX


class Clocks(NamedTuple):
    """`wall` signs and checks, `steady` measures the deadline."""

    wall: Callable[[], float]
    steady: Callable[[], float]


def exchange(
    identity: Identity,
    hosts: tuple[str, ...],
    patience: Patience,
    clocks: Clocks,
    operation: Operation[..., Any, Any, Resp],
    parts: codec.Parts,
    certificates: Certificates | None = None,
    number: str | None = None,
    watch: Watch | None = None,
) -> Talk[Resp]:
    """Yield what to do next, return the answer. Attempts take the hosts in turn.

    An answer signed with an unknown key is read again once the platform's certificates were fetched.
    `number` is the merchant's own, for the log; `watch` is told of each attempt.

    Raises:
        Misconfigured: there is no key to verify an answer with, and none can be fetched. Nothing was sent.
        RequestRefused, TryAgain: the platform's answer, with its Request-ID.
        NotSent, NoAnswer, AnswerUntrusted: no answer that holds, on the last attempt.
    """
    ends_at = clocks.steady() + patience.deadline_seconds
    at_platform = _At(identity, hosts, patience, clocks, ends_at, watch)
    if not identity.ring:
        # Before anything is executed: its answer could not be believed.
        yield from _first_keys(at_platform, certificates)

    def attempt_once(attempt: int) -> _Steps[Answer[Resp]]:
        began = clocks.steady()
        reply = yield at_platform.signed(attempt, parts)
        took = clocks.steady() - began
        headers = _headers(reply)
        why_not: QuanmaError | None = None
        if certificates is not None:
            if _unknown_key(identity, headers):
                why_not = yield from _learn(at_platform, certificates, lambda: _unknown_key(identity, headers))
            elif (
                isinstance(reply, Reply)
                and clocks.steady() >= certificates.refresh_at
                and (fetch := certificates.turn_to_refresh(ends_at)) is not None
            ):
                yield from _fetch(at_platform._replace(patience=patience._replace(attempts_max=1)), certificates, fetch)
        try:
            answer = _read(identity, operation, parts, reply, headers, clocks.wall())
        except QuanmaError as problem:
            tell(watch, _tried(operation, number, attempt, hosts, reply, headers, took)._replace(error=problem))
            if why_not is None or not isinstance(problem, AnswerUntrusted):
                raise
            raise type(problem)(f"{problem}; the platform's certificates could not be fetched: {why_not}") from why_not
        if watch is not None or log.isEnabledFor(INFO):  # Most have neither.
            tell(watch, _tried(operation, number, attempt, hosts, reply, headers, took))
        return answer

    return (yield from _repeated(at_platform, attempt_once, lambda error: _may_repeat(operation, error)))


def _tried(
    operation: Operation[..., Any, Any, Any],
    number: str | None,
    attempt: int,
    hosts: tuple[str, ...],
    reply: Reply | Failed | None,
    headers: Mapping[str, str],
    seconds: float,
) -> Attempt:
    status_code, request_id = reply.status_code if isinstance(reply, Reply) else None, headers.get("request-id")
    host = urlsplit(hosts[attempt % len(hosts)]).netloc
    path = operation.path if operation.declared else shown_path(operation.path)
    return Attempt(f"{operation.verb} {path}", number, attempt + 1, host, status_code, seconds, request_id, None)


class _At(NamedTuple):
    """Where a call goes, and the time it has."""

    identity: Identity
    hosts: tuple[str, ...]
    patience: Patience
    clocks: Clocks
    ends_at: float
    watch: Watch | None

    @property
    def left(self) -> float:
        return self.ends_at - self.clocks.steady()

    @property
    def spent(self) -> float:
        return self.patience.deadline_seconds - self.left

    def signed(self, attempt: int, parts: codec.Parts, wanted: str | None = None) -> Send:
        """`wanted`: the key that the answer is to be signed with, if not the preferred one."""
        host = self.hosts[attempt % len(self.hosts)]
        now = self.clocks.wall()
        request = signed_request(self.identity, host, parts, now, wanted or self.identity.ring.preferred(now))
        return Send(request, min(self.left, self.patience.attempt_seconds))


def _repeated(
    at_platform: _At, attempt_once: Callable[[int], _Steps[T]], may_repeat: Callable[[QuanmaError], bool]
) -> _Steps[T]:
    """Return what the first attempt that succeeds returns. Raises the last one's error, which speaks for all."""
    unsettled: QuanmaError | None = None
    attempt = 0
    while True:
        try:
            return (yield from attempt_once(attempt))
        except QuanmaError as problem:
            error = problem
        if error.may_have_executed:
            unsettled = error
        wait_seconds = _wait_seconds(error, attempt)
        attempt += 1
        in_time = attempt < at_platform.patience.attempts_max and wait_seconds < at_platform.left
        if in_time and may_repeat(error):
            yield Wait(wait_seconds)
            if at_platform.left > 0:  # A wait may take longer than was asked for.
                continue
        effort = f"{attempt} attempt{'s' * (attempt > 1)} in {at_platform.spent:.1f} s"
        if unsettled is not None and isinstance(error, NotSent):
            unsettled.effort = effort
            raise unsettled from error
        error.effort = effort
        error.may_have_executed = unsettled is not None
        raise error


def _first_keys(at_platform: _At, certificates: Certificates | None) -> _Steps[None]:
    """Have the certificates fetched for a ring that is empty. Raises as `exchange`."""
    if certificates is None or not certificates.can_fetch:
        raise Misconfigured(
            "there is no key to verify an answer with, so nothing was sent: name the platform's in platform_keys, "
            "or set apiv3_key to have its certificates fetched"
        )
    why_not = yield from _learn(at_platform, certificates, lambda: not at_platform.identity.ring)
    if isinstance(why_not, ClientClosed):
        raise why_not
    if not at_platform.identity.ring:
        raise NotSent(
            f"the platform's certificates could not be fetched ({why_not or 'there was no time left'}), so there is no "
            "key to verify an answer with and nothing was sent: send the same request again, or name the platform's "
            "public key in platform_keys"
        ) from why_not
    if at_platform.left <= 0:
        raise NotSent(
            "the deadline passed while the platform's certificates were fetched, so nothing was sent: send the same "
            "request again"
        )


def _learn(at_platform: _At, certificates: Certificates, needed: Callable[[], bool]) -> _Steps[QuanmaError | None]:
    """Have the platform's certificates fetched, by this call or by another that is at it. Returns why they didn't come.

    None: they came, or there is no time for them, or the list is known to say no more.
    """
    waited = False
    while needed() and at_platform.left > 0:
        turn = certificates.turn(at_platform.ends_at, waited=waited)
        if turn is None:
            return None
        if isinstance(turn, NotBefore):
            if turn.seconds >= at_platform.left:
                return turn.problem
            yield Wait(turn.seconds)
            waited = True
        elif isinstance(turn, Theirs):
            yield Join(turn.fetch.over, min(at_platform.left, turn.fetch.ends_at - at_platform.clocks.steady()))
            if turn.fetch.problem is not None:
                return turn.fetch.problem
        else:
            return (yield from _fetch(at_platform, certificates, turn.fetch))
    return None


def _fetch(at_platform: _At, certificates: Certificates, fetch: Fetch) -> _Steps[QuanmaError | None]:
    """Ask for the platform's certificates, repeated as any query is. Returns why they didn't come.

    If they don't, or can't be believed, the ring stays as it was. If this call is cancelled, nothing is noted.
    """
    tried = 0

    def attempt_once(attempt: int) -> _Steps[None]:
        nonlocal tried
        tried = attempt + 1
        return _list(at_platform, certificates, attempt)

    try:
        yield from _repeated(at_platform, attempt_once, _may_list_again)
    except ClientClosed as problem:
        return problem
    except QuanmaError as problem:
        if isinstance(problem, NotSent | NoAnswer | TryAgain):
            # Those who wait have more time, perhaps: they share the failure only if no repeat was left out.
            shared = tried >= at_platform.patience.attempts_max
            certificates.failed(fetch, problem, _wait_seconds(problem, tried - 1), shared=shared)
        else:
            certificates.refused(fetch, problem)
        return problem
    else:
        certificates.came()
        return None
    finally:
        certificates.end(fetch)


def _list(at_platform: _At, certificates: Certificates, attempt: int) -> _Steps[None]:
    wanted: str | None = None
    for _ in range(2):  # The second time signed with a certificate that the first one told of.
        if at_platform.left <= 0:
            raise NoAnswer("the deadline passed while the platform's certificates were fetched")
        began = at_platform.clocks.steady()
        reply = yield at_platform.signed(attempt, _LIST_CERTIFICATES, wanted)
        took, now = at_platform.clocks.steady() - began, at_platform.clocks.wall()
        tried = _tried(Certified.get, None, attempt, at_platform.hosts, reply, _headers(reply), took)
        try:
            if not isinstance(reply, Reply) or reply.status_code != 200:
                raise _failure(reply, now)
            wanted = _learned(certificates, reply, now)
        except QuanmaError as problem:
            tell(at_platform.watch, tried._replace(error=problem))
            raise
        tell(at_platform.watch, tried)
        if wanted is None:
            return
    raise AnswerUntrusted("the list of certificates is signed with a key that is neither known nor in it")


def _learned(certificates: Certificates, reply: Reply, now: float) -> str | None:
    try:
        return certificates.learn(reply, now)
    except SignatureInvalid as problem:
        kind = ClockWrong if isinstance(problem, ClockSkewed) else AnswerUntrusted
        raise kind(str(problem)) from problem


def _failure(reply: Reply | Failed | None, now: float) -> QuanmaError:
    """The error of a list that did not come. Its signature is not looked at: it settles nothing."""
    assert reply is not None
    if isinstance(reply, Failed):
        return reply.error
    reply = plain(reply)
    if reply.status_code < 400:
        return AnswerUntrusted(f"HTTP {reply.status_code} is no answer of the platform: something stands between")
    return codec.decode_error(reply.status_code, _headers(reply), reply.body, verified=False, now=now)


def _may_list_again(error: QuanmaError) -> bool:
    return not isinstance(error.__cause__, ListUnreadable) and _may_repeat(Certified.get, error)


def signed_request(identity: Identity, host: str, parts: codec.Parts, now: float, wanted: str | None) -> Request:
    """The request as it goes on the wire, signed `now`. `wanted`: the key that the answer is to be signed with."""
    timestamp, nonce = str(int(now)), secrets.token_hex(16)
    message = signature.request_message(parts.verb, parts.target, timestamp, nonce, parts.signed)
    fields = signature.Authorization(
        identity.mchid,
        identity.serial_no,
        nonce,
        timestamp,
        signature.sign(identity.private_key, message),
        identity.scheme,
    )
    headers = {
        "Authorization": signature.authorization(fields),
        "Accept": "application/json",
        "User-Agent": USER_AGENT,
    }
    if parts.body:
        headers["Content-Type"] = parts.content_type
    if wanted is not None:
        headers["Wechatpay-Serial"] = wanted
    return Request(parts.verb, host + parts.target, headers, parts.body)


def _headers(reply: Reply | Failed | None) -> Mapping[str, str]:
    """By names in lower case. Of a name that stands twice, the last: where that matters, `verify` refuses it."""
    return {name.lower(): value for name, value in reply.headers} if isinstance(reply, Reply) else {}


def _unknown_key(identity: Identity, headers: Mapping[str, str]) -> bool:
    serial = headers.get("wechatpay-serial")
    return serial is not None and not identity.ring.knows(serial)


def _read(
    identity: Identity,
    operation: Operation[..., Any, Any, Resp],
    parts: codec.Parts,
    reply: Reply | Failed | None,
    headers: Mapping[str, str],
    now: float,
) -> Answer[Resp]:
    assert reply is not None
    if isinstance(reply, Failed):
        raise reply.error
    if "content-encoding" in headers or reply.body.startswith(GZIP_BEGINS):
        reply = plain(reply)
    succeeded = 200 <= reply.status_code < 300
    if reply.status_code < 400 and not succeeded:
        raise NotThePlatform(
            f"HTTP {reply.status_code}{_pointing_to(headers.get('location'))} is no answer of the platform: "
            "something stands between",
            status_code=reply.status_code,
        )
    # The official SDKs don't verify failures, so an unsigned one is still an answer; a wrongly signed one is none.
    signed = "wechatpay-signature" in headers
    if not signed and (foreign := between.from_in_between(reply, headers, parts.target, now)) is not None:
        raise foreign
    if succeeded or signed:
        try:
            identity.ring.verify(reply.headers, reply.body, now)
        except SignatureInvalid as problem:
            kind = ClockWrong if isinstance(problem, ClockSkewed) else AnswerUntrusted
            raise kind(f"HTTP {reply.status_code}, Request-ID {headers.get('request-id')}: {problem}") from problem
    if not succeeded:
        error = codec.decode_error(reply.status_code, headers, reply.body, verified=signed, now=now)
        if isinstance(error, SignError):
            error.hint = between.what_changed(parts, operation.path, error.detail)
        raise error
    try:
        return Answer(codec.decode_answer(operation, reply.body), reply.status_code, headers)
    except ValueError as problem:
        raise AnswerUntrusted(
            f"the answer to {operation!r} is signed but not what it should be (Request-ID "
            f"{headers.get('request-id')}): {problem}"
        ) from problem


def _pointing_to(location: str | None) -> str:
    """The place that a redirect names, without what may hold a code, an openid or a password."""
    if location is None:
        return ""
    try:
        place = urlsplit(location)
        host = place.hostname or ""
        port = f":{place.port}" if place.port else ""
    except ValueError:
        return " to an address that can't be read"
    return f" to {place.scheme}://{host[:80]}{port}" if host else " to another path of the same host"


def _may_repeat(operation: Operation[..., Any, Any, Any], error: QuanmaError) -> bool:
    if isinstance(error, ClockWrong | ClientClosed) or (isinstance(error, NotThePlatform) and error.status_code >= 400):
        return False  # It will be as wrong in a second.
    if error.may_have_executed:
        return operation.repeatable
    return isinstance(error, NotSent) or (isinstance(error, TryAgain) and error.status_code == 429)


def _wait_seconds(error: QuanmaError, attempt: int) -> float:
    spread = 0.8 + 0.4 * secrets.randbelow(1001) / 1000
    wait_seconds = BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)] * spread
    if isinstance(error, PlatformError) and error.retry_after_seconds is not None:
        # Never before the time the platform named, and spread as widely: everyone was told the same time.
        return max(wait_seconds, error.retry_after_seconds * (0.2 + spread))
    return wait_seconds
