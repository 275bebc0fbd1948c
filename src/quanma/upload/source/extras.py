"""Packages that only some inputs need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ...errors import SourceUnreadable


def needed(module: str, *, what: str, extra: str) -> Any:
    """Import a package of an optional extra.

    Raises:
        SourceUnreadable: it is not installed; the message names the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as cause:
        raise SourceUnreadable(f"{what} needs `pip install quanma[{extra}]`") from cause
