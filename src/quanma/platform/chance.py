"""Where the platform's chance comes from: the operating system, which nobody can foresee.

Only `quanma sandbox --random-seed` lets it be foreseen, so that a test has the same bytes each time. Each use has a
stream of its own then: what one draws does not move another's.
"""

from __future__ import annotations

import base64
import os
import secrets
import uuid
from random import Random
from typing import Any, ClassVar


class Chance:
    """Random numbers for one use."""

    _all: ClassVar[dict[str, Chance]] = {}

    def __init__(self, name: str) -> None:
        self._name = name
        self._foreseen: Random | None = None
        self._all[name] = self

    @property
    def is_foreseen(self) -> bool:
        return self._foreseen is not None

    def randbelow(self, count: int) -> int:
        return secrets.randbelow(count) if self._foreseen is None else self._foreseen.randrange(count)

    def token_bytes(self, count: int) -> bytes:
        return os.urandom(count) if self._foreseen is None else self._foreseen.randbytes(count)

    def token_hex(self, count: int) -> str:
        return self.token_bytes(count).hex()

    def token_urlsafe(self, count: int) -> str:
        return base64.urlsafe_b64encode(self.token_bytes(count)).rstrip(b"=").decode()

    def uuid(self) -> str:
        return str(uuid.UUID(bytes=self.token_bytes(16), version=4))


def foresee(seed: int) -> None:
    """Let all that is drawn from here on follow from a seed. For the sandbox alone: a test holds the platform to it."""
    for name, chance in Chance._all.items():
        chance._foreseen = Random(f"{seed}/{name}")


def state() -> dict[str, Any]:
    """Where each stream is; empty: nothing is foreseen."""
    return {name: one._foreseen.getstate() for name, one in Chance._all.items() if one._foreseen is not None}


def restore(states: dict[str, Any]) -> None:
    """Let each stream be where it was."""
    for name, chance in Chance._all.items():
        if chance._foreseen is not None and name in states:
            chance._foreseen.setstate(states[name])
