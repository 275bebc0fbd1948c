"""This build beside an earlier one, turn by turn: `python -m benchmarks.beside [COMMIT] [--only NAME…] [--rounds N]`.

Each round runs every measurement with both builds, each in a process of its own, so what the machine does meanwhile
meets both. Ratios count, not figures: above 1, this build is the better one. The earlier build runs with the benchmarks
of its own time, for they know its modules, and with the libraries of today; those that today does without are
installed for it.

COMMIT is the last tag if there is one, else d0caed3. No round begins that would not end within ten minutes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.support import postgres

from . import machine
from .table import Table, median, median_ratio

ROOT = Path(__file__).parents[1]
FIRST = "d0caed3"
"""The build before the house was laid out anew. Nothing is tagged yet."""
ROUNDS = 5
WITHIN_SECONDS = 600.0
LOWER = ("µs", "ms")
"""Figures that end so are better when they are lower; all others are rates."""


class Build(NamedTuple):
    name: str
    folder: Path
    packages: Path
    """What it needs and is not installed."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beside", description=__doc__)
    parser.add_argument("commit", nargs="?", default=last_landed())
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    began = time.monotonic()
    print(machine.line(), flush=True)
    with tempfile.TemporaryDirectory(prefix="quanma-beside-") as folder, postgres.session():
        earlier = Path(folder) / "earlier"
        _git("worktree", "add", "--quiet", "--detach", str(earlier), arguments.commit)
        try:
            packages = Path(folder) / "packages"
            _install_missing(earlier, packages)
            builds = [Build("this build", ROOT, packages), Build(arguments.commit, earlier, packages)]
            seen, rounds = measured(builds, arguments.only, arguments.rounds, began + WITHIN_SECONDS)
        finally:
            _git("worktree", "remove", "--force", str(earlier))
    print(f"\n{table(seen, builds, rounds)}\n\n{time.monotonic() - began:.0f} s")


def last_landed() -> str:
    tagged = subprocess.run(
        ["git", "describe", "--tags", "--abbrev=0"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return tagged.stdout.strip() or FIRST


def _install_missing(earlier: Path, packages: Path) -> None:
    packages.mkdir()
    missing = []
    for name, exact in re.findall(r"^([\w.-]+)==([\w.]+)", (earlier / "requirements.lock").read_text(), re.MULTILINE):
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(f"{name}=={exact}")
    if missing:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages), *missing]
        subprocess.run(pip, check=True)


def _git(*words: str) -> None:
    subprocess.run(["git", *words], cwd=ROOT, check=True)


Seen = Mapping[str, Mapping[str, list[float]]]
"""By figure, then by build: one of each round."""


def measured(builds: list[Build], names: list[str], rounds: int, ends_at: float) -> tuple[Seen, int]:
    seen: dict[str, dict[str, list[float]]] = {}
    server = None
    if "postgres" in names:
        if why := postgres.why_absent(own_server=True):
            print(f"left out: PostgreSQL; {why}", flush=True)
            names = [name for name in names if name != "postgres"]
        else:
            server = postgres.Server()
            server.start()
    done, longest = 0, 0.0
    try:
        while done < rounds and (done == 0 or time.monotonic() + longest < ends_at):
            began = time.monotonic()
            for name in names:
                # Each is first every other time.
                for build in builds if done % 2 else reversed(builds):
                    database = server.databases.fresh() if server is not None and name == "postgres" else ""
                    for figure, value in _run(build, MEASUREMENTS[name], database).items():
                        seen.setdefault(figure, {}).setdefault(build.name, []).append(value)
                    if server is not None and database:
                        server.databases.drop(database)
            done, longest = done + 1, max(longest, time.monotonic() - began)
            print(f"round {done} of {rounds} done", flush=True)
    finally:
        if server is not None:
            server.close()
    return seen, done


def _run(build: Build, measurement: str, database: str) -> dict[str, float]:
    ended = subprocess.run(
        [sys.executable, "-c", _COMMON + measurement, database],
        env={**os.environ, "PYTHONPATH": f"{build.folder / 'src'}:{build.folder}:{build.packages}"},
        cwd=build.folder,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise SystemExit(f"a measurement failed with {build.name}: its words are above")
    figures: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return figures


def table(seen: Seen, builds: list[Build], rounds: int) -> Table:
    this, earlier = (build.name for build in builds)
    shown = Table(
        f"This build beside {earlier}",
        ("", this, earlier, "this to earlier"),
        f"Medians of {rounds} round{'s' * (rounds > 1)}, and the median of the rounds' ratios: above 1, this build is "
        "better.",
    )
    for figure, by_build in seen.items():
        if len(by_build) < 2:  # One of them has no such figure.
            continue
        better, other = by_build[this], by_build[earlier]
        ratio = median_ratio(other, better) if figure.endswith(LOWER) else median_ratio(better, other)
        shown.add(figure, median(better), median(other), f"{ratio:.2f} ×")
    return shown


# Each is run with either build: so only what has been in the benchmarks since d0caed3 is used here.

_COMMON = """
import asyncio, json, os, resource, subprocess, sys, tempfile, time
from pathlib import Path
from benchmarks import machine, work

folder = Path(tempfile.mkdtemp(prefix="quanma-beside-"))
said = {}

def end():
    import shutil
    shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(said))
"""

_CLIENT = """
from benchmarks import clients
from tests.support.platform import build_world

world = build_world(folder / "world")
stub = clients._Stub(world)
about = clients.settings(world, stub.port) | {"stock_id": "98065001", "codes": work.Codes().take(200), "calls": 500}
for name in ("Wechatpay", "AsyncWechatpay"):
    for in_flight in (1, 16):
        rate = clients._call(f"quanma.{name}", about | {"in_flight": in_flight})
        said[f"client, {name}, {in_flight} in flight: calls/CPU-s"] = rate.per_cpu_second
stub.close()
end()
"""

_UPLOAD = """
from benchmarks import clients, sending
from tests.support.platform import Served, build_world, create_stock

sending.UNREACHABLE_RATE = 1_000_000.0
BATCHES = 400
world = build_world(folder / "world")
file = folder / "codes.txt"
work.write_codes(file, BATCHES * 200)
with machine.on_core(machine.SERVER_CORE):
    running = Served(world)
about = clients.settings(world, running.port) | {"file": str(file), "codes": BATCHES * 200}
with running.wechatpay() as wxpay, machine.on_core(machine.LOAD_CORE):
    for number in range(2):  # The first one warms up.
        stock_id = create_stock(wxpay, f"beside-{number}")
        began, began_cpu = time.perf_counter(), time.process_time()
        sending._upload(about | {"stock_id": stock_id})
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
    said["upload of a file: codes/s"] = BATCHES * 200 / seconds
    said["upload of a file: CPU of a batch, µs"] = 1e6 * cpu_seconds / BATCHES
    loop = sending.send_file(sending.LOOP, about | {"stock_id": create_stock(wxpay, "loop")})
    said["upload of a file: codes/s, to the plain loop's, in %"] = 100 * loop.seconds / seconds
running.stop()
running.close()
end()
"""

_SERVE = """
from benchmarks import load, serving
from quanma.api.couponcodes import CouponCodes
from quanma.api.coupons import Send
from quanma.client import config
from tests.support.platform import Served, build_world, merchant_config

world = build_world(folder / "world")
codes = work.Codes()
stock_id = serving._filled(world / "quanma.db", codes, 100_000)
with machine.on_core(machine.SERVER_CORE):
    running = Served(world)
merchant = load.Merchant(config.load(merchant_config(world)), running.port)
for turn in range(2):  # The first one warms up.
    draws = [merchant.signed(Send.post, one) for one in work.draws(stock_id, 1500)]
    uploads = [merchant.signed(CouponCodes.post, one) for one in codes.uploads([stock_id], 700)]
    for name, requests in (("draws", draws), ("uploads", uploads)):
        repeat = serving._repeat(running, merchant, requests, 64)
        said[f"HTTP, {name}: /CPU-s"] = repeat.served.per_cpu_second
        said[f"HTTP, {name}: of the signing rate, in %"] = (
            100 * repeat.served.per_cpu_second / repeat.signed.per_cpu_second
        )
running.stop()
running.close()
end()
"""

_SQLITE = """
import secrets
import uvloop
from benchmarks import pool
from quanma.platform.pool import open_pool
from tests.support.platform import MCHID, new_stock

async def run():
    store, codes, now = open_pool("sqlite:///pool.db", folder), work.Codes(), int(time.time())
    stock_id = (await store.create_stock(MCHID, new_stock("beside"), now)).stock_id
    await pool.fill(store, stock_id, codes, 200_000)
    for name, group, count in (("singly", 1, 500), ("in groups of 32", 32, 6_400), ("in groups of 256", 256, 15_360)):
        issues = [pool._issue(draw) for draw in work.draws(stock_id, count)]
        began, began_cpu = time.perf_counter(), time.process_time()
        await pool._in_flight(issues, group, lambda issue: store.send_coupon(MCHID, issue, now))
        said[f"SQLite, draws {name}: /s"] = count / (time.perf_counter() - began)
        said[f"SQLite, draws {name}: CPU of one, µs"] = 1e6 * (time.process_time() - began_cpu) / count
    for name, group, count in (("singly", 1, 150), ("in groups of 50", 50, 1_000)):
        uploads = codes.uploads([stock_id], count)
        began, began_cpu = time.perf_counter(), time.process_time()
        await pool._in_flight(uploads, group, lambda upload: store.upload_codes(MCHID, upload, now))
        said[f"SQLite, uploads {name}: codes/s"] = 200 * count / (time.perf_counter() - began)
        said[f"SQLite, uploads {name}: CPU of one, µs"] = 1e6 * (time.process_time() - began_cpu) / count
    await store.close()

uvloop.run(run())
end()
"""

_POSTGRES = """
import uvloop
from benchmarks import postgres
from quanma.platform.pool import open_pool

async def run():
    store = open_pool(sys.argv[1], folder)
    began = time.perf_counter()
    stock_id = await postgres._stock(store, work.Codes(), 100_000)
    said["PostgreSQL, uploads: codes/s"] = 100_000 / (time.perf_counter() - began)
    await postgres._draw(store, stock_id, 2_000)
    many = await postgres._draw(store, stock_id, 15_000)
    said["PostgreSQL, draws, 32 drawers: /s"] = many.per_second
    said["PostgreSQL, draws, 32 drawers: p99 ms"] = many.p99_ms
    said["PostgreSQL, draws, 1 drawer: /s"] = (await postgres._draw(store, stock_id, 800, drawers=1)).per_second
    await store.close()

uvloop.run(run())
end()
"""

_START = """
import statistics

def cpu_ms(words):
    taken = []
    for _ in range(9):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return 1000 * statistics.median(taken)

for name, words in (
    ("import quanma", ["-c", "import quanma"]),
    ("import of the client", ["-c", "from quanma import Wechatpay"]),
    ("quanma --help", ["-m", "quanma", "--help"]),
    ("quanma upload --help", ["-m", "quanma", "upload", "--help"]),
    ("quanma serve --help", ["-m", "quanma", "serve", "--help"]),
):
    said[f"start of {name}: CPU ms"] = cpu_ms(words)
end()
"""

MEASUREMENTS = {
    "start": _START,
    "client": _CLIENT,
    "upload": _UPLOAD,
    "serve": _SERVE,
    "sqlite": _SQLITE,
    "postgres": _POSTGRES,
}

if __name__ == "__main__":
    main()
