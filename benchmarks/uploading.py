"""The uploader: planning a file, finding a rate limit, and codes a second end to end beside a loop of one's own."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from quanma.api.operation import Answer, Operation
from quanma.client.client import AsyncWechatpay
from quanma.errors import RateLimited
from quanma.upload import BUSIFAVOR, ONE_ATTEMPT, Ledger, Uploader, make_plan, open_source
from tests.support.platform import MCHID, Served, build_world, create_stock

from . import clients, machine, work
from .planning import PlannedFile, plan_file
from .sending import LOOP, WAYS, Sent, send_file
from .table import Table, median, median_ratio, percent, times

ALLOWED_RATE = 20
"""Requests a second, in `requests_per_second` of the platform."""
WINDOW_SECONDS = 5
SETTLED_WITHIN_SECONDS = 30
KEPT = 0.9
REPEATED_EVERY = 100
CODES_PER_BATCH = BUSIFAVOR.batch_codes_max


def tables(quick: bool) -> Iterator[Table]:
    with tempfile.TemporaryDirectory(prefix="quanma-bench-") as folder:
        yield _planning(Path(folder), quick)
    with tempfile.TemporaryDirectory(prefix="quanma-bench-") as folder:
        yield _limited(Path(folder), quick)
    with tempfile.TemporaryDirectory(prefix="quanma-bench-") as folder:
        yield _unlimited(Path(folder), quick)


def _planning(folder: Path, quick: bool) -> Table:
    sizes, rounds = ((100_000, 1_000_000), 2) if quick else ((1_000_000, 10_000_000), 3)
    planned: dict[int, list[PlannedFile]] = {size: [] for size in sizes}
    for size in sizes:
        work.write_codes(folder / f"{size}.txt", size, repeated_every=REPEATED_EVERY)
    for _ in range(rounds):
        for size in sizes:
            one = plan_file(folder / f"{size}.txt")
            assert (one.rows, one.duplicate) == (size, size // REPEATED_EVERY), one
            planned[size].append(one)
    table = Table(
        f"Planning a text file of codes, 1 row in {REPEATED_EVERY} a repeat",
        ("rows", "rows/s", "of reading it", "read, lines/s", "peak MB", "peak to the smaller"),
        "Until the plan is durable in the ledger. Reading: `for line in file`, in the same process just before.",
    )
    smaller = median(one.peak_bytes for one in planned[sizes[0]])
    for size, measured in planned.items():
        rates = [size / one.seconds for one in measured]
        reading = [size / one.reading_seconds for one in measured]
        peak = median(one.peak_bytes for one in measured)
        table.add(
            size,
            median(rates),
            percent(median_ratio(rates, reading)),
            median(reading),
            f"{peak / 1e6:.0f}",
            f"{peak / smaller:.2f} ×",
        )
    return table


class Seen(NamedTuple):
    """Every request of a run, in seconds from its first."""

    accepted: list[float]
    refused: list[float]


def _limited(folder: Path, quick: bool) -> Table:
    seconds = 45 if quick else 90
    world = build_world(folder / "world")
    settings = world / "platform.toml"
    # Before the first table: it is a setting of the platform, not of a merchant.
    settings.write_text(f"requests_per_second = {ALLOWED_RATE}\n{settings.read_text()}")
    file = folder / "codes.txt"
    work.write_codes(file, (seconds + 10) * ALLOWED_RATE * CODES_PER_BATCH)
    running = Served(world)
    try:
        with running.wechatpay() as wxpay:
            stock_id = create_stock(wxpay, "limited")
        seen = asyncio.run(_watched(running, file, stock_id, seconds))
        assert running.stop() == 0
    finally:
        running.close()
    whole = [
        sum(begin <= at < begin + WINDOW_SECONDS for at in seen.accepted)
        for begin in range(0, seconds - WINDOW_SECONDS + 1, WINDOW_SECONDS)
    ]
    enough = KEPT * ALLOWED_RATE * WINDOW_SECONDS
    settled = next((no for no in range(len(whole)) if min(whole[no:]) >= enough), None)
    # A run that settles late should not be judged by its last windows alone.
    since = min(len(whole) if settled is None else settled, SETTLED_WITHIN_SECONDS // WINDOW_SECONDS)
    later = whole[since:]
    requests = len(seen.accepted) + len(seen.refused)
    table = Table(
        f"`quanma upload` against a limit of {ALLOWED_RATE} requests/s that it is not told, for {seconds} s",
        ("", "measured", "target"),
        f"Settled: from then on, each window of {WINDOW_SECONDS} s has {percent(KEPT)} of the allowed rate accepted. "
        f"Accepted/s in each: {' '.join(f'{count / WINDOW_SECONDS:.0f}' for count in whole)}.",
    )
    table.add(
        "settled after",
        "never" if settled is None else f"{settled * WINDOW_SECONDS} s",
        f"≤ {SETTLED_WITHIN_SECONDS} s",
    )
    from_then = f"after {since * WINDOW_SECONDS} s"
    table.add(f"kept of the allowed rate {from_then}", percent(sum(later) / len(later) / enough * KEPT), "≥ 90 %")
    table.add(f"least in a window {from_then}", percent(min(later) / enough * KEPT), "")
    table.add("requests refused (429)", f"{100 * len(seen.refused) / requests:.1f} %", "< 2 %")
    table.add("requests in all", requests, "")
    return table


async def _watched(running: Served, file: Path, stock_id: str, seconds: float) -> Seen:
    path = file.with_name("limited.quanma")
    with Ledger.create(path, target=BUSIFAVOR.name, mchid=MCHID, stock_id=stock_id) as ledger:
        make_plan(ledger, BUSIFAVOR, [open_source(str(file))])
        async with running.async_wechatpay(patience=ONE_ATTEMPT) as client:
            watch = _Watch(client)
            uploader = Uploader(ledger, BUSIFAVOR, watch)
            asyncio.get_running_loop().call_later(seconds, uploader.stop)
            await uploader.run()
    return watch.seen


class _Watch:
    """A client that notes when each request was accepted or refused."""

    def __init__(self, client: AsyncWechatpay) -> None:
        self.seen = Seen([], [])
        self._client = client
        self._began: float | None = None

    async def send(self, operation: Operation[..., Any, Any, Any], request: Any) -> Answer[Any]:
        self._began = time.monotonic() if self._began is None else self._began
        try:
            answer: Answer[Any] = await self._client.send(operation, request)
        except RateLimited:
            self.seen.refused.append(time.monotonic() - self._began)
            raise
        self.seen.accepted.append(time.monotonic() - self._began)
        return answer


def _unlimited(folder: Path, quick: bool) -> Table:
    batches, rounds = (200, 2) if quick else (1000, 5)
    codes = batches * CODES_PER_BATCH
    file = folder / "codes.txt"
    work.write_codes(file, codes)
    world = build_world(folder / "world")
    measured: dict[str, list[Sent]] = {way: [] for way in WAYS}
    with machine.on_core(machine.SERVER_CORE):
        running = Served(world)
    try:
        settings = clients.settings(world, running.port) | {"file": str(file), "codes": codes}
        with running.wechatpay() as wxpay, machine.on_core(machine.LOAD_CORE):
            for turn in range(rounds):
                for way in WAYS:
                    stock_id = create_stock(wxpay, f"{way} {turn}".replace(" ", "-"))
                    measured[way].append(send_file(way, settings | {"stock_id": stock_id}))
        assert running.stop() == 0
    finally:
        running.close()
    table = Table(
        f"{codes:,} codes into one `quanma serve` process, client and server on a core each",
        ("", "codes/s", "to the loop", "CPU µs a batch", "of the loop's CPU"),
        "From opening the file to its last answer; ours plans, and keeps its ledger. "
        "It begins at a rate that the server can't reach.",
    )
    for way, sent in measured.items():
        rates, loop_rates = ([codes / one.seconds for one in each] for each in (sent, measured[LOOP]))
        cpu, loop_cpu = ([1e6 * one.cpu_seconds / batches for one in each] for each in (sent, measured[LOOP]))
        table.add(
            way,
            median(rates),
            times(median_ratio(rates, loop_rates)),
            median(cpu),
            percent(median_ratio(cpu, loop_cpu)),
        )
    return table
