"""Open a pool in a process of its own: how long that takes, and what it holds. `python -m benchmarks.restart FILE`"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from quanma.platform.pool.sqlite.pool import SqlitePool

from . import machine


class Restarted(NamedTuple):
    seconds: float
    """From opening the file to ready."""
    resident_bytes: int
    """How much more memory the process holds then, mapped files included."""
    mapped_bytes: int
    """How much of that is mapped from files: the kernel takes it back where memory is short."""
    index_bytes: int
    """What the indexes of all stocks, and the texts that are kept, take of it."""


def restart(path: Path) -> Restarted:
    command = [sys.executable, "-m", "benchmarks.restart", str(path)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Restarted(*json.loads(ended.stdout))


def main() -> None:
    resident_before, mapped_before = machine.resident_bytes(), machine.mapped_bytes()
    began = time.perf_counter()
    pool = SqlitePool(Path(sys.argv[1]))
    seconds = time.perf_counter() - began
    store = pool._store
    index_bytes = sum(stock.codes.nbytes + stock.users.nbytes for stock in store.stocks.values()) + store.texts.nbytes
    index_bytes += sum(merchant.rest.nbytes for merchant in store.merchants.values())
    resident, mapped = machine.resident_bytes() - resident_before, machine.mapped_bytes() - mapped_before
    print(json.dumps(Restarted(seconds, resident, mapped, index_bytes)))
    asyncio.run(pool.close())


if __name__ == "__main__":
    main()
