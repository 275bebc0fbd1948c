"""Our clients beside two foreign ones: signed uploads of 200 codes to a stub that answers without working.

Each client runs in a process of its own on one core, the stub on the other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.interop.merchant import merchant_files
from tests.support.platform import MCHID, build_world, merchant_config

from . import ceiling, machine, work
from .ceiling import Rate
from .table import Table, median, median_ratio, percent, times

NODE = Path(__file__).parents[1] / "tests" / "interop" / "node"
FOREIGN_PYTHON, FOREIGN_NODE = "wechatpayv3", "wechatpay-axios-plugin"
CLIENTS = (
    ("quanma.Wechatpay", 1),
    ("quanma.Wechatpay", 16),
    ("quanma.AsyncWechatpay", 1),
    ("quanma.AsyncWechatpay", 16),
    (FOREIGN_PYTHON, 1),
    (FOREIGN_PYTHON, 16),
    (FOREIGN_NODE, 1),
    (FOREIGN_NODE, 16),
)


def tables(quick: bool) -> Iterator[Table]:
    calls, rounds = (300, 2) if quick else (1500, 5)
    chosen = [one for one in CLIENTS if one[0] != FOREIGN_NODE or machine.node_version()]
    rates: dict[tuple[str, int], list[Rate]] = {one: [] for one in chosen}
    signing = [ceiling.signing_rate()]
    with tempfile.TemporaryDirectory(prefix="quanma-bench-") as folder:
        world = build_world(Path(folder) / "world")
        stub = _Stub(world)
        try:
            about = settings(world, stub.port) | {"stock_id": "98065001", "codes": work.Codes().take(200)}
            for _ in range(rounds):
                for name, in_flight in chosen:
                    rates[name, in_flight].append(_call(name, about | {"in_flight": in_flight, "calls": calls}))
                signing.append(ceiling.signing_rate())
        finally:
            stub.close()
    yield _table(rates, signing)


class _Stub:
    def __init__(self, world: Path) -> None:
        with machine.on_core(machine.SERVER_CORE):
            command = [sys.executable, "-m", "benchmarks.stub", str(world)]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


def settings(world: Path, port: int) -> dict[str, Any]:
    """What a client, ours or foreign, is told of its merchant and the platform."""
    files = merchant_files(world)
    return {
        "config": str(merchant_config(world)),
        "base_url": f"http://127.0.0.1:{port}",
        "mchid": MCHID,
        "serial_no": files.serial_no,
        "private_key": str(files.private_key),
        "apiv3_key": files.apiv3_key,
        "platform_keys": {files.public_key_id: str(files.public_key)},
        "ask_for": files.public_key_id,
    }


def _call(name: str, settings: dict[str, Any]) -> Rate:
    """Run a client in a process of its own, and return its rate once it was warm."""
    node = name == FOREIGN_NODE
    with machine.on_core(machine.LOAD_CORE):
        ended = subprocess.run(
            ["node", "calls.mjs"] if node else [sys.executable, "-m", "benchmarks.caller", name],
            cwd=NODE if node else None,
            env=os.environ | {"INTEROP": json.dumps(settings)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    told = json.loads(ended.stdout)["data"]
    return Rate(settings["calls"] / told["seconds"], settings["calls"] / told["cpu_seconds"])


def _table(rates: dict[tuple[str, int], list[Rate]], signing: list[Rate]) -> Table:
    table = Table(
        "Clients on one core: a signed upload of 200 codes, its answer verified",
        ("client", "in flight", "calls/s", "calls/CPU-s", "CPU µs a call", "of signing", "to wechatpayv3", "to Node"),
        "Of signing, and to the others in as many in flight: by CPU time.",
    )
    signing_cpu = median(rate.per_cpu_second for rate in signing)
    for (name, in_flight), measured in rates.items():
        cpu = [rate.per_cpu_second for rate in measured]
        beside = [rates.get((foreign, in_flight), []) for foreign in (FOREIGN_PYTHON, FOREIGN_NODE)]
        table.add(
            name,
            in_flight,
            median(rate.per_second for rate in measured),
            median(cpu),
            1e6 / median(cpu),
            percent(median(cpu) / signing_cpu),
            *(times(median_ratio(cpu, [rate.per_cpu_second for rate in other])) if other else "" for other in beside),
        )
    return table
