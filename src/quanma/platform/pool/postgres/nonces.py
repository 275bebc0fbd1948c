"""`Nonces` in the database, for all workers on all hosts."""

from __future__ import annotations

import secrets

from ..nonces import NONCE_SECONDS, Noted
from .connections import Connection, Connections
from .queries import query

_CLEAN_SECONDS = 60

_NOTE, _NOTED, _ANSWERED = query("note_nonce"), query("nonce_noted"), query("nonce_answered")
_FORGET, _FORGET_OLD = query("forget_nonce"), query("forget_old_nonces")


class TableNonces:
    durable = True

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._cleaned_at = 0

    async def note(self, mchid: str, nonce: str, what: bytes, now: int) -> Noted | None:
        # Of this call alone: it is repeated where its connection broke, and must know what it wrote itself.
        token = secrets.token_bytes(8)
        noted = await self._connections.call(lambda open_: _note(open_, mchid, nonce, what, token, now), writes=True)
        if now - self._cleaned_at >= _CLEAN_SECONDS:
            self._cleaned_at = now
            await self._connections.call(lambda open_: _clean(open_, now), writes=True)
        return noted

    async def answered(self, mchid: str, nonce: str, answer: bytes) -> None:
        await self._connections.call(lambda open_: _answered(open_, mchid, nonce, answer), writes=True)

    async def forget(self, mchid: str, nonce: str) -> None:
        await self._connections.call(lambda open_: _forget(open_, mchid, nonce), writes=True)


async def _note(connection: Connection, mchid: str, nonce: str, what: bytes, token: bytes, now: int) -> Noted | None:
    """Two statements: the second sees what the first ran into, whichever worker wrote it."""
    first = await connection.fetchval(
        _NOTE,
        mchid,
        nonce,
        token,
        what,
        now,
        NONCE_SECONDS,
    )
    if first is not None:
        return None
    row = await connection.fetchrow(_NOTED, mchid, nonce)
    if row is None:  # Forgotten in between.
        return Noted(b"", None)
    return None if row[0] == token else Noted(row[1], row[2])


async def _answered(connection: Connection, mchid: str, nonce: str, answer: bytes) -> None:
    await connection.execute(_ANSWERED, mchid, nonce, answer)


async def _forget(connection: Connection, mchid: str, nonce: str) -> None:
    await connection.execute(_FORGET, mchid, nonce)


async def _clean(connection: Connection, now: int) -> None:
    await connection.execute(_FORGET_OLD, now, NONCE_SECONDS)
