"""Answers that go out late, cut, or otherwise than they were made: what a caller must live with."""

from __future__ import annotations

import asyncio
import re
import socket
import struct

from ..serving.messages import Sender
from .faults import Do

DRIBBLE_SECONDS_LEAST = 0.001


def sender(do: Do) -> Sender | None:
    """How an answer is sent that a rule hit, or None: as any other."""
    if do.cut is not None and do.cut != "after_head":
        return _cut
    if do.cut == "after_head":
        return _head_alone
    if do.truncate is not None:
        return _truncated(do.truncate)
    if do.content_length is not None:
        return _of_wrong_length(do.content_length)
    if do.dribble_seconds is not None:
        return _dribbled(do.dribble_seconds)
    return None


async def _cut(transport: asyncio.Transport, head: bytes, body: bytes) -> None:
    """A reset, as when a process dies or a firewall loses the connection."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _head_alone(transport: asyncio.Transport, head: bytes, body: bytes) -> None:
    transport.write(head)


def _truncated(count: int) -> Sender:
    async def send(transport: asyncio.Transport, head: bytes, body: bytes) -> None:
        transport.write(head + body[:count])

    return send


def _of_wrong_length(more: int) -> Sender:
    async def send(transport: asyncio.Transport, head: bytes, body: bytes) -> None:
        length = f"Content-Length: {max(0, len(body) + more)}".encode()
        transport.write(re.sub(rb"Content-Length: [0-9]+", length, head) + body)

    return send


def _dribbled(seconds: float) -> Sender:
    async def send(transport: asyncio.Transport, head: bytes, body: bytes) -> None:
        whole = head + body
        pause = seconds / len(whole)
        step = max(1, int(len(whole) * DRIBBLE_SECONDS_LEAST / seconds))
        for start in range(0, len(whole), step):
            if transport.is_closing():
                return
            transport.write(whole[start : start + step])
            await asyncio.sleep(pause * step)

    return send
