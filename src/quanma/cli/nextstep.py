"""What to do after an error, for whoever reads it in a shell: where the message alone does not say."""

from __future__ import annotations

from ..errors import (
    ClockSkewed,
    ClockWrong,
    KeyUnknown,
    NoAuth,
    OutcomeUnknown,
    QuanmaError,
    SignError,
)
from .speaking import tell


def show(error: QuanmaError) -> None:
    """Print an error and what to do next, on standard error."""
    tell(f"quanma: {error}", err=True)
    if step := next_step(error):
        tell(f"  next: {step}", err=True)


def next_step(error: QuanmaError) -> str:
    """One line, or nothing."""
    for kind, step in _STEPS.items():
        if isinstance(error, kind):
            return step
    return ""


_STEPS: dict[type[QuanmaError], str] = {
    SignError: "see that serial_no and private_key are one pair, that both are this mchid's, and that the clock is "
    "right; `quanma status` shows what is in use",
    NoAuth: "ask WeChat Pay to open this function for the merchant, or name the merchant that the stock belongs to",
    ClockWrong: "set this machine's clock; `quanma status` shows how far it is off",
    ClockSkewed: "set this machine's clock; `quanma status` shows how far it is off",
    KeyUnknown: "add the platform's key to [merchant.platform_keys]",
    OutcomeUnknown: "the same command again, under the same number: a new number is a new request",
}
