"""This build beside an earlier commit's, turn by turn on one PostgreSQL: `python -m benchmarks.beside COMMIT [ROUNDS]`.

Each round runs both, in processes of their own and in databases of their own, so what the machine does meanwhile
meets both. Ratios count, not figures.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.support import postgres

ROOT = Path(__file__).parents[1]
CODES = 100_000
DRAWS = 20_000
ROUNDS = 5


class Drawn(NamedTuple):
    """One process's figures."""

    draws_a_second: float
    p50_ms: float
    p99_ms: float
    lonely_ms: float


def main(commit: str, rounds: int = ROUNDS) -> None:
    with tempfile.TemporaryDirectory() as folder, postgres.session():
        earlier = Path(folder) / "earlier"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", earlier, commit], cwd=ROOT, check=True)
        try:
            server = postgres.Server()
            server.start()
            builds = {"this build": ROOT / "src", commit: earlier / "src"}
            seen: dict[str, list[Drawn]] = {name: [] for name in builds}
            for number in range(rounds):
                # Each is first every other time.
                for name in sorted(builds, reverse=number % 2 == 0):
                    seen[name].append(_run(builds[name], server.databases.fresh()))
            server.close()
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", earlier], cwd=ROOT, check=True)
    for name, figures in seen.items():
        medians = Drawn(*(statistics.median(column) for column in zip(*figures, strict=True)))
        print(f"{name:<12} " + "  ".join(f"{field} {value:,.2f}" for field, value in medians._asdict().items()))
    print(
        "ratio        "
        + "  ".join(f"{field} {value:.3f}" for field, value in _ratios(*seen.values())._asdict().items())
    )


def _ratios(this: list[Drawn], earlier: list[Drawn]) -> Drawn:
    """The median of the rounds' ratios: what a round met, both of its processes met."""
    rounds = [
        [one / other for one, other in zip(mine, others, strict=True)]
        for mine, others in zip(this, earlier, strict=True)
    ]
    return Drawn(*(statistics.median(column) for column in zip(*rounds, strict=True)))


def _run(source: Path, url: str) -> Drawn:
    said = subprocess.run(
        [sys.executable, "-c", _DRAW, url, str(CODES), str(DRAWS)],
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
import uvloop
from benchmarks import postgres, work
from quanma.platform.pool import open_pool

async def run(url, codes, draws):
    with tempfile.TemporaryDirectory() as folder:
        pool = open_pool(url, Path(folder))
        stock_id = await postgres._stock(pool, work.Codes(), codes)
        await postgres._draw(pool, stock_id, 2000)
        many = await postgres._draw(pool, stock_id, draws)
        lonely = await postgres._draw(pool, stock_id, 1000, drawers=1)
        await pool.close()
        return [*many, lonely[1]]

print(json.dumps(uvloop.run(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
"""

if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
