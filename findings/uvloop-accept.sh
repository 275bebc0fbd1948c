#!/bin/sh
# uvloop takes one waiting connection in each turn of the loop; asyncio's own loop takes all that wait, up to `backlog`.
#
# So a server whose turns are long (10 ms of work each) lets a newcomer behind 500 others wait for 5 s, though it could
# take each in less than 0.1 ms. The way out: a reader on the listening socket that accepts several at a time, and
# loop.connect_accepted_socket for each.
#
# Needs Python 3.11 or newer and a package index. Exit 0: it is as told here. Exit 1: it has changed.
set -eu

UVLOOP=0.23.0

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "uvloop==$UVLOOP"

cat >"$folder/accept.py" <<'PYTHON'
import asyncio
import platform
import socket

import uvloop

CONNECTIONS = 100


async def most_in_one_turn() -> int:
    """Let connections wait, begin to listen, and count how many are taken between two turns of the loop."""
    loop = asyncio.get_running_loop()
    taken: list[asyncio.BaseTransport] = []

    class Taking(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            taken.append(transport)

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(CONNECTIONS)
    waiting = [socket.create_connection(listening.getsockname()) for _ in range(CONNECTIONS)]
    server = await loop.create_server(Taking, sock=listening, backlog=CONNECTIONS)
    most = 0
    while len(taken) < CONNECTIONS:
        before = len(taken)
        await asyncio.sleep(0)
        most = max(most, len(taken) - before)
    for transport in taken:
        transport.abort()
    for one in waiting:
        one.close()
    server.close()
    return most


own, other = asyncio.run(most_in_one_turn()), uvloop.run(most_in_one_turn())
print(f"Python {platform.python_version()}, asyncio: {own} of {CONNECTIONS} waiting connections taken in one turn")
print(f"uvloop {uvloop.__version__}: {other}")
raise SystemExit(0 if own > 1 and other == 1 else 1)
PYTHON
"$folder/venv/bin/python" "$folder/accept.py"
