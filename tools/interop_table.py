"""Write the tables of docs/*/interop.md: which foreign client played which operation. `make generate` runs it.

The results are those of a real run of tests/interop/test_whole_life.py, which then has to pass.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from quanma.api.tree import OPERATIONS

ROOT = Path(__file__).parents[1]
TABLES = {ROOT / "docs/en/interop.md": ("operation", "name"), ROOT / "docs/zh/interop.md": ("接口", "名称")}
"""Each page, and how it heads the columns of operations."""
RESULTS = "QUANMA_INTEROP_RESULTS"
"""An environment variable: where a run of the tests is to write what was played, a line of JSON for each client."""

ABSENT = "–"
CLIENTS = 3
GENERATED = "<!-- generated -->\n"
"""What stands below it on a page is written anew; what stands above it is written by hand."""


class Played(NamedTuple):
    operation: str
    """`POST /v3/…`, variables in braces."""
    status: int


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results"
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "tests/interop/test_whole_life.py"],
            cwd=ROOT,
            env=os.environ | {RESULTS: str(results)},
        )
        if ended.returncode:
            print("docs/*/interop.md were left as they were: the run failed", file=sys.stderr)
            return 1
        clients = [json.loads(line) for line in results.read_text().splitlines()]
    if len({one["client"] for one in clients}) != CLIENTS:
        print("docs/*/interop.md were left as they were: a client was left out", file=sys.stderr)
        return 1
    by_client = {f"`{one['client']}` {one['version']}": dict(map(tuple, one["played"])) for one in clients}
    for page, head in TABLES.items():
        by_hand = page.read_text("utf-8").partition(GENERATED)[0]
        page.write_text(by_hand + GENERATED + table(head, dict(sorted(by_client.items()))), "utf-8")
    return 0


def table(head: tuple[str, str], by_client: dict[str, dict[str, int]]) -> str:
    rows = [(*head, *by_client), ("---",) * (2 + len(by_client))]
    for operation in OPERATIONS:
        name = f"{operation.verb} {operation.path}"
        statuses = (str(played.get(name, ABSENT)) for played in by_client.values())
        rows.append((f"`{name}`", operation.summary, *statuses))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def columns(text: str) -> dict[str, dict[str, int]]:
    """Read a page's table again: by client, the status of each operation that it played."""
    lines = text.partition(GENERATED)[2].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head, _, *body = rows
    return {
        client: {row[0].strip("`"): int(row[place]) for row in body if row[place] != ABSENT}
        for place, client in enumerate(head)
        if place > 1
    }


if __name__ == "__main__":
    sys.exit(main())
