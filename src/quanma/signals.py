"""The signals that ask a process to end, told to an event loop.

Windows has no signals of a loop: Python's own handlers wake it there, and SIGTERM comes from nobody but ourselves.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

ENDING = (signal.SIGTERM, signal.SIGINT)


def on_ending(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Call a function in the loop for each SIGTERM and each Ctrl-C."""
    for number in ENDING:
        try:
            loop.add_signal_handler(number, call)
        except NotImplementedError:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(call))
