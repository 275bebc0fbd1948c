"""What a drawn coupon takes in PostgreSQL, and whether draws stay as quick.

`python -m benchmarks.tables COUPONS [COMMIT [SHARED_BUFFERS]]`

A stock of so many codes is drawn from until it is empty, by as many drawers as in `benchmarks.postgres`. Then each
table and index is measured as it lies on the disk, dead rows and empty room included. With a commit, that build runs
first, in a process and a database of its own, on the same server. A tenth of the coupons with a tenth of PostgreSQL's
`shared_buffers` shows in a tenth of the time what outgrows them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.support import postgres

from .table import Table, percent

ROOT = Path(__file__).parents[1]
COUPONS = 300_000
SHARED_BUFFERS = "128MB"
"""PostgreSQL's default."""
LEAST_BYTES = 0.5
"""A table or index that takes less of each coupon is not named."""


class Drawn(NamedTuple):
    """One build's figures: of each tenth, and bytes of each table and index."""

    per_second: list[float]
    cpu_us: list[float]
    """Of the drawing process and of PostgreSQL, a draw: what other programs take of the machine is not in it."""
    sizes: dict[str, int]


def main(coupons: int = COUPONS, commit: str | None = None, shared_buffers: str = SHARED_BUFFERS) -> None:
    with tempfile.TemporaryDirectory() as folder, postgres.session():
        earlier = Path(folder) / "earlier"
        builds = {"this build": ROOT / "src"}
        if commit is not None:
            subprocess.run(["git", "worktree", "add", "--quiet", "--detach", earlier, commit], cwd=ROOT, check=True)
            builds = {commit: earlier / "src", **builds}
        try:
            server = postgres.Server({"shared_buffers": shared_buffers})
            server.start()
            for name, source in builds.items():
                url = server.databases.fresh()
                _show(f"{name}, shared_buffers {shared_buffers}", coupons, _run(source, url, server.pid, coupons))
                server.databases.drop(url)
            server.close()
        finally:
            if commit is not None:
                subprocess.run(["git", "worktree", "remove", "--force", earlier], cwd=ROOT, check=True)


def _show(name: str, coupons: int, drawn: Drawn) -> None:
    table = Table(f"{name}: {coupons:,} draws from one stock of as many codes", ("table or index", "bytes a coupon"))
    for relation, size in sorted(drawn.sizes.items(), key=lambda one: -one[1]):
        if size / coupons >= LEAST_BYTES:
            table.add(relation, f"{size / coupons:.1f}")
    table.add("all", f"{sum(drawn.sizes.values()) / coupons:.1f}")
    print(f"\n{table}\n\nDraws/s in each tenth: " + " ".join(f"{rate:,.0f}" for rate in drawn.per_second))
    print(f"The last of the first: {percent(drawn.per_second[-1] / drawn.per_second[0])}")
    print("CPU µs a draw in each tenth: " + " ".join(f"{cpu:.1f}" for cpu in drawn.cpu_us))
    print(f"By CPU, the last of the first: {percent(drawn.cpu_us[0] / drawn.cpu_us[-1])}", flush=True)


def _run(source: Path, url: str, pid: int, coupons: int) -> Drawn:
    said = subprocess.run(
        [sys.executable, "-c", _DRAW, url, str(pid), str(coupons)],
        # Each build with the benchmarks of its own time: they know its modules.
        env={**os.environ, "PYTHONPATH": f"{source}:{source.parent}"},
        cwd=source.parent,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return Drawn(*json.loads(said))


_DRAW = """
import asyncio, json, sys, tempfile, time
from pathlib import Path
import asyncpg, uvloop
from benchmarks import machine, postgres, work
from quanma.platform.pool import open_pool

SIZES = (
    "SELECT c.relname, pg_total_relation_size(c.oid) - CASE c.relkind WHEN 'r' THEN pg_indexes_size(c.oid) ELSE 0 END"
    " FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'i')"
)

def cpu_seconds(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return time.process_time() + sum(machine.cpu_seconds(int(one)) for one in [pid, *children])

async def run(url, pid, coupons):
    with tempfile.TemporaryDirectory() as folder:
        pool = open_pool(url, Path(folder))
        stock_id = await postgres._stock(pool, work.Codes(), coupons)
        tenths, cpu = [], [cpu_seconds(pid)]
        for _ in range(10):
            tenths.append(await postgres._draw(pool, stock_id, coupons // 10, postgres.DRAWERS_LONG))
            cpu.append(cpu_seconds(pid))
        await pool.close()
        connection = await asyncpg.connect(url)
        sizes = dict(await connection.fetch(SIZES))
        await connection.close()
        spent = [1e6 * (after - before) / (coupons // 10) for before, after in zip(cpu, cpu[1:])]
        return [[tenth.per_second for tenth in tenths], spent, sizes]

print(json.dumps(uvloop.run(run(sys.argv[1], *map(int, sys.argv[2:])))))
"""

if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:4])
