"""What belongs to one process: values that can't cross a fork, made anew in each, and threads for its blocking work.

A child of a fork inherits the objects of its parent, but none of its threads. A lock that one of them held is held for
ever; a connection is read by two.

Blocking work is done in a thread apart, so that whoever waits for it hears Ctrl-C and can stop waiting. Python runs
signal handlers in the main thread only, and there only between two of its own steps: a library that waits in another
language is not interrupted. The threads are daemons: none holds up the end of a program.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

T = TypeVar("T")

IDLE_SECONDS = 60.0
"""A thread without work leaves after so long."""

_Job = tuple["Future[Any]", Callable[[], Any]]

_forks = 0
"""How many forks lie between this process and the first one, as far as Python was told."""


class PerProcess(Generic[T]):
    """One value in each process, made when it is first asked for there.

    What a child inherited is left alone: not used, not closed, and kept, since letting go of it may wait for a thread
    that the child does not have.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[tuple[int, int], T] = {}

    def get(self) -> T:
        made = self.made()
        # setdefault: of several threads that come first, all get the same one.
        return made if made is not None else self._made.setdefault(_process(), self._make())

    def made(self) -> T | None:
        """Return this process's value, or None: nobody asked for it yet."""
        return self._made.get(_process())


def _process() -> tuple[int, int]:
    # uWSGI forks without telling Python, so the count is not enough; a number comes again, so it is not enough either.
    return os.getpid(), _forks


def _forked() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def interruptibly(work: Callable[[], T], timeout_seconds: float) -> T:
    """Do the work in another thread, wait for it, and return its result or raise its error.

    Raises:
        TimeoutError: it is not done. It goes on, and nobody will hear of its end.
    """
    return submit(work).result(timeout_seconds)


def submit(work: Callable[[], T]) -> Future[T]:
    return _WORKERS.get().submit(work)


def busy() -> bool:
    """Whether a thread of this process is at work."""
    workers = _WORKERS.made()
    return workers is not None and workers.busy > 0


class _Workers:
    """As many threads as have work at once."""

    def __init__(self) -> None:
        self._idle: list[SimpleQueue[_Job]] = []
        self._busy: set[int] = set()

    @property
    def busy(self) -> int:
        return len(self._busy)

    def submit(self, work: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        try:
            jobs = self._idle.pop()
        except IndexError:
            jobs = SimpleQueue()
            try:
                Thread(target=self._serve, args=(jobs,), daemon=True, name="quanma").start()
            except RuntimeError:  # The machine, or an interpreter that is ending, gives no more: it is done here.
                _do(future, work)
                return future
        self._busy.add(id(jobs))
        jobs.put((future, work))
        return future

    def _serve(self, jobs: SimpleQueue[_Job]) -> None:
        while True:
            try:
                job = jobs.get(timeout=IDLE_SECONDS)
            except Empty:
                try:
                    self._idle.remove(jobs)
                except ValueError:  # Somebody took it just now: a job is on its way.
                    continue
                return
            future, work = job
            _do(future, work, lambda: self._free(jobs))
            del job, future, work  # Not kept while it waits for the next one.

    def _free(self, jobs: SimpleQueue[_Job]) -> None:
        self._busy.discard(id(jobs))
        self._idle.append(jobs)


def _do(future: Future[T], work: Callable[[], T], done: Callable[[], object] = lambda: None) -> None:
    """`done` is called before the waiting one is told, so that its next work finds this thread free."""
    if not future.set_running_or_notify_cancel():
        done()
        return
    try:
        result = work()
    except BaseException as error:
        done()
        future.set_exception(error)
    else:
        done()
        future.set_result(result)


_WORKERS = PerProcess(_Workers)
