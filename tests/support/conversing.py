"""A server of streams, all of whose conversations end with it.

What one of them leaves open would be found as garbage later, in the middle of another test, which fails for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Conversing:
    """Listens on a port of its own on loopback, from `open` to `close`: both on the loop where it converses."""

    def __init__(self, converse: Converse) -> None:
        self._converse = converse
        self._conversations: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()
        left = dict(self._conversations)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()  # One that was closed stays open while something is still to be sent.
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def reach(self, host: str | None, port: int | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection that ends with this server too."""
        reader, writer = await asyncio.open_connection(host, port)
        self._writers.append(writer)
        return reader, writer

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not a coroutine: one that is cancelled before it began would leave its connection open.
        task = asyncio.ensure_future(self._conversation(reader, writer))
        self._conversations[task] = writer
        self._writers.append(writer)
        task.add_done_callback(self._ended)

    async def _conversation(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._converse(reader, writer)

    def _ended(self, task: asyncio.Task[None]) -> None:
        writer = self._conversations.pop(task)
        if task.cancelled():
            writer.transport.abort()
            return
        writer.close()
        if (error := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler({"message": "a conversation failed", "exception": error})
