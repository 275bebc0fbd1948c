"""Upload one file of codes in one way. `python -m benchmarks.sending WAY`, set up by $SENDING; prints what it took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from quanma import AsyncWechatpay
from quanma.api.rules import CODES_PER_UPLOAD_MAX
from quanma.upload import BUSIFAVOR, ONE_ATTEMPT, Ending, Ledger, Uploader, make_plan, open_source

from .caller import wechatpayv3

UPLOADER, LOOP, LOOP_ON_THREADS = "quanma upload", "loop over wechatpayv3", "the same on 8 threads"
WAYS = (UPLOADER, LOOP, LOOP_ON_THREADS)
THREADS = 8
"""As many requests at once as the uploader has."""
UNREACHABLE_RATE = 1_000_000.0
"""Requests a second to begin with: the slow start is not what is measured here."""


class Sent(NamedTuple):
    seconds: float
    cpu_seconds: float


def send_file(way: str, settings: dict[str, Any]) -> Sent:
    """`settings`: those of `clients.settings`, and `file`, `codes`, `stock_id`."""
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.sending", way],
        env=os.environ | {"SENDING": json.dumps(settings)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Sent(*json.loads(ended.stdout))


def main() -> None:
    settings = json.loads(os.environ["SENDING"])
    began, began_cpu = time.perf_counter(), time.process_time()
    if sys.argv[1] == UPLOADER:
        _upload(settings)
    else:
        _loop(settings, threads=1 if sys.argv[1] == LOOP else THREADS)
    print(json.dumps(Sent(time.perf_counter() - began, time.process_time() - began_cpu)))


def _upload(settings: dict[str, Any]) -> None:
    """Everything that the command does: read, check, plan, write each step to the ledger, send."""
    path, stock_id = Path(settings["file"]), settings["stock_id"]
    ledger_path = path.with_name(f"{stock_id}.quanma")
    client = AsyncWechatpay.from_config(settings["config"], base_url=settings["base_url"], patience=ONE_ATTEMPT)
    with Ledger.create(ledger_path, target=BUSIFAVOR.name, mchid=settings["mchid"], stock_id=stock_id) as ledger:
        make_plan(ledger, BUSIFAVOR, [open_source(str(path))])
        ledger.spent(0.0, UNREACHABLE_RATE)
        result = Uploader(ledger, BUSIFAVOR, client).run_sync()
    assert result.ending is Ending.FINISHED, result
    assert result.totals.stored == settings["codes"], result


def _loop(settings: dict[str, Any], threads: int) -> None:
    """What one would write oneself: nothing is checked, nothing is kept, nothing is tried again."""
    client = wechatpayv3(settings)

    def call(batch: tuple[int, list[str]]) -> int:
        number, codes = batch
        status, body = client.marketing_busifavor_couponcode_upload(settings["stock_id"], f"loop-{number}", codes)
        assert status == 200, body
        stored: int = json.loads(body)["success_count"]
        return stored

    batches = enumerate(_batches(Path(settings["file"])))
    if threads == 1:
        stored = sum(map(call, batches))
    else:
        with ThreadPoolExecutor(threads) as pool:
            stored = sum(pool.map(call, batches))
    assert stored == settings["codes"], stored


def _batches(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8") as lines:
        while batch := [line.rstrip("\n") for line in islice(lines, CODES_PER_UPLOAD_MAX)]:
            yield batch


if __name__ == "__main__":
    main()
