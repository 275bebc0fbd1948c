"""The house, measured: `python -m tools.house [--without-tests] [--without-postgres]` prints each figure and its goal.

Rooms are files of src/quanma. One request runs several times, with a profiler on every thread that answers it; a file
counts if it was entered each time, so that what happens beside it by chance does not. A passage is a room from which
another one is entered. The depth is how many of our functions stood on each other.
"""

from __future__ import annotations

import ast
import asyncio
import datetime
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from benchmarks.table import Table
from quanma import AsyncWechatpay, Wechatpay
from quanma.platform import config
from quanma.platform.app import App
from quanma.platform.coupons.coupon import CouponFacts
from quanma.platform.handlers import HANDLERS
from quanma.platform.keys.keystore import KeyStore
from quanma.platform.pool import open_pool
from quanma.serving.http1 import Connection
from quanma.serving.shared import Serving
from quanma.upload import BUSIFAVOR, ONE_ATTEMPT, Ledger, Uploader, make_plan, open_source
from tests.support import postgres, wheels
from tests.support.platform import APPID, build_world, create_stock, merchant_config, served

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "quanma"
REPEATS = 5
STARTS = 21
FIELDS = frozenset(CouponFacts.__struct_fields__)
COUPON_FIELDS_AT_LEAST = 8
"""What has so many of a coupon's fields holds a coupon."""
MOVES, STORES = "disassociate", "subsid"
"""An operation that moves a coupon, with no fields of its own in it, and one that stores something new: how often they
are named shows the price."""


class Rooms(NamedTuple):
    files: frozenset[str]
    passages: frozenset[str]
    """Of these, the files that went on into another one: whoever follows the request has to hold them in mind. The
    others answer on the spot: how a time is written, which codes are taken."""
    depth: int


class Recorder:
    """Which files of ours are entered, on every thread but those that are left out."""

    def __init__(self) -> None:
        self._files = set[str]()
        self._passages = set[str]()
        self._depth = 0
        self._on = False
        self._left_out = set[int]()

    def leave_out_this_thread(self) -> None:
        self._left_out.add(threading.get_ident())

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if not self._on or event != "call" or threading.get_ident() in self._left_out:
            return
        if not (file := _ours(frame)):
            return
        self._files.add(file)
        above: FrameType | None = frame
        depth, called_from = 0, ""
        while above is not None:
            depth += bool(_ours(above)) and not above.f_code.co_name.startswith("<")
            above = above.f_back
            if above is not None and not called_from:
                called_from = _ours(above)
        if called_from not in ("", file):
            self._passages.add(called_from)
        self._depth = max(self._depth, depth)

    def begin(self) -> None:
        self._files, self._passages, self._depth, self._on = set(), set(), 0, True

    def end(self) -> Rooms:
        self._on = False
        return Rooms(frozenset(self._files), frozenset(self._passages), self._depth)


def _ours(frame: FrameType) -> str:
    file = frame.f_code.co_filename
    return file[len(str(SOURCE)) + 1 :] if file.startswith(str(SOURCE)) else ""


@contextmanager
def recording() -> Generator[Recorder]:
    """Record on this thread and on those that begin meanwhile."""
    recorder = Recorder()
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    try:
        yield recorder
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def in_all(seen: list[Rooms]) -> Rooms:
    return Rooms(
        frozenset.intersection(*(one.files for one in seen)),
        frozenset.intersection(*(one.passages for one in seen)),
        min(one.depth for one in seen),
    )


async def platform_rooms(world: Path, database: str) -> dict[str, Rooms]:
    """From the socket to the disk and back, on one thread and the writer's. The client's thread is left out."""
    with recording() as recorder:
        settings = config.load(world / "platform.toml")
        app = App(HANDLERS, open_pool(database, world), KeyStore.load(settings, world))
        serving = Serving(app)
        serving.start(asyncio.get_running_loop())
        await app.start()
        server = await serving.loop.create_server(lambda: Connection(serving), "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with Wechatpay.from_config(merchant_config(world), base_url=url) as wxpay:

            async def call(work: Callable[[], Any]) -> Any:
                def apart() -> Any:
                    recorder.leave_out_this_thread()
                    return work()

                return await asyncio.to_thread(apart)

            stock_id = await call(lambda: create_stock(wxpay, "house"))
            couponcodes = wxpay.v3.marketing.busifavor.stocks._stock_id_.couponcodes
            send = wxpay.v3.marketing.busifavor.coupons.send

            def upload(number: int) -> Callable[[], Any]:
                codes = [f"H{number:03}{code:04}" for code in range(200)]
                return lambda: couponcodes.post(
                    stock_id=stock_id, coupon_code_list=codes, upload_request_no=f"house-{number}"
                )

            def draw(number: int) -> Callable[[], Any]:
                return lambda: send.post(
                    openid=f"user-{number}", appid=APPID, stock_id=stock_id, out_request_no=f"house-{number}"
                )

            seen: dict[str, Rooms] = {}
            for name, work in (("upload", upload), ("draw", draw)):
                await call(work(0))
                repeats = []
                for number in range(1, REPEATS + 1):
                    recorder.begin()
                    await call(work(number))
                    repeats.append(recorder.end())
                seen[name] = in_all(repeats)
        server.close()
        serving.stop()
        await app.stop()
    return seen


def client_rooms(world: Path) -> dict[str, Rooms]:
    """A call of the client; a batch of a file."""
    seen: dict[str, Rooms] = {}
    with served(world) as running, recording() as recorder, running.wechatpay() as wxpay:
        stock_id = create_stock(wxpay, "house-client")
        repeats = []
        for number in range(REPEATS + 1):
            recorder.begin()
            wxpay.v3.marketing.busifavor.stocks._stock_id_.couponcodes.post(
                stock_id=stock_id, coupon_code_list=[f"C{number}"], upload_request_no=f"client-{number}"
            )
            repeats.append(recorder.end())
        seen["client call"] = in_all(repeats[1:])
        repeats = [asyncio.run(_batch(world, running.url, stock_id, number, recorder)) for number in range(REPEATS)]
        seen["batch of a file"] = in_all(repeats)
    return seen


async def _batch(world: Path, url: str, stock_id: str, number: int, recorder: Recorder) -> Rooms:
    file = world / f"batch-{number}.txt"
    file.write_text("".join(f"B{number}-{code}\n" for code in range(200)), "utf-8")
    wxpay = AsyncWechatpay.from_config(merchant_config(world), base_url=url, patience=ONE_ATTEMPT)
    path = world / f"batch-{number}.quanma"
    with Ledger.create(path, target=BUSIFAVOR.name, mchid=wxpay.merchant.mchid, stock_id=stock_id) as ledger:
        make_plan(ledger, BUSIFAVOR, [open_source(str(file))])
        recorder.begin()
        await Uploader(ledger, BUSIFAVOR, wxpay).run()
        rooms = recorder.end()
    await wxpay.close()
    return rooms


def files_that_name(word: str) -> list[str]:
    """The files of the package in which an operation shows: what was changed to have it."""
    files = [*SOURCE.rglob("*.py"), *SOURCE.rglob("*.sql")]
    return sorted(str(file.relative_to(SOURCE)) for file in files if word in file.read_text("utf-8").lower())


def places_of_a_coupon() -> list[str]:
    """Classes, tables, statements, tuples and calls that name most of a coupon's fields, by name or by position.

    A call may make a coupon of what it is decided on, and tables and statements are counted by their columns.
    """
    found: list[str] = []
    for file in sorted(SOURCE.rglob("*.py")):
        if file.is_relative_to(SOURCE / "api"):
            continue  # What is said on the wire is another thing.
        nodes = ast.walk(ast.parse(file.read_text("utf-8")))
        found += [f"{file.relative_to(SOURCE)} {held}" for node in nodes if (held := _kind_of_place(node))]
    for file in sorted(SOURCE.rglob("*.sql")):
        bare = re.sub(r"--[^\n]*", "", file.read_text("utf-8"))
        statements = [" ".join(statement.split()) for statement in bare.split(";")]
        found += [
            f"{file.relative_to(SOURCE)} {statement[:40]}"
            for statement in statements
            if len({*re.findall(r"\w+", statement)} & FIELDS) >= COUPON_FIELDS_AT_LEAST
        ]
    return found


def _kind_of_place(node: ast.AST) -> str:
    """What holds a coupon's fields here, or nothing."""
    if isinstance(node, ast.ClassDef):
        names = {ast.unparse(one.target) for one in node.body if isinstance(one, ast.AnnAssign)}
        kind = f"class {node.name}"
    elif isinstance(node, ast.Call):
        names = {one.arg for one in node.keywords if one.arg} | {*map(_last_name, node.args)}
        kind = f"call of {ast.unparse(node.func)}"
    elif isinstance(node, ast.Tuple | ast.List):
        names, kind = {*map(_last_name, node.elts)}, "tuple"
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "SELECT" in node.value:
        names, kind = {*re.findall(r"\w+", node.value)}, "statement"
    else:
        return ""
    return kind if len(names & FIELDS) >= COUPON_FIELDS_AT_LEAST else ""


def _last_name(node: ast.AST) -> str:
    """`sent_at` of `when.sent_at`, of `*sent_at`, and of the text."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    words = re.findall(r"\w+", ast.unparse(node))
    return words[-1] if words else ""


def start_seconds(*commands: list[str]) -> list[float]:
    """The median CPU time of each command, turn by turn."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    taken: list[list[float]] = [[] for _ in commands]
    for _ in range(STARTS):
        for command, times in zip(commands, taken, strict=True):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=environment)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return [statistics.median(times) for times in taken]


class Installed(NamedTuple):
    packages: list[str]
    size_bytes: int
    import_ratio: float
    help_ratio: float


def base_install(folder: Path) -> Installed:
    """What `pip install quanma` puts into an empty environment, and how long it takes to start there."""
    wheel = wheels.build(folder)
    wheels.pack_installed(folder)
    python = wheels.new_environment(folder / "empty")
    wheels.install(python, folder, str(wheel))
    (packages,) = (folder / "empty" / "lib").glob("python*/site-packages")
    names = sorted(found.name.partition("-")[0] for found in packages.glob("*.dist-info"))
    size = sum(file.stat().st_size for file in packages.rglob("*") if file.is_file())
    bare, imported, helped = start_seconds(
        [str(python), "-c", "pass"],
        [str(python), "-c", "import quanma"],
        [str(python.parent / "quanma"), "--help"],
    )
    return Installed(names, size, imported / bare, helped / bare)


def quick_tests() -> tuple[float, float]:
    """Seconds that `make quick` takes, and seconds of CPU: where others use the machine, the second one counts."""
    subprocess.run(["make", ".venv/ready-dev"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["make", "quick"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(arguments: list[str]) -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    table = Table("The house", ("what", "measured", "goal"), f"{today}, Python {sys.version.split()[0]}.")
    details: list[tuple[str, list[str]]] = []

    def tell(name: str, rooms: Rooms, goal: str) -> None:
        table.add(f"rooms: {name}", f"{len(rooms.files)}, {len(rooms.passages)} of them passages", goal)
        details.append((name, [f"{file}{', a passage' * (file in rooms.passages)}" for file in sorted(rooms.files)]))

    with tempfile.TemporaryDirectory(prefix="quanma-house-") as name, postgres.session():
        folder = Path(name)
        back_ends = {"SQLite": ("sqlite:///house.db", "≤ 14")}
        if "--without-postgres" not in arguments and not postgres.why_absent():
            back_ends["PostgreSQL"] = (postgres.shared().fresh(), "≤ 12")
        depths: list[int] = []
        for number, (back_end, (database, goal)) in enumerate(back_ends.items()):
            rooms = _run(platform_rooms(build_world(folder / f"world-{number}"), database))
            for what, seen in rooms.items():
                tell(f"{what} on {back_end}, socket to disk", seen, goal)
                depths.append(seen.depth)
        table.add("depth of calls, of these", f"{min(depths)}–{max(depths)}", "≤ 8")
        calls = client_rooms(build_world(folder / "world-c"))
        tell("client call", calls["client call"], "≤ 7")
        tell("batch of a file", calls["batch of a file"], "≤ 11")
        for what, word, goal in (
            ("an operation that moves a coupon", MOVES, "2"),
            ("one that stores something new", STORES, "5"),
        ):
            files = files_that_name(word)
            table.add(f"files of {what} ({word}…)", str(len(files)), goal)
            details.append((f"files that name {word}…", files))
        places = places_of_a_coupon()
        table.add("places that hold a coupon's fields", str(len(places)), "1 struct, 1 table a back end")
        details.append(("places that hold a coupon's fields", places))
        installed = base_install(folder)
        table.add("import quanma, to python -c pass (CPU)", f"{installed.import_ratio:.1f} ×", "≤ 3 ×")
        table.add("quanma --help, to python -c pass (CPU)", f"{installed.help_ratio:.1f} ×", "≤ 5 ×")
        table.add("packages of the base install", str(len(installed.packages)), "≤ 7")
        table.add("disk of the base install", f"{installed.size_bytes / 1e6:.0f} MB", "≤ 40 MB")
        details.append(("packages of the base install", installed.packages))
    if "--without-tests" not in arguments:
        seconds, cpu_seconds = quick_tests()
        table.add("make quick", f"{seconds:.0f} s, {cpu_seconds:.0f} s of CPU", "≤ 10 s, two cores")
    print(table)
    if "--details" in arguments:
        for name, lines in details:
            print(f"\n{name}:", *lines, sep="\n  ")


def _run(work: Awaitable[dict[str, Rooms]]) -> dict[str, Rooms]:
    async def awaited() -> dict[str, Rooms]:
        return await work

    return asyncio.run(awaited())


if __name__ == "__main__":
    main(sys.argv[1:])
