"""The pool on PostgreSQL: draws from one stock beside the query one would write, flatness, two workers beside one.

PostgreSQL runs at its defaults, so `fsync`, `synchronous_commit`, `full_page_writes` and autovacuum are on.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg
import uvloop

from quanma.api.coupons import Send
from quanma.api.events import CHANNEL_API
from quanma.api.rules import CODES_PER_UPLOAD_MAX
from quanma.client import config
from quanma.platform.pool import open_pool
from quanma.platform.pool.contract import CodePool, Issue
from tests.support import postgres
from tests.support.platform import APPID, MCHID, Served, build_world, merchant_config, new_stock

from . import load, machine, work
from .table import Table, median, times

DRAWERS = 32
DRAWERS_LONG = 128
"""In a long run: more in a turn, so that it ends."""
UPLOADERS = 64
IN_FLIGHT = 96
"""For each worker: so many that it has others to sign for while a turn waits for the stock's lock."""
SLICES = 10
"""Of a long run, each with figures of its own."""
NAIVE_SECONDS = 10.0
ROOMY = {"shared_buffers": "2GB"}
"""Room for the indexes of the coupons of a long run, which the default of 128 MB is not."""

# What one would write: a transaction with these two.
_NAIVE_PICK = (
    "SELECT coupon_code FROM naive WHERE stock_id = 1 AND openid IS NULL "
    "ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED"
)
_NAIVE_GIVE = "UPDATE naive SET openid = $1 WHERE stock_id = 1 AND coupon_code = $2"


class Drawn(NamedTuple):
    """How draws went: how many a second, and the time that all but one of a hundred took less than."""

    per_second: float
    p50_ms: float
    p99_ms: float


def tables(quick: bool) -> Iterator[Table]:
    why = postgres.why_absent(own_server=True)
    if why:
        print(f"\nleft out: PostgreSQL; {why}", flush=True)
        return
    with postgres.session():
        server = postgres.Server()
        server.start()
        note = _settings(server)
        sizes = (100_000, 1_000_000) if quick else (1_000_000, 10_000_000)
        yield uvloop.run(_draws(server, sizes, quick, note))
        yield uvloop.run(_long_run(server, 200_000 if quick else 5_000_000, hold_snapshot=False))
        yield uvloop.run(_long_run(server, 100_000 if quick else 1_000_000, hold_snapshot=True))
        yield _workers(server, 100_000 if quick else 1_000_000, quick)
        server.close()
        roomy = postgres.Server(ROOMY)
        roomy.start()
        yield uvloop.run(_long_run(roomy, 100_000 if quick else 2_000_000, hold_snapshot=False, settings=ROOMY))
        roomy.close()


def _settings(server: postgres.Server) -> str:
    names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "autovacuum", "shared_buffers")
    shown = (postgres.query(server.url, f"SHOW {name}")[0][0] for name in names)
    return "PostgreSQL: " + ", ".join(f"{name} {value}" for name, value in zip(names, shown, strict=True)) + "."


@asynccontextmanager
async def _pool(url: str) -> AsyncGenerator[CodePool, None]:
    with tempfile.TemporaryDirectory() as folder:
        pool = open_pool(url, Path(folder))
        try:
            yield pool
        finally:
            await pool.close()


async def _stock(pool: CodePool, codes: work.Codes, count: int) -> str:
    """Make a stock, fill it, and return its id."""
    name = secrets.token_hex(8)
    stock_id = (await pool.create_stock(MCHID, new_stock(name, max_coupons_per_user=100), int(time.time()))).stock_id
    uploads = itertools.count()

    async def upload() -> None:
        while next(uploads) < count // CODES_PER_UPLOAD_MAX:
            await pool.upload_codes(MCHID, codes.uploads([stock_id], 1)[0], int(time.time()))

    await asyncio.gather(*(upload() for _ in range(UPLOADERS)))
    return stock_id


async def _draw(pool: CodePool, stock_id: str, count: int, drawers: int = DRAWERS) -> Drawn:
    """Draw so many, by `drawers` that each ask again once they are answered."""
    numbers = itertools.count()
    run = secrets.token_hex(8)
    took: list[float] = []

    async def drawer() -> None:
        while (number := next(numbers)) < count:
            issue = Issue(stock_id, f"o{secrets.token_urlsafe(20)}", APPID, f"{run}{number}", None, MCHID, CHANNEL_API)
            began = time.perf_counter()
            await pool.send_coupon(MCHID, issue, int(time.time()))
            took.append(time.perf_counter() - began)

    return await _timed([drawer() for _ in range(drawers)], took)


async def _timed(drawers: list[Awaitable[None]], took: list[float]) -> Drawn:
    began = time.perf_counter()
    await asyncio.gather(*drawers)
    seconds = time.perf_counter() - began
    took.sort()
    return Drawn(len(took) / seconds, 1000 * took[len(took) // 2], 1000 * took[len(took) * 99 // 100])


async def _naive(url: str, seconds: float) -> Drawn:
    """As many draws as the naive query makes within some seconds, each drawer on a connection of its own."""
    took: list[float] = []
    until = time.perf_counter() + seconds

    async def drawer(connection: asyncpg.Connection) -> None:
        while (began := time.perf_counter()) < until:
            async with connection.transaction():
                code = await connection.fetchval(_NAIVE_PICK)
                await connection.execute(_NAIVE_GIVE, secrets.token_hex(8), code)
            took.append(time.perf_counter() - began)

    async with AsyncExitStack() as opened:
        connections = []
        for _ in range(DRAWERS):
            connections.append(await asyncpg.connect(url))
            opened.push_async_callback(connections[-1].close)
        return await _timed([drawer(connection) for connection in connections], took)


async def _fill_naive(url: str, codes: list[str]) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(
        "DROP TABLE IF EXISTS naive; "
        "CREATE TABLE naive (stock_id bigint, coupon_code text, openid text, PRIMARY KEY (stock_id, coupon_code))"
    )
    rows = [(1, code, None) for code in codes]
    await connection.copy_records_to_table("naive", records=rows)
    await connection.execute("VACUUM ANALYZE naive")
    await connection.close()


async def _draws(server: postgres.Server, sizes: tuple[int, int], quick: bool, note: str) -> Table:
    table = Table(
        f"{DRAWERS} drawers on one stock, in one process, without HTTP",
        ("codes in the stock", "draws/s", "p50 ms", "p99 ms", "naive draws/s", "to naive", "to the smaller stock"),
        f"{note} Naive: `{_NAIVE_PICK}` and an UPDATE, in a table of so many rows.",
    )
    draws, rounds = (5_000, 3) if quick else (30_000, 5)
    url = server.databases.fresh()
    codes = work.Codes()
    async with _pool(url) as pool:
        stocks = {size: await _stock(pool, codes, size) for size in sizes}
        # By turns, so that what slows the machine for a while slows both.
        drawn: dict[int, list[Drawn]] = {size: [] for size in sizes}
        naive: dict[int, float] = {}
        for size in sizes:
            await _draw(pool, stocks[size], draws // 5)
        for _ in range(rounds):
            for size in sizes:
                drawn[size].append(await _draw(pool, stocks[size], draws))
        for size in sizes[:1] if not quick else sizes:
            await _fill_naive(url, work.Codes().take(size))
            naive[size] = (await _naive(url, NAIVE_SECONDS)).per_second
    for size in sizes:
        rates = [one.per_second for one in drawn[size]]
        beside = [one.per_second for one in drawn[sizes[0]]]
        table.add(
            size,
            median(rates),
            f"{median(one.p50_ms for one in drawn[size]):.1f}",
            f"{median(one.p99_ms for one in drawn[size]):.1f}",
            f"{naive[size]:.1f}" if size in naive else "",
            times(median(rates) / naive[size]) if size in naive else "",
            f"{100 * median(rate / other for rate, other in zip(rates, beside, strict=True)):.0f} %",
        )
    server.databases.drop(url)
    return table


async def _long_run(
    server: postgres.Server, count: int, *, hold_snapshot: bool, settings: Mapping[str, str] | None = None
) -> Table:
    held = ", a snapshot held open all the while" if hold_snapshot else ""
    held += "".join(f", {name} = {value}" for name, value in (settings or {}).items())
    table = Table(
        f"{count:,} draws from one stock, {DRAWERS_LONG} drawers{held}",
        ("draws", "/s", "p50 ms", "p99 ms", "dead rows", "tables MB"),
        "Autovacuum at its defaults. Each line is a tenth of the run.",
    )
    url = server.databases.fresh()
    async with _pool(url) as pool, AsyncExitStack() as opened:
        stock_id = await _stock(pool, work.Codes(), count)
        if hold_snapshot:
            watching = await asyncpg.connect(url)
            opened.push_async_callback(watching.close)
            await watching.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        asking = await asyncpg.connect(url)
        opened.push_async_callback(asking.close)
        for turn in range(SLICES):
            drawn = await _draw(pool, stock_id, count // SLICES, DRAWERS_LONG)
            dead, size = await asking.fetchrow(
                "SELECT sum(n_dead_tup)::bigint, sum(pg_total_relation_size(relid))::bigint FROM pg_stat_user_tables"
            )
            table.add(
                (turn + 1) * (count // SLICES),
                drawn.per_second,
                f"{drawn.p50_ms:.1f}",
                f"{drawn.p99_ms:.1f}",
                dead,
                size / 1e6,
            )
    server.databases.drop(url)
    return table


class DrawnOverHttp(NamedTuple):
    """Draws a second, and CPU milliseconds a draw: of the workers, and of PostgreSQL."""

    per_second: float
    workers_ms: float
    postgres_ms: float

    @property
    def cpu_ms(self) -> float:
        return self.workers_ms + self.postgres_ms


def _workers(server: postgres.Server, codes_before: int, quick: bool) -> Table:
    table = Table(
        f"`quanma serve` over HTTP on PostgreSQL, signed draws, {codes_before:,} codes in each stock",
        ("stocks", "workers", "cores", "/s", "to one", "CPU ms a draw: workers", "PostgreSQL", "to one by CPU"),
        f"{IN_FLIGHT} in flight for each worker. The workers and PostgreSQL share the cores that are named, as they "
        "would on a machine of so many; the load is on the second core, and takes its part of it. By CPU: how many "
        "draws the cores have time for, without what other programs took of them.",
    )
    draws, rounds = (1_000, 3) if quick else (4_000, 5)
    cores = [machine.SERVER_CORE, machine.LOAD_CORE]
    url = server.databases.fresh()
    with tempfile.TemporaryDirectory(prefix="quanma-bench-") as folder:
        world = build_world(Path(folder) / "world")
        for count in (1, 8):
            stock_ids = uvloop.run(_filled(url, codes_before, count))
            measured: dict[int, list[DrawnOverHttp]] = {1: [], 2: []}
            for turn in range(rounds + 1):
                for workers, repeats in measured.items():
                    one = _over_http(server, world, url, stock_ids, cores[:workers], draws)
                    if turn:  # The first one warms up.
                        repeats.append(one)
            for workers, repeats in measured.items():
                pairs = list(zip(repeats, measured[1], strict=True))
                table.add(
                    count,
                    workers,
                    workers,
                    median(one.per_second for one in repeats),
                    times(median(one.per_second / other.per_second for one, other in pairs)),
                    f"{median(one.workers_ms for one in repeats):.2f}",
                    f"{median(one.postgres_ms for one in repeats):.2f}",
                    times(median(workers * other.cpu_ms / one.cpu_ms for one, other in pairs)),
                )
    server.databases.drop(url)
    return table


async def _filled(url: str, codes_before: int, count: int) -> list[str]:
    async with _pool(url) as pool:
        return [await _stock(pool, work.Codes(), codes_before) for _ in range(count)]


def _over_http(
    server: postgres.Server, world: Path, url: str, stock_ids: list[str], cores: list[int], draws: int
) -> DrawnOverHttp:
    _confine(server, cores)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    running = Served(world, "--database", url, "--workers", str(len(cores)))
    os.sched_setaffinity(0, before)
    try:
        merchant = load.Merchant(config.load(merchant_config(world)), running.port)
        drawn = [work.draws(stock_id, draws // len(stock_ids)) for stock_id in stock_ids]
        requests = [merchant.signed(Send.post, one) for turn in zip(*drawn, strict=True) for one in turn]
        serving = running.workers() or [running.process.pid]
        workers_before, postgres_before = _cpu_seconds(serving), _cpu_seconds_of(server)
        with machine.on_core(machine.LOAD_CORE):
            sent = load.send(running.port, requests, IN_FLIGHT * len(cores))
        workers = _cpu_seconds(serving) - workers_before
        in_postgres = _cpu_seconds_of(server) - postgres_before
        for answer in sent.answers:
            merchant.verify(answer)
        assert running.stop() == 0
    finally:
        running.close()
    return DrawnOverHttp(
        len(requests) / sent.seconds, 1000 * workers / len(requests), 1000 * in_postgres / len(requests)
    )


def _cpu_seconds(pids: list[int]) -> float:
    return sum(machine.cpu_seconds(pid) for pid in pids)


def _cpu_seconds_of(server: postgres.Server) -> float:
    """Of all its processes. Those of a server's connections stay as long as those of the pool."""
    return _cpu_seconds([server.pid, *server.children()])


def _confine(server: postgres.Server, cores: list[int]) -> None:
    """PostgreSQL and what it has started; what it starts later is kept there too."""
    for pid in (server.pid, *server.children()):
        os.sched_setaffinity(pid, cores)
