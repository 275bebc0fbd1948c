"""A reader who copies what a page says into terminals, and compares what is printed with what is shown.

Nothing of a page is replaced. So that its ports are free, each reader has a network of their own, where the system
has them (Linux); elsewhere readers take turns, and the ports must be free.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import IO

from tests.support.pages import TRANSLATED, Block, blocks_of, text_of

PORTS = sorted({int(port) for page in TRANSLATED for port in re.findall(r"\b84[67][0-9]\b", text_of(page))})
"""All that the pages name."""

_LOOPBACK_UP = """
import fcntl, socket, struct
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x49))  # SIOCSIFFLAGS: up, loopback, running
"""
_LEAVE = """leave() {
    { declare -p | sed '/^declare -[a-zA-Z]*r/d'; declare -f; printf 'cd %q\\n' "$PWD"; } >"$1"
}
"""
_IS_ROOT = os.geteuid() == 0


@functools.cache
def has_networks() -> bool:
    """Whether this system gives a process a network of its own."""
    if not (shutil.which("unshare") and shutil.which("nsenter")):
        return False
    own = ["unshare", "--net", *([] if _IS_ROOT else ["--user", "--map-root-user"])]
    return subprocess.run([*own, sys.executable, "-c", _LOOPBACK_UP], capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def network() -> Generator[list[str]]:
    """Yield what to put before a command, so that it runs where all ports are free, with those of the same reader."""
    if not has_networks():
        with _turn():
            yield []
        return
    own = ["unshare", "--net", *([] if _IS_ROOT else ["--user", "--map-root-user"])]
    script = f"{_LOOPBACK_UP}\nprint(flush=True)\ninput()"
    with subprocess.Popen(
        [*own, sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdout.readline()
        entered = ["nsenter", f"--target={holder.pid}", "--net"]
        yield [*entered, *([] if _IS_ROOT else ["--user", "--preserve-credentials"])]
        holder.stdin.write(b"\n")


@contextlib.contextmanager
def _turn() -> Generator[None]:
    """One reader at a time on this machine, once the ports of the one before are free."""
    with open(Path(tempfile.gettempdir()) / f"quanma-pages-{os.getuid()}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        until = time.monotonic() + 30
        while taken := [port for port in PORTS if _taken(port)]:
            assert time.monotonic() < until, f"the pages' ports are taken: {taken}"
            time.sleep(0.1)
        yield


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


class Reader:
    """A folder, an empty home, and terminals. Use it as a context manager."""

    def __init__(self, folder: Path, *, path: str, language: str) -> None:
        """`folder`: where the first terminal is. `path`: its PATH, and that of each other one, to begin with.

        `language`: `zh` or `en`, in which the program speaks to this reader.
        """
        self.folder = folder
        self._language = language
        self._path = path
        self._left = contextlib.ExitStack()
        # What the first terminal has set, and where it is, from one block to the next.
        self._shell = Path(self._left.enter_context(tempfile.TemporaryDirectory()))
        self._home = self._shell / "home"
        self._home.mkdir()
        (self._shell / "state").write_text(f"cd {folder}\n")
        self._inside: list[str] = []
        self._terminals: list[subprocess.Popen[str]] = []
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Reader:
        self._inside = self._left.enter_context(network())
        return self

    def __exit__(self, *_: object) -> None:
        for terminal in self._terminals:
            terminal.terminate()
        for terminal in self._terminals:
            terminal.wait(20)
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)
            if process.stdout is not None:
                process.stdout.close()
        self._left.close()

    def follow(self, page: str, *, install: bool = False) -> None:
        """Do what a page says, from its first line to its last. `install`: that too."""
        status, output = 0, ""
        for block in blocks_of(page):
            if block.mark == "output":
                assert matches(block.text, output), f"{page} shows:\n{block.text}\nbut it was:\n{output}"
            elif block.mark == "wait":
                assert self.run(block)[0] == 0, f"{page}: never came about:\n{block.text}"
            elif block.how.startswith("terminal"):
                self.open_terminal(page, block)
            elif block.how.startswith("save as "):
                (self.where() / block.how.removeprefix("save as ")).write_text(block.text, "utf-8")
            elif block.mark == "run" or install:
                status, output = self.run(block)
                wanted = re.search(r"exit ([0-9]+)", block.how)
                assert status == int(wanted[1] if wanted else 0), f"{page}:\n{block.text}\nexit {status}:\n{output}"

    def occupy(self, port: int) -> None:
        """Another program listens there, before the reader begins."""
        other = f"python3 -u -m http.server --bind 127.0.0.1 {port}\n"
        self.open_terminal("a port that is taken", Block("run", "terminal until Serving HTTP", "bash", other))

    def where(self) -> Path:
        """The folder of the first terminal now."""
        return Path(re.findall(r"^cd (.*)$", (self._shell / "state").read_text(), re.MULTILINE)[-1])

    def run(self, block: Block) -> tuple[int, str]:
        """Return exit status, and what went to standard output and standard error, as it came."""
        script = block.text
        if block.language == "python":
            (self.where() / "example.py").write_text(block.text, "utf-8")
            script = "python example.py\n"
        # A person types into one shell; here each block has its own, which begins where the last one ended. A block
        # that only waits can't change that.
        kept = self._shell / ("state" if block.mark != "wait" else "forgotten")
        process = self._start(
            f". {self._shell / 'state'} 2>/dev/null\n{_LEAVE}trap 'leave {kept}' EXIT\nset -e\n{script}",
            online=block.mark == "install" or "online" in block.how,
        )
        wish = re.search(r"Ctrl-C ([0-9]+) s after ([^,]+)", block.how)
        said: list[str] = []
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                said.append(line)
                if wish and wish[2] in line:
                    threading.Timer(float(wish[1]), os.killpg, (process.pid, signal.SIGINT)).start()
                    wish = None
        return process.wait(10), "".join(said)

    def open_terminal(self, page: str, block: Block) -> None:
        """Another terminal, in the folder of the first. It knows nothing of what was typed there."""
        *before, last = block.text.rstrip("\n").split("\n")
        terminal = self._start("\n".join([f"cd {self.where()}", *before, f"exec {last}"]))
        self._terminals.append(terminal)
        assert terminal.stdout is not None
        ready, said = block.how.partition(" until ")[2] or "listening on ", ""
        while ready not in said:
            line = terminal.stdout.readline()
            assert line, f"{page}, in a terminal of its own:\n{block.text}\nended:\n{said}"
            said += line
        threading.Thread(target=_read_to_end, args=(terminal.stdout,), daemon=True).start()

    def _start(self, script: str, *, online: bool = False) -> subprocess.Popen[str]:
        # Not what this machine sets for its own: its settings of ours, of Python, of bash, its proxy, its language.
        left_out = ("QUANMA_", "PYTHON", "BASH_", "ENV", "HTTP", "http", "ALL_PROXY", "all_proxy", "VIRTUAL_ENV", "LC_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        if online:  # How this machine reaches a package index is its own matter.
            clean |= {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
        file = self._shell / f"script-{len(self._started)}"
        file.write_text(script, "utf-8")
        process = subprocess.Popen(
            [*([] if online else self._inside), "bash", str(file)],
            cwd=self.folder,
            env={
                **clean,
                "HOME": str(self._home),
                "PATH": self._path,
                "LANG": "C.UTF-8",
                "QUANMA_LANG": self._language,
                "COLUMNS": "100",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process


def matches(shown: str, output: str) -> bool:
    lines = shown.strip("\n").split("\n")
    pattern = "".join(r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in lines)
    return re.fullmatch(pattern, output.strip("\n") + "\n") is not None


def _read_to_end(stream: IO[str]) -> None:
    with stream:
        for _ in stream:
            pass
