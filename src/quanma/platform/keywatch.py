"""platform.toml while the platform runs: new keys are taken, and revoked ones refused, within seconds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from ..errors import Misconfigured
from . import config
from .keyroom import KeyRoom

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0


class KeyWatch:
    """Looks at the file every few seconds. One that can't be used is told, and the keys stay as they were."""

    def __init__(self, path: Path, keyroom: KeyRoom) -> None:
        self._path = path
        self._keyroom = keyroom
        self._seen = self._mark()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    def look(self) -> None:
        """Take the keys of the file, if it was written since the last look."""
        if (mark := self._mark()) == self._seen:
            return
        self._seen = mark
        try:
            self._keyroom.become(KeyRoom.load(config.load(self._path), self._path.resolve().parent))
        except Misconfigured as problem:
            log.error("platform.toml was changed and can't be used, so the keys stay as they were: %s", problem)
        else:
            log.warning("the keys of platform.toml were taken")

    def _mark(self) -> tuple[int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()
