"""What else goes on while honest merchants are served: addresses that say nothing, names that are not answered, heads
that never end.

`python -m benchmarks.hostile PORT` is the stranger: its connections are opened again for as long as it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator

import uvloop

from quanma.errors import QuanmaError
from tests.support.heads import UNFINISHED
from tests.support.platform import APPID, Served, create_stock

STRANGERS = 500
"""Connections, each with a head that does not end."""
PIECE_SECONDS = 0.5
"""How often each of them sends one byte more."""
AGAIN_SECONDS = 2.0
"""How soon another one follows, once the platform has closed it."""
EVENTS_PER_SECOND = 2.0
"""Of each merchant whose events are not received."""
DEAD_NAME = "events.unanswered.invalid"


@contextlib.asynccontextmanager
async def silent_address() -> AsyncGenerator[str, None]:
    """It takes every connection and every word, and answers none, until the other side gives up."""
    loop, opened = asyncio.get_running_loop(), set[_Silent]()
    async with await loop.create_server(lambda: _Silent(opened), "127.0.0.1", 0, backlog=1000) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/events"
        for one in opened:
            one.transport.abort()
        await asyncio.gather(*(one.lost for one in opened))


class _Silent(asyncio.Protocol):
    def __init__(self, opened: set[_Silent]) -> None:
        self._opened = opened
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's is none of asyncio's.
        self._opened.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._opened.discard(self)
        self.lost.set_result(None)


class Unreachable:
    """A merchant who gives out coupons all the time, and whose callback address receives no event."""

    def __init__(self, running: Served, mchid: str, notify_url: str) -> None:
        with running.wechatpay(mchid) as wxpay:
            self._stock_id = create_stock(wxpay, "soak", belong_merchant=mchid, coupon_code_mode="WECHATPAY_MODE")
            wxpay.v3.marketing.busifavor.callbacks.post(notify_url=notify_url)
        self._wxpay = running.async_wechatpay(mchid)
        self._numbers = itertools.count()

    async def send_for(self, seconds: float) -> None:
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while clock() < until:
            number = next(self._numbers)
            # What becomes of these is nobody's concern: that they are sent is.
            with contextlib.suppress(QuanmaError):
                await self._wxpay.v3.marketing.busifavor.coupons.send.post(
                    stock_id=self._stock_id, openid=f"user-{number}", appid=APPID, out_request_no=str(number)
                )
            await asyncio.sleep(1 / EVENTS_PER_SECOND)

    async def close(self) -> None:
        await self._wxpay.close()


@contextlib.contextmanager
def strangers(port: int) -> Generator[None, None, None]:
    """500 connections with heads that do not end, from a process of their own."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.hostile", str(port)])
    try:
        yield
        assert process.poll() is None, "the stranger has ended by itself"
    finally:
        process.terminate()
        process.wait(10)


async def _stranger(port: int, sent: bytes) -> None:
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(writer):
                writer.write(sent[:-64])
                for byte in sent[-64:]:
                    await asyncio.sleep(PIECE_SECONDS)
                    if reader.at_eof() or writer.transport.is_closing():
                        break
                    writer.write(bytes([byte]))
        await asyncio.sleep(AGAIN_SECONDS)


async def _strangers(port: int) -> None:
    kinds = itertools.cycle(UNFINISHED.values())
    await asyncio.gather(*(_stranger(port, next(kinds)) for _ in range(STRANGERS)))


if __name__ == "__main__":
    # A stranger has cores of its own, and does not take the platform's, whatever priority that has.
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.nice(5)
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_strangers(int(sys.argv[1])))
