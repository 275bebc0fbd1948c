"""What the service manager that started us is told: that we serve, that we end, and that we are alive.

The protocol is systemd's, one datagram a message. Where nobody asks for it, nothing is sent; whether a message arrives
changes nothing of what is served.

Source: NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID and the messages are documented, sd_notify(3) and
sd_watchdog_enabled(3). To say WATCHDOG=1 twice in that time is their advice.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping

log = logging.getLogger(__name__)

SEND_SECONDS = 0.5
"""How long one message may wait for room: a manager that hangs must not keep us from serving."""
_TIMES_PER_WATCH = 2
_NAME = "NOTIFY_SOCKET"


class ServiceManager:
    """The manager that asked this process, by its environment, to be told; or nobody."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        # Windows' Python has no such sockets, and nothing there asks.
        family = getattr(socket, "AF_UNIX", None)
        name = environment.get(_NAME, "") if family is not None else ""
        self._family = family
        self._address = "\0" + name[1:] if name.startswith("@") else name  # "@": in the system's abstract space.
        self.watch_seconds = _watch_seconds(environment) if name else None
        """How long what serves may stand still before it is ended; None: nobody looks."""
        self.beat_seconds = self.watch_seconds / _TIMES_PER_WATCH if self.watch_seconds else None
        """How often to call `alive`; None: never."""

    def ready(self) -> None:
        self._tell("READY=1\nSTATUS=serving")

    def stopping(self) -> None:
        self._tell("STOPPING=1\nSTATUS=ending: what was asked is answered")

    def alive(self) -> None:
        self._tell("WATCHDOG=1")

    def beat_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Call `alive` as often as is wanted, as long as the loop turns."""
        if self.beat_seconds is not None:
            self.alive()
            loop.call_later(self.beat_seconds, self.beat_in, loop)

    def _tell(self, message: str) -> None:
        if not self._address or self._family is None:
            return
        try:
            with socket.socket(self._family, socket.SOCK_DGRAM) as telling:
                telling.settimeout(SEND_SECONDS)
                telling.connect(self._address)
                telling.send(message.encode())
        except (OSError, ValueError) as problem:
            log.warning("the service manager can't be told %s: %s %s", message.split("\n")[0], _NAME, problem)


NOBODY = ServiceManager({})


def asks(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a service manager started us, and reads the exit status."""
    return bool(environment.get(_NAME))


def _watch_seconds(environment: Mapping[str, str]) -> float | None:
    told, whose = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    is_ours = not whose or whose == str(os.getpid())
    if not is_ours or not (told.isascii() and told.isdigit() and len(told) < 20) or not int(told):
        return None
    return int(told) / 1e6
