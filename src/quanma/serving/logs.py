"""The platform's log, on standard error: a line an event, as text or as JSON.

A line holds what the code wrote into it, and of an error its type and stack: the message of an error that nobody
expected may hold a code or a user.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from typing import Any

import msgspec

from .redact import trace_of

log = logging.getLogger(__name__)

TEXT, JSON = "text", "json"
_USUAL = vars(logging.LogRecord("", 0, "", 0, "", (), None)).keys() | {"message", "asctime", "taskName"}


def begin(log_format: str) -> None:
    """Write what is logged in this process to standard error from here on: warnings, and of our own what happens."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format == JSON else TextLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("quanma").setLevel(logging.INFO)


def on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """For a loop. Its own would print what it has at hand: a task's name, an error's message."""
    error = context.get("exception")
    # Cut: behind the word stands what was called, and with what.
    what = context["message"].partition(" callback")[0].partition("\n")[0]
    log.error("%s: %s", what, trace_of(error) if error is not None else "no error")


def say(line: str) -> None:
    """Write one line that someone may wait for: as it is, or as an event."""
    if any(isinstance(handler.formatter, JsonLines) for handler in logging.getLogger().handlers):
        log.info("%s", line)
    else:
        print(line, file=sys.stderr, flush=True)


class TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        trace = _trace(record)
        return f"{_time(record)} {record.levelname} {record.getMessage()}{fields}" + (f"\n{trace}" if trace else "")


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            **_fields(record),
        }
        if trace := _trace(record):
            line["trace"] = trace
        return msgspec.json.encode(line).decode()


def _time(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What was given as `extra`."""
    return {name: str(value) for name, value in vars(record).items() if name not in _USUAL}


def _trace(record: logging.LogRecord) -> str | None:
    error = record.exc_info[1] if record.exc_info else None
    return trace_of(error) if error is not None else None
