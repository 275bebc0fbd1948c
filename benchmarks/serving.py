"""`quanma serve` over HTTP, on one core: signed uploads and draws a second, beside that core's signing rate.

The rates per CPU-second are the steadier ones: they leave out what other programs took from the core.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from quanma.api.couponcodes import CouponCodes
from quanma.api.coupons import Send
from quanma.client import config
from quanma.platform.pool.sqlite.pool import SqlitePool
from tests.support.platform import MCHID, Served, build_world, merchant_config, new_stock

from . import ceiling, load, machine, pool, work
from .ceiling import Rate
from .table import Table, median, median_ratio, percent

IN_FLIGHT = (16, 64)
COLUMNS = (
    "",
    "in flight",
    "/s",
    "of signatures/s",
    "/CPU-s",
    "of signatures/CPU-s",
    "signatures/s",
    "signatures/CPU-s",
)


class Repeat(NamedTuple):
    served: Rate
    signed: Rate


def tables(quick: bool) -> Iterator[Table]:
    codes_before = 100_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory(prefix="quanma-bench-") as folder:
        world = build_world(Path(folder) / "world")
        codes = work.Codes()
        stock_id = _filled(world / "quanma.db", codes, codes_before)
        with machine.on_core(machine.SERVER_CORE):
            running = Served(world)
        try:
            repeats = _measure(running, stock_id, codes, quick)
            assert running.stop() == 0
        finally:
            running.close()
    yield _table(repeats, codes_before)


def _filled(path: Path, codes: work.Codes, count: int) -> str:
    """Make a pool with one stock that holds so many codes, without HTTP, and return the stock's id."""

    async def fill() -> str:
        store = SqlitePool(path)
        stock_id = (await store.create_stock(MCHID, new_stock("benchmark"), int(time.time()))).stock_id
        await pool.fill(store, stock_id, codes, count)
        await store.close()
        return stock_id

    return asyncio.run(fill())


def _measure(running: Served, stock_id: str, codes: work.Codes, quick: bool) -> dict[tuple[str, int], list[Repeat]]:
    merchant = load.Merchant(config.load(merchant_config(running.world)), running.port)
    uploads, draws, rounds = (300, 600, 2) if quick else (1500, 3000, 5)
    repeats: dict[tuple[str, int], list[Repeat]] = {}
    for turn in range(rounds + 1):
        for in_flight in IN_FLIGHT:
            work_of = {
                "uploads of 200 codes": [
                    merchant.signed(CouponCodes.post, one) for one in codes.uploads([stock_id], uploads)
                ],
                "draws": [merchant.signed(Send.post, one) for one in work.draws(stock_id, draws)],
            }
            for name, requests in work_of.items():
                repeat = _repeat(running, merchant, requests, in_flight)
                if turn:  # The first one warms up.
                    repeats.setdefault((name, in_flight), []).append(repeat)
    return repeats


def _repeat(running: Served, merchant: load.Merchant, requests: list[bytes], in_flight: int) -> Repeat:
    before = ceiling.signing_rate()
    cpu_before = machine.cpu_seconds(running.process.pid)
    with machine.on_core(machine.LOAD_CORE):
        sent = load.send(running.port, requests, in_flight)
    cpu_seconds = machine.cpu_seconds(running.process.pid) - cpu_before
    after = ceiling.signing_rate()
    for answer in sent.answers:
        merchant.verify(answer)
    return Repeat(Rate(len(requests) / sent.seconds, len(requests) / cpu_seconds), ceiling.mean(before, after))


def _table(repeats: dict[tuple[str, int], list[Repeat]], codes_before: int) -> Table:
    table = Table(
        f"One `quanma serve` process on one core, over HTTP, with {codes_before:,} codes in the stock",
        COLUMNS,
        "Beside the RSA-2048 signatures that the same core makes, measured before and after each repeat.",
    )
    for (name, in_flight), measured in sorted(repeats.items()):
        served, signed = zip(*measured, strict=True)
        wall, signing_wall = [rate.per_second for rate in served], [rate.per_second for rate in signed]
        cpu, signing_cpu = [rate.per_cpu_second for rate in served], [rate.per_cpu_second for rate in signed]
        table.add(
            name,
            in_flight,
            median(wall),
            percent(median_ratio(wall, signing_wall)),
            median(cpu),
            percent(median_ratio(cpu, signing_cpu)),
            median(signing_wall),
            median(signing_cpu),
        )
    return table
