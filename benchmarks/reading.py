"""Reading inputs of codes: workbooks beside the libraries for them, texts, and the start; and an earlier build beside.

`python -m benchmarks reading`; `python -m benchmarks.reading COMMIT` puts an earlier commit's build beside it. Each
file is read in a process of its own, in turns, so what the machine does meanwhile meets all; rates are by a
processor's time.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.platform import build_world, create_stock, merchant_config, served
from tests.upload.parts import STRINGS, parts

from .table import Table, median, median_ratio, times

ROOT = Path(__file__).parents[1]
LIBREOFFICE = ' customFormat="false" ht="12.8" hidden="false" customHeight="false" outlineLevel="0" collapsed="false"'


class Read(NamedTuple):
    rows: int
    seconds: float
    """Of a processor."""
    peak_bytes: int


class Sheet(NamedTuple):
    """What a workbook is like."""

    title: str
    rows: int
    columns: int
    shared: bool
    attributes: str = ""


def tables(quick: bool, commit: str | None = None) -> Iterator[Table]:
    with tempfile.TemporaryDirectory(prefix="quanma-bench-") as name, _builds(Path(name), commit) as builds:
        folder = Path(name)
        yield _workbooks(folder, quick, builds)
        yield _texts(folder, quick, builds)
        yield _start(folder, builds)


def _workbooks(folder: Path, quick: bool, builds: dict[str, Path]) -> Table:
    million = 100_000 if quick else 1_000_000
    sheets = [
        Sheet("1 column, shared texts", million, 1, shared=True),
        Sheet("1 column, texts in cells", million, 1, shared=False),
        Sheet("1 column, LibreOffice's row attributes", million, 1, shared=True, attributes=LIBREOFFICE),
        Sheet("5 columns, shared texts", million // 5, 5, shared=True),
        Sheet("12 columns, texts in cells", 50_000 if quick else 1_048_576, 12, shared=False),
    ]
    table = Table(
        "Workbooks, the code of each row",
        ("sheet", "reader", "rows", "rows/s", "to openpyxl", "peak MB"),
        "Rows of a processor's second. calamine and openpyxl give all cells of a row; they tell no formula without a "
        "result from an empty cell.",
    )
    for sheet in sheets:
        path = folder / "codes.xlsx"
        _write(path, sheet)
        readers = {**dict.fromkeys(builds, _OURS), "python-calamine": _CALAMINE, "openpyxl": _OPENPYXL}
        if sheet.columns > 5:  # These would take minutes and gigabytes.
            readers = {"this build": _OURS}
        seen: dict[str, list[Read]] = {reader: [] for reader in readers}
        for _ in range(2 if quick else 1):
            for reader, script in readers.items():
                one = _read(path, script, builds.get(reader, ROOT / "src"))
                assert one.rows == sheet.rows, (reader, one)
                seen[reader].append(one)
        for reader, reads in seen.items():
            ratio = (
                ""
                if "openpyxl" not in seen
                else times(
                    median_ratio([1 / one.seconds for one in reads], [1 / one.seconds for one in seen["openpyxl"]])
                )
            )
            table.add(
                sheet.title, reader, sheet.rows, median(sheet.rows / one.seconds for one in reads), ratio,
                f"{median(one.peak_bytes for one in reads) / 1e6:.0f}",
            )  # fmt: skip
    return table


def _texts(folder: Path, quick: bool, builds: dict[str, Path]) -> Table:
    table = Table(
        "Texts: read, and planned until the plan is durable in the ledger",
        ("input", "build", "rows", "read, rows/s", "planned, rows/s", "peak MB"),
        "Rows of a processor's second.",
    )
    size = 200_000 if quick else 2_000_000
    (folder / "codes.txt").write_text("".join(f"QM{number * 7919 % 10**12:012}\n" for number in range(size)))
    with (folder / "codes.csv").open("w", encoding="utf-8") as file:
        file.write("门店,券码\r\n")
        file.writelines(f"南京东路,QM{number * 7919 % 10**12:012}\r\n" for number in range(size))
    for name in ("codes.txt", "codes.csv"):
        for build, source in builds.items():
            reads = [_read(folder / name, _OURS, source) for _ in range(2)]
            plans = [_read(folder / name, _PLAN, source) for _ in range(2)]
            assert {one.rows for one in (*reads, *plans)} == {size}
            table.add(
                name, build, size, median(size / one.seconds for one in reads),
                median(size / one.seconds for one in plans),
                f"{max(one.peak_bytes for one in plans) / 1e6:.0f}",
            )  # fmt: skip
    if not quick:
        large = folder / "large.txt"
        with large.open("w") as file:
            file.writelines(f"QM{number * 7919 % 10**12:012}\n" for number in range(10_000_000))
        one = _read(large, _PLAN, ROOT / "src")
        table.add("10 million lines", "this build", one.rows, "", one.rows / one.seconds, f"{one.peak_bytes / 1e6:.0f}")
    return table


def _start(folder: Path, builds: dict[str, Path]) -> Table:
    """The whole command on a workbook of 50 codes: nearly all of it is what Python imports."""
    _write(folder / "small.xlsx", Sheet("", 50, 1, shared=True))
    table = Table(
        "The start: `quanma upload small.xlsx --dry-run` of 50 codes, against a platform on this machine",
        ("build", "CPU ms", "to this build"),
    )
    world = build_world(folder / "world")
    with served(world) as platform:
        with platform.wechatpay() as wxpay:
            stock_id = create_stock(wxpay, "small")
        settings = {"QUANMA_CONFIG": str(merchant_config(world)), "QUANMA_BASE_URL": platform.url}
        command = [
            sys.executable,
            "-m",
            "quanma",
            "upload",
            str(folder / "small.xlsx"),
            "--stock",
            stock_id,
            "--dry-run",
        ]
        seen: dict[str, list[float]] = {build: [] for build in builds}
        for _ in range(9):
            for build, source in builds.items():
                seen[build].append(_cpu_seconds(command, source, settings))
    for build, seconds in seen.items():
        table.add(build, median(seconds) * 1000, times(median_ratio(seconds, seen["this build"])))
    return table


@contextlib.contextmanager
def _builds(folder: Path, commit: str | None) -> Generator[dict[str, Path]]:
    """The source folder of each build."""
    if commit is None:
        yield {"this build": ROOT / "src"}
        return
    earlier = folder / "earlier"
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", earlier, commit], cwd=ROOT, check=True)
    try:
        yield {"this build": ROOT / "src", commit: earlier / "src"}
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", earlier], cwd=ROOT, check=True)


def _write(path: Path, sheet: Sheet) -> None:
    """As Excel, or LibreOffice, writes it; row by row."""
    content = parts("", strings="" if sheet.shared else None)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        for name, part in content.items():
            if name not in ("xl/worksheets/sheet1.xml", STRINGS):
                made.writestr(name, part)
        for name, pieces in (("xl/worksheets/sheet1.xml", _rows), (STRINGS, _strings)):
            if name in content:
                head, tail = content[name].split(b"</", 1)
                with made.open(name, "w") as stream:
                    stream.write(head)
                    for piece in pieces(sheet):
                        stream.write(piece.encode())
                    stream.write(b"</" + tail)


def _rows(sheet: Sheet) -> Iterator[str]:
    letters = "ABCDEFGHIJKL"[: sheet.columns]
    before, behind = (' t="s"><v>', "</v></c>") if sheet.shared else (' t="inlineStr"><is><t>QM', "</t></is></c>")
    digits = "" if sheet.shared else "012"
    for row in range(1, sheet.rows + 1):
        first = (row - 1) * sheet.columns
        cells = "".join(
            f'<c r="{letter}{row}"{before}{number:{digits}}{behind}' for number, letter in enumerate(letters, first)
        )
        yield f'<row r="{row}"{sheet.attributes}>{cells}</row>'


def _strings(sheet: Sheet) -> Iterator[str]:
    return (f"<si><t>QM{number:012}</t></si>" for number in range(sheet.rows * sheet.columns))


def _read(path: Path, script: str, source: Path) -> Read:
    # An earlier build wants a library that this one has no use for: it reads no file of that kind here.
    with tempfile.TemporaryDirectory() as stubs:
        Path(stubs, "zstandard.py").write_text("class ZstdError(Exception): ...\n")
        said = subprocess.run(
            [sys.executable, "-c", _FRAME.format(script=script), str(path)],
            env={**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{stubs}"},
            cwd=path.parent,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
    return Read(*json.loads(said))


# Not ru_maxrss: Linux hands a child the peak of the process that started it.
_FRAME = """
import contextlib, json, re, sys, tempfile, time
from pathlib import Path
with contextlib.suppress(ImportError):
    import openpyxl, python_calamine
from quanma.upload import BUSIFAVOR, Ledger, make_plan, source as sources
path = sys.argv[1]
began = time.process_time()
{script}
seconds = time.process_time() - began
peak = int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
print(json.dumps([rows, seconds, peak]))
"""
_OPEN = """
if hasattr(sources, "Reading"):
    source = sources.open_source(path, sources.Reading(column="1" if path.endswith("xlsx") else None))
else:
    source = sources.open_source(path, column="1" if path.endswith("xlsx") else None)
"""
_OURS = _OPEN + "rows = sum(len(block.codes) for block in source.blocks())"
_PLAN = (
    _OPEN
    + """
how = {} if hasattr(sources, "Reading") else dict(column=None, trim=False)
with tempfile.TemporaryDirectory(dir=".") as folder:
    with Ledger.create(Path(folder) / "l.quanma", target=BUSIFAVOR.name, mchid="1", stock_id="1") as ledger:
        rows = make_plan(ledger, BUSIFAVOR, [source], **how).rows
"""
)
_CALAMINE = """
rows = sum(1 for row in python_calamine.load_workbook(path).get_sheet_by_index(0).iter_rows() if row[0])
"""
_OPENPYXL = """
book = openpyxl.load_workbook(path, read_only=True, data_only=True)
rows = sum(1 for row in book.worksheets[0].iter_rows(values_only=True) if row[0])
"""


def _cpu_seconds(command: list[str], source: Path, settings: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as stubs:
        Path(stubs, "zstandard.py").write_text("class ZstdError(Exception): ...\n")
        environment = {**os.environ, **settings, "PYTHONPATH": f"{source}{os.pathsep}{stubs}"}
        subprocess.run(command, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    for table in tables("--quick" in sys.argv, next((word for word in sys.argv[1:] if word != "--quick"), None)):
        print(f"\n{table}", flush=True)


if __name__ == "__main__":
    main()
