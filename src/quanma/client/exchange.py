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
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeVar

from ..api.certificates import Certificates as Certified
from ..api.operation import Answer, Operation
from ..errors import (
    AnswerUntrusted,
    ClockSkewed,
    ClockWrong,
    Misconfigured,
    NotSent,
    NotThePlatform,
    PlatformError,
    QuanmaError,
    SignatureInvalid,
    SignError,
    TryAgain,
)
from ..wire import codec, signature
from ..wire.keys import KeyRing, PrivateKey
from . import between
from .certificates import Certificates
from .transport import Reply, Request

Resp = TypeVar("Resp")

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


class Failed(NamedTuple):
    error: QuanmaError


Talk = Generator[Send | Wait, Reply | Failed | None, Answer[Resp]]


class Identity(NamedTuple):
    """Who signs, and whose answers are believed."""

    mchid: str
    serial_no: str
    private_key: PrivateKey
    ring: KeyRing


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
) -> Talk[Resp]:
    """Yield what to do next, return the answer. Attempts take the hosts in turn.

    An answer signed with an unknown key is read again once the platform's certificates were fetched.

    Raises:
        Misconfigured: there is no key to verify an answer with, and none can be fetched. Nothing was sent.
        RequestRefused, TryAgain: the platform's answer, with its Request-ID.
        NotSent, NoAnswer, AnswerUntrusted: no answer that holds, on the last attempt.
    """
    ends_at = clocks.steady() + patience.deadline_seconds
    if certificates is not None and not identity.ring.names and certificates.claim_fetch(unknown_key=True):
        # Before anything is executed: its answer could not be believed.
        yield from _fetch(identity, hosts[0], patience.attempt_seconds, ends_at, clocks, certificates)
    if not identity.ring.names:
        if certificates is not None and certificates.can_fetch:
            raise NotSent(
                "the platform's certificates could not be fetched, so there is no key to verify an answer with and "
                "nothing was sent: try again in a minute, or name the platform's public key in platform_keys"
            )
        raise Misconfigured(
            "there is no key to verify an answer with, so nothing was sent: name the platform's in platform_keys, "
            "or set apiv3_key to have its certificates fetched"
        )
    unsettled: QuanmaError | None = None
    attempt = 0
    while True:
        left = ends_at - clocks.steady()
        host, timeout_seconds = hosts[attempt % len(hosts)], min(left, patience.attempt_seconds)
        request = _signed(identity, host, parts, clocks.wall(), identity.ring.preferred())
        reply = yield Send(request, timeout_seconds)
        try:
            if (
                certificates is not None
                and isinstance(reply, Reply)
                and certificates.claim_fetch(unknown_key=_unknown_key(identity, reply))
            ):
                yield from _fetch(identity, host, patience.attempt_seconds, ends_at, clocks, certificates)
            return _read(identity, operation, parts, reply, clocks.wall())
        except QuanmaError as problem:
            error = problem
        if error.may_have_executed:
            unsettled = error
        wait_seconds = _wait_seconds(error, attempt)
        attempt += 1
        in_time = attempt < patience.attempts_max and clocks.steady() + wait_seconds < ends_at
        if in_time and _may_repeat(operation, error):
            yield Wait(wait_seconds)
            if clocks.steady() < ends_at:  # A wait may take longer than was asked for.
                continue
        if unsettled is not None and isinstance(error, NotSent):
            raise unsettled from error
        error.may_have_executed = unsettled is not None
        raise error


def _signed(identity: Identity, host: str, parts: codec.Parts, now: float, wanted: str | None) -> Request:
    """`wanted`: the key that the answer is to be signed with."""
    timestamp, nonce = str(int(now)), secrets.token_hex(16)
    message = signature.request_message(parts.verb, parts.target, timestamp, nonce, parts.signed)
    fields = signature.Authorization(
        identity.mchid, identity.serial_no, nonce, timestamp, signature.sign(identity.private_key, message)
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


def _fetch(
    identity: Identity,
    host: str,
    attempt_seconds: float,
    ends_at: float,
    clocks: Clocks,
    certificates: Certificates,
) -> Generator[Send, Reply | Failed | None, None]:
    """Ask for the platform's certificates. If they don't come, or can't be believed, the ring stays as it was."""
    wanted = identity.ring.preferred()
    for _ in range(2):  # The second time signed with a certificate that the first one told of.
        timeout_seconds = min(attempt_seconds, ends_at - clocks.steady())
        if timeout_seconds <= 0:
            return
        reply = yield Send(_signed(identity, host, _LIST_CERTIFICATES, clocks.wall(), wanted), timeout_seconds)
        if not isinstance(reply, Reply):
            return
        try:
            wanted = certificates.learn(reply, clocks.wall())
        except SignatureInvalid:
            return
        if wanted is None:
            return


def _unknown_key(identity: Identity, reply: Reply) -> bool:
    return any(name.lower() == "wechatpay-serial" and value not in identity.ring.names for name, value in reply.headers)


def _read(
    identity: Identity,
    operation: Operation[..., Any, Any, Resp],
    parts: codec.Parts,
    reply: Reply | Failed | None,
    now: float,
) -> Answer[Resp]:
    assert reply is not None
    if isinstance(reply, Failed):
        raise reply.error
    headers = {name.lower(): value for name, value in reply.headers}
    succeeded = 200 <= reply.status_code < 300
    if reply.status_code < 400 and not succeeded:
        raise NotThePlatform(
            f"HTTP {reply.status_code} is no answer of the platform: something stands between",
            status_code=reply.status_code,
        )
    if (foreign := between.from_in_between(reply, headers, parts.target)) is not None:
        raise foreign
    # The official SDKs don't verify failures, so an unsigned one is still an answer; a wrongly signed one is none.
    signed = "wechatpay-signature" in headers
    if succeeded or signed:
        try:
            identity.ring.verify(reply.headers, reply.body, now)
        except SignatureInvalid as problem:
            kind = ClockWrong if isinstance(problem, ClockSkewed) else AnswerUntrusted
            raise kind(f"HTTP {reply.status_code}, Request-ID {headers.get('request-id')}: {problem}") from problem
    if not succeeded:
        error = codec.decode_error(reply.status_code, headers, reply.body, verified=signed)
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


def _may_repeat(operation: Operation[..., Any, Any, Any], error: QuanmaError) -> bool:
    if isinstance(error, ClockWrong) or (isinstance(error, NotThePlatform) and error.status_code >= 400):
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
