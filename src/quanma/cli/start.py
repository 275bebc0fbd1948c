"""Where the command `quanma` begins. The list of commands is printed without loading what runs them."""

from __future__ import annotations

import io
import sys

from .commands import listing
from .language import choose


def main() -> None:
    """Run the command line and exit with its status."""
    _escape_what_cant_be_shown()
    choose()
    if sys.argv[1:] in ([], ["--help"], ["-h"]):
        try:
            print(listing(), flush=True)
        except BrokenPipeError:
            pass  # Nobody reads it: below, that is seen to.
        else:
            return
    from .main import main as run

    run()


def _escape_what_cant_be_shown() -> None:
    """Where an output's encoding has no Chinese, as on a western Windows, escapes are better than no output."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
