"""The numbered steps of a back end's schema: which ones a database lacks, and whether this code may run on it. Pure.

A step is a file, migrations/BACK_END/NNNN_what.sql. A database notes the number of its last step, and the oldest code
that runs on it. A step that leaves older code running, because it only adds what that does not touch, says so in a
line of its own, `-- runs from: N`: code that knows the steps up to N runs on it. Without the line, N is its own number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

from ...errors import StoreUnavailable


class Migration(NamedTuple):
    number: int
    name: str
    sql: str

    @property
    def runs_from(self) -> int:
        """The oldest code, by the last step it knows, that this step leaves running."""
        said = re.search(r"^-- runs from: (\d+)$", self.sql, re.MULTILINE)
        return int(said[1]) if said else self.number


def all_migrations(back_end: str) -> list[Migration]:
    """The steps of a back end, in order."""
    folder = files("quanma.platform.pool") / "migrations" / back_end
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    return [Migration(number, name, (folder / name).read_text("utf-8")) for number, name in enumerate(names, 1)]


def missing(steps: Sequence[Migration], version: int, runs_from: int, database: str) -> Sequence[Migration]:
    """Return the steps that a database lacks. `version` and `runs_from` are what it notes; 0 for an empty one.

    Raises:
        StoreUnavailable: it had steps that this code does not know, and they are not for this code.
    """
    if version > len(steps) and not 0 < runs_from <= len(steps):
        raise StoreUnavailable(
            f"{database} has schema {version}, this quanma knows {len(steps)}: upgrade quanma; "
            "if it was never newer, the database is damaged: restore a backup"
        )
    return steps[version:]
