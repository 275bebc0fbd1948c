"""What to do after an error, for whoever reads it in a shell: where the message alone does not say."""

from __future__ import annotations

from ..errors import (
    AnswerUntrusted,
    ClientClosed,
    ClockSkewed,
    ClockWrong,
    GatewayFailed,
    KeyUnknown,
    NoAuth,
    NotSent,
    NotThePlatform,
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
    if isinstance(error, ClientClosed):
        return ""
    for kind, step in _STEPS.items():
        if isinstance(error, kind):
            return step
    return ""


_STEPS: dict[type[QuanmaError], str] = {
    SignError: "`quanma doctor sign` finds out whether serial_no, private_key, mchid, the clock or a proxy is wrong",
    NoAuth: "ask WeChat Pay to open this function for the merchant, or name the merchant that the stock belongs to",
    ClockWrong: "set this machine's clock; `quanma doctor clock` shows how far it is off",
    ClockSkewed: "set this machine's clock; `quanma doctor clock` shows how far it is off",
    KeyUnknown: "add the platform's key to [merchant.platform_keys]; `quanma doctor sign` says which",
    NotThePlatform: "`quanma doctor network` shows who answers",
    GatewayFailed: "`quanma doctor network` shows who answers; then the same command again, under the same number",
    AnswerUntrusted: "`quanma doctor sign` finds out which of the platform's keys does not fit, or who changes "
    "answers; then the same command again, under the same number",
    NotSent: "`quanma doctor network` shows how far it comes: the name, a connection, TLS",
    OutcomeUnknown: "the same command again, under the same number: a new number is a new request",
}
