"""How many codes of a stock are left, and whether somebody is to be told. Pure, but for the file that remembers."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from ..errors import Misconfigured
from ..storage import private


class Alarm:
    """Tells of a low stock once, and again only after it was not low in between. `below`: fewer codes are too few."""

    def __init__(self, below: int, *, armed: bool = True) -> None:
        self.below = below
        self.armed = armed

    def is_low(self, available: int) -> bool:
        return available < self.below

    def is_due(self, available: int) -> bool:
        """Whether to tell now. It stays due until `told`: a message that did not arrive is sent again."""
        if not self.is_low(available):
            self.armed = True
        return self.armed and self.is_low(available)

    def told(self) -> None:
        """The message arrived."""
        self.armed = False


def read_armed(path: Path, stock_id: str) -> bool:
    """What a run before this one remembered of this stock. Without a file, nothing was told yet.

    Raises:
        Misconfigured: it can't be read, or is no such file.
    """
    return bool(_read(path).get(stock_id, True))


def keep_armed(path: Path, stock_id: str, *, armed: bool) -> None:
    """Remember it for the next run. Raises Misconfigured: it can't be written."""
    kept = {**_read(path), stock_id: armed}
    beside = path.with_name(f"{path.name}.part")
    try:
        with open(private.make_anew(beside, links=False), "w", encoding="utf-8") as file:
            file.write(json.dumps(kept) + "\n")
        os.replace(beside, path)
    except OSError as problem:
        raise Misconfigured(f"{path} can't be written: {problem.strerror}") from None


def _read(path: Path) -> dict[str, object]:
    with contextlib.suppress(FileNotFoundError):
        try:
            found = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict):
            raise Misconfigured(f"{path} is not what `quanma watch` wrote: name another with --state")
        return found
    return {}
