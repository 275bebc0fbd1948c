"""A request that comes a second time, byte for byte: who recorded it may send it again for as long as it is believed.

Most calls have a number of their own, and a repeat of it changes nothing. Those without one are numbered by their
nonce, always. With `refuse_replays` no request at all is taken twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from ..errors import PlatformFailed, RequestRefused, SignatureInvalid
from ..wire import codec
from .pool.nonces import Nonces


class Came(NamedTuple):
    """A verified request, as far as its repeats are known by it."""

    mchid: str
    nonce: str
    signed_at: int


class Replays:
    def __init__(self, nonces: Nonces, *, refuse: bool, began_at: float) -> None:
        self._nonces = nonces
        self.refuse = refuse
        self._began_at = 0 if nonces.durable else int(began_at)

    async def check(self, came: Came, now: float) -> None:
        """Note a request. Called only where repeats are refused.

        Raises:
            SignatureInvalid: it came before, or may have come before this process began.
        """
        if came.signed_at < self._began_at:
            raise SignatureInvalid(
                "the request was signed before this platform began, and may have come before: sign it anew"
            )
        if await self._nonces.note(came.mchid, came.nonce, b"", int(now)) is not None:
            raise SignatureInvalid("this nonce came before: each request needs a new one, and a new signature")

    async def once(self, came: Came, what: bytes, now: int, work: Callable[[], Awaitable[Any]]) -> Any:
        """Do the work of a call without a number, and of a repeat of it nothing: it gets the first answer.

        Raises:
            RequestRefused: the nonce was used with another request.
            PlatformFailed: the first one is under way, or its answer is not kept.
        """
        if self.refuse:
            return await work()  # No repeat comes as far as this.
        noted = await self._nonces.note(came.mchid, came.nonce, what, now)
        if noted is None:
            try:
                answer = await work()
            except BaseException:
                await self._nonces.forget(came.mchid, came.nonce)
                raise
            await self._nonces.answered(came.mchid, came.nonce, codec.encode_answer(answer))
            return answer
        if noted.what and noted.what != what:
            raise RequestRefused("参数错误: this nonce came before with another request: each needs a new one")
        if noted.answer is None:
            raise PlatformFailed("系统错误: this request came before, and its answer is not known: sign it anew")
        return msgspec.Raw(noted.answer) if noted.answer else None


def digest(verb: str, target: str, signed: bytes) -> bytes:
    return blake2b(f"{verb}\n{target}\n".encode() + signed, digest_size=16).digest()
