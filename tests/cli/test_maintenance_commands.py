"""`quanma backup`, `reconcile` and `migrate`: a backup under load, served again, gives no code out twice (C7)."""

from __future__ import annotations

import asyncio
import shutil
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import asyncpg
import pytest

from quanma.errors import Misconfigured, NotEnough, PoolFenced, SourceUnreadable, StoreUnavailable
from quanma.platform.pool import migrations, open_pool
from quanma.platform.pool.postgres import schema as postgres_schema
from quanma.platform.pool.sqlite import pool_file
from tests.cli.conftest import Run
from tests.contract.driver import DrivenPool

URL = "sqlite:///quanma.db"


def opened(world: Path) -> DrivenPool:
    return DrivenPool(lambda: open_pool(URL, world))


class Merchant:
    """What one merchant uploaded, and which codes it saw given out. Every code may be given out once."""

    def __init__(self, pool: DrivenPool) -> None:
        self.pool = pool
        self.stock_id = pool.create(max_coupons_per_user=100)
        self.issued: list[str] = []
        self._users = 0

    def upload(self, name: str, count: int) -> None:
        self.pool.upload(self.stock_id, [f"{name}{number:05}" for number in range(count)])

    def draw(self, count: int) -> None:
        for _ in range(count):
            self._users += 1
            self.issued.append(self.pool.send(self.stock_id, f"o{self._users}", "s1"))


def restore(world: Path, copy: Path) -> None:
    """As an operator does it, mistakes included: the mark and the log of before may still stand there."""
    (world / "quanma.db").unlink()
    shutil.copy(copy, world / "quanma.db")


@pytest.mark.slow
def test_no_code_is_given_out_twice_after_a_restore(world: Path, run: Run, tmp_path: Path) -> None:
    pool = opened(world)
    merchant = Merchant(pool)
    merchant.upload("A", 100)
    merchant.draw(20)
    copy = tmp_path / "backup.db"
    assert run("backup", str(copy))[0] == 0  # It is served meanwhile.
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    merchant.upload("B", 50)
    merchant.draw(60)
    since = merchant.issued[20:]
    assert {code[0] for code in since} == {"A", "B"}
    pool.close()

    restore(world, copy)
    merchant.pool = pool = opened(world)
    with pytest.raises(PoolFenced, match="quanma reconcile"):
        merchant.draw(1)
    assert "it is a backup of" in str(pool.pool.fence())
    pool.close()

    status, said = run("reconcile")
    assert status == 1
    assert "FENCED, nothing is given out: it is a backup of" in said
    assert "61 acknowledged commits with 60 coupons" in said
    issued = tmp_path / "issued.csv"
    lines = [f"{merchant.stock_id},{code},oUser" for code in (*since, merchant.issued[0])]
    issued.write_text("\n".join(["stock_id,coupon_code,openid", *lines, ""]))
    status, said = run("reconcile", "--issued", str(issued))
    assert status == 0
    from_a = [code for code in since if code[0] == "A"]
    assert f"61 codes read: {len(from_a)} taken out of the pool, 1 known" in said
    assert "line 62: given out before the copy was made" in said
    assert run("reconcile")[0] == 0

    merchant.pool = pool = opened(world)
    assert pool.counts(merchant.stock_id) == (100 - len(from_a), 80 - len(from_a))
    # The merchant brings everything again: what was given out since is no new code.
    again = pool.upload(merchant.stock_id, [f"B{number:05}" for number in range(50)] + from_a, "again")
    assert set(again.exist_codes) == set(since)
    with pytest.raises(NotEnough):
        merchant.draw(200)
    pool.reopen()
    assert set(pool.upload(merchant.stock_id, from_a, "once more").exist_codes) == set(from_a)
    assert len(merchant.issued) == 150 == len(set(merchant.issued))
    pool.close()


@pytest.mark.slow
def test_the_operators_word_lifts_the_fence(world: Path, run: Run, tmp_path: Path) -> None:
    pool = opened(world)
    merchant = Merchant(pool)
    merchant.upload("A", 5)
    run("backup", str(tmp_path / "copy"))
    pool.close()
    restore(world, tmp_path / "copy")
    assert run("reconcile", "--nothing-issued")[0] == 0
    assert run("reconcile")[0] == 0
    pool = opened(world)
    assert pool.pool.fence() is None
    merchant.pool = pool
    merchant.draw(5)
    pool.close()
    # The old history's file is another pool's now.
    restore(world, tmp_path / "copy")
    assert run("reconcile")[0] == 1


@pytest.mark.slow
@pytest.mark.parametrize("bad", ["98065001", "98065001,", ",A1", '98065001,"A1', f"98065001,{'A' * 33}", "\udcff"])
def test_a_file_that_cant_be_read_whole_changes_nothing(world: Path, run: Run, tmp_path: Path, bad: str) -> None:
    pool = opened(world)
    merchant = Merchant(pool)
    merchant.upload("A", 5)
    run("backup", str(tmp_path / "copy"))
    pool.close()
    restore(world, tmp_path / "copy")
    issued = tmp_path / "issued.csv"
    issued.write_bytes(f"{merchant.stock_id},A00001\n{bad}\n".encode(errors="surrogateescape"))
    with pytest.raises(SourceUnreadable, match="nothing was changed"):
        run("reconcile", "--issued", str(issued))
    assert run("reconcile")[0] == 1
    pool = opened(world)
    assert pool.counts(merchant.stock_id) == (5, 5)
    pool.close()


@pytest.mark.slow
def test_a_pool_that_is_served_is_not_reconciled(world: Path, run: Run) -> None:
    pool = opened(world)
    with pytest.raises(StoreUnavailable, match="served by another process"):
        run("reconcile")
    pool.close()


def test_a_backup_replaces_nothing(world: Path, run: Run, tmp_path: Path) -> None:
    opened(world).close()
    (tmp_path / "copy").write_text("precious")
    with pytest.raises(Misconfigured, match="there already"):
        run("backup", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_text() == "precious"
    with pytest.raises(Misconfigured, match="there is no"):
        run("backup", "--database", "sqlite:///absent.db", str(tmp_path / "other"))
    assert not list(tmp_path.glob("other*"))


@pytest.mark.slow
def test_a_backup_under_load_is_of_one_moment(world: Path, run: Run, tmp_path: Path) -> None:
    pool = opened(world)
    merchant = Merchant(pool)
    merchant.upload("A", 2000)
    stop = threading.Event()
    failures: list[BaseException] = []

    def load() -> None:
        try:
            while not stop.is_set():
                merchant.draw(3)
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=load)
    thread.start()
    copies = [tmp_path / f"copy{number}" for number in range(5)]
    for copy in copies:
        assert run("backup", str(copy))[0] == 0
    stop.set()
    thread.join()
    assert failures == []
    pool.close()
    given = []
    for copy in copies:
        url = f"sqlite:///{copy}"
        restored = DrivenPool(lambda url=url: open_pool(url, Path("/")))  # type: ignore[misc]
        total, available = restored.counts(merchant.stock_id)
        assert total == 2000
        assert restored.stock(merchant.stock_id).send_count_information.total_send_num == total - available  # type: ignore[union-attr]
        given.append(total - available)
        restored.close()
    assert given == sorted(given)
    assert len(merchant.issued) > given[0]


def test_migrate_makes_and_updates_and_says_what_it_did(world: Path, run: Run) -> None:
    assert "0001_pool.sql" in run("migrate")[1]
    assert "nothing to do" in run("migrate")[1]
    with pytest.raises(Misconfigured, match="--distributed is for a PostgreSQL database"):
        run("migrate", "--distributed")
    with pytest.raises(Misconfigured, match=r"not sqlite:///relative\.db"):
        run("migrate", "--database", "mysql://x/y")


# Reads "PATH STATEMENTS" by line. For each, a fork of it opens the pool, and is killed before one more statement.
_MIGRATING = """
import os, sys
from pathlib import Path
import apsw
from quanma.platform.pool import migrations
from quanma.platform.pool.sqlite import pool_file
known = migrations.all_migrations("sqlite")
migrations.all_migrations = lambda back_end: [*known, migrations.Migration(len(known) + 1, "", sys.argv[1])]
left = 0
def exec_trace(cursor, statement, bindings):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
    return True
apsw.connection_hooks.append(lambda db: db.set_exec_trace(exec_trace))
for line in sys.stdin:
    path, statements = line.split()
    left = int(statements)
    child = os.fork()
    if not child:
        pool_file.connect(Path(path)).close()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_migration_killed_at_every_statement_is_finished_by_the_next_start(tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    pool_file.connect(old).close()
    # A step as a later version may have: that which is old goes on to run, and each of its statements is seen.
    tables = [f"CREATE TABLE shade{number} (name TEXT PRIMARY KEY)" for number in range(20)]
    rows = [f"INSERT INTO shade{number} VALUES (checksum('shade', {number}))" for number in range(20)]
    step = f"-- runs from: {len(migrations.all_migrations('sqlite'))}\n" + ";\n".join([*tables, *rows])
    kills = 0
    migrating = subprocess.Popen(
        [sys.executable, "-c", _MIGRATING, step], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert migrating.stdin is not None
    assert migrating.stdout is not None
    for statement in range(1000):
        path = tmp_path / f"{statement}.db"
        shutil.copy(old, path)
        migrating.stdin.write(f"{path} {statement}\n")
        status = int(migrating.stdout.readline())
        pool = DrivenPool(lambda path=path: open_pool(f"sqlite:///{path}", Path("/")))  # type: ignore[misc]
        stock_id = pool.create()
        pool.upload(stock_id, ["A1"])
        assert pool.send(stock_id) == "A1"
        pool.close()
        for file in tmp_path.glob(f"{statement}.db*"):
            file.unlink()
        if status == 0:
            break
        assert status == -signal.SIGKILL
        kills += 1
    assert kills > 60
    migrating.communicate()
    assert migrating.returncode == 0


def test_a_fenced_postgresql_pool_is_reconciled(world: Path, run: Run, postgres_url: str, tmp_path: Path) -> None:
    assert "0001_pool.sql" in run("migrate", "--database", postgres_url)[1]
    assert "nothing to do" in run("migrate", "--database", postgres_url)[1]
    with pytest.raises(StoreUnavailable, match="no Citus extension"):
        run("migrate", "--database", postgres_url, "--distributed")
    with pytest.raises(Misconfigured, match="pg_basebackup"):
        run("backup", "--database", postgres_url, str(tmp_path / "copy"))
    pool = DrivenPool(lambda: open_pool(postgres_url, world))
    merchant = Merchant(pool)
    merchant.upload("A", 3)
    merchant.draw(1)
    assert run("reconcile", "--database", postgres_url)[0] == 0
    asyncio.run(_fence(postgres_url))
    pool.reopen()
    with pytest.raises(PoolFenced):
        merchant.draw(1)
    status, said = run("reconcile", "--database", postgres_url)
    assert status == 1
    assert "3, of them 2 free" in said
    free = next(code for code in ("A00000", "A00001", "A00002") if code not in merchant.issued)
    issued = tmp_path / "issued.csv"
    issued.write_text("".join(f"{merchant.stock_id},{code}\n" for code in (free, merchant.issued[0], "NONE")))
    said = run("reconcile", "--database", postgres_url, "--issued", str(issued))[1]
    assert "3 codes read: 1 taken out of the pool, 1 known as given out, 1 not held" in said
    pool.reopen()
    assert pool.upload(merchant.stock_id, [free, "NONE"], "again").exist_codes == [free, "NONE"]
    merchant.draw(1)
    assert free not in merchant.issued
    with pytest.raises(NotEnough):
        merchant.draw(1)
    pool.close()


@pytest.mark.both_back_ends
def test_a_pool_is_fenced_by_hand_until_it_is_reconciled(world: Path, run: Run, database: str) -> None:
    def opened() -> DrivenPool:
        return DrivenPool(lambda: open_pool(database, world))

    pool = opened()
    stock_id = pool.create()
    pool.upload(stock_id, ["A1", "B2"])
    first = pool.send(stock_id, "oAnna", "n1")
    pool.close()
    assert run("fence", "--database", database)[0] == 0
    assert run("fence", "--database", database)[0] == 0
    pool = opened()
    with pytest.raises(PoolFenced, match="declared a copy"):
        pool.send(stock_id, "oBob", "n2")
    assert pool.send(stock_id, "oAnna", "n1") == first
    pool.close()
    status, said = run("reconcile", "--database", database)
    assert status == 1
    assert "declared a copy" in said
    assert run("reconcile", "--database", database, "--nothing-issued")[0] == 0
    pool = opened()
    assert pool.send(stock_id, "oBob", "n2") in {"A1", "B2"} - {first}
    pool.close()


async def _fence(url: str) -> None:
    connection = await asyncpg.connect(url)
    await postgres_schema.raise_fence(connection)
    await connection.close()
