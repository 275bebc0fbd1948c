"""How often a test of chance tries: enough for every day, or as often as its figure was promised for.

QUANMA_TEST_THOROUGH=1 in the environment tries as often as that, and Hypothesis new examples each time; it takes
minutes.
"""

from __future__ import annotations

import os

THOROUGH = bool(os.environ.get("QUANMA_TEST_THOROUGH"))


def rounds(every_day: int, thorough: int) -> int:
    """Seeds count on from those of every day, so these are among the thorough ones."""
    return thorough if THOROUGH else every_day
