"""What the other tests rely on: a conversation that goes on ends with its server."""

from __future__ import annotations

import asyncio
import gc
import socket

from tests.support.conversing import Conversing


def test_a_conversation_that_goes_on_ends_with_its_server() -> None:
    async def story() -> bytes:
        arrived = asyncio.Event()

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            arrived.set()
            await asyncio.Event().wait()

        server = Conversing(converse)
        await server.open()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await arrived.wait()
        await server.close()
        try:
            return await asyncio.wait_for(reader.read(), 60)
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    assert asyncio.run(story()) == b""


def test_one_that_ended_with_much_unsent_ends_with_its_server_too() -> None:
    clients: list[socket.socket] = []

    async def story() -> None:
        ended = asyncio.Event()

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(bytes(20_000_000))
            ended.set()

        server = Conversing(converse)
        await server.open()
        clients.append(socket.create_connection(("127.0.0.1", server.port)))
        await ended.wait()
        await asyncio.sleep(0)
        await server.close()

    asyncio.run(story())
    gc.collect()  # What is open still is told of here, and fails this test.
    clients[0].close()
