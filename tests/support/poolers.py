"""Poolers and proxies between the platform and PostgreSQL, each with its configuration from docs/en/operations.md.

The programs are those installed here, else those that `make setup` unpacked from Debian's packages.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.postgres import Server, account, free_port, give, locked, run_as, session_folder

PAGE = Path(__file__).parents[2] / "docs" / "en" / "operations.md"
PGBOUNCER, PGPOOL = "pgbouncer", "pgpool"
_UNPACKED = Path(sys.prefix) / "poolers"
"""See tools/poolers.sh."""
_START_SECONDS = 20.0


def why_absent(name: str) -> str | None:
    """Why its tests are left out, or None."""
    return None if _program(name) else f"no {name}: install it, or see what `make setup` says of it"


def said() -> str:
    """What this machine has, in words."""
    return ", ".join(_program(name) or f"no {name}" for name in (PGBOUNCER, PGPOOL))


def configuration(name: str) -> str:
    """As the page has it."""
    found = re.search(rf"^```ini\n[;#] {name}.*?\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found, f"{PAGE} has no configuration for {name}"
    return found[1]


class Pooler:
    """One that runs, and can be told another configuration."""

    def __init__(self, name: str, folder: Path, port: int, text: str, url: str) -> None:
        self.port, self._folder, self._text = port, folder, text
        self.url = with_port(url, port)
        """That of the server, with its own port."""
        self._file = folder / f"{name}.conf"
        self._write(text)
        self._start()

    def _start(self) -> None:
        program = _program(self._file.stem)
        assert program is not None
        program, variables = _usable(program)
        options = {PGBOUNCER: ["pgbouncer.conf"], PGPOOL: ["-n", "-f", "pgpool.conf", "-a", "hba.conf"]}
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, *options[self._file.stem]],
                cwd=self._folder,
                env={"PATH": os.defpath, "HOME": str(self._folder), "LC_ALL": "C", **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **run_as(account()),
            )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def change(self, before: str, after: str) -> None:
        """In its file, which it reads anew. Connections that are open stay as they are."""
        assert before in self._text
        self._text = self._text.replace(before, after)
        self._write(self._text)
        self._process.send_signal(signal.SIGHUP)

    def restart(self, before: str, after: str) -> None:
        """With another text in its file."""
        assert before in self._text
        self.close()
        self._text = self._text.replace(before, after)
        self._write(self._text)
        self._start()

    def close(self) -> None:
        # PgBouncer ends at once, and pgpool fast, whoever is connected.
        self._process.send_signal(signal.SIGTERM if self._file.stem == PGBOUNCER else signal.SIGINT)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def _write(self, text: str) -> None:
        self._file.write_text(text)
        self._file.chmod(0o600)
        give(self._file, account())

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise AssertionError(f"it does not listen:\n{(self._folder / 'log').read_text('utf-8', 'replace')[-2000:]}")


@contextlib.contextmanager
def pgbouncer(url: str, changes: Mapping[str, str] | None = None) -> Generator[Pooler, None, None]:
    """PgBouncer before a server, for all of its databases. `changes`: settings beside the page's, or others."""
    parts, port = urlsplit(url), free_port()
    with _folder() as folder:
        users = folder / "userlist.txt"
        users.write_text(f'"{parts.username}" "{parts.password}"\n')
        users.chmod(0o600)
        give(users, account())
        text = configuration(PGBOUNCER)
        assert "quanma = host=db.internal port=5432" in text
        user = f" user={parts.username} password={parts.password}" if (changes or {}).get("auth_type") == "any" else ""
        text = text.replace("quanma = host=db.internal", f"* = host={parts.hostname}")
        text = text.replace("port=5432", f"port={parts.port}{user}").replace("/etc/pgbouncer/userlist.txt", str(users))
        wanted = {"listen_addr": "127.0.0.1", "listen_port": str(port), "unix_socket_dir": "", **(changes or {})}
        with _running(Pooler(PGBOUNCER, folder, port, _with(text, wanted, ""), url)) as pooler:
            yield pooler


@contextlib.contextmanager
def pgpool(
    primary: Server, replica: Server, url: str, changes: Mapping[str, str] | None = None
) -> Generator[Pooler, None, None]:
    """pgpool-II before a primary and its replica; `url` is of a database on the primary."""
    parts, port = urlsplit(url), free_port()
    with _folder() as folder:
        hba = folder / "hba.conf"
        hba.write_text("host all all 127.0.0.1/32 password\n")
        give(hba, account())
        text = configuration(PGPOOL)
        wanted = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "pcp_listen_addresses": "",
            "pcp_port": str(free_port()),
            "socket_dir": str(folder),
            "pcp_socket_dir": str(folder),
            "pid_file_name": str(folder / "pid"),
            "logdir": str(folder),
            "backend_hostname0": "127.0.0.1",
            "backend_port0": str(primary.port),
            "backend_hostname1": "127.0.0.1",
            "backend_port1": str(replica.port),
            "sr_check_user": parts.username or "",
            "sr_check_password": parts.password or "",
            "sr_check_database": "postgres",
            **(changes or {}),
        }
        with _running(Pooler(PGPOOL, folder, port, _with(text, wanted, "'"), url)) as pooler:
            yield pooler


def with_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    user, _, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()


def _with(text: str, wanted: Mapping[str, str], quote: str) -> str:
    """Settings in place of the page's."""
    for name, value in wanted.items():
        text = re.sub(rf"^{name} *=.*\n", "", text, flags=re.MULTILINE)
        text += f"{name} = {quote}{value}{quote}\n"
    return text


@contextlib.contextmanager
def _running(pooler: Pooler) -> Generator[Pooler, None, None]:
    try:
        yield pooler
    finally:
        pooler.close()


@contextlib.contextmanager
def _folder() -> Generator[Path, None, None]:
    folder = Path(tempfile.mkdtemp(dir=session_folder()))
    give(folder, account())
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str | None:
    # Servers of Debian's lie where only root looks.
    folders = (os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", str(_UNPACKED / "usr" / "sbin"))
    return shutil.which(name, path=os.pathsep.join(folders))


def _usable(program: str) -> tuple[str, dict[str, str]]:
    """A program, and its variables, where the account that runs it may read it: root's files are often closed to it."""
    if not Path(program).is_relative_to(_UNPACKED):
        return program, {}
    copied = session_folder() / "poolers"
    with locked("poolers"):
        if not copied.exists():
            shutil.copytree(_UNPACKED, copied, symlinks=True)
    libraries = os.pathsep.join(str(folder) for folder in copied.glob("usr/lib/*-linux-gnu*"))
    return str(copied / Path(program).relative_to(_UNPACKED)), {"LD_LIBRARY_PATH": libraries}
