"""What a call tries, for logs and for whoever watches: a line for each request that left, and what came of it.

The logger is "quanma.calls": INFO for an answer that holds, WARNING for any other end of a try. It says which
operation, the merchant's own number, which try, the status, how long, and the platform's Request-ID; never a body, a
key, an openid or a code. Nothing is printed unless the application sets up logging.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import NamedTuple

from ..errors import PlatformError, QuanmaError, masked

log = logging.getLogger("quanma.calls")
log.addHandler(logging.NullHandler())  # Without any handler, Python would print warnings to standard error.


class Attempt(NamedTuple):
    """One try of a call. `error` is what it ended in; the call itself may go on, and end otherwise."""

    operation: str
    """Verb and path, the path's variables unfilled: `POST /v3/marketing/busifavor/coupons/send`."""
    number: str | None
    """The merchant's own number of the request, like its out_request_no; None: the operation has none."""
    attempt: int
    """1 for the first."""
    host: str
    status_code: int | None
    seconds: float
    """From the request to its whole answer."""
    request_id: str | None
    """The platform's, for its support."""
    error: QuanmaError | None


Watch = Callable[[Attempt], None]


def tell(watch: Watch | None, attempt: Attempt) -> None:
    """Log a try, and hand it to whoever watches. An error of theirs is logged, and harms no call."""
    level = logging.INFO if attempt.error is None else logging.WARNING
    if log.isEnabledFor(level):
        log.log(level, "%s", line_of(attempt), extra={"quanma": _fields(attempt)})
    if watch is not None:
        try:
            watch(attempt)
        except Exception:
            log.exception("on_attempt failed; the call goes on")


def line_of(attempt: Attempt) -> str:
    number = f" {attempt.number}" if attempt.number else ""
    support = f", Request-ID {attempt.request_id}" if attempt.request_id else ""
    took = f"{attempt.seconds * 1000:.0f} ms"
    return f"{attempt.operation}{number}, try {attempt.attempt} at {attempt.host}: {_end(attempt)} in {took}{support}"


def _end(attempt: Attempt) -> str:
    status = "" if attempt.status_code is None else str(attempt.status_code)
    if attempt.error is None:
        return status
    code = attempt.error.code if isinstance(attempt.error, PlatformError) and attempt.error.code else ""
    return " ".join(filter(None, [status, code or type(attempt.error).__name__]))


def _fields(attempt: Attempt) -> dict[str, object]:
    """For formatters that write objects."""
    error = attempt.error
    return {
        **attempt._asdict(),
        "error": None if error is None else type(error).__name__,
        "error_code": error.code if isinstance(error, PlatformError) else None,
    }


def shown_path(path: str) -> str:
    """A path that was written by hand, with what may be a code or a user in it made short: `codes/AB…89`."""
    return "/".join(
        masked(part) if len(part) > 6 and re.search(r"[0-9A-Z]", part) and not part.startswith("{") else part
        for part in path.split("/")
    )
