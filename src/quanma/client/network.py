"""The network, for both clients: pyreqwest, or the standard library where pyreqwest can't run.

Nothing is opened before the first request, so a client may be made first and its process forked afterwards. In a child
of a process that had used pyreqwest, pyreqwest refuses to start, and the standard library stands in.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
from functools import partial

from ..errors import QuanmaError
from .process import PerProcess
from .pyreqwest_transport import AsyncPyreqwestTransport, PyreqwestTransport, check_proxy
from .transport import AsyncTransport, Reply, Request, Transport, too_late
from .worker_threads import busy, interruptibly

GRACE_SECONDS = 0.5
"""A transport ends by its time; one that does not is left so much later."""
LEAVE_SECONDS_MAX = 1.0


class HttpTransport:
    """For the sync client."""

    def __init__(self, proxy: str | None = None) -> None:
        if proxy is not None:
            check_proxy(proxy)
        self._here = PerProcess(partial(_transport, proxy))

    def send(self, request: Request, timeout_seconds: float) -> Reply:
        transport = self._here.get()
        if threading.current_thread() is not threading.main_thread():
            return transport.send(request, timeout_seconds)
        try:
            return interruptibly(partial(transport.send, request, timeout_seconds), timeout_seconds + GRACE_SECONDS)
        except QuanmaError:
            raise
        except BaseException as problem:  # Ctrl-C, or whatever a signal handler raises; or the transport is late.
            _abandoned.get().append(transport)
            if isinstance(problem, TimeoutError):
                raise too_late(timeout_seconds) from problem
            raise

    def close(self) -> None:
        if (transport := self._here.made()) is not None:
            transport.close()


class AsyncHttpTransport:
    """For the async client."""

    def __init__(self, proxy: str | None = None) -> None:
        if proxy is not None:
            check_proxy(proxy)
        self._here = PerProcess(partial(_async_transport, proxy))

    async def send(self, request: Request, timeout_seconds: float) -> Reply:
        return await self._here.get().send(request, timeout_seconds)

    async def close(self) -> None:
        if (transport := self._here.made()) is not None:
            await transport.close()


def _transport(proxy: str | None) -> Transport:
    try:
        return PyreqwestTransport(proxy)
    except RuntimeError:  # A process before the fork has used it.
        from .stdlib_transport import StdlibTransport  # Loaded where it is needed, hardly ever.

        return StdlibTransport(proxy)


def _async_transport(proxy: str | None) -> AsyncTransport:
    try:
        return AsyncPyreqwestTransport(proxy)
    except RuntimeError:
        from .stdlib_transport import AsyncStdlibTransport

        return AsyncStdlibTransport(proxy)


_abandoned: PerProcess[list[Transport]] = PerProcess(list)
"""Those with a request under way that nobody waits for any more, after Ctrl-C."""


@atexit.register
def _let_threads_leave() -> None:
    """Wait for pyreqwest's threads to leave the interpreter before it ends: one that is inside would abort the process.

    Its own hands an async answer over by waking the loop, and may still be on its way back from that when the program
    is done; ours may wait in it for an answer that nobody wants. Both leave within some thousandths of a second.
    """
    ends_at = time.monotonic() + LEAVE_SECONDS_MAX
    for transport in _abandoned.get():
        transport.close()
    known = {thread.ident for thread in threading.enumerate()}
    while True:
        time.sleep(0.005)
        if (sys._current_frames().keys() <= known and not busy()) or time.monotonic() > ends_at:
            return
