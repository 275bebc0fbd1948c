"""`python -m benchmarks [NAME…] [--quick]`: run benchmarks, print their tables, and all of them again at the end."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

from . import ceiling, clients, machine, pool, postgres, reading, serving, uploading
from .table import Table

BENCHMARKS: dict[str, Callable[[bool], Iterator[Table]]] = {
    "ceiling": ceiling.tables,
    "serving": serving.tables,
    "pool": pool.tables,
    "postgres": postgres.tables,
    "clients": clients.tables,
    "uploading": uploading.tables,
    "reading": reading.tables,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer repeats, and nothing of 10 million codes")
    arguments = parser.parse_args()
    names = arguments.names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"there is no benchmark {', '.join(unknown)}: they are {', '.join(BENCHMARKS)}")
    print(machine.line(), flush=True)
    began = time.perf_counter()
    printed: list[Table] = []
    for name in names:
        for table in BENCHMARKS[name](arguments.quick):
            print(f"\n{table}", flush=True)
            printed.append(table)
    if len(names) > 1:
        print(f"\n# All, in {time.perf_counter() - began:.0f} s\n\n{machine.line()}")
        for table in printed:
            print(f"\n{table}")


if __name__ == "__main__":
    main()
