"""Load on an HTTP server: requests signed in advance, sent over connections that are kept, one in flight on each.

It costs some 20 µs a request, so that one core of it fills one core of a server that signs.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import uvloop

from quanma.api.operation import Operation
from quanma.client import config
from quanma.wire import codec, signature
from quanma.wire.keys import load_private_key, load_ring

SAMPLE_EVERY = 50


class Sent(NamedTuple):
    """How long all the requests took, and some of their answers, whole."""

    seconds: float
    answers: list[bytes]


def send(port: int, requests: Sequence[bytes], in_flight: int) -> Sent:
    """Send all requests, and check that each is answered with 200.

    Raises:
        RuntimeError: another status, or a connection that ended.
    """
    return uvloop.run(_send(port, requests, in_flight))


class Merchant:
    """Signs requests as the bytes to send, and checks the bytes that came back."""

    def __init__(self, settings: config.Merchant, port: int) -> None:
        self._mchid = settings.mchid
        self._serial_no = settings.serial_no
        self._key = load_private_key(settings.private_key.encode(), "private_key")
        self._ring = load_ring({name: pem.encode() for name, pem in settings.platform_keys.items()})
        self._host = f"127.0.0.1:{port}"

    def signed(self, operation: Operation[..., Any, Any, Any], request: Any) -> bytes:
        parts = codec.encode_request(operation, request)
        timestamp, nonce = str(int(time.time())), secrets.token_hex(16)
        message = signature.request_message(parts.verb, parts.target, timestamp, nonce, parts.body)
        fields = signature.Authorization(
            self._mchid, self._serial_no, nonce, timestamp, signature.sign(self._key, message)
        )
        head = (
            f"{parts.verb} {parts.target} HTTP/1.1\r\nHost: {self._host}\r\nAccept: application/json\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(parts.body)}\r\nUser-Agent: benchmark\r\n"
            f"Wechatpay-Serial: {self._ring.preferred()}\r\nAuthorization: {signature.authorization(fields)}\r\n\r\n"
        )
        return head.encode() + parts.body

    def verify(self, answer: bytes) -> None:
        """Raises SignatureInvalid: the platform did not sign this."""
        head, _, body = answer.partition(b"\r\n\r\n")
        headers = [header.partition(": ") for header in head.decode("latin-1").split("\r\n")[1:]]
        self._ring.verify([(name, value) for name, _, value in headers], body, time.time())


async def _send(port: int, requests: Sequence[bytes], in_flight: int) -> Sent:
    loop = asyncio.get_running_loop()
    answers: list[bytes] = []
    todo = iter(requests)
    connections: list[_Connection] = []
    for _ in range(in_flight):
        made = await loop.create_connection(lambda: _Connection(todo, answers, loop.create_future()), "127.0.0.1", port)
        connections.append(made[1])
    began = time.perf_counter()
    for connection in connections:
        connection.next()
    await asyncio.gather(*(connection.done for connection in connections))
    return Sent(time.perf_counter() - began, answers)


class _Connection(asyncio.Protocol):
    def __init__(self, todo: Iterator[bytes], answers: list[bytes], done: asyncio.Future[None]) -> None:
        self._todo = todo
        self._answers = answers
        self._received = b""
        self._count = 0
        self.done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's is none of asyncio's.

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._received[:head_end].lower()
        length = int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
        if len(self._received) < head_end + 4 + length:
            return
        if not head.startswith(b"http/1.1 200 "):
            self.done.set_exception(RuntimeError(f"not 200: {self._received[:2000].decode(errors='replace')}"))
            self._transport.close()
            return
        self._count += 1
        if self._count % SAMPLE_EVERY == 1:
            self._answers.append(self._received)
        self._received = b""
        self.next()

    def next(self) -> None:
        request = next(self._todo, None)
        if request is None:
            self.done.set_result(None)
            self._transport.close()
        else:
            self._transport.write(request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(f"the server closed the connection: {exc}"))
