"""Each row of each table has a checksum, and what was written around it, or changed since, is an error when read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from quanma.errors import StoreUnavailable
from quanma.platform.pool import open_pool
from quanma.platform.pool.sqlite import pool_file
from quanma.platform.pool.sqlite.pool import SqlitePool
from quanma.platform.pool.sqlite.rows import ABOUT, ANSWERED, TABLES, AnsweredRow, Rows
from tests.contract.driver import DrivenPool
from tests.support.every import every_row

ROW = AnsweredRow("98065001", "UseCoupon", "n1", "{}", '{"a":1}')


@pytest.fixture
def db(tmp_path: Path) -> Iterator[apsw.Connection]:
    db = pool_file.connect(tmp_path / "quanma.db")
    yield db
    db.close()


@pytest.fixture
def rows(db: apsw.Connection) -> Rows:
    return Rows(db)


def test_every_table_is_read_and_written_with_its_checksum(db: apsw.Connection) -> None:
    names = {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert names == {table.name for table in TABLES}
    for table in TABLES:
        columns = [row[0] for row in db.execute(f"SELECT name FROM pragma_table_info('{table.name}')")]
        assert set(columns) == {*table.columns, "commit_no", "checksum"}
        keys = f"SELECT name FROM pragma_table_info('{table.name}') WHERE pk ORDER BY pk"
        assert [row[0] for row in db.execute(keys)] == list(table.columns[: table.key])


def test_a_row_is_read_as_it_was_written(rows: Rows) -> None:
    rows.add(ANSWERED, ROW)
    assert rows.read(ANSWERED, "number = ?", "n1") == [ROW]
    changed = rows.change(ANSWERED, ROW, answer="{}")
    assert changed == ROW._replace(answer="{}")
    assert rows.read(ANSWERED, "number = ?", "n1") == [changed]
    assert [row[:5] for row in rows.scan(ANSWERED)] == [changed]


@pytest.mark.parametrize("column", [*AnsweredRow._fields, "commit_no", "checksum"])
def test_a_changed_column_is_an_error(db: apsw.Connection, rows: Rows, column: str) -> None:
    rows.add(ANSWERED, ROW)
    db.execute(f"UPDATE answered SET {column} = iif(typeof({column}) = 'text', {column} || 'x', {column} + 1)")
    with pytest.raises(StoreUnavailable, match=r"a row of answered is not as it was written: restore a backup"):
        rows.read(ANSWERED, "1")
    with pytest.raises(StoreUnavailable, match=r"restore a backup"):
        list(rows.scan(ANSWERED))


def test_a_row_that_was_written_around_the_checksum_is_an_error(db: apsw.Connection, rows: Rows) -> None:
    db.execute("INSERT INTO answered (stock_id, operation, number, request, answer) VALUES ('1', '2', '3', '4', '5')")
    with pytest.raises(StoreUnavailable, match="restore a backup"):
        rows.read(ANSWERED, "1")


def test_a_row_of_another_table_is_no_row_of_this_one() -> None:
    assert ABOUT.sealed(("a", "b"), 1) != ANSWERED.sealed(("a", "b"), 1)


def test_a_change_that_hits_no_row_is_an_error(rows: Rows) -> None:
    with pytest.raises(AssertionError, match="did not stand"):
        rows.change(ANSWERED, ROW, answer="{}")
    rows.add(ANSWERED, ROW)
    with pytest.raises(AssertionError, match="did not stand"):
        rows.change(ANSWERED, ROW, anwser="{}")


def test_the_highest_commit_in_the_file_is_how_many_it_has_had(db: apsw.Connection) -> None:
    writing = Rows(db)
    for commit_no in (1, 2, 3):
        writing.commits.commit_no = commit_no
        writing.add(ANSWERED, ROW._replace(number=f"n{commit_no}"))
    reading = Rows(db)
    list(reading.scan(ANSWERED))
    assert reading.commits.commit_no == 4


def test_what_a_new_file_holds_is_sealed(tmp_path: Path) -> None:
    db = pool_file.connect(tmp_path / "quanma.db")
    assert [row[:2] for row in Rows(db).scan(ABOUT) if row[0] == "made_by"] == [("made_by", "quanma")]
    assert [table.name for table in TABLES if not db.execute(table.select).fetchall()] == [
        table.name for table in TABLES if table is not ABOUT
    ]
    db.close()


@every_row(
    "damage",
    [
        "UPDATE sqlite_schema SET sql = replace(sql, '''SENDED''', '''SENDEE''') WHERE name = 'coupon'",
        "UPDATE sqlite_schema SET sql = replace(sql, 'IS NOT NULL', 'IS     NULL') WHERE name = 'event_due'",
    ],
)
def test_tables_that_are_described_otherwise_are_refused(tmp_path: Path, damage: str) -> None:
    pool_file.connect(tmp_path / "quanma.db").close()
    db = apsw.Connection(str(tmp_path / "quanma.db"))
    db.execute("PRAGMA writable_schema = 1")
    db.execute(damage)
    assert db.changes() == 1
    db.close()
    with pytest.raises(StoreUnavailable, match=r"the store is damaged: its tables are not .*: restore a backup"):
        SqlitePool(tmp_path / "quanma.db")


def test_an_index_that_lacks_a_row_is_refused(tmp_path: Path) -> None:
    pool = DrivenPool(lambda: open_pool("sqlite:///quanma.db", tmp_path))
    pool.upload(pool.create(), ["A1"], "u1")
    pool.close()
    path = tmp_path / "quanma.db"
    db = apsw.Connection(str(path))
    root, size = db.execute("SELECT rootpage FROM sqlite_schema WHERE name LIKE 'sqlite_autoindex_upload%'").get, 4096
    db.close()
    content = bytearray(path.read_bytes())
    at = content.index(b"u1", (root - 1) * size)
    content[at + 1] ^= 2  # The number can't be found under u1 any more, and would be new.
    path.write_bytes(content)
    with pytest.raises(StoreUnavailable, match=r"the store is damaged: .*index.*: restore a backup"):
        SqlitePool(path)


@every_row("table", [table.name for table in TABLES if table.name != "about"])
def test_every_row_is_verified_at_the_start(tmp_path: Path, table: str) -> None:
    DrivenPool(lambda: open_pool("sqlite:///quanma.db", tmp_path)).close()
    db = apsw.Connection(str(tmp_path / "quanma.db"))
    columns = [row[0] for row in db.execute(f"SELECT name FROM pragma_table_info('{table}') WHERE dflt_value IS NULL")]
    db.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('1' for _ in columns)})")
    db.close()
    with pytest.raises(StoreUnavailable, match=f"the store is damaged: a row of {table} is not as it was written"):
        SqlitePool(tmp_path / "quanma.db")
