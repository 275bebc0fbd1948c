"""The PostgreSQL of the tests: nobody else reaches it, it comes back from a crash, and it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest

from tests.support import postgres
from tests.support.postgres import Databases, Server, execute, query

pytestmark = pytest.mark.slow


def test_a_database_is_empty_and_the_tests_own(databases: Databases, postgres_url: str) -> None:
    execute(postgres_url, "CREATE TABLE here (n int)")
    another = databases.fresh()
    assert query(another, "SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []
    databases.drop(another)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        query(another, "SELECT 1")


def test_nobody_gets_in_without_the_password(databases: Databases) -> None:
    if os.environ.get(postgres.RUNNING):
        pytest.skip("how a running server is guarded is not ours")
    with pytest.raises(asyncpg.InvalidPasswordError):
        query(databases.url.replace("@", "x@"), "SELECT 1")
    assert os.stat(os.environ[postgres.FOLDER]).st_mode & 0o077 == 0


def test_what_was_committed_is_there_after_a_crash_and_on_a_replica_that_is_promoted(own_postgres: Server) -> None:
    replica = own_postgres.replica()
    replica.start()
    execute(own_postgres.url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (1)")
    own_postgres.kill()
    own_postgres.start()
    execute(own_postgres.url, "INSERT INTO kept VALUES (2)")
    own_postgres.restart("immediate")
    assert query(own_postgres.url, "SELECT n FROM kept ORDER BY n") == [(1,), (2,)]
    deadline = time.monotonic() + 20
    while query(replica.url, "SELECT count(*) FROM kept") != [(2,)]:
        assert time.monotonic() < deadline
    replica.promote()
    execute(replica.url, "INSERT INTO kept VALUES (3)")
    replica.close()
    with pytest.raises(ConnectionRefusedError):
        query(replica.url, "SELECT 1")


def test_a_session_that_is_killed_leaves_no_server_and_no_folder(own_postgres: Server) -> None:
    code = (
        "import time\nfrom tests.support import postgres\n"
        "with postgres.session():\n"
        "    server = postgres.Server(postgres.QUICK)\n    server.start()\n"
        "    print(server.folder, server.pid, flush=True)\n    time.sleep(60)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != postgres.FOLDER}
    session = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
    assert session.stdout is not None
    with session.stdout:
        folder, pid = session.stdout.readline().split()
    session.send_signal(signal.SIGKILL)
    session.wait(10)
    deadline = time.monotonic() + 20
    while Path(folder).parent.exists() or Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
