"""Plan an upload in a process of its own: how fast, and in how much memory. `python -m benchmarks.planning FILE`"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from quanma.upload import BUSIFAVOR, Ledger, make_plan, open_source
from tests.support.platform import MCHID


class PlannedFile(NamedTuple):
    rows: int
    duplicate: int
    reading_seconds: float
    """For `for line in file` and nothing else, just before."""
    seconds: float
    """From opening the file to a durable plan."""
    peak_bytes: int


def plan_file(path: Path) -> PlannedFile:
    command = [sys.executable, "-m", "benchmarks.planning", str(path)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return PlannedFile(*json.loads(ended.stdout))


def main() -> None:
    path = Path(sys.argv[1])
    began = time.perf_counter()
    with path.open(encoding="utf-8") as file:
        for _line in file:
            pass
    reading_seconds = time.perf_counter() - began
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        ledger_path = Path(folder) / "ledger.quanma"
        began = time.perf_counter()
        with Ledger.create(ledger_path, target=BUSIFAVOR.name, mchid=MCHID, stock_id="98065001") as ledger:
            planned = make_plan(ledger, BUSIFAVOR, [open_source(str(path))])
        seconds = time.perf_counter() - began
    print(json.dumps(PlannedFile(planned.rows, planned.duplicate, reading_seconds, seconds, _peak_bytes())))


def _peak_bytes() -> int:
    # Not ru_maxrss: Linux hands a child the peak of the process that started it, and that one may have held a pool.
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    main()
