"""A resolver that does not answer for names that end in unanswered.invalid, for processes that a test starts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

# In the place of a resolver: each question about such a name is answered too late, whoever waits for it.
_RESOLVER = """
import socket, time

ask = socket.getaddrinfo

def getaddrinfo(host, *args, **kwargs):
    if str(host).endswith(".unanswered.invalid"):
        time.sleep(60)
    return ask(host, *args, **kwargs)

socket.getaddrinfo = getaddrinfo
"""


@contextlib.contextmanager
def resolver_that_is_silent(folder: Path) -> Generator[None, None, None]:
    """Processes of Python that are started here have it, beside the names that are answered."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_RESOLVER)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *([before] if before else [])])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
