"""Several processes that serve one socket: forked before any thread or loop exists, watched, and ended together.

The parent serves nothing. A worker that dies is followed by another, one that keeps dying after a pause that grows.
If the parent dies, however it does, the workers end at once, so that a new start finds the address free.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from typing import NoReturn

from ..errors import Misconfigured, QuanmaError, StoreUnavailable
from .redact import trace_of
from .servicemanager import NOBODY, ServiceManager

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.5
PAUSE_SECONDS_MAX = 30.0
STEADY_SECONDS = 60.0
"""Whoever served for so long is followed at once, and no pause is remembered."""
END_SECONDS = 20.0
"""From the wish to end to kill -9: longer than requests may take to be finished."""

CAN_FORK = hasattr(os, "fork")
"""Windows can't: there one process serves."""

_READY = b"ready"
_SAID_BYTES_MAX = 4096


Work = Callable[[int, Callable[[], None]], None]
"""Serves until SIGTERM in one of so many places, from 0, and calls its second argument once it can answer."""


def run_workers(
    count: int,
    work: Work,
    *,
    ready: Callable[[], None],
    stopping: Callable[[], None],
    ended: Callable[[int, int], None] = lambda place, pid: None,
    manager: ServiceManager = NOBODY,
    silent_seconds: Callable[[int], float] = lambda place: 0.0,
) -> None:
    """Run `work` in `count` processes until SIGTERM or SIGINT, then wait for them to finish what they were asked.

    `ready` is called once, when all of them can answer for the first time; `stopping` when they were told to end;
    `ended` with the place and the pid of each process that is gone. `manager` is told when all of them serve, as long
    as this process watches them, and when they end. `silent_seconds`: how long the worker in a place has stood still.
    One that does so for as long as the manager would let the whole is ended, and another follows.

    Raises:
        QuanmaError: what kept a worker from its first start. None of them runs any more.
    """
    lifeline = os.pipe()
    try:
        with _woken_by_signals() as woken:
            _Watch(count, work, lifeline, woken, ended, manager, silent_seconds).run(ready, stopping)
    finally:
        for end in lifeline:
            os.close(end)


class _Worker:
    """A place that a process fills, or will fill again."""

    def __init__(self, place: int) -> None:
        self.place = place

    pid = 0
    """0: none at the moment."""
    report = -1
    """Where it says that it is ready, or why it never will be."""
    said = b""
    status = 0
    begins_at = 0.0
    pause_seconds = 0.0

    @property
    def is_ready(self) -> bool:
        return self.said == _READY

    def hear(self) -> None:
        if heard := os.read(self.report, _SAID_BYTES_MAX):
            self.said += heard
        else:
            os.close(self.report)
            self.report = -1

    def failure(self) -> QuanmaError:
        """What kept it from being ready."""
        kind, _, text = self.said.decode(errors="replace").partition(": ")
        return _KINDS.get(kind, StoreUnavailable)(text or f"a worker ended with {self.status} before it could answer")


class _Watch:
    def __init__(
        self,
        count: int,
        work: Work,
        lifeline: tuple[int, int],
        woken: socket.socket,
        ended: Callable[[int, int], None],
        manager: ServiceManager,
        silent_seconds: Callable[[int], float],
    ) -> None:
        self._work = work
        self._lifeline = lifeline
        self._woken = woken
        self._ended = ended
        self._manager = manager
        self._silent_seconds = silent_seconds
        self._beat_at: float | None = None
        """Not None: when the manager is to be told again."""
        self._workers = [_Worker(place) for place in range(count)]
        self._kill_at: float | None = None
        """Not None: they were told to end."""

    def run(self, ready: Callable[[], None], stopping: Callable[[], None]) -> None:
        was_ready = False
        try:
            for worker in self._workers:
                self._start(worker)
            while self._kill_at is None or any(worker.pid for worker in self._workers):
                if self._wait() and self._kill_at is None:
                    self._kill_at = time.monotonic() + END_SECONDS
                    stopping()
                    self._manager.stopping()
                for worker in self._workers:
                    self._look_after(worker, was_ready)
                if not was_ready and all(worker.is_ready for worker in self._workers):
                    was_ready = True
                    ready()
                    self._manager.ready()
                    self._beat_at = time.monotonic() if self._manager.beat_seconds else None
        finally:
            for worker in self._workers:
                if worker.pid:
                    os.kill(worker.pid, signal.SIGKILL)
                    os.waitpid(worker.pid, 0)
                if worker.report >= 0:
                    os.close(worker.report)

    def _start(self, worker: _Worker) -> None:
        report, reports = os.pipe()
        # Held back until the worker has handlers of its own: the parent's would swallow its SIGTERM.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            self._become_a_worker(worker.place, reports)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(reports)
        worker.pid, worker.report, worker.said = pid, report, b""
        worker.begins_at = time.monotonic()

    def _wait(self) -> bool:
        """Until something happens or is to be done. Returns whether we are to end; each such signal is passed on."""
        moments = [worker.begins_at for worker in self._workers if not worker.pid]
        if self._kill_at is not None:
            moments = [self._kill_at]
        if self._beat_at is not None:
            moments.append(self._beat_at)
        timeout = max(0.0, min(moments) - time.monotonic()) if moments else None
        reports = {worker.report: worker for worker in self._workers if worker.report >= 0}
        woken = self._woken.fileno()
        heard, _, _ = select.select([woken, *reports], [], [], timeout)
        self._beat()
        for report in heard:
            if report != woken:
                reports[report].hear()
        asked = woken in heard and {*self._woken.recv(_SAID_BYTES_MAX)} & {signal.SIGTERM, signal.SIGINT}
        late = self._kill_at is not None and time.monotonic() > self._kill_at
        for worker in self._workers:
            if worker.pid and (asked or late):
                os.kill(worker.pid, signal.SIGKILL if late else signal.SIGTERM)
        return bool(asked)

    def _beat(self) -> None:
        every = self._manager.beat_seconds
        if every is not None and self._beat_at is not None and self._beat_at <= time.monotonic():
            self._beat_at = time.monotonic() + every
            self._manager.alive()
            self._end_who_stands_still()

    def _end_who_stands_still(self) -> None:
        limit = self._manager.watch_seconds
        if limit is None or self._kill_at is not None:
            return
        for worker in self._workers:
            if worker.pid and worker.is_ready and self._silent_seconds(worker.place) > limit:
                log.error("worker %d: its loop has not turned for %g s, so it is ended", worker.pid, limit)
                os.kill(worker.pid, signal.SIGKILL)

    def _look_after(self, worker: _Worker, was_ready: bool) -> None:
        """Note its end, and let another follow when it is time."""
        if worker.pid:
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if not pid:
                return
            worker.status = os.waitstatus_to_exitcode(status)
            while worker.report >= 0:
                worker.hear()
            self._note_end(worker, pid, was_ready)
        if self._kill_at is None and worker.begins_at <= time.monotonic():
            self._start(worker)

    def _note_end(self, worker: _Worker, pid: int, was_ready: bool) -> None:
        worker.pid = 0
        self._ended(worker.place, pid)
        if self._kill_at is not None:
            return
        if not was_ready:
            raise worker.failure()
        now = time.monotonic()
        steady = now - worker.begins_at > STEADY_SECONDS
        worker.pause_seconds = 0.0 if steady else min(PAUSE_SECONDS_MAX, max(PAUSE_SECONDS, 2 * worker.pause_seconds))
        worker.begins_at = now + worker.pause_seconds
        why = f"ended with {worker.status}" if worker.is_ready else str(worker.failure())
        log.error("worker %d: %s; another follows in %.1f s", pid, why, worker.pause_seconds)

    def _become_a_worker(self, place: int, report: int) -> NoReturn:
        status = 1
        try:
            # A group of its own: Ctrl-C in a terminal is the parent's, which tells each once.
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            lifeline, held = self._lifeline
            os.close(held)
            threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
            self._work(place, lambda: _say(report, _READY))
            status = 0
        except QuanmaError as problem:
            _say(report, f"{type(problem).__name__}: {problem}".encode()[:_SAID_BYTES_MAX])
        except BaseException as error:
            log.error("a worker failed: %s", trace_of(error))
        finally:
            os._exit(status)


_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGCHLD") if hasattr(signal, name))
_KINDS: dict[str, type[QuanmaError]] = {kind.__name__: kind for kind in (Misconfigured, StoreUnavailable)}


def _say(report: int, said: bytes) -> None:
    # The parent may be gone; then so are we, in a moment.
    with contextlib.suppress(BrokenPipeError):
        os.write(report, said)


def _end_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)  # Nothing is ever written to it: it ends when the parent does.
    os._exit(1)


@contextlib.contextmanager
def _woken_by_signals() -> Generator[socket.socket, None, None]:
    """A socket on which the numbers of our signals arrive."""
    woken, waking = socket.socketpair()
    with woken, waking:
        waking.setblocking(False)
        before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        fd_before = signal.set_wakeup_fd(waking.fileno())
        try:
            yield woken
        finally:
            signal.set_wakeup_fd(fd_before)
            for number, handler in before.items():
                signal.signal(number, handler)
