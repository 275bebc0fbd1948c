"""What became of every row: report.csv for people, and the rows that are still to do, to be corrected and uploaded.

In report.csv a cell that a spreadsheet would run as a formula has an apostrophe before it. The other files hold the
codes as they are: rejected.jsonl with the reason beside each, leftover.txt one a line.
"""

from __future__ import annotations

import csv
import datetime
import heapq
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from ..errors import LedgerRefused
from ..storage import private as private_file
from .ledger import AnsweredBatch, Ledger
from .rows import input_and_row, rows_of
from .source.columns import CODE_NAMES

REPORT, REJECTED, LEFTOVER = "report.csv", "rejected.jsonl", "leftover.txt"
FIELDS = ("row", "code", "outcome", "reason", "upload_request_no", "attempts", "evidence", "settled_at")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""The wide ones begin a formula too in a spreadsheet of East Asia. Source: reported."""


class Line(NamedTuple):
    """One input row."""

    row: int
    code: str
    outcome: str
    reason: str = ""
    upload_request_no: str = ""
    attempts: int = 0
    evidence: str = ""
    settled_at: float | None = None


class Written(NamedTuple):
    """The files that were written, and the rows in each but the report."""

    report: Path
    rejected: Path | None
    leftover: Path | None
    retry_exist: int
    """Rows `stored` on the evidence of exist_codes after an unknown attempt."""


def write(ledger: Ledger, folder: Path) -> Written:
    """Write the report, and rejected.jsonl and leftover.txt where there are such rows. Files are mode 0600.

    Raises:
        LedgerRefused: the folder can't be written.
    """
    names = [source.name for source in ledger.inputs.sources]
    rejected = leftover = retry_exist = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            private(folder / REPORT) as report,
            private(folder / REJECTED) as bad,
            private(folder / LEFTOVER) as rest,
        ):
            # A BOM: without it Excel takes UTF-8 for the local encoding.
            report.write("\ufeff")
            table = csv.writer(report)
            table.writerow(FIELDS)
            for line in lines(ledger):
                where = _where(line.row, names)
                table.writerow([safe(cell) for cell in (where, *line[1:7], _time(line.settled_at))])
                retry_exist += line.evidence == "retry_exist"
                if line.outcome == "rejected":
                    rejected += 1
                    fields = {"row": where, "code": line.code, "reason": line.reason}
                    bad.write(msgspec.json.encode(fields).decode() + "\n")
                elif line.outcome == "pending":
                    if not leftover and line.code.strip().casefold() in CODE_NAMES:
                        rest.write("code\n")  # Else this code would be taken for the header.
                    leftover += 1
                    rest.write(line.code + "\n")
        for name, count in ((REJECTED, rejected), (LEFTOVER, leftover)):
            if not count:
                (folder / name).unlink()
    except OSError as problem:
        raise LedgerRefused(
            f"{problem.filename or folder} can't be written: {problem.strerror}: name another"
        ) from None
    return Written(
        folder / REPORT,
        folder / REJECTED if rejected else None,
        folder / LEFTOVER if leftover else None,
        retry_exist,
    )


def lines(ledger: Ledger) -> Iterator[Line]:
    """Every row of the input, in its order."""
    names = [source.name for source in ledger.inputs.sources]
    batches = (line for batch in ledger.batches() for line in _batch_lines(batch))
    duplicates = (
        Line(one.row, one.text, "duplicate", f"repeats row {_where(one.first_row, names)}")
        for one in ledger.duplicates()
    )
    rejected = (Line(one.row, one.text, "rejected", one.reason) for one in ledger.rejected())
    return heapq.merge(batches, duplicates, rejected, key=lambda line: line.row)


def safe(cell: object) -> str:
    """Return a cell that no spreadsheet runs as a formula."""
    text = str(cell)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _batch_lines(batch: AnsweredBatch) -> Iterable[Line]:
    settled = batch.settled
    existed = set(settled.existed)
    refused = {code: f"{error} {message}" for code, error, message in settled.refused}
    for row, code in zip(rows_of(batch.rows), batch.codes, strict=True):
        outcome, reason, evidence = "stored", "", "success"
        if batch.state != "answered":
            outcome, evidence = "pending", ""
            reason = "sent, its outcome is not known yet" if batch.unknown_attempts else "not sent yet"
        elif settled.whole is not None:
            outcome, reason, evidence = "rejected", " ".join(settled.whole), "refused"
        elif code in refused:
            outcome, reason, evidence = "rejected", refused[code], "fail"
        elif code in existed and batch.unknown_attempts:
            evidence = "retry_exist"
        elif code in existed:
            outcome, reason, evidence = "existed", "the stock held it before", "exist"
        yield Line(row, code, outcome, reason, batch.upload_request_no, batch.attempts, evidence, batch.answered_at)


def _where(row: int, names: Sequence[str]) -> str:
    input_no, number = input_and_row(row)
    return str(number) if len(names) < 2 else f"{names[input_no]}:{number}"


def _time(at: float | None) -> str:
    return "" if at is None else datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat(timespec="seconds")


def private(path: Path, *, links: bool = True) -> IO[str]:
    """Open a new file, in place of an earlier one, that only its owner can read. `links`: see `make_anew`."""
    return open(private_file.make_anew(path, links=links), "w", encoding="utf-8", newline="")
