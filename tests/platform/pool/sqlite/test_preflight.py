"""What the pool refuses to stand on, each with its reason, and that refusing changes nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import apsw
import pytest

from quanma.errors import StoreUnavailable
from quanma.platform.pool import migrations, open_pool
from quanma.platform.pool.migrations import Migration
from quanma.platform.pool.sqlite import pool_file, preflight
from quanma.platform.pool.sqlite.index import hash_index
from quanma.platform.pool.sqlite.pool import SqlitePool
from quanma.platform.pool.sqlite.rows import DELETION, ISSUE_BATCH, UPLOAD, checksum
from tests.contract.driver import DrivenPool
from tests.support.every import every_row
from tests.support.platform import mode_of


@every_row("version", ["3.40.1", "3.44.5", "3.45.9", "3.50.6", "3.51.0", "3.51.2", "3.7.17"])
def test_a_sqlite_that_can_corrupt_the_pool_is_refused(version: str) -> None:
    with pytest.raises(StoreUnavailable, match="pip install -U apsw"):
        preflight.check_version(version)


@every_row("version", ["3.44.6", "3.50.7", "3.51.3", "3.52.0", "3.54.1", "4.0.0"])
def test_a_sqlite_with_the_fix_is_taken(version: str) -> None:
    preflight.check_version(version)


def test_the_sqlite_of_this_environment_is_a_safe_one() -> None:
    preflight.check_version(apsw.sqlite_lib_version())


LOCAL = "/dev/vda / ext4 rw 0 0\nproc /proc proc rw 0 0\n"


@every_row(
    "mount",
    [
        "nas:/x /srv/pool nfs4 rw 0 0",
        "//nas/x /srv cifs rw 0 0",
        "share /srv/pool 9p rw 0 0",
        "u@h: /srv/pool fuse.sshfs rw 0 0",
        "/dev/vdb /srv ext4 rw 0 0\nnas:/x /srv/pool nfs rw 0 0",
        "/dev/vdb /srv/pool ext4 rw 0 0\nnas:/x /srv/pool nfs rw 0 0",  # Mounted over.
    ],
)
def test_a_network_file_system_is_refused(mount: str) -> None:
    with pytest.raises(StoreUnavailable, match="network file system"):
        preflight.check_file_system(Path("/srv/pool/quanma.db"), LOCAL + mount)


def test_a_network_file_system_with_a_space_in_its_path_is_refused() -> None:
    with pytest.raises(StoreUnavailable, match="network file system"):
        preflight.check_file_system(Path("/srv/my pool/quanma.db"), LOCAL + r"nas:/x /srv/my\040pool nfs4 rw 0 0")


@every_row(
    "mounts",
    [
        LOCAL,
        LOCAL + "nas:/x /srv/po nfs4 rw 0 0",
        LOCAL + "nas:/x /srv/pool/backup nfs4 rw 0 0",
        "nas:/x / nfs rw 0 0\n/dev/vdb /srv/pool xfs rw 0 0",
    ],
)
def test_a_local_disk_beside_a_network_is_taken(mounts: str) -> None:
    preflight.check_file_system(Path("/srv/pool/quanma.db"), mounts)


def test_another_programs_database_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "quanma.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE theirs (x)")
    db.commit()
    db.close()
    path.chmod(0o600)
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match="another program's database"):
        SqlitePool(path)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["quanma.db", "quanma.db.lock"]


def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "quanma.db"
    path.write_bytes(b"precious" * 1000)
    path.chmod(0o600)
    with pytest.raises(StoreUnavailable, match=r"quanma\.db"):
        SqlitePool(path)
    assert path.read_bytes() == b"precious" * 1000


def test_a_schema_from_tomorrow_is_refused(tmp_path: Path) -> None:
    today = len(migrations.all_migrations("sqlite"))
    path = _made(tmp_path, "CREATE TABLE tomorrow (a)")
    with pytest.raises(StoreUnavailable, match=f"has schema {today + 1}, this quanma knows {today}: upgrade quanma"):
        SqlitePool(path)


def test_a_file_of_a_development_version_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = _made(tmp_path)
    db = apsw.Connection(str(path))
    pool_file.forget(db, "birth")
    db.close()
    with pytest.raises(StoreUnavailable, match=r"development version of quanma.*`quanma export`.*`quanma import`"):
        SqlitePool(path)


def test_a_schema_from_tomorrow_that_says_that_today_runs_on_it_is_served(tmp_path: Path) -> None:
    today = len(migrations.all_migrations("sqlite"))
    path = _made(tmp_path, f"-- runs from: {today}\nCREATE TABLE tomorrow (a)")
    asyncio.run(SqlitePool(path).close())
    assert apsw.Connection(str(path)).execute("PRAGMA user_version").get == today + 1


def test_an_older_file_gets_the_steps_that_it_lacks(tmp_path: Path) -> None:
    pool = DrivenPool(lambda: open_pool("sqlite:///quanma.db", tmp_path))
    stock_id = pool.create()
    pool.upload(stock_id, ["A1"])
    pool.close()
    today = len(migrations.all_migrations("sqlite"))
    path = _made(
        tmp_path, f"-- runs from: {today}\nCREATE TABLE tomorrow (a)", f"-- runs from: {today}\nDROP TABLE tomorrow"
    )
    assert apsw.Connection(str(path)).execute("PRAGMA user_version").get == today + 2
    pool = DrivenPool(lambda: open_pool("sqlite:///quanma.db", tmp_path))
    assert pool.codes(stock_id) == ["A1"]
    pool.close()


def test_a_number_of_a_step_that_was_never_made_is_damage(tmp_path: Path) -> None:
    path = _made(tmp_path, "CREATE TABLE tomorrow (a)")
    db = apsw.Connection(str(path))
    db.execute("PRAGMA user_version = 1")
    db.close()
    with pytest.raises(StoreUnavailable, match="restore a backup"):
        SqlitePool(path)


@every_row("mode", [0o644, 0o660, 0o604, 0o666])
def test_a_database_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = _made(tmp_path)
    path.chmod(mode)
    with pytest.raises(StoreUnavailable, match=f"mode {mode:04o}.*chmod 600"):
        SqlitePool(path)


def test_a_pool_served_twice_is_refused_and_free_again_after_the_first(tmp_path: Path) -> None:
    first = SqlitePool(tmp_path / "quanma.db")
    with pytest.raises(StoreUnavailable, match=r"served by another process \(pid \d+\)"):
        SqlitePool(tmp_path / "quanma.db")
    asyncio.run(first.close())
    asyncio.run(SqlitePool(tmp_path / "quanma.db").close())


def test_a_refused_pool_lets_its_lock_go(tmp_path: Path) -> None:
    path = _made(tmp_path)
    path.chmod(0o644)
    with pytest.raises(StoreUnavailable, match="mode 0644"):
        SqlitePool(path)
    path.chmod(0o600)
    asyncio.run(SqlitePool(path).close())


def test_every_file_of_the_pool_is_private(tmp_path: Path) -> None:
    pool = open_pool("sqlite:///quanma.db", tmp_path)
    modes = {file.name: mode_of(file) for file in tmp_path.iterdir()}
    asyncio.run(pool.close())
    assert set(modes) == {"quanma.db", "quanma.db-shm", "quanma.db-wal", "quanma.db.lock", "quanma.db.mark"}
    assert set(modes.values()) == {0o600}


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"nowhere.*correct the folder"):
        open_pool("sqlite:///nowhere/quanma.db", tmp_path)


@every_row(
    "damage",
    [
        "UPDATE upload SET first_position = 1",
        "UPDATE upload SET code_count = 3",
        "UPDATE upload SET codes = 'A1'",
        "UPDATE issue_batch SET coupons = json_set(coupons, '$[0][0]', 7)",
        "UPDATE issue_batch SET coupon_count = 2",
        "INSERT INTO issue_batch SELECT 2, stock_id, 1, sent_at, 0, expires_at, coupons, commit_no, 0 FROM issue_batch",
        "INSERT INTO deletion SELECT 1, stock_id, coupons ->> '$[0][0]', 'A1', 'd1', 0, 1, 0 FROM issue_batch",
    ],
)
def test_rows_that_contradict_each_other_are_refused(tmp_path: Path, damage: str) -> None:
    pool = DrivenPool(lambda: open_pool("sqlite:///quanma.db", tmp_path))
    stock_id = pool.create()
    pool.upload(stock_id, ["A1", "B2"])
    pool.send(stock_id)
    pool.close()
    db = apsw.Connection(str(tmp_path / "quanma.db"))
    db.execute(damage)
    for table in (UPLOAD, ISSUE_BATCH, DELETION):  # As if a fault of ours had written it.
        for row in db.execute(table.select).fetchall():
            db.execute(
                f"UPDATE {table.name} SET checksum = ? WHERE {table.columns[0]} = ?",
                (checksum(table.name, *row[:-1]), row[0]),
            )
    db.close()
    with pytest.raises(
        StoreUnavailable,
        match=r"damaged: (upload 1 is not where|coupon 1 is not|in stock \d+ a code has two owners).*restore",
    ):
        SqlitePool(tmp_path / "quanma.db")


def _made(folder: Path, *more: str) -> Path:
    """Make a pool, by code that knows some more steps."""
    with pytest.MonkeyPatch.context() as patched:
        known = migrations.all_migrations("sqlite")
        known += [Migration(len(known) + number, "", sql) for number, sql in enumerate(more, 1)]
        patched.setattr(migrations, "all_migrations", lambda back_end: known)
        asyncio.run(SqlitePool(folder / "quanma.db").close())
    return folder / "quanma.db"


def test_a_stock_without_positions_left_refuses_the_upload_and_the_pool_still_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_index, "NUMBERS_MAX", 3)
    pool = DrivenPool(lambda: open_pool("sqlite:///quanma.db", tmp_path))
    stock_id = pool.create()
    pool.upload(stock_id, ["A1", "B2"])
    with pytest.raises(StoreUnavailable, match="a stock can hold 3 codes in its life"):
        pool.upload(stock_id, ["C3", "D4"], "u1")
    pool.reopen()
    assert pool.codes(stock_id) == ["A1", "B2"]
    assert pool.upload(stock_id, ["C3"], "u1").success_codes == ["C3"]
    pool.close()
