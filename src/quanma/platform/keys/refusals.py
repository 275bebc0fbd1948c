"""Why signatures were refused, for whoever runs the platform: the caller is told one and the same for every cause.

A line in the log names the cause in fixed words: what a stranger sent may hold a secret, and must not fill a disk.
"""

from __future__ import annotations

import enum
import logging

from ...errors import SignatureInvalid

log = logging.getLogger(__name__)

SILENT_SECONDS = 10
"""Between two lines of one cause. What was refused in between is counted in the next."""


class Cause(enum.StrEnum):
    """The first check that failed, in the order of the checks."""

    NO_AUTHORIZATION = "no_authorization"
    FORM = "form"
    MERCHANT = "merchant"
    SERIAL = "serial"
    SIGNATURE = "signature"
    CLOCK = "clock"


SAID = {
    Cause.NO_AUTHORIZATION: "no Authorization header; a proxy may have taken it away, as Squid does without "
    "login=PASSTHRU",
    Cause.FORM: "the Authorization header is not of the one form that is taken",
    Cause.MERCHANT: "its mchid is not in platform.toml",
    Cause.SERIAL: "its serial_no is none of the merchant's certificates in platform.toml",
    Cause.SIGNATURE: "it does not fit what arrived; a proxy may have changed the path, or another key signed it",
    Cause.CLOCK: "it was signed more than 300 s ago, or from now: one of the clocks is wrong",
}


class NotBelieved(SignatureInvalid):
    """A request's signature does not hold. The message says why in full, for the caller's own eyes only."""

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


class RefusalLog:
    """Tells of refusals, each cause once in a while."""

    def __init__(self) -> None:
        self._untold: dict[Cause, int] = {}
        self._told_at: dict[Cause, float] = {}

    def tell(self, cause: Cause, operation: str, now: float) -> None:
        """`operation`: the declared one that was asked for, or empty."""
        count = self._untold[cause] = self._untold.get(cause, 0) + 1
        if 0 <= now - self._told_at.get(cause, -SILENT_SECONDS) < SILENT_SECONDS:
            return
        self._told_at[cause], self._untold[cause] = now, 0
        log.warning(
            "a signature was refused: %s",
            SAID[cause],
            extra={"cause": cause.value, "count": count, "operation": operation},
        )
