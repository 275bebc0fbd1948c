"""A host that is killed beside its witness, again and again: after a COMMIT and before the mark, or after the mark.

A program of its own, so that each life is a fork of a process without threads:
`python -m tests.support.dyinghost URL FOLDER STOCK_ID before|after LIVES`. It prints a line `number code` for each draw
that was answered, before anything else happens, and ends with status 0 if every life ended by its kill -9.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from quanma.api.events import CHANNEL_API
from quanma.errors import QuanmaError
from quanma.platform.pool.contract import CodePool, Issue
from tests.contract.driver import NOW
from tests.support.judge import open_host_pool
from tests.support.platform import APPID, MCHID

DRAWERS = 3
DRAWS_MAX = 40
"""Of a drawer in one life. Its end comes long before."""

_FENCED, _NOT_KILLED = 3, 4


def main() -> int:
    url, folder, stock_id, when, lives = sys.argv[1:]
    for life in range(int(lives)):
        child = os.fork()
        if child == 0:
            die_at(random.Random(life).randint(1, 4), before=when == "before")
            os._exit(asyncio.run(_serve(url, Path(folder), stock_id, life)))
        status = os.waitpid(child, 0)[1]
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            print(f"life {life} was not killed: status {os.waitstatus_to_exitcode(status)}", file=sys.stderr)
            return 1
    return 0


def die_at(mark_no: int, *, before: bool) -> None:
    """From now on, the process is killed at its mark of this number: before it is written, or after."""
    # By name: it is looked up when the program runs, not when types are checked.
    witness: Any = importlib.import_module("quanma.platform.pool.postgres.witness").Witness
    note, left = witness.note, mark_no

    def noted(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0 and before:
            os.kill(os.getpid(), signal.SIGKILL)
        done = note(*arguments, **options)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    witness.note = noted


async def _serve(url: str, folder: Path, stock_id: str, life: int) -> int:
    pool = open_host_pool(url, folder)
    try:
        await asyncio.gather(*(_draw(pool, stock_id, f"l{life}d{drawer}") for drawer in range(DRAWERS)))
    except QuanmaError as refusal:
        print(f"life {life}: {type(refusal).__name__}: {refusal}", file=sys.stderr, flush=True)
        return _FENCED
    return _NOT_KILLED


async def _draw(pool: CodePool, stock_id: str, name: str) -> None:
    for draw in range(DRAWS_MAX):
        number = f"{name}n{draw}"
        issue = Issue(stock_id, f"o{number}", APPID, number, None, MCHID, CHANNEL_API)
        coupon = await pool.send_coupon(MCHID, issue, NOW)
        os.write(sys.stdout.fileno(), f"{number} {coupon.coupon_code}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
