"""`python -m benchmarks.soak [--minutes 10] [--database URL]`: honest merchants, with all that goes wrong at once.

Two merchants upload, draw, use and look up over their own clients, at a steady rate, on `quanma serve` in processes of
its own. Quiet windows and hostile ones take turns, so that what else the machine does falls on both. In a hostile one:
a callback address is silent, the name of another is not answered, and a stranger holds 500 connections with heads that
do not end. After a third of the hostile time a process that serves is killed: on PostgreSQL one worker of two, on
SQLite the one there is, and started again. In the end each bound is checked, and exit 1 says that one is missed.

On a machine with other work, run it before that: `chrt -r 1 python -m benchmarks.soak`. It takes a third of a core, and
what it waits for others' sake would else be all that it measures. The stranger stays behind all others.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from pathlib import Path
from typing import NamedTuple

import uvloop

from tests.support import postgres
from tests.support.platform import MCHID, OTHER_MCHID, Served, build_world, served
from tests.support.resolver import resolver_that_is_silent

from . import hostile, machine
from .honest import Call, Honest, Inbox
from .table import Table

CALLS_PER_SECOND = 50.0
"""Of both honest merchants together."""
SILENT_MCHID, DEAD_MCHID = "1900000003", "1900000004"
ROUNDS_MAX = 10
QUIET_PART = 0.25
"""So long is a quiet window beside its hostile one; the first one is as long as that."""
BETWEEN_SECONDS = 1.0
"""Between two windows what was begun in one is answered, and counts for neither."""
P99_RATIO_MAX = 3.0
GROWTH_MAX = 0.10
"""Of the memory of the process that served longest: the median of the last third of its hostile time, to the first's.
What the pool keeps of new codes and coupons is in it."""
DELIVERED_SECONDS = 90.0
"""In the end, so long is waited for events that have not come: one retry takes 60 s."""
WORKERS = 2
OWN_POSTGRES = "postgresql"


class Window(NamedTuple):
    is_hostile: bool
    began: float
    ended: float

    def holds(self, moment: float) -> bool:
        return self.began <= moment < self.ended


class Bounds(NamedTuple):
    p99_ratio: float = P99_RATIO_MAX
    p99_at_least: float = 0.0
    """Seconds: less than this is no miss, whatever the ratio is. For short runs on machines with other work."""
    growth: float = GROWTH_MAX


class Found(NamedTuple):
    tables: list[Table]
    missed: list[str]
    """In words, each bound that is missed."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of hostile time; the quiet windows come on top")
    parser.add_argument(
        "--database",
        default="sqlite:///quanma.db",
        metavar="URL",
        help=f"an empty database; {OWN_POSTGRES}: of a PostgreSQL that is started for it. Default: SQLite",
    )
    arguments = parser.parse_args()
    print(machine.line(), flush=True)
    with _database(arguments.database) as database, tempfile.TemporaryDirectory(prefix="quanma-soak-") as folder:
        found = run(Path(folder), database, arguments.minutes * 60)
    for table in found.tables:
        print(f"\n{table}")
    print("\n".join(["", *(f"missed: {one}" for one in found.missed)]) if found.missed else "\nno bound is missed")
    return 1 if found.missed else 0


def run(folder: Path, database: str, seconds: float, bounds: Bounds | None = None) -> Found:
    """Make a world in the folder, soak it for so many hostile seconds, and check the bounds."""
    world = build_world(folder / "world", mchids=(MCHID, OTHER_MCHID, SILENT_MCHID, DEAD_MCHID))
    path = world / "platform.toml"
    path.write_text(f"allow_private_callbacks = true\n{path.read_text()}")
    several = [] if database.startswith("sqlite:") else ["--workers", str(WORKERS)]
    silent = resolver_that_is_silent(folder / "resolver")
    with silent, served(world, "--database", database, *several) as running:
        found = uvloop.run(_soak(running, bool(several), seconds, bounds or Bounds()))
        if (status := running.stop()) != 0:
            found.missed.append(f"the platform ended with {status}")
    return found


async def _soak(running: Served, several: bool, seconds: float, bounds: Bounds) -> Found:
    async with _Soak.begun(running, several) as soak:
        rounds = min(ROUNDS_MAX, max(2, round(seconds / 60)))
        kill_in = rounds // 3
        ended = asyncio.Event()
        honest = [asyncio.create_task(one.work(CALLS_PER_SECOND / 2, ended)) for one in soak.honest]
        watching = asyncio.create_task(soak.watch_memory())
        try:
            await asyncio.sleep(BETWEEN_SECONDS)  # First calls, and first connections.
            for number in range(rounds):
                await soak.be_quiet(QUIET_PART * seconds / rounds)
                await soak.be_hostile(seconds / rounds, kill=number == kill_in)
        finally:
            ended.set()
            await asyncio.gather(*honest)
            watching.cancel()
        soak.settle()
        await soak.wait_for_events()
        missing = [await one.missing() for one in soak.honest]
    accounts = {name: sum(one[name] for one in missing) for name in missing[0]}
    return _judge(soak, accounts, bounds)


class _Soak:
    def __init__(self, running: Served, several: bool, inbox: Inbox) -> None:
        self._running = running
        self._several = several
        self.honest = [Honest(running, mchid, inbox) for mchid in (MCHID, OTHER_MCHID)]
        self.unreachable: list[hostile.Unreachable] = []
        self.windows: list[Window] = []
        self.memory: dict[int, list[tuple[float, int]]] = {}
        """By process: when, and how many bytes it held."""
        self.most_bytes = 0
        """Of all processes that served at once. What several share counts for each."""
        self.absent: list[Window] = []
        """When no process served: from the kill of the only one until the next one had answered what waited for it."""
        self.killed = 0

    @staticmethod
    @contextlib.asynccontextmanager
    async def begun(running: Served, several: bool) -> AsyncGenerator[_Soak, None]:
        inbox = Inbox()
        async with inbox.open(), hostile.silent_address() as silent_url:
            soak = await asyncio.to_thread(_Soak, running, several, inbox)
            for mchid, url in (SILENT_MCHID, silent_url), (DEAD_MCHID, f"http://{hostile.DEAD_NAME}/events"):
                soak.unreachable.append(await asyncio.to_thread(hostile.Unreachable, running, mchid, url))
            try:
                for one in soak.honest:
                    await one.prepare()
                yield soak
            finally:
                for one in soak.honest:
                    await one.close()
                for other in soak.unreachable:
                    await other.close()

    async def be_quiet(self, seconds: float) -> None:
        began = time.monotonic()
        await asyncio.sleep(seconds)
        self._end_window(Window(False, began, time.monotonic()))

    async def be_hostile(self, seconds: float, *, kill: bool) -> None:
        with hostile.strangers(self._running.port):
            began = time.monotonic()
            unreachable = [asyncio.create_task(one.send_for(seconds)) for one in self.unreachable]
            await asyncio.sleep(seconds / 2)
            if kill:
                await asyncio.to_thread(self._kill)
            await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
            self._end_window(Window(True, began, time.monotonic()))
            await asyncio.gather(*unreachable)
        await asyncio.sleep(BETWEEN_SECONDS)

    def _end_window(self, window: Window) -> None:
        self.windows.append(window)
        calls = sorted(call.seconds for one in self.honest for call in one.calls if window.holds(call.due_at))
        memory = sum(samples[-1][1] for samples in self.memory.values() if samples[-1][0] >= window.ended - 2)
        print(
            f"{'hostile' if window.is_hostile else 'quiet':8}{len(calls):7,} calls answered, "
            f"p50 {1000 * _at(calls, 0.5):.1f} ms, p99 {1000 * _at(calls, 0.99):.1f} ms; {_mb(memory)} MB; "
            f"{os.getloadavg()[0]:.1f} programs want the {os.cpu_count()} cores",
            flush=True,
        )

    def _kill(self) -> None:
        self.killed += 1
        if self._several:
            os.kill(self._running.workers()[0], signal.SIGKILL)
            return
        began = time.monotonic()
        self._running.kill()
        self._running.start()
        self.absent.append(Window(True, began, time.monotonic()))

    async def watch_memory(self) -> None:
        while True:
            serving = self._running.workers() if self._several else [self._running.process.pid]
            together = 0
            for pid in serving:
                with contextlib.suppress(OSError):  # It was just killed.
                    held = machine.resident_bytes(pid)
                    self.memory.setdefault(pid, []).append((time.monotonic(), held))
                    together += held
            self.most_bytes = max(self.most_bytes, together)
            await asyncio.sleep(0.5)

    async def wait_for_events(self) -> None:
        looks = int(DELIVERED_SECONDS / 0.2)
        for _ in range(looks):
            if not any(one.untold() for one in self.honest):
                return
            await asyncio.sleep(0.2)

    def settle(self) -> None:
        """Called once all calls are answered."""
        self.absent = [self._until_all_of_it_is_answered(absent) for absent in self.absent]

    def calls(self, *, hostile: bool) -> list[Call]:
        windows = [window for window in self.windows if window.is_hostile == hostile]
        return [
            call
            for one in self.honest
            for call in one.calls
            if any(window.holds(call.due_at) for window in windows) and not self._waited_for_a_start(call)
        ]

    def waited_for_a_start(self) -> list[Call]:
        return [call for one in self.honest for call in one.calls if self._waited_for_a_start(call)]

    def _waited_for_a_start(self, call: Call) -> bool:
        return any(call.due_at < absent.ended and call.answered_at > absent.began for absent in self.absent)

    def _until_all_of_it_is_answered(self, absent: Window) -> Window:
        """What waited for a start comes at once then, and others wait behind it."""
        waited = [call.answered_at for one in self.honest for call in one.calls if absent.holds(call.due_at)]
        return absent._replace(ended=max([absent.ended, *waited]))


def _judge(soak: _Soak, accounts: dict[str, int], bounds: Bounds) -> Found:
    missed: list[str] = []

    def must(holds: bool, said: str) -> str:
        if not holds:
            missed.append(said)
        return "yes" if holds else "**no**"

    calls = Table(
        "Honest calls, quiet and hostile",
        ("", "quiet", "p50 ms", "p99 ms", "hostile", "p50 ms", "p99 ms", "p99 to quiet"),
        f"{CALLS_PER_SECOND:.0f} calls a second, from when each was due to its answer.",
    )
    quiet, disturbed = soak.calls(hostile=False), soak.calls(hostile=True)
    for kind in (*sorted({call.kind for call in quiet}), "all"):
        both = [sorted(call.seconds for call in some if kind in (call.kind, "all")) for some in (quiet, disturbed)]
        ms = [(f"{len(some):,}", f"{1000 * _at(some, 0.5):.1f}", f"{1000 * _at(some, 0.99):.1f}") for some in both]
        calls.add(kind, *ms[0], *ms[1], f"{_at(both[1], 0.99) / _at(both[0], 0.99):.1f} ×")
    before, after = (_at(sorted(call.seconds for call in some), 0.99) for some in (quiet, disturbed))
    held = Table("Bounds", ("", "measured", "bound", "held"))
    said = f"{after / before:.1f} × ({1000 * before:.1f} to {1000 * after:.1f} ms)"
    holds = after <= max(bounds.p99_ratio * before, bounds.p99_at_least)
    held.add("p99 of honest calls, to quiet", said, f"≤ {bounds.p99_ratio:g} ×", must(holds, f"p99: {said}"))
    failures = [failure for one in soak.honest for failure in one.failures]
    held.add("honest calls that failed", len(failures), "0", must(not failures, "; ".join(failures[:3])))
    first, last = _memory(soak)
    said = f"{100 * (last / first - 1):+.1f} % ({_mb(first)} to {_mb(last)} MB)"
    holds = last <= first * (1 + bounds.growth)
    held.add("memory, last third to first", said, f"≤ +{100 * bounds.growth:.0f} %", must(holds, f"memory: {said}"))
    held.add("most memory of all that served at once", f"{_mb(soak.most_bytes)} MB", "", "")
    drawn = sum(len(one.drawn) for one in soak.honest)
    untold = sum(one.untold() for one in soak.honest)
    held.add(f"events not delivered, of {drawn:,}", untold, "0", must(not untold, f"{untold} events did not come"))
    told = sorted(seconds for one in soak.honest for seconds in one.told_after())
    said = f"{_at(told, 0.5):.2f} s, {_at(told, 0.99):.2f} s, {_at(told, 1.0):.1f} s"
    held.add("from a draw's answer to its event: p50, p99, most", said, "", "")
    for name, count in accounts.items():
        held.add(name, count, "0", must(not count, f"{name}: {count}"))
    again = sum(one.again for one in soak.honest)
    held.add("calls that their merchant made again under their number", again, "", "")
    held.add("processes killed", soak.killed, "1", must(soak.killed == 1, "no process was killed"))
    if waited := soak.waited_for_a_start():
        said = f"{len(waited)} calls, {max(call.seconds for call in waited):.1f} s at most"
        held.add("waited for the killed process to start again, not in the p99", said, "", "")
    return Found([calls, held], missed)


def _memory(soak: _Soak) -> tuple[float, float]:
    """Of the process that was there longest in hostile time: the medians of its first and its last third, in bytes."""
    hostile = [window for window in soak.windows if window.is_hostile]
    by_process = [
        [held for at, held in samples if any(window.holds(at) for window in hostile)]
        for samples in soak.memory.values()
    ]
    longest = max(by_process, key=len)
    third = max(1, len(longest) // 3)
    return statistics.median(longest[:third]), statistics.median(longest[-third:])


def _at(ordered: Sequence[float], part: float) -> float:
    """Of none, no number: a busy machine may answer no call before a short window ends, and no bound holds for it."""
    if not ordered:
        return math.nan
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def _mb(count: float) -> str:
    return f"{count / 1024 / 1024:.0f}"


@contextlib.contextmanager
def _database(url: str) -> Generator[str, None, None]:
    if url != OWN_POSTGRES:
        yield url
        return
    if why := postgres.why_absent(own_server=True):
        sys.exit(why)
    with postgres.session():
        server = postgres.Server()
        server.start()
        try:
            yield server.databases.fresh()
        finally:
            server.close()


if __name__ == "__main__":
    sys.exit(main())
