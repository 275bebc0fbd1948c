"""A folder of backups, each named by when it was made: how the next is called, and which are removed."""

from __future__ import annotations

import re
import time
from pathlib import Path

from ...errors import StoreUnavailable

DATED = re.compile(r"quanma-[0-9]{8}T[0-9]{6}Z\.db")
_OURS = re.compile(rf"(?P<name>{DATED.pattern})(?:\.part)?")
"""With what a backup that was killed left behind."""


def dated(now: float) -> str:
    """Return a backup's name: quanma-20261130T193000Z.db, in UTC, so that names sort as times do."""
    return time.strftime("quanma-%Y%m%dT%H%M%SZ.db", time.gmtime(now))


def keep(folder: Path, count: int) -> list[str]:
    """Remove all but the latest `count` backups that are named so, and return the names of those removed.

    Files of other names stay, whatever they are, and so do folders.

    Raises:
        StoreUnavailable: one can't be removed.
    """
    ours = sorted(path.name for path in folder.iterdir() if _OURS.fullmatch(path.name) and not _is_folder(path))
    whole = [name for name in ours if DATED.fullmatch(name)]
    oldest = whole[-count] if len(whole) >= count else ""
    removed = [name for name in ours if name < oldest]
    for name in removed:
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as problem:
            raise StoreUnavailable(f"{folder / name} can't be removed: {problem.strerror}") from None
    return removed


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
