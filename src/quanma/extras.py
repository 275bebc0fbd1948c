"""The extras: what `pip install quanma` leaves out, which part needs it, and the command that installs it.

The base install is the client. Every other part asks here before it imports what may be absent, so that a missing
package is told by the name of its extra.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from .errors import ExtraMissing

_ZSTD: Final = () if sys.version_info >= (3, 14) else ("backports.zstd",)
"""From 3.14 on it is in the standard library."""
EXTRAS: Final[dict[str, tuple[str, ...]]] = {
    "upload": ("apsw", *_ZSTD, "numpy", "rich"),
    "platform": ("apsw", *_ZSTD, "httptools", "numpy", "prometheus_client"),
    "postgres": ("asyncpg",),
    "parquet": ("pyarrow",),
    "otel": ("opentelemetry",),
}
"""Extra: the modules that must be there. pyproject.toml has the same as packages, and a test compares them.

`uvloop`, of `platform`, is not among them: it does not exist on Windows, where asyncio's own loop serves.
"""


def need(what: str, *extras: str) -> None:
    """Check that all packages of these extras are installed. `what` needs them: "quanma upload".

    Raises:
        ExtraMissing: one is absent. The message names it, and one command that installs all that is missing.
    """
    absent = {extra: [name for name in EXTRAS[extra] if not _is_there(name)] for extra in extras}
    if missing := [extra for extra, names in absent.items() if names]:
        raise missing_extra(what, missing, {name: None for extra in missing for name in absent[extra]})


def needed(module: str, *, what: str, extra: str) -> Any:
    """Import a module of an extra. `what` needs it: "Parquet". Raises ExtraMissing: it is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as cause:
        raise missing_extra(what, [extra], [cause.name or module]) from None


def missing_extra(what: str, extras: list[str], absent: dict[str, None] | list[str]) -> ExtraMissing:
    """The error for modules that were found absent."""
    names = list(absent)
    are = "is" if len(names) == 1 else "are"
    # Double quotes: cmd and PowerShell take them as the shells of Unix do, and zsh needs them.
    return ExtraMissing(
        f'{what} needs more than the base install: pip install "quanma[{",".join(extras)}]" '
        f"({', '.join(names)} {are} absent)",
        name=names[0],
    )


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # Nor is the package in which it lies.
        return False
    except ValueError:  # It is loaded, and was put there by hand.
        return True
