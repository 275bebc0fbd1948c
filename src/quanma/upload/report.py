"""What became of every row: report.csv for people, and the rows that are still to do, to be corrected and uploaded.

In report.csv a cell that a spreadsheet would run as a formula has an apostrophe before it. The other files hold the
codes as they are: rejected.jsonl and rejected.xlsx with the reason beside each, leftover.txt one a line.

Uploading a file of rejected rows unchanged sends nothing that was refused here: a row is taken only as it was
corrected, in the field `corrected`, or the column 改正.
"""

from __future__ import annotations

import csv
import datetime
import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from ..errors import LedgerRefused
from ..storage import headers, paths
from ..storage import private as private_file
from . import workbook
from .ledger import AnsweredBatch, Ledger
from .reasons import PLATFORM
from .rows import input_and_row, rows_of

REPORT, REJECTED, LEFTOVER = "report.csv", "rejected.jsonl", "leftover.txt"
REPORT_XLSX, REJECTED_XLSX = "report.xlsx", "rejected.xlsx"
FIELDS = ("row", "code", "outcome", "reason", "upload_request_no", "attempts", "evidence", "settled_at", "reason_code")
REJECTED_FIELDS = ("行", "券码", "原因", "改正", "原因代码")
BEIJING = datetime.timezone(datetime.timedelta(hours=8))
"""The zone of every time in a report, as of every time in the platform's own answers."""
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
    reason_code: str = ""
    """Stable, for programs; `reason` is for people, and its words may change."""


class Written(NamedTuple):
    """The files that were written, and the rows in each but the report."""

    report: Path
    rejected: Path | None
    leftover: Path | None
    retry_exist: int
    """Rows `stored` on the evidence of exist_codes after an unknown attempt."""
    rejected_xlsx: Path | None = None
    report_xlsx: Path | None = None


def write(
    ledger: Ledger,
    folder: Path,
    *,
    xlsx: bool = False,
    leftover: bool = True,
    said: Callable[[str], str] = str,
) -> Written:
    """Write the report, and the rejected rows and leftover.txt where there are such rows. Files are mode 0600.

    `xlsx`: the report as a workbook too. `leftover`: without, rows that are not settled are only in the report.
    `said`: puts a reason, which is for people, into their language.

    Raises:
        LedgerRefused: the folder can't be written.
    """
    names = [source.name for source in ledger.inputs.sources]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        counts = _write_texts(ledger, folder, names, said, leftover=leftover)
        for name in (REJECTED, LEFTOVER):
            if not counts[name]:
                (folder / name).unlink()
        rejected = _rejected(ledger, names, said)
        _write_workbook(folder / REJECTED_XLSX, "rejected", REJECTED_FIELDS, rejected, counts[REJECTED])
        cells = (_cells(line, names) for line in _lines_in(ledger, said))
        _write_workbook(folder / REPORT_XLSX, "report", FIELDS, cells, xlsx)
    except OSError as problem:
        raise LedgerRefused(
            f"{paths.shown(problem.filename or folder)} can't be written: {problem.strerror}: name another"
        ) from None
    return Written(
        folder / REPORT,
        folder / REJECTED if counts[REJECTED] else None,
        folder / LEFTOVER if counts[LEFTOVER] else None,
        counts["retry_exist"],
        folder / REJECTED_XLSX if counts[REJECTED] else None,
        folder / REPORT_XLSX if xlsx else None,
    )


def _write_texts(
    ledger: Ledger, folder: Path, names: Sequence[str], said: Callable[[str], str], *, leftover: bool
) -> dict[str, int]:
    counts = {REJECTED: 0, LEFTOVER: 0, "retry_exist": 0}
    with ExitStack() as opened:
        report, bad, rest = (opened.enter_context(private(folder / name)) for name in (REPORT, REJECTED, LEFTOVER))
        # A BOM: without it Excel takes UTF-8 for the local encoding.
        report.write("\ufeff")
        table = csv.writer(report)
        table.writerow(FIELDS)
        for line in _lines_in(ledger, said):
            table.writerow(list(map(safe, _cells(line, names))))
            counts["retry_exist"] += line.evidence == "retry_exist"
            if line.outcome == "rejected":
                counts[REJECTED] += 1
                fields = {
                    "row": _where(line.row, names),
                    "code": line.code,
                    "reason": line.reason,
                    "reason_code": line.reason_code,
                    "corrected": None,
                }
                bad.write(msgspec.json.encode(fields).decode() + "\n")
            elif line.outcome == "pending" and leftover:
                if not counts[LEFTOVER] and headers.names_codes(line.code):
                    rest.write("code\n")  # Else this code would be taken for the header.
                counts[LEFTOVER] += 1
                rest.write(line.code + "\n")
    return counts


def _write_workbook(
    path: Path, title: str, header: Sequence[str], rows: Iterable[Sequence[str]], wanted: object
) -> None:
    """Write a workbook, or remove the one of an earlier report."""
    if not wanted:
        path.unlink(missing_ok=True)
        return
    with open(private_file.make_anew(path), "wb") as file:
        workbook.write(file, title, header, rows)


def _rejected(ledger: Ledger, names: Sequence[str], said: Callable[[str], str]) -> Iterator[Sequence[str]]:
    for line in _lines_in(ledger, said):
        if line.outcome == "rejected":
            yield (_where(line.row, names), line.code, line.reason, "", line.reason_code)


def _cells(line: Line, names: Sequence[str]) -> list[str]:
    return [_where(line.row, names), *map(str, line[1:7]), _time(line.settled_at), line.reason_code]


def _lines_in(ledger: Ledger, said: Callable[[str], str]) -> Iterator[Line]:
    """Every row, its reason in the reader's language. Few are different, so each is translated once."""
    translated = lru_cache(maxsize=10_000)(said)
    return (line._replace(reason=translated(line.reason)) if line.reason else line for line in lines(ledger))


def lines(ledger: Ledger) -> Iterator[Line]:
    """Every row of the input, in its order."""
    names = [source.name for source in ledger.inputs.sources]
    batches = (line for batch in ledger.batches() for line in _batch_lines(batch))
    duplicates = (
        Line(one.row, one.text, "duplicate", f"repeats row {_where(one.first_row, names)}", reason_code="REPEATS")
        for one in ledger.duplicates()
    )
    rejected = (
        Line(one.row, one.text, "rejected", one.reason, reason_code=one.reason_code) for one in ledger.rejected()
    )
    return heapq.merge(batches, duplicates, rejected, key=lambda line: line.row)


def safe(cell: object) -> str:
    """Return a cell that no spreadsheet runs as a formula."""
    text = str(cell)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _batch_lines(batch: AnsweredBatch) -> Iterable[Line]:
    settled = batch.settled
    existed = set(settled.existed)
    refused = {code: (f"{error} {message}", f"{PLATFORM}{error}") for code, error, message in settled.refused}
    for row, code in zip(rows_of(batch.rows), batch.codes, strict=True):
        outcome, reason, evidence, reason_code = "stored", "", "success", ""
        if batch.state != "answered":
            outcome, evidence, reason, reason_code = "pending", "", "not sent yet", "NOT_SENT"
            if batch.unknown_attempts:
                reason, reason_code = "sent, its outcome is not known yet", "OUTCOME_UNKNOWN"
        elif settled.whole is not None:
            outcome, reason, evidence = "rejected", " ".join(settled.whole), "refused"
            reason_code = f"{PLATFORM}{settled.whole[0]}"
        elif code in refused:
            outcome, evidence = "rejected", "fail"
            reason, reason_code = refused[code]
        elif code in existed and batch.unknown_attempts:
            evidence = "retry_exist"
        elif code in existed:
            outcome, reason, evidence, reason_code = "existed", "the stock held it before", "exist", "EXISTED"
        number, attempts, settled_at = batch.upload_request_no, batch.attempts, batch.answered_at
        yield Line(row, code, outcome, reason, number, attempts, evidence, settled_at, reason_code)


def _where(row: int, names: Sequence[str]) -> str:
    input_no, number = input_and_row(row)
    return str(number) if len(names) < 2 else f"{names[input_no]}:{number}"


def _time(at: float | None) -> str:
    return "" if at is None else datetime.datetime.fromtimestamp(at, BEIJING).isoformat(timespec="seconds")


def private(path: Path, *, links: bool = True) -> IO[str]:
    """Open a new file, in place of an earlier one, that only its owner can read. `links`: see `make_anew`."""
    return open(private_file.make_anew(path, links=links), "w", encoding="utf-8", newline="")
