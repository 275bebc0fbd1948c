"""The pool's file: opened, checked for damage, and brought up to the last numbered step.

Refused, with the reason: another program's file, a damaged one, a schema from tomorrow that is not for this code.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from pathlib import Path

import apsw

from ....errors import StoreUnavailable
from .. import migrations
from ..migrations import Migration
from . import preflight
from .rows import ABOUT, AboutRow, Rows, checksum, damaged

APPLICATION_ID = 0x7175616E  # "quan"
BIRTH = "2"
"""Which first step the tables began with. Before the first release it was rewritten; files of before are refused."""


def connect(path: Path) -> apsw.Connection:
    """Open the file, made if it is not there, with the last schema.

    Raises:
        StoreUnavailable: the ground is not safe, or the file is not sound; the message says what to do.
    """
    preflight.check_version(apsw.sqlite_lib_version())
    preflight.check_file_system(path)
    preflight.make_private(path)
    with readable(path), contextlib.ExitStack() as opened:
        db = apsw.Connection(str(path), statementcachesize=200)
        opened.callback(db.close)
        # Before anything is written: it may be another program's, or tomorrow's.
        version = version_of(db, path)
        runs_from = int(noted(db, "runs_from") or version)
        lacking = migrations.missing(migrations.all_migrations("sqlite"), version, runs_from, str(path))
        preflight.settle(db)
        _check_pages(db)
        _check_schema(db, version)
        _check_birth(db, version, path)
        migrate(db, lacking)
        opened.pop_all()
    return db


@contextlib.contextmanager
def readable(path: Path) -> Generator[None, None, None]:
    """Turn what SQLite says of a file that it can't read into StoreUnavailable."""
    try:
        yield
    except (apsw.Error, UnicodeDecodeError) as problem:
        raise StoreUnavailable(
            f"{path} can't be opened ({type(problem).__name__}: {problem}): restore a backup"
        ) from None


def version_of(db: apsw.Connection, path: Path) -> int:
    """Return the number of the last step that a file had; 0: an empty file. Raises StoreUnavailable: no pool's."""
    application_id, version = db.execute("PRAGMA application_id").get, db.execute("PRAGMA user_version").get
    tables = db.execute("SELECT count(*) FROM sqlite_schema").get
    if application_id != APPLICATION_ID and (application_id or tables):
        raise StoreUnavailable(
            f"{path} is another program's database, or damaged: name another file, or restore a backup"
        )
    if bool(version) != bool(tables):
        raise damaged(f"{path} has no tables, or does not know which")
    return int(version)


def _check_pages(db: apsw.Connection) -> None:
    """Whether every page and every entry of an index is where it belongs. What rows hold, their checksums tell."""
    said = db.execute("PRAGMA integrity_check(1)").get
    if said != "ok":
        raise damaged(str(said).replace("\n", " "))


def _check_schema(db: apsw.Connection, version: int) -> None:
    """Whether the tables are still described as the last step left them: a changed default would be a wrong answer."""
    if version and noted(db, "schema") != f"{version} {_schema(db)}":
        raise damaged("its tables are not as they were made")


def _check_birth(db: apsw.Connection, version: int, path: Path) -> None:
    if version and noted(db, "birth") != BIRTH:
        raise StoreUnavailable(
            f"{path} was made by a development version of quanma, whose tables were others: run `quanma export` of "
            "that version, and `quanma import` of this one into a new file"
        )


def _schema(db: apsw.Connection) -> str:
    described = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name").fetchall()
    return f"{checksum('sqlite_schema', *described):08x}"


def migrate(db: apsw.Connection, lacking: Sequence[Migration]) -> None:
    """Apply each step in one transaction with its number: killed at any moment, a database is before it or after."""
    db.create_scalar_function("checksum", checksum, deterministic=True)
    for step in lacking:
        with db:
            db.execute(step.sql)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {step.number}")
            note(db, "runs_from", str(max(step.runs_from, int(noted(db, "runs_from") or 1))))
            note(db, "schema", f"{step.number} {_schema(db)}")


def noted(db: apsw.Connection, name: str) -> str | None:
    """Return what the file says about itself. Nothing, while it is empty."""
    if not db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'about'").get:
        return None
    for row in Rows(db).read(ABOUT, "name = ?", name):
        return row.value
    return None


def forget(db: apsw.Connection, name: str) -> None:
    """Take back what was said. Counts as no commit."""
    rows = Rows(db)
    for known in rows.read(ABOUT, "name = ?", name):
        rows.remove(ABOUT, known)


def note(db: apsw.Connection, name: str, value: str) -> None:
    """Say something about the file in it, in place of what was said. Counts as no commit."""
    rows = Rows(db)
    rows.commits.commit_no = 0
    for known in rows.read(ABOUT, "name = ?", name):
        rows.change(ABOUT, known, value=value)
        return
    rows.add(ABOUT, AboutRow(name, value))
