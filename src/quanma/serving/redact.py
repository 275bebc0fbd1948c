"""Where an unexpected error came from, as a log may show it."""

from __future__ import annotations

import traceback


def trace_of(error: BaseException) -> str:
    """Return an error's type and stack without its message: that may hold a code or a user."""
    stack = "".join(traceback.format_tb(error.__traceback__))
    return f"{type(error).__name__}, its message withheld\n{stack}".rstrip()
