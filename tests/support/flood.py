"""More requests than a platform can answer, sent when they are due, whether or not the ones before are answered."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from typing import NamedTuple

import uvloop

_SILENT_SECONDS = 20.0
"""As long as one answer follows another, all are waited for: a busy machine is slower, and loses none."""
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


class Answered(NamedTuple):
    status: int
    seconds: float
    """From when it was sent."""
    whole: bytes


def flood(port: int, requests: Sequence[bytes], *, per_second: float, connections: int) -> list[Answered | None]:
    """Send the requests over so many connections in turn, and return what each was answered; None: nothing."""
    return uvloop.run(_flood(port, requests, per_second, connections))


async def _flood(port: int, requests: Sequence[bytes], per_second: float, connections: int) -> list[Answered | None]:
    loop = asyncio.get_running_loop()
    answers: list[Answered | None] = [None] * len(requests)
    opened = await asyncio.gather(
        *(loop.create_connection(lambda: _Connection(answers), "127.0.0.1", port) for _ in range(connections))
    )
    began = loop.time()
    for index, request in enumerate(requests):
        wait = began + index / per_second - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        elif index % 50 == 0:
            await asyncio.sleep(0)
        opened[index % connections][1].send(index, request)
    left, until = len(requests), loop.time() + _SILENT_SECONDS
    while left and loop.time() < until:
        await asyncio.sleep(0.05)
        if (now_left := sum(len(connection.waiting) for _, connection in opened)) < left:
            left, until = now_left, loop.time() + _SILENT_SECONDS
    for transport, _ in opened:
        transport.close()
    return answers


class _Connection(asyncio.Protocol):
    def __init__(self, answers: list[Answered | None]) -> None:
        self._answers = answers
        self._received = b""
        self.waiting: list[tuple[int, float]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's is none of asyncio's.

    def send(self, index: int, request: bytes) -> None:
        self.waiting.append((index, time.perf_counter()))
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._received, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._received) < whole:
                return
            answer, self._received = self._received[:whole], self._received[whole:]
            index, sent_at = self.waiting.pop(0)
            self._answers[index] = Answered(int(answer[9:12]), time.perf_counter() - sent_at, answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.waiting.clear()
