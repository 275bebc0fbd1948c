"""The event loop that serves: uvloop, or asyncio's own where there is no uvloop, as on Windows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

uvloop: Any = None
with contextlib.suppress(ImportError):
    import uvloop

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it to its end in a new loop."""
    ended: T = asyncio.run(coroutine) if uvloop is None else uvloop.run(coroutine)
    return ended
