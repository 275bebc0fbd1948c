"""What an operator, or a failover tool, does to the servers behind an address: copies, restores, promotions, rewinds.

Servers of one cluster are cold copies of one that was initialised and never started, so they are cheap to make.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from tests.support.postgres import Server, execute, query

SETTINGS = {
    "wal_level": "replica",
    "wal_keep_size": "256MB",  # pg_rewind, and a replica that comes back, find what they need.
    "wal_retrieve_retry_interval": "200ms",
    "shared_buffers": "16MB",
}
SYNCHRONOUS = {"synchronous_standby_names": "*"}

_PATIENCE_SECONDS = 30.0


class Member(Server):
    """A server of a cluster: `origin`'s cold copy, in memory where there is room."""

    def __init__(self, origin: Server, settings: Mapping[str, str] | None = None) -> None:
        super().__init__({**SETTINGS, **(settings or {})}, copy_of=origin, in_memory=True)

    def follow(self, primary: Server, *, port: int | None = None) -> None:
        """Be its replica from the next start on; over another port than its own, if there is a cable."""
        conninfo = f"host=127.0.0.1 port={port or primary.port} user=quanma password={self._password}"
        with (self.data / "postgresql.auto.conf").open("a") as file:
            file.write(f"primary_conninfo = '{conninfo}'\n")
        (self.data / "standby.signal").touch()

    def wait_until_level_with(self, primary: Server) -> None:
        """Until all that the primary has now is replayed here."""
        ((until,),) = query(primary.url, "SELECT pg_current_wal_flush_lsn()::text")
        self._wait_for(f"SELECT coalesce(pg_last_wal_replay_lsn() >= '{until}', false)")

    def wait_until_followed(self) -> None:
        """Until a synchronous replica is connected."""
        self._wait_for("SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')")

    def crash(self) -> None:
        """kill -9 of all its processes at once: what no process has written yet is gone."""
        processes = [self.pid, *self.children()]
        for pid in processes:
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while any(Path(f"/proc/{pid}/cmdline").exists() and _is_alive(pid) for pid in processes):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        # Where nobody asks for how a process ended, its number is in use for a while.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def alter_system(self, **settings: str | None) -> None:
        """ALTER SYSTEM and a reload; None takes a setting back. Returns when new sessions have it."""
        for name, value in settings.items():
            execute(self.url, f"ALTER SYSTEM RESET {name}" if value is None else f"ALTER SYSTEM SET {name} = '{value}'")
        execute(self.url, "SELECT pg_reload_conf()")
        for name, value in settings.items():
            if value is not None:
                self._wait_for(f"SELECT current_setting('{name}') = '{value}'")

    def base_backup(self) -> Path:
        """pg_basebackup, into the server's folder."""
        backup = self.folder / f"backup-{secrets.token_hex(4)}"
        self._must("pg_basebackup", "--pgdata", str(backup), "--dbname", self._conninfo(), "--checkpoint=fast",
                   "--no-sync")  # fmt: skip
        return backup

    def put_back(self, backup: Path) -> None:
        """A stopped server's data becomes the backup's: same place, same port, same cluster."""
        self._empty()
        _copy_files(backup, self.data)

    def become(self, other: Server) -> None:
        """A stopped server's data becomes that of another stopped one, on the port of before."""
        self._empty()
        _copy_files(other.data, self.data)
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"port = '{self.port}'\nunix_socket_directories = '{self.folder}'\n")

    def rewind(self, source: Server) -> None:
        """pg_rewind of this stopped server, which then follows the source."""
        execute(source.url, "CHECKPOINT")  # On 15, else its control file still names the timeline before.
        kept = {name: (self.data / name).read_bytes() for name in ("postgresql.conf", "postgresql.auto.conf")}
        from_it = f"host=127.0.0.1 port={source.port} user=quanma password={self._password} dbname=postgres"
        self._must("pg_rewind", "--target-pgdata", str(self.data), "--source-server", from_it, "--no-sync")
        for name, content in kept.items():
            (self.data / name).write_bytes(content)
        self.follow(source)

    def dump(self, database_url: str) -> Path:
        """pg_dump -Fc."""
        dump = self.folder / f"dump-{secrets.token_hex(4)}"
        self._must("pg_dump", "-Fc", "--no-sync", "--dbname", database_url, "--file", str(dump))
        return dump

    def load(self, dump: Path, database_url: str, *options: str) -> None:
        """pg_restore, again when the load around it was in its way."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (done := self._run("pg_restore", *options, "--dbname", database_url, str(dump))).returncode != 0:
            assert "deadlock" in done.stdout or "being accessed" in done.stdout, done.stdout
            assert time.monotonic() < deadline, done.stdout

    def upgrade(self, old: Server) -> None:
        """pg_upgrade of a stopped server into this one, which is new, of a newer version, and not started yet."""
        ports = ["--old-port", str(old.port), "--new-port", str(self.port)]
        done = self._run(
            "pg_upgrade", "--old-bindir", str(old.programs), "--new-bindir", str(self.programs), "--old-datadir",
            str(old.data), "--new-datadir", str(self.data), "--username", "quanma", "--socketdir", str(self.folder),
            "--link", *ports, environment={"PGPASSWORD": self._password},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout

    def _copy(self, server: Server) -> None:
        if (server.data / "postmaster.pid").exists():
            super()._copy(server)
        else:
            _copy_files(server.data, self.data)

    def _empty(self) -> None:
        for entry in self.data.resolve().iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def _conninfo(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=quanma password={self._password}"

    def _wait_for(self, question: str) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while query(self.url, question) != [(True,)]:
            assert time.monotonic() < deadline, question
            time.sleep(0.02)


class AnotherCluster(Member):
    """Made anew, of any version; with the password of one whose place it takes."""

    def __init__(self, instead_of: Server, programs: Path) -> None:
        self._instead_of = instead_of
        Server.__init__(self, SETTINGS, in_memory=True, programs=programs)

    def _initialize(self) -> None:
        self._password = self._instead_of._password
        super()._initialize()


def insist(url: str, statement: str) -> None:
    """Execute it, again where those who are connected were in its way."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return execute(url, statement)
        except asyncpg.DeadlockDetectedError:
            assert time.monotonic() < deadline


def address(database: str, *servers: Server) -> str:
    """The URL of a database on whichever of the servers takes writes."""
    parts = urlsplit(servers[0].databases.url_of(database))
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{hosts}").geturl()


def waiting_commits(server: Server) -> list[int]:
    """The sessions whose COMMIT waits for a synchronous replica."""
    return [int(pid) for (pid,) in query(server.url, "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")]


def wait_for_a_waiting_commit(server: Server) -> int:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (waiting := waiting_commits(server)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return waiting[0]


def takes_writes(server: Server) -> bool:
    try:
        return query(server.url, "SELECT NOT pg_is_in_recovery()") == [(True,)]
    except (OSError, asyncpg.PostgresError):
        return False


def _copy_files(source: Path, target: Path) -> None:
    """With owners and modes."""
    subprocess.run(["cp", "-a", f"{source.resolve()}/.", f"{target.resolve()}/"], check=True)
    (target / "postmaster.pid").unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
