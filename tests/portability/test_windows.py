"""Windows, as far as it can be had here: a Python that lacks what Windows lacks. See windowslike/sitecustomize.py.

What only one kind of system has stands in one module each; a test reads that. Every module is imported without it, and
one story runs: a world, a platform of one process, an upload that is stopped and goes on, a backup, a move.
"""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.every import every_row
from tests.support.platform import Served, create_stock, merchant_config
from tests.support.sources import Source, parsed, sources

STAND_IN = Path(__file__).parent / "windowslike"
MODULES = {  # A module that not every system has: the one that imports it, if there is one, and has what stands in.
    "fcntl": "storage.locks",
    "msvcrt": "storage.locks",
    "resource": "serving.openfiles",
    "uvloop": "serving.loops",
    **dict.fromkeys(["grp", "pwd", "readline", "syslog", "termios", "winreg"], ""),
}
NAMES = {  # A function or constant that not every system has: who may name it, and sees whether it is there.
    "add_signal_handler": "signals",
    "add_reader": "serving.acceptor",
    "register_at_fork": "client.process",
    **dict.fromkeys(["SO_EXCLUSIVEADDRUSE", "SO_REUSEADDR"], "serving.server"),
    "AF_UNIX": "serving.servicemanager",
    "SO_REUSEPORT": "",
    **dict.fromkeys(["madvise", "MAP_PRIVATE", "MAP_ANONYMOUS"], "platform.pool.sqlite.index.buckets"),
    **dict.fromkeys(["geteuid", "fchmod", "fchown"], "storage.private settings.files"),
    **dict.fromkeys(["statvfs", "ST_RDONLY"], "settings.files"),
    **dict.fromkeys(["fork", "setpgid", "SIGCHLD", "SIGKILL", "WNOHANG", "waitpid"], "serving.supervisor"),
    **dict.fromkeys(["pthread_sigmask", "SIG_BLOCK", "SIG_UNBLOCK"], "serving.supervisor"),
    **dict.fromkeys(["O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "O_DIRECTORY"], "storage.descriptors"),
    **dict.fromkeys(["pread", "pwrite", "posix_fallocate", "fdatasync"], "storage.descriptors"),
}


def strays(module: str, source: Source) -> Iterator[str]:
    """What a module names, though another has what stands in for it."""
    for node in source.nodes:
        names = list[str]()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if module not in MODULES.get(alias.name, module).split()]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""] if module not in MODULES.get(node.module or "", module).split() else []
            names += [alias.name for alias in node.names if module not in NAMES.get(alias.name, module).split()]
        elif isinstance(node, ast.Attribute):
            names = [node.attr] if module not in NAMES.get(node.attr, module).split() else []
        yield from names


@pytest.mark.slow
def test_what_not_every_system_has_is_named_in_its_one_module() -> None:
    assert [f"{module}: {name}" for module, source in sources().items() for name in strays(module, source)] == []


@every_row(
    ("source", "name"),
    [
        ("import fcntl", "fcntl"),
        ("from fcntl import flock", "fcntl"),
        ("import os\nos.fork()", "fork"),
        ("from os import pread", "pread"),
        ("loop.add_signal_handler(1, print)", "add_signal_handler"),
        ("import uvloop", "uvloop"),
    ],
)
def test_a_stray_one_is_seen(source: str, name: str) -> None:
    assert list(strays("client.client", parsed(source))) == [name]


def test_a_text_file_names_its_encoding() -> None:
    """Windows would take the one of its language."""
    assert [f"{module}:{line}" for module, source in sources().items() for line in without_encoding(source)] == []


def test_a_text_file_without_an_encoding_is_seen() -> None:
    wrong = "open(a)\nopen(a, 'w')\npath.read_text()\npath.write_text(text)\nTemporaryFile('w+')"
    right = "open(a, 'rb')\nopen(a, encoding='utf-8')\npath.read_text('utf-8')\nTemporaryFile()\nos.open(a, 0)"
    assert list(without_encoding(parsed(wrong))) == [1, 2, 3, 4, 5]
    assert list(without_encoding(parsed(right))) == []


def without_encoding(source: Source) -> Iterator[int]:
    """The lines on which a text file is opened without saying in which encoding."""
    for node in source.nodes:
        if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
            continue
        match node.func, len(node.args):
            case ast.Name("open"), count:
                wrong = count < 2 or "b" not in ast.unparse(node.args[1])
            case ((ast.Name("TemporaryFile" | "NamedTemporaryFile") | ast.Attribute(attr="TemporaryFile")), count):
                wrong = count > 0 and "b" not in ast.unparse(node.args[0])
            case ast.Attribute(attr="read_text"), 0:
                wrong = True
            case ast.Attribute(attr="write_text"), 1:
                wrong = True
            case _:
                wrong = False
        if wrong:
            yield node.lineno


def windows(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A Python of that kind, with these arguments."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment, "PYTHONPATH": str(STAND_IN)},
    )


def ran(*arguments: str, **environment: str) -> tuple[int, str, str]:
    with windows(*arguments, **environment) as process:
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.slow
def test_the_stand_in_lacks_what_windows_lacks() -> None:
    status, _, err = ran("-c", "import os, sys, fcntl")
    assert status == 1
    assert "No module named 'fcntl'" in err or "import of fcntl halted" in err


@pytest.mark.slow
def test_every_module_can_be_imported_without_what_only_other_systems_have() -> None:
    program = (
        "import importlib, pkgutil, quanma\n"
        "for found in pkgutil.walk_packages(quanma.__path__, 'quanma.'):\n"
        "    if found.name != 'quanma.__main__':\n"
        "        importlib.import_module(found.name)\n"
        "print('all')"
    )
    assert ran("-c", program) == (0, "all\n", "")


class ServedThere(Served):
    """`quanma serve` by such a Python."""

    def start(self) -> None:
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = str(STAND_IN)
        try:
            super().start()
        finally:
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before

    def __enter__(self) -> ServedThere:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.mark.slow
def test_a_world_an_upload_that_stops_and_goes_on_a_backup_and_a_move(tmp_path: Path) -> None:
    world = tmp_path / "world"
    assert ran("-m", "quanma", "init", str(world))[0] == 0
    served = ServedThere(world)
    platform_toml = ("--config", str(world / "platform.toml"))
    merchant = {"QUANMA_CONFIG": str(merchant_config(world)), "QUANMA_BASE_URL": served.url}
    codes = tmp_path / "codes.txt"

    def run(*arguments: str) -> tuple[int, str, str]:
        return ran("-m", "quanma", *arguments, **merchant)

    try:
        with served.wechatpay() as wxpay:
            stock_id = create_stock(wxpay, "windows-1")
        ledger = f"{codes}.{stock_id}.quanma"
        assert run("codes", "generate", "4000", "--out", str(codes))[0] == 0
        upload = ("upload", str(codes), "--stock", stock_id)
        with windows("-m", "quanma", *upload, "--rate", "1", **merchant) as stopped:
            assert stopped.stderr is not None
            for line in stopped.stderr:
                if "req/s" in line:  # It has begun to send.
                    break
            busy = run(*upload, "--resume")
            stopped.send_signal(signal.SIGINT)
            rest = stopped.stderr.read()
        assert stopped.returncode == 130, rest
        assert "stopping: what is under way is finished first" in rest
        assert busy[0] == 1
        assert "is being run by another process" in busy[2]
        resumed = run(*upload, "--resume")
        assert resumed[0] == 0, resumed
        assert "stored 4,000 " in resumed[1]
        assert run("verify", ledger)[0] == 0
        assert run("report", ledger, "--out", str(tmp_path / "report"))[0] == 0
        assert run("backup", *platform_toml, str(tmp_path / "copy.db"))[0] == 0
        assert re.search("is served by another process", run("serve", *platform_toml, "--port", "0")[2])
        assert run("platform", "rotate-key", *platform_toml)[0] == 0
        assert served.stop() == 0
    finally:
        served.close()
    exported = run("export", *platform_toml, str(tmp_path / "all.quanma"))
    assert exported[0] == 0, exported
    imported = run("import", *platform_toml, "--database", "sqlite:///new.db", str(tmp_path / "all.quanma"))
    assert imported[0] == 0, imported


@pytest.mark.slow
def test_several_workers_are_refused_where_there_is_no_fork(world: Path) -> None:
    platform_toml = str(world / "platform.toml")
    status, _, said = ran(
        "-m", "quanma", "serve", "--config", platform_toml, "--workers", "2", "--database", "postgresql://localhost/no"
    )
    assert (status, said) == (
        1,
        "quanma: --workers 2: this system has no fork, so one process serves: leave --workers out\n",
    )


@pytest.mark.slow
def test_a_client_calls_from_there(world: Path) -> None:
    with ServedThere(world) as served:
        program = (
            "import quanma\nwith quanma.Wechatpay.from_config() as wxpay:\n"
            "    print(wxpay.v3.certificates.get.raw().status_code)\n"
        )
        called = ran("-c", program, QUANMA_CONFIG=str(merchant_config(world)), QUANMA_BASE_URL=served.url)
        assert called[:2] == (0, "200\n"), called[2]
