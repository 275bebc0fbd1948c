"""A TCP line to a server on this machine, on which things happen: it is cut, it carries nothing, it leads nowhere."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar

from tests.support.conversing import Conversing

T = TypeVar("T")

_LINGER_NONE = struct.pack("ii", 1, 0)


class Cable:
    """Listens on a port of its own, and carries each connection to the server's port.

    `cut_at`: bytes from the client's side that, once seen, end the connection: before they are carried over, or
    (`late`) after the server has taken them, so that only its answer is lost. `hold_at`: once seen, nothing more is
    carried, they neither.
    """

    def __init__(self, port: int) -> None:
        self.leads_to = port
        self.cut_at: bytes | None = None
        self.late = False
        self.hold_at: bytes | None = None
        self.held = threading.Event()
        self.cuts = 0
        self._connections: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._open: asyncio.Event = self._run(self._new_event())
        self._server = Conversing(self._carry)
        self._run(self._server.open())
        self.port = self._server.port

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.cut()
        self._run(self._server.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self) -> None:
        """End all connections, as a firewall would: with a reset."""
        self._run(self._cut())

    def hold(self) -> None:
        """Carry nothing more, in no direction, and end nothing either."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def release(self) -> None:
        """Carry what was held, and go on."""
        self._loop.call_soon_threadsafe(self._open.set)

    async def _new_event(self) -> asyncio.Event:
        event = asyncio.Event()
        event.set()
        return event

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _cut(self) -> None:
        for writer in list(self._connections):
            _reset(writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await self._server.reach("127.0.0.1", self.leads_to)
        except OSError:
            _reset(writer)
            return
        ends = {writer, back}
        self._connections |= ends
        dropping = asyncio.Event()
        try:
            await asyncio.gather(
                self._pump(reader, back, lambda data: self._seen(data, ends, dropping)),
                self._pump(there, writer, lambda _: dropping.is_set() and self._end(ends)),
            )
        finally:
            back.close()
            self._connections -= ends

    def _seen(self, data: bytes, ends: set[asyncio.StreamWriter], dropping: asyncio.Event) -> bool:
        """Returns whether the connection ended."""
        if self.hold_at is not None and self.hold_at in data:
            self.hold_at = None
            self._open.clear()
            self.held.set()
        if self.cut_at is None or self.cut_at not in data:
            return False
        self.cut_at = None
        self.cuts += 1
        if self.late:
            dropping.set()  # The server's next words are the answer that is lost.
            return False
        return self._end(ends)

    def _end(self, ends: set[asyncio.StreamWriter]) -> bool:
        for writer in ends:
            _reset(writer)
        return True

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ends_here: Callable[[bytes], bool]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if ends_here(data):
                    return
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        plug: socket.socket = writer.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    writer.transport.abort()
