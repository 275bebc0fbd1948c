"""Damaged and hostile inputs for every reader of codes: `python -m tools.fuzz_sources [--seconds 600] [--kind NAME]…`.

An input is a good file, changed in a few places by a random number that has a seed. It must be read, or refused by an
error of ours; within SECONDS_MAX of a processor's time, and within BYTES_MAX of memory. One that is not is printed
with its seed, and `--seed N --kind NAME` makes it again. Seeds that once failed stand in tests/upload/test_fuzz.py.
"""

from __future__ import annotations

import argparse
import gzip
import io
import itertools
import random
import re
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path

from quanma.errors import QuanmaError
from quanma.storage import zstd
from quanma.upload.source import Reading, open_sources
from tests.upload.parts import inline, parts, write

SECONDS_MAX = 5
"""Of a processor: what else the machine does counts not."""
BYTES_MAX = 130 * 1024 * 1024
"""More than the process had before: a fresh one has 70 MB, and so stays within 200."""


class Failed(Exception):
    """An input was neither read nor refused, or took too much."""


def fuzz(kind: str, seed: int, folder: Path) -> None:
    """Read one input. Raises Failed."""
    chance = random.Random(f"{kind} {seed}")
    make, ending = KINDS[kind]
    path = folder / f"codes{ending}"
    path.write_bytes(make(chance, folder))
    try:
        for column in (None, "1"):
            read(str(path), column)
    except QuanmaError:
        pass


def read(path: str, column: str | None) -> int:
    """Read every row, as an upload does before its first request."""
    rows = 0
    for source in open_sources(path, Reading(sheet=("*",) if path.endswith(".xlsx") else (), column=column)):
        for block in source.blocks():
            assert len(block.rows) == len(block.codes)
            assert all(type(code) is str for code in block.codes)
            assert all(0 <= at < len(block.codes) for at in block.problems)
            rows += len(block.codes)
        source.fingerprint()
    return rows


# Inputs


def _text(chance: random.Random, folder: Path) -> bytes:
    return changed(chance, b"".join(b"QM%06d\n" % number for number in range(chance.choice((1, 20, 30_000)))))


def _csv(chance: random.Random, folder: Path) -> bytes:
    rows = (f'{number},QM{number:06},"x ""y"""\r\n' for number in range(chance.choice((1, 20, 20_000))))
    return changed(
        chance, ("序号,券码,备注\r\n" + "".join(rows)).encode(chance.choice(("utf-8", "utf-8-sig", "gb18030")))
    )


def _json_lines(chance: random.Random, folder: Path) -> bytes:
    rows = (f'{{"code": "QM{number:06}", "n": [{number}, {{}}]}}\n' for number in range(chance.choice((1, 20, 5000))))
    return changed(chance, "".join(rows).encode())


def _gzip(chance: random.Random, folder: Path) -> bytes:
    return changed(
        chance, gzip.compress(_text(chance, folder), mtime=0) + chance.choice((b"", gzip.compress(b"QM1\n", mtime=0)))
    )


def _zstd(chance: random.Random, folder: Path) -> bytes:
    options: dict[int, int] = {zstd.CompressionParameter.checksum_flag: chance.randrange(2)}
    return changed(
        chance,
        zstd.compress(_text(chance, folder), options=options) + chance.choice((b"", b"\x50\x2a\x4d\x18\0\0\0\0")),
    )


def _parts(chance: random.Random) -> dict[str, bytes]:
    count = chance.choice((1, 30, 3000))
    strings = "".join(f"<si><t>QM{number}</t></si>" for number in range(count))
    shared = "".join(
        f'<row r="{row}" spans="1:2"><c r="A{row}" t="s"><v>{row - 1}</v></c><c r="B{row}" s="1"><v>{row}</v></c></row>'
        for row in range(1, count + 1)
    )
    return parts(shared, inline(*(f"QM{number}" for number in range(count))), strings=strings, styles=_STYLES)


_STYLES = (
    '<numFmts><numFmt numFmtId="164" formatCode="yyyy"/></numFmts>'
    '<cellXfs><xf numFmtId="0"/><xf numFmtId="164"/></cellXfs>'
)


def _workbook_parts(chance: random.Random, folder: Path) -> bytes:
    """A whole zip file of damaged parts."""
    content = _parts(chance)
    for name in chance.sample(sorted(content), chance.choice((1, 1, 2))):
        content[name] = changed(chance, content[name])
    write(folder / "made.zip", content, chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    return (folder / "made.zip").read_bytes()


def _workbook_bytes(chance: random.Random, folder: Path) -> bytes:
    """A damaged zip file."""
    write(folder / "made.zip", _parts(chance), chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    return changed(chance, (folder / "made.zip").read_bytes())


def _parquet(chance: random.Random, folder: Path) -> bytes:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"code": [f"QM{number}" for number in range(chance.choice((1, 100, 5000)))]})
    made = io.BytesIO()
    pyarrow.parquet.write_table(table, made, compression=chance.choice(("none", "snappy", "zstd")))
    return changed(chance, made.getvalue())


def _bytes(chance: random.Random, folder: Path) -> bytes:
    start = chance.choice(
        (b"", b"PK\3\4", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xff\xfe", b"{", b"[", b'"', b"\xef\xbb\xbf")
    )
    return start + chance.randbytes(chance.choice((0, 1, 10, 1000, 100_000)))


KINDS: dict[str, tuple[Callable[[random.Random, Path], bytes], str]] = {
    "text": (_text, ".txt"),
    "csv": (_csv, ".csv"),
    "json": (_json_lines, ".jsonl"),
    "gzip": (_gzip, ".txt.gz"),
    "zstd": (_zstd, ".txt.zst"),
    "parts": (_workbook_parts, ".xlsx"),
    "workbook": (_workbook_bytes, ".xlsx"),
    "parquet": (_parquet, ".parquet"),
    "bytes": (_bytes, ""),
    "bytes-xlsx": (_bytes, ".xlsx"),
}


# Changes


def changed(chance: random.Random, content: bytes) -> bytes:
    """Change a content in a few places, most often in few."""
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 10))):
        content = chance.choice(_CHANGES)(chance, content)[:4_000_000]
    return content


def _flip(chance: random.Random, content: bytes) -> bytes:
    at = _place(chance, content)
    return content[:at] + bytes((chance.randrange(256),)) + content[at + 1 :]


def _cut(chance: random.Random, content: bytes) -> bytes:
    return content[: _place(chance, content)]


def _leave_out(chance: random.Random, content: bytes) -> bytes:
    at = _place(chance, content)
    return content[:at] + content[at + chance.choice((1, 2, 10, 1000)) :]


def _repeat(chance: random.Random, content: bytes) -> bytes:
    at = _place(chance, content)
    return content[:at] + content[at : at + chance.choice((1, 10, 100))] * chance.choice((2, 50, 5000)) + content[at:]


def _put_in(chance: random.Random, content: bytes) -> bytes:
    at = _place(chance, content)
    return content[:at] + chance.choice(_PIECES) + content[at:]


def _move_a_tag(chance: random.Random, content: bytes) -> bytes:
    tags = list(itertools.islice(re.finditer(rb"<[^<>]{0,200}>", content), 500))
    if not tags:
        return content
    one, other = chance.choice(tags), chance.choice(tags)
    return content[: one.start()] + other[0] + content[one.end() if chance.randrange(2) else one.start() :]


def _another_value(chance: random.Random, content: bytes) -> bytes:
    values = list(itertools.islice(re.finditer(rb'="[^"<>]{0,200}"|>[^<>]{1,200}<', content), 500))
    if not values:
        return content
    value = chance.choice(values)
    return content[: value.start() + 2 - (value[0][:1] == b">")] + chance.choice(_VALUES) + content[value.end() - 1 :]


def _place(chance: random.Random, content: bytes) -> int:
    return chance.choice((chance.randrange(len(content) + 1), min(chance.randrange(200), len(content))))


_CHANGES = (_flip, _cut, _leave_out, _repeat, _put_in, _move_a_tag, _another_value)
_VALUES = (
    b"", b"0", b"-1", b"1048576", b"1048577", b"99999999999999999999", b"A0", b"XFD1", b"XFE1", b"ZZZZ9", b"1e400",
    b"nan", b"inf", b"_x0000_", b"_xD800_", b"&#65;", b"&amp;", b"&x;", b"\xc2\x80", "券".encode(), b"s", b"inlineStr",
    b"str", b"b", b"../../x", b"/", b"rId1", b"hidden", b"\xf0\x9f\x8e\x9f", b"\xed\xa0\x80", b"\xef\xbf\xbf",
)  # fmt: skip
_PIECES = (
    b"\0", b"\r", b"\n", b'"', b'""', b",", b"\\", b"{", b"[" * 2000, b"}", b"<", b">", b"&", b"<!--", b"-->",
    b"<![CDATA[", b"]]>", b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
    b"<?xml version='1.0' encoding='UTF-16'?>", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\x80" * 9, b"A" * 2_000_000,
    b" " * 100_000, b"<c/>" * 20_000, b"<row/>" * 100_000, b"<row r='1'>" * 2000, b"<r><t>A</t></r>" * 1000,
    b"<si/>" * 100_000, b'<c r="XFD1" t="str"><v>A</v></c>', b"\n" * 100_000,
)  # fmt: skip


# Running


def watched(kind: str, seed: int, folder: Path) -> None:
    """Read one input, and watch over time and memory. Raises Failed."""
    Path("/proc/self/clear_refs").write_text("5")  # The peak of memory begins anew.

    before = _peak_bytes()

    def too_long(*_: object) -> None:
        raise Failed(f"{kind}, seed {seed}: not read within {SECONDS_MAX} s")

    signal.signal(signal.SIGPROF, too_long)
    signal.setitimer(signal.ITIMER_PROF, SECONDS_MAX)
    try:
        fuzz(kind, seed, folder)
    except Failed:
        raise
    except Exception as cause:
        raise Failed(f"{kind}, seed {seed}: {type(cause).__name__}: {cause}") from cause
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if (grown := _peak_bytes() - before) > BYTES_MAX:
        raise Failed(f"{kind}, seed {seed}: {grown / 2**20:.0f} MiB more of memory")


def _peak_bytes() -> int:
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz_sources", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="for all kinds together")
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="all by default")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--first", type=int, default=0, help="the seed to begin with")
    arguments = parser.parse_args()
    kinds: list[str] = arguments.kind or list(KINDS)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            tried, first = 0, arguments.seed if arguments.seed is not None else arguments.first
            seconds = 0 if arguments.seed is not None else arguments.seconds / len(kinds)
            end = time.monotonic() + seconds
            while True:
                try:
                    watched(kind, first, Path(folder))
                except Failed as cause:
                    failed += 1
                    print(cause)
                    traceback.print_exception(cause.__cause__, limit=-6, file=sys.stdout)
                tried, first = tried + 1, first + 1
                if time.monotonic() > end:
                    break
            print(f"{kind}: {tried:,} inputs, peak now {_peak_bytes() / 2**20:.0f} MiB", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
