"""The machine: what it is, its two cores, and what a process on them used."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from collections.abc import Generator
from importlib.metadata import version
from pathlib import Path

import apsw
from cryptography.hazmat.backends.openssl import backend

# One core for each end. On a machine with only one they share it, and only the rates per CPU-second mean something.
SERVER_CORE, LOAD_CORE = (sorted(os.sched_getaffinity(0)) * 2)[:2]


def line() -> str:
    """One line that names the machine and what was measured on it."""
    packages = ("cryptography", "apsw", "uvloop", "httptools", "pyreqwest", "msgspec", "numpy")
    return "; ".join(
        [
            f"{len(os.sched_getaffinity(0))} cores {_processor()}",
            f"Linux {platform.release()}",
            f"Python {platform.python_version()}",
            f"SQLite {apsw.sqlite_lib_version()}",
            backend.openssl_version_text(),
            *(f"{package} {version(package)}" for package in packages),
            f"Node {node_version() or 'missing'}",
        ]
    )


def node_version() -> str | None:
    if os.environ.get("QUANMA_WITHOUT_NODE") or shutil.which("node") is None:
        return None
    return subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()


@contextlib.contextmanager
def on_core(core: int) -> Generator[None]:
    """Keep this process, and those it starts meanwhile, on one core. A process started here stays there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used, all its threads, to a hundredth of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int | None = None) -> int:
    """Memory that a process holds now, mapped files included; without a pid, this one."""
    return int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def mapped_bytes() -> int:
    """How much of that is mapped from files."""
    return int(Path("/proc/self/statm").read_text().split()[2]) * os.sysconf("SC_PAGE_SIZE")


def _processor() -> str:
    with contextlib.suppress(OSError):
        for entry in Path("/proc/cpuinfo").read_text().splitlines():
            if entry.startswith("model name"):
                return entry.partition(":")[2].strip()
    return platform.machine()
