"""A database that can't be reached is named, without its secrets, with what is wrong and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from quanma.errors import QuanmaError
from quanma.platform.pool import maintenance
from quanma.platform.pool.postgres import connections
from quanma.platform.pool.postgres.address import shown
from tests.support.every import every_row

NOTHING_LISTENS = "nothing listens there (ConnectionRefusedError)"
CASES = [  # Address, how it is named, what is wrong. Port 9 is nobody's: who sends there wants it thrown away.
    ("postgresql://quanma:geheim@127.0.0.1:9/quanma", "127.0.0.1:9/quanma", NOTHING_LISTENS),
    ("postgresql://quanma@nowhere.invalid/quanma", "nowhere.invalid/quanma", "no such host is known (gaierror)"),
    ("postgresql://quanma@/quanma?host=/nowhere", "/nowhere/quanma", "there is no such socket (FileNotFoundError)"),
    (
        "postgresql://quanma:geheim@127.0.0.1:9,127.0.0.2:9/quanma",
        "127.0.0.1:9,127.0.0.2:9/quanma",
        NOTHING_LISTENS,
    ),
]


def serving(url: str, folder: Path) -> None:
    async def look() -> None:
        opened = connections.Connections(url, folder)
        try:
            await opened.check()
        finally:
            await opened.close()

    asyncio.run(look())


def migrating(url: str, folder: Path) -> None:
    maintenance.migrate(url, folder, distributed=False)


@every_row("asked", [serving, migrating])
@every_row(("url", "name", "wrong"), CASES, ids=[name for _, name, _ in CASES])
def test_it_is_named_with_what_is_wrong_and_what_to_do(
    asked: Callable[[str, Path], None],
    url: str,
    name: str,
    wrong: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "KEEP_TRYING_SECONDS", 0.0)
    with pytest.raises(QuanmaError) as told:
        asked(url, tmp_path)
    said = str(told.value)
    assert f"the database {name} can't be reached: {wrong}" in said
    assert said.endswith(": see that PostgreSQL runs there, or correct the database URL")
    assert "geheim" not in said


@every_row(
    ("url", "name"),
    [
        ("postgresql://quanma:secret@db.internal:5432/quanma", "db.internal:5432/quanma"),
        ("postgresql://quanma:se@cret@db1:5432,db2/quanma?sslmode=require", "db1:5432,db2/quanma"),
        ("postgresql://quanma:secret@[::1]:5432/quanma", "[::1]:5432/quanma"),
        ("postgresql://quanma@/quanma?host=/run/a,/run/b", "/run/a,/run/b/quanma"),
        ("postgresql:///quanma", "/quanma"),
        # What stands in no place where it is known for what it is: a part of a password, perhaps.
        ("postgresql://quanma:se/cret@db.internal/quanma", ""),
        ("postgresql://quanma:se?cret@db.internal/quanma", ""),
        ("postgresql://quanma:12/cret@db.internal/quanma", ""),
        ("postgresql://quanma:secret/quanma", ""),
        ("postgresql://db.internal/quanma secret", ""),
        ("no url", ""),
    ],
)
def test_no_part_of_a_secret_is_in_the_name(url: str, name: str) -> None:
    assert shown(url) == name
