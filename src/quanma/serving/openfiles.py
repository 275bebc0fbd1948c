"""How many files a process may have open: each connection is one."""

from __future__ import annotations

import contextlib
from typing import Any

resource: Any = None
with contextlib.suppress(ImportError):  # Windows has none: its sockets are not counted.
    import resource


def allow_as_many_as_possible() -> None:
    """Raise this process's limit to what the system lets it raise by itself."""
    if resource is not None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
