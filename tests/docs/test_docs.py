"""Documentation under test: what it says to run runs, in order, and prints what it says.

A page marks its blocks with an HTML comment in the line above the fence, so a reader sees nothing of it:

    <!-- run -->                        run it: bash, or python
    <!-- run: exit 3 -->                and this is its exit status
    <!-- run: Ctrl-C 1 s after req/s, exit 130 -->    press Ctrl-C so long after it first printed that
    <!-- run: background -->            start it, wait for "listening on", stop it at the end of the page
    <!-- run: background until ready -->    the same, and wait for that
    <!-- run: save as name.py -->       don't run it: it is a file of the page's folder
    <!-- file: examples/name.py -->     what that file holds: another test runs it
    <!-- output -->                     what the run before it prints; … is any text, alone on a line any lines
    <!-- run / commands / -->           without a fence: what the page takes for granted, unseen

The blocks of a page share a folder and their variables. 8460, 8470 and 8471 become free ports. In what is shown as
output, 98065001 is the stock that the variable stock_id holds: what is run is run as it stands.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import click
import pytest

from quanma import errors
from quanma.api.tree import OPERATIONS
from quanma.cli.api import chain_of
from quanma.cli.commands import COMMANDS
from quanma.cli.main import group
from quanma.platform.config import PlatformConfig
from tests.support.every import every, every_row

ROOT = Path(__file__).parents[2]
PORTS: tuple[str, ...] = ("8460", "8470", "8471")
PAGES = sorted(
    path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")) if path.is_file()
)
TRANSLATED = {
    page: page.replace("docs/zh/", "docs/en/").replace("README.md", "README.en.md")
    for page in PAGES
    if page == "README.md" or page.startswith("docs/zh/")
}

_BLOCK = re.compile(
    r"^<!-- (?P<mark>run|output)(?:: (?P<how>[^\n]+?))?(?: -->\n```(?P<language>\w+)\n(?P<fenced>.*?)^```$"
    r"|\n(?P<unseen>.*?)^-->$)",
    re.MULTILINE | re.DOTALL,
)
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    mark: str
    how: str
    language: str
    text: str


def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks_of(page: str) -> list[Block]:
    return [
        Block(found["mark"], found["how"] or "", found["language"] or "bash", found["fenced"] or found["unseen"])
        for found in _BLOCK.finditer(text_of(page))
    ]


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$|^<!--.*?-->$", "", text, flags=re.MULTILINE | re.DOTALL)


class Session:
    """A page's folder, variables and servers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._variables = folder / ".variables"
        self._variables.touch()
        self._ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        self._servers: list[subprocess.Popen[str]] = []
        self._started: list[subprocess.Popen[str]] = []

    def run(self, block: Block) -> tuple[int, str]:
        """Return exit status, and what went to standard output and standard error, as it came."""
        if block.language == "python":
            (self.folder / ".example.py").write_text(self._actual(block.text), "utf-8")
            script = f"{sys.executable} .example.py"
        else:
            script = self._actual(block.text)
        process = self._start(f"set -ea; . ./.variables; trap 'export -p >.variables' EXIT\n{script}\n")
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

    def serve(self, block: Block) -> None:
        server = self._start(f"set -a; . ./.variables; exec {self._actual(block.text)}")
        self._servers.append(server)
        assert server.stdout is not None
        ready, said = block.how.partition(" until ")[2] or "listening on ", ""
        while ready not in said:
            line = server.stdout.readline()
            assert line, said
            said += line
        threading.Thread(target=_read_to_end, args=(server.stdout,), daemon=True).start()

    def save(self, block: Block) -> None:
        (self.folder / block.how.removeprefix("save as ")).write_text(self._actual(block.text), "utf-8")

    def close(self) -> None:
        for server in self._servers:
            server.terminate()
        for server in self._servers:
            server.wait(20)
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)

    def matches(self, shown: str, output: str) -> bool:
        stock = re.search(r'^declare -x stock_id="(.+)"$', self._variables.read_text(), re.MULTILINE)
        shown = shown.replace("98065001", stock[1]) if stock else shown
        lines = self._actual(shown).strip("\n").split("\n")
        pattern = "".join(
            r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in lines
        )
        return re.fullmatch(pattern, output.strip("\n") + "\n") is not None

    def _actual(self, text: str) -> str:
        return re.sub("|".join(PORTS), lambda port: self._ports[port[0]], text)

    def _start(self, script: str) -> subprocess.Popen[str]:
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        # Nor what this machine's bash reads first, nor its proxy: the page's reader has neither.
        left_out = ("QUANMA_", "PYTHON", "BASH_", "ENV", "HTTP", "http", "ALL_PROXY", "all_proxy")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=self.folder,
            env={**clean, "PATH": path, "COLUMNS": "100"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process


def _free_ports(count: int) -> list[str]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [str(one.getsockname()[1]) for one in sockets]


def _read_to_end(stream: IO[str]) -> None:
    with stream:
        for _ in stream:
            pass


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    begun = Session(tmp_path)
    yield begun
    begun.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", [page for page in PAGES if page not in TRANSLATED.values() and blocks_of(page)])
def test_a_page_runs_and_prints_what_it_says(page: str, session: Session) -> None:
    status, output = 0, ""
    for block in blocks_of(page):
        if block.mark == "output":
            assert session.matches(block.text, output), f"{page} shows:\n{block.text}\nbut it was:\n{output}"
        elif block.how.startswith("background"):
            session.serve(block)
        elif block.how.startswith("save as "):
            session.save(block)
        else:
            status, output = session.run(block)
            wanted = re.search(r"exit ([0-9]+)", block.how)
            assert status == int(wanted[1] if wanted else 0), f"{page}:\n{block.text}\nexit {status}:\n{output}"


@every(TRANSLATED)
def test_both_languages_are_in_step(chinese: str) -> None:
    english = TRANSLATED[chinese]

    def shape(page: str) -> list[str]:
        return re.findall(r"^#+(?= )|^!\[|^\||^- |^[0-9]\. ", without_code(text_of(page)), re.MULTILINE)

    def code(page: str) -> list[str]:
        # But for comments, and drawings in text.
        fences = [text for language, text in _FENCE.findall(text_of(page)) if language != "text"]
        return [re.sub(r" *# .*", "", text) for text in (*fences, *(block.text for block in blocks_of(page)))]

    assert code(english) == code(chinese)
    assert shape(english) == shape(chinese)


@every(PAGES)
def test_a_file_that_is_shown_is_as_it_is(page: str) -> None:
    for name, shown in re.findall(
        r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL
    ):
        assert shown == (ROOT / name).read_text("utf-8"), name


@every(PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", without_code(text_of(page))):
        if not re.match(r"https?:", target):
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"


@every(PAGES)
def test_anchors_lead_to_a_heading(page: str) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", without_code(text_of(page))):
        if not re.match(r"https?:", target):
            linked = (ROOT / page).parent.joinpath(target) if target else ROOT / page
            headings = re.findall(r"^#+ (.+)$", linked.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _command(words: list[str]) -> click.Command | None:
    found: click.Command | None = group
    for word in words:
        if not isinstance(found, click.Group):
            break
        found = found.get_command(click.Context(found), word)
    return found


def _told_commands(page: str) -> Iterator[tuple[list[str], str]]:
    """Each `quanma …` that a page tells, in code and in prose: the words of the command, and the rest of the line."""
    text = text_of(page).replace("\\\n", " ")
    fences = "\n".join(fenced for language, fenced in _FENCE.findall(text) if language != "python")
    for line in [
        *re.findall(r"(?:^|[ (])(quanma(?:-as-service)? [^\n#]*)", fences, re.MULTILINE),
        *re.findall(r"`(quanma(?:-as-service)? [^`]+)`", text),
    ]:
        words = re.split(r"\s+", re.split(r"[|&;>\"]", line)[0].strip())[1:]
        if words and re.fullmatch(r"[a-z][a-z-]+", words[0]):
            yield words[:2] if words[0] in ("codes", "platform", "stock") else words[:1], line


@every(PAGES)
def test_every_command_that_is_told_exists_with_its_options(page: str) -> None:
    for words, line in _told_commands(page):
        command = _command(words)
        assert command is not None, f"{page} tells of quanma {' '.join(words)}"
        if words[0] == "api":
            continue  # Its options are an operation's fields.
        known = {name for parameter in command.params for name in parameter.opts} | {"--help", "-h"}
        told = set(re.findall(r"(?<=[ \[])--[a-z][a-z-]*", line))
        assert told <= known, f"{page} tells of {told - known} in: {line}"


@every([*TRANSLATED, *TRANSLATED.values()])
def test_every_option_in_prose_is_some_commands(page: str) -> None:
    known = {"--help"}
    for name in COMMANDS:
        command = _command([name])
        assert command is not None
        below = command.commands.values() if isinstance(command, click.Group) else []
        for one in (command, *below):
            known |= {option for parameter in one.params for option in parameter.opts}
    known |= {f"--{field}" for operation in OPERATIONS for field in operation.request.__struct_fields__}
    assert set(re.findall(r"`(--[a-z][a-z_-]*)", without_code(text_of(page)))) <= known


@every(PAGES)
def test_every_operation_that_is_called_exists(page: str) -> None:
    chains = [f".{chain_of(operation)}" for operation in OPERATIONS]
    for name in re.findall(r"quanma api ([a-z][\w.]+)", text_of(page)):
        found = [chain for chain in chains if chain.endswith((f".{name}", f".{name}.post"))]
        assert len(found) == 1, f"{page} calls quanma api {name}"


@every(PAGES)
def test_every_error_that_is_told_exists(page: str) -> None:
    for row in re.findall(r"^\| ((?:`[A-Z]\w+`[,、 ]*)+)\|", text_of(page), re.MULTILINE):
        for name in re.findall(r"`([A-Z][a-z]\w+)`", row):
            if re.fullmatch(r"Quanma(?!Error)\w+", name):
                continue  # An alert: see tests/deploy/test_prometheus.py.
            assert issubclass(getattr(errors, name), errors.QuanmaError), f"{page} tells of {name}"


@every_row("page", ["docs/zh/platform.md", "docs/en/platform.md"])
def test_the_platforms_page_lists_every_operation(page: str) -> None:
    listed = re.findall(r"^\| `([A-Z]+) (/\S+)` \|", text_of(page), re.MULTILINE)
    assert sorted(listed) == sorted((operation.verb, operation.path) for operation in OPERATIONS)


@every_row("page", ["docs/zh/platform.md", "docs/en/platform.md"])
def test_the_platforms_page_explains_every_setting(page: str) -> None:
    rows = re.findall(r"^\| (`[^|]+`) \|", text_of(page), re.MULTILINE)
    told = {name.strip("[]") for row in rows for name in row.split("`")}
    assert set(PlatformConfig.__struct_fields__) <= told


def test_the_layout_names_every_module() -> None:
    named = set(re.findall(r"\b\w+\.py\b", text_of("docs/layout.md")))
    modules = {path.name for path in (ROOT / "src/quanma").rglob("*.py")}
    assert modules - named - {"__main__.py"} == set()
    assert named - modules - {"test_floors.py"} == set()
