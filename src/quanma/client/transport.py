"""The seam to the network: one request out, one whole answer back, within a time and a size.

Two libraries are behind it, see `network.py`; the tests put our own platform there, without a network.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ..errors import NoAnswer

ANSWER_BYTES_MAX = 4 * 1024 * 1024
"""A page of 1000 codes with users and times is under 1 MiB."""
IDLE_SECONDS = 6
"""Connections rest shorter than the platform keeps them, 8 s (reported), so a request never meets a closing one."""
CONNECT_SECONDS = 5


class Reply(NamedTuple):
    status_code: int
    headers: list[tuple[str, str]]
    body: bytes


class Request(NamedTuple):
    verb: str
    url: str
    headers: dict[str, str]
    body: bytes


class Transport(Protocol):
    """Sends one request.

    Raises:
        NotSent: no connection was made, so nothing was executed.
        NoAnswer: anything else went wrong: it may have been executed.
        Misconfigured: a setting makes a request that can't be sent. Nothing was sent.
    """

    def send(self, request: Request, timeout_seconds: float) -> Reply: ...
    def close(self) -> None: ...


class AsyncTransport(Protocol):
    """As `Transport`, awaited."""

    async def send(self, request: Request, timeout_seconds: float) -> Reply: ...
    async def close(self) -> None: ...


HEADER_CANT_BE_SENT = (
    "a header of the request can't be sent, so nothing was: check mchid and serial_no for line ends and other "
    "characters that are neither digits nor letters"
)


def too_late(timeout_seconds: float) -> NoAnswer:
    return NoAnswer(f"no complete answer within {timeout_seconds:.1f} s")


def too_long() -> NoAnswer:
    return NoAnswer(f"the answer is longer than {ANSWER_BYTES_MAX} bytes and was dropped")
