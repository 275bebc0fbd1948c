"""A platform that does nothing: one answer, signed in advance, to every request. `python -m benchmarks.stub WORLD`

Prints the port it listens on. It is there to be cheaper than any client.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from pathlib import Path

import msgspec
import uvloop

from quanma.api.couponcodes import UploadedCodes
from quanma.platform import config
from quanma.platform.keys.keystore import KeyStore
from quanma.wire.times import rfc3339

from . import work

SIGNED_AGAIN_SECONDS = 60
"""A signature holds for 300 s."""


def main() -> None:
    uvloop.run(_serve(Path(sys.argv[1])))


async def _serve(world: Path) -> None:
    keystore = KeyStore.load(config.load(world / "platform.toml"), world)
    answer = _Answer(keystore)
    server = await asyncio.get_running_loop().create_server(lambda: _Stub(answer), "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    while True:
        await asyncio.sleep(SIGNED_AGAIN_SECONDS)
        answer.sign()


class _Answer:
    def __init__(self, keystore: KeyStore) -> None:
        self._keystore = keystore
        codes = work.Codes().take(200)
        now = int(time.time())
        self._body = msgspec.json.encode(
            UploadedCodes(
                stock_id="98065001",
                total_count=len(codes),
                success_count=len(codes),
                success_codes=codes,
                success_time=rfc3339(now),
            )
        )
        self.whole = b""
        self.sign()

    def sign(self) -> None:
        headers = [
            ("Content-Type", "application/json; charset=utf-8"),
            ("Content-Length", str(len(self._body))),
            ("Request-ID", f"{secrets.token_hex(16).upper()}-0"),
            *self._keystore.sign(None, str(int(time.time())), self._body),
        ]
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self.whole = f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + self._body


class _Stub(asyncio.Protocol):
    def __init__(self, answer: _Answer) -> None:
        self._answer = answer
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's is none of asyncio's.

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        length = int(self._received[:head_end].lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
        if len(self._received) >= head_end + 4 + length:
            self._received = self._received[head_end + 4 + length :]
            self._transport.write(self._answer.whole)


if __name__ == "__main__":
    main()
