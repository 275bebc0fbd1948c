"""The settings while the platform runs: new keys are taken, and revoked ones refused, within seconds.

Every file that platform.toml names is looked at, not only platform.toml: a certificate may be replaced in its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from ...errors import Misconfigured
from ...serving.redact import trace_of
from .. import config
from .keystore import KeyStore

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
AGAIN_SECONDS = 30.0
"""What can't be used is tried again so often, unchanged: a disk that failed may do again."""
TELL_SECONDS = 300.0
"""Between two lines of one problem."""
WARN_SECONDS = 24 * 3600.0
"""Between two warnings of a certificate that ends."""
UNSETTLED_SECONDS = 2.0
"""A file that was written so shortly before may be written again without a change of its times."""

Mark = tuple[int, ...] | None
"""What a file's status says of its content; None: it is not there."""


class AsOf(NamedTuple):
    """How it stands with the settings in use."""

    at: float
    """When they were last seen to be those of the files, in Unix seconds."""
    newer: bool
    """Whether there are newer ones, which can't be used."""


class Reload:
    """Looks at the files every few seconds. Those that can't be used are told, and the keys stay as they were."""

    def __init__(self, path: Path, keystore: KeyStore, *, clock: Callable[[], float] = time.time) -> None:
        """`keystore` holds what was just read from `path`."""
        self._path = path
        self._folder = path.resolve().parent
        self._keystore = keystore
        self._clock = clock
        self._named: frozenset[Path] = frozenset()
        self._problem = ""
        self._tried_at = self._told_at = float("-inf")
        self._warned_at = clock()
        with contextlib.suppress(Misconfigured, OSError):
            self._named = frozenset(config.files_of(config.load(path), self._folder))
        self._seen = self._marks()
        self._settled = not _is_recent(self._seen, clock())
        self._as_of = clock()
        self._running: asyncio.Task[None] | None = None

    @property
    def as_of(self) -> AsOf:
        return AsOf(self._as_of, bool(self._problem))

    def start(self) -> None:
        self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    def look(self) -> None:
        """Take the keys of the files, if one was written since the last look. Nothing is raised."""
        self._take(self._read())

    def _read(self) -> KeyStore | None:
        """What the files hold now, if that is to be taken. It changes no keys, and may run on any thread."""
        now = self._clock()
        marks = self._marks()
        changed = marks != self._seen
        if not changed:
            if self._problem and now - self._tried_at < AGAIN_SECONDS:
                return None
            if not self._problem and self._settled:
                self._as_of = now
                return None
        self._seen, self._settled, self._tried_at = marks, not _is_recent(marks, now), now
        try:
            settings = config.load(self._path)
            # First: one of them may be what is missing or damaged.
            self._named = frozenset(config.files_of(settings, self._folder))
            if marks.keys() != {self._path, *self._named}:
                self._seen = self._marks()
            read = KeyStore.load(settings, self._folder)
        except (KeyboardInterrupt, SystemExit):
            raise
        except Misconfigured as problem:
            self._fail(str(problem), now)
            return None
        except BaseException as problem:  # A library's panic is no Exception.
            self._fail(f"it failed unexpectedly: {trace_of(problem)}", now)
            return None
        if changed or self._problem:
            log.warning("the keys of platform.toml were taken")
        self._problem, self._as_of = "", now
        return read

    def _take(self, read: KeyStore | None) -> None:
        now = self._clock()
        if read is not None:
            self._keystore.become(read)
        if read is not None or now - self._warned_at >= WARN_SECONDS:
            self._warned_at = now
            tell_warnings(self._keystore, now)

    def _fail(self, problem: str, now: float) -> None:
        if problem != self._problem or now - self._told_at >= TELL_SECONDS:
            self._told_at = now
            log.error("platform.toml was changed and can't be used, so the keys stay as they were: %s", problem)
        self._problem = problem

    def _marks(self) -> dict[Path, Mark]:
        return {path: _mark(path) for path in (self._path, *self._named)}

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                # On a thread: keys take a moment to check, and a disk may hang.
                self._take(await asyncio.to_thread(self._read))
            except Exception as problem:
                log.error("the look at platform.toml failed, the next one follows: %s", trace_of(problem))


def tell_warnings(keystore: KeyStore, now: float) -> None:
    for warning in keystore.warnings(now):
        log.warning("%s", warning)


def _mark(path: Path) -> Mark:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    # The last: a copy may keep a file's times, and a rename its size; the system alone sets this one.
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _is_recent(marks: dict[Path, Mark], now: float) -> bool:
    written: Iterable[float] = (mark[-1] / 1e9 for mark in marks.values() if mark is not None)
    return any(0 <= now - at < UNSETTLED_SECONDS for at in written)
