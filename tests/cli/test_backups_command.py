"""`quanma backup` into a folder: a name by the time, and so many are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import pytest

from quanma.errors import Misconfigured
from quanma.platform.pool import backups
from tests.support.platform import mode_of

Run = Callable[..., tuple[int, str]]
OLD = ["quanma-20261101T030000Z.db", "quanma-20261102T030000Z.db", "quanma-20261103T030000Z.db"]
OTHERS = ["quanma-20261101T030000Z.db.gz", "quanma-2026.db", "before-upgrade.db", "quanma-20261101T030000Z.db-wal"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (made := tmp_path / "backups").mkdir()
    for name in (*OLD, *OTHERS):
        (made / name).write_text("old", "utf-8")
    return made


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_backup_into_a_folder_is_named_by_the_time_and_removes_nothing(world: Path, run: Run, folder: Path) -> None:
    run("migrate")
    status, said = run("backup", str(folder))
    (made,) = names(folder) - {*OLD, *OTHERS}
    assert status == 0
    assert made in said
    assert backups.DATED.fullmatch(made)
    assert mode_of(folder / made) == 0o600
    assert names(folder) >= {*OLD, *OTHERS}


def test_of_those_so_named_the_latest_are_kept_and_of_others_all(world: Path, run: Run, folder: Path) -> None:
    run("migrate")
    (folder / "quanma-20261101T030001Z.db.part").touch()  # Of a backup that was killed.
    status, said = run("backup", "--keep", "2", str(folder))
    assert status == 0
    assert names(folder) & {*OLD} == {OLD[2]}
    assert names(folder) >= {*OTHERS}
    assert not [*folder.glob("*.part")]
    assert "removed quanma-20261101T030000Z.db" in said


def test_nothing_is_removed_where_no_backup_was_made(world: Path, run: Run, folder: Path) -> None:
    with pytest.raises(Misconfigured, match=r"there is no .*quanma\.db"):
        run("backup", "--keep", "1", str(folder))
    assert names(folder) == {*OLD, *OTHERS}


def test_to_keep_some_goes_with_a_folder_only(world: Path, run: Run, tmp_path: Path) -> None:
    run("migrate")
    with pytest.raises(click.UsageError, match="--keep goes with a folder"):
        run("backup", "--keep", "2", str(tmp_path / "copy.db"))
    assert not (tmp_path / "copy.db").exists()


def test_what_another_put_there_under_such_a_name_is_not_followed(tmp_path: Path) -> None:
    (victim := tmp_path / "victim").write_text("keep", "utf-8")
    (folder := tmp_path / "backups").mkdir()
    (folder / OLD[0]).symlink_to(victim)
    (folder / OLD[1]).mkdir()
    (folder / OLD[2]).touch()
    backups.keep(folder, 1)
    assert victim.read_text("utf-8") == "keep"
    assert names(folder) == {OLD[1], OLD[2]}
