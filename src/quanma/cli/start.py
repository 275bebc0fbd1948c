"""Where the command `quanma` begins. The list of commands is printed without loading what runs them."""

from __future__ import annotations

import sys

from .commands import listing


def main() -> None:
    """Run the command line and exit with its status."""
    if sys.argv[1:] in (["--help"], ["-h"]):
        try:
            print(listing(), flush=True)
        except (BrokenPipeError, UnicodeEncodeError):
            pass  # Nobody reads it, or it can't be shown as it is: below, both are seen to.
        else:
            return
    from .main import main as run

    run()
