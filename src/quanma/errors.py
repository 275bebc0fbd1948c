"""Every exception, grouped by what the caller can do next.

QuanmaError
├── Misconfigured          correct the setting that the message names
│   ├── SettingsAbsent     give the settings, or the file, that the message names: there is none yet
│   └── AddressRefused     free the address, or name another: it can't be listened on now
├── ExtraMissing           install the extra that the message names
├── RequestInvalid         correct the arguments: our own check refused them, nothing was sent
├── SourceUnreadable       correct the input file: it cannot be read row by row, nothing was sent
├── PlanRefused            correct the input file, or allow what the message names: nothing was sent
├── LedgerBusy             another process runs this upload: wait for it, or stop it
├── LedgerRefused          resume, restart or correct what the message names: nothing was sent
├── StoreUnavailable       the pool's store can't be used: free the disk, correct the mode, restart
│   └── PoolFenced         it may be an older copy, and gives nothing out: `quanma reconcile`
├── NotAsReceived          give the receiver the headers and the raw body of the request, as they came
├── SignatureInvalid       a signed message does not hold; the message says which check failed
│   ├── ClockSkewed        it was signed more than 300 s ago, or from now
│   ├── KeyUnknown         it is signed with a key that is not in platform_keys
│   └── EventUnreadable    the signature holds, and what it signs is no event: keep it, and ask
├── PlatformError          the platform answered, and said no
│   ├── RequestRefused     correct the request; the same one will be refused again
│   │   ├── ParamError, SignError, NoAuth, RuleLimit, NotEnough
│   │   ├── ResourceNotExists
│   │   └── ResourceAlreadyExists
│   │       └── AlreadyExists      商品券's code for it
│   └── TryAgain           send the same request, under the same number, later
│       ├── RateLimited        it was not accepted
│       │   └── RateLimitExceeded  商品券's code for it
│       ├── StockNotReady      it was not accepted: the stock is still being created
│       └── PlatformFailed     it may have been executed
│           └── PlatformUnavailable
│               └── GatewayFailed  something in between says so, and not the platform: 502, 504, a page of its own
├── NotSent                no connection: nothing was executed; send the same request again
│   └── ClientClosed           the client was closed before: make a new one
└── OutcomeUnknown         it may have been executed; send the same request, under the same number
    ├── NoAnswer           the connection broke or the deadline passed
    └── AnswerUntrusted    an answer came, and its signature or its content can't be relied on
        ├── ClockWrong         our clock and the platform's are too far apart: set the clock
        └── NotThePlatform     something in between answered: correct the proxy, or base_url
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from .reasons import Reason, reason_of


class QuanmaError(Exception):
    """Base of every error this package raises on purpose."""

    may_have_executed: bool = False
    """Whether the call that ended so may have taken effect all the same, by this attempt or by an earlier one."""
    effort: str = ""
    """What a call had done when it ended so: "4 attempts in 8.1 s". Empty for what was no call."""

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text} ({self.effort})" if self.effort else text


class Misconfigured(QuanmaError):
    """A setting is missing, unreadable or unsafe. The message names the setting and the way out."""


class SettingsAbsent(Misconfigured):
    """There are no settings yet, or a file that they name is not there. A client looks again at its first use."""


class AddressRefused(Misconfigured):
    """The address can't be listened on: another program has it, or this machine does not have it, now."""


class ExtraMissing(QuanmaError, ImportError):
    """A part of this package needs an extra that is not installed. The message has the command that installs it."""


class RequestInvalid(QuanmaError, ValueError):
    """The arguments break the operation's declared limits. Nothing was sent."""


class SourceUnreadable(QuanmaError):
    """The input cannot be read row by row. Nothing was sent."""


class LedgerBusy(QuanmaError):
    """Another process runs this upload. Nothing was sent."""


class PlanRefused(QuanmaError):
    """The input of an upload is not as it should be, and nobody allowed it. Nothing was sent, no ledger is left."""


class LedgerRefused(QuanmaError):
    """The ledger does not fit what was asked: it exists, or belongs to another input. Nothing was sent."""


class StoreUnavailable(QuanmaError):
    """The pool's store can't be used, or can't be trusted. Nothing more is acknowledged from it."""


class PoolFenced(StoreUnavailable):
    """The pool may be an older copy of itself: nothing new is given out until someone runs `quanma reconcile`."""


class SignatureInvalid(QuanmaError):
    """A signed message does not hold. The message says which check failed, in plain words."""


class ClockSkewed(SignatureInvalid):
    """The signer's clock and ours are more than 300 s apart."""


class KeyUnknown(SignatureInvalid):
    """It is signed with a key that we don't hold. The message lists those that we do."""


class EventUnreadable(SignatureInvalid):
    """The platform signed it, and it is no event that can be read: it does not open, or lacks stock or code."""


class NotAsReceived(QuanmaError, TypeError):
    """A receiver was given something else than a request's headers and its raw body. The message says what it wants."""


class PlatformError(QuanmaError):
    """The platform answered with an error.

    `code` and `message` are the platform's; `verified` tells whether the answer's signature held:
    the platform's official SDKs accept unsigned errors, so an unverified one settles nothing. `code` is empty where
    something in between answered. `hint` is ours: what the client found out about the cause. `reason` is what the end
    of the Request-ID says more exactly, if it is a number of 商品券 that is known.
    """

    status: ClassVar[int] = 500
    error_code: ClassVar[str] = "SYSTEM_ERROR"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status_code: int | None = None,
        detail: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        retry_after_seconds: float | None = None,
        verified: bool = False,
        reason: Reason | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason or reason_of(request_id)
        self.message = message
        self.code = self.error_code if code is None else code
        self.status_code = status_code or self.status
        self.detail = detail
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds
        self.verified = verified
        self.hint = ""

    def __str__(self) -> str:
        support = f" (Request-ID {self.request_id})" if self.request_id else ""
        code = f" {self.code}" if self.code else ""
        again = self.retry_after_seconds
        when = "" if again is None else f"send it again in {_spoken(again)}, not before"
        why = "" if self.reason is None else self.reason.meaning
        return "; ".join(filter(None, (f"{self.status_code}{code}: {self.message}{support}", why, when, self.hint)))


class RequestRefused(PlatformError):
    """The request was understood and refused. Correct it; the same one will be refused again."""

    status, error_code = 400, "INVALID_REQUEST"


class ParamError(RequestRefused):
    """A parameter is missing or breaks its documented limits."""

    status, error_code = 400, "PARAM_ERROR"


class ResourceAlreadyExists(RequestRefused):
    """The number was used before, or the coupon was used under another number."""

    status, error_code = 400, "RESOURCE_ALREADY_EXISTS"


class AlreadyExists(ResourceAlreadyExists):
    """Of 商品券: the number was used before, for something else."""

    status, error_code = 400, "ALREADY_EXISTS"


class SignError(RequestRefused):
    """The platform did not accept the signature. Nothing was executed."""

    status, error_code = 401, "SIGN_ERROR"


class NoAuth(RequestRefused):
    """The merchant has no permission for this."""

    status, error_code = 403, "NO_AUTH"


class RuleLimit(RequestRefused):
    """A rule of the stock forbids it: a user's limit, or the coupon's validity."""

    status, error_code = 403, "RULELIMIT"


class NotEnough(RequestRefused):
    """The stock has nothing left to give. It may have again, after an upload or a higher budget."""

    status, error_code = 403, "NOT_ENOUGH"


class ResourceNotExists(RequestRefused):
    """The stock, coupon, code or user does not exist, or is not the caller's to see."""

    status, error_code = 404, "RESOURCE_NOT_EXISTS"


class TryAgain(PlatformError):
    """The platform asks for the same request, under the same number, later."""


class StockNotReady(TryAgain):
    """The stock is still being created. Not accepted; try again in a minute."""

    status, error_code = 400, "STATEMENT_CREATING"


class RateLimited(TryAgain):
    """Too many requests. Not accepted; slow down."""

    status, error_code = 429, "FREQUENCY_LIMITED"


class RateLimitExceeded(RateLimited):
    """Too many requests for 商品券. Not accepted; slow down."""

    status, error_code = 429, "RATELIMIT_EXCEEDED"


class PlatformFailed(TryAgain):
    """The platform failed while working on it. It may have been executed."""

    may_have_executed = True
    status, error_code = 500, "SYSTEM_ERROR"


class PlatformUnavailable(PlatformFailed):
    """The platform is offline or protects itself from overload. It may have been executed."""

    status, error_code = 503, "SERVICE_UNAVAILABLE"


class GatewayFailed(PlatformUnavailable):
    """Something in between could not reach the platform, or gave up waiting for it. It may have been executed."""


class NotSent(QuanmaError):
    """No connection could be made: nothing was executed."""


class ClientClosed(NotSent):
    """The client was closed before the call. Nothing was sent, and nothing will be: make a new client."""


class OutcomeUnknown(QuanmaError):
    """The request left and no trustworthy answer came back. It may have been executed."""

    may_have_executed = True


class NoAnswer(OutcomeUnknown):
    """The connection broke, or the deadline passed, before an answer was complete."""


class AnswerUntrusted(OutcomeUnknown):
    """An answer came, but its signature or its content can't be relied on."""


class NotThePlatform(AnswerUntrusted):
    """Something in between answered: a proxy, a gateway, a portal. It tells nothing of stocks, codes or permissions.

    The platform has probably not seen the request; what looks at answers too may refuse one that was executed. Correct
    what stands between, or base_url, then send the same request again, under the same number.
    """

    verified = False

    def __init__(self, message: str, *, status_code: int = 0, request_id: str | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.request_id = request_id


class ClockWrong(AnswerUntrusted):
    """Our clock and the platform's are more than 300 s apart. Set the clock, then send the same request again."""


_BY_CODE: dict[str, type[PlatformError]] = {
    "PARAM_ERROR": ParamError,
    "RESOURCE_ALREADY_EXISTS": ResourceAlreadyExists,
    "ALREADY_EXISTS": AlreadyExists,
    "NO_AUTH": NoAuth,
    "RULELIMIT": RuleLimit,
    "NOT_ENOUGH": NotEnough,
    "RESOURCE_NOT_EXISTS": ResourceNotExists,
    # Spellings seen beside the documented ones.
    "NOAUTH": NoAuth,
    "RULE_LIMIT": RuleLimit,
    "USER_NOT_EXISTS": ResourceNotExists,
    "STATEMENT_CREATING": StockNotReady,
    "SYSTEM_ERROR": PlatformFailed,
    "SERVICE_UNAVAILABLE": PlatformUnavailable,
}
_BY_STATUS: dict[int, type[PlatformError]] = {401: SignError, 403: NoAuth, 404: ResourceNotExists}


def named(status_code: int, code: str) -> type[PlatformError]:
    """Return the class for an answer's HTTP status and error code.

    Source: 429 goes by three codes, so the status decides first; SYSTEM_ERROR comes as 400 and as 500,
    so the code decides next (both documented).
    """
    if status_code == 429:
        return RateLimitExceeded if code == RateLimitExceeded.error_code else RateLimited
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status_code in (502, 503):
        return PlatformUnavailable
    return PlatformFailed if status_code >= 500 else _BY_STATUS.get(status_code, RequestRefused)


def _spoken(seconds: float) -> str:
    """A time as people say it, never shorter than it is: 3.5 s, 26 h, 116 days."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{math.ceil(seconds / length):,} {unit}"
    return f"{math.ceil(seconds * 10) / 10:g} s"


def masked(text: str) -> str:
    """Return a coupon code or openid as logs and messages may show it: `AB…89`."""
    return f"{text[:2]}…{text[-2:]}" if len(text) > 6 else "…"
