"""report.csv for people, and the files of rejected and leftover rows, which go in again as they came out."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quanma.errors import LedgerRefused
from quanma.storage.headers import CODE_NAMES
from quanma.upload import report
from quanma.upload.ledger import Batch, Input, Inputs, Ledger
from quanma.upload.plan import Duplicate, Planned, PlannedBatch
from quanma.upload.rows import row_id
from quanma.upload.sorting import Rejected
from quanma.upload.source import open_source
from quanma.upload.target import Outcome, Refused
from tests.support.every import every_row
from tests.support.platform import mode_of

NOON = 1_763_985_600.0  # 2025-11-24T12:00:00Z


def new_ledger(folder: Path) -> Ledger:
    return Ledger.create(folder / "a.quanma", target="busifavor", mchid="1900000001", stock_id="98065001")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with new_ledger(tmp_path) as made:
        yield made


def plan(ledger: Ledger, *batches: PlannedBatch, rejected: tuple[Rejected, ...] = (), names: str = "codes.txt") -> None:
    ledger.begin_plan()
    ledger.keep_batches(batches)
    ledger.keep_rejected(rejected)
    inputs = Inputs(sources=[Input(name, "0" * 64) for name in names.split()])
    ledger.end_plan(Planned(0, 0, 0, 0, 0, []), inputs)


def taken(ledger: Ledger) -> Batch:
    batch = ledger.take(NOON)
    assert batch is not None
    return batch


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "report.csv").open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.DictReader(lines))


def test_every_outcome_has_its_line_in_input_order(ledger: Ledger, tmp_path: Path) -> None:
    ledger.begin_plan()
    ledger.keep_batches(
        [
            PlannedBatch(["A1", "B2", "C3"], "1,3,5"),
            PlannedBatch(["D4"], "6"),
            PlannedBatch(["E5"], "7"),
            PlannedBatch(["F6"], "8"),
            PlannedBatch(["G7"], "9"),
        ]
    )
    ledger.keep_duplicates([Duplicate(4, 1, "A1")])
    ledger.keep_rejected([Rejected(2, "券", "character 1 is wrong", "CHARACTER")])
    ledger.end_plan(Planned(9, 7, 1, 1, 0, []), Inputs(sources=[Input("codes.txt", "0" * 64)]))
    first = taken(ledger)
    ledger.settle(first, Outcome(["B2"], [Refused("C3", "LENGTH_LIMIT", "长度超过最大值32位")]), NOON)
    ledger.unknown(taken(ledger))
    second = taken(ledger)
    ledger.settle(second, Outcome(["D4"], []), NOON + 1)
    third = taken(ledger)
    ledger.settle_refused(third, "PARAM_ERROR", "参数错误", NOON + 2)
    ledger.unknown(taken(ledger))

    written = report.write(ledger, tmp_path / "report")

    number, noon = first.upload_request_no, "2025-11-24T20:00:00+08:00"
    assert (tmp_path / "report/report.csv").read_text(encoding="utf-8-sig").splitlines() == [
        "row,code,outcome,reason,upload_request_no,attempts,evidence,settled_at,reason_code",
        f"1,A1,stored,,{number},1,success,{noon},",
        "2,券,rejected,character 1 is wrong,,0,,,CHARACTER",
        f"3,B2,existed,the stock held it before,{number},1,exist,{noon},EXISTED",
        "4,A1,duplicate,repeats row 1,,0,,,REPEATS",
        f"5,C3,rejected,LENGTH_LIMIT 长度超过最大值32位,{number},1,fail,{noon},PLATFORM_LENGTH_LIMIT",
        f"6,D4,stored,,{second.upload_request_no},2,retry_exist,2025-11-24T20:00:01+08:00,",
        (
            f"7,E5,rejected,PARAM_ERROR 参数错误,{third.upload_request_no},1,refused,2025-11-24T20:00:02+08:00,"
            "PLATFORM_PARAM_ERROR"
        ),
        f'8,F6,pending,"sent, its outcome is not known yet",{number[:-1]}4,1,,,OUTCOME_UNKNOWN',
        f"9,G7,pending,not sent yet,{number[:-1]}5,0,,,NOT_SENT",
    ]
    assert (tmp_path / "report/leftover.txt").read_text() == "F6\nG7\n"
    assert (tmp_path / "report/rejected.jsonl").read_text().splitlines() == [
        '{"row":"2","code":"券","reason":"character 1 is wrong","reason_code":"CHARACTER","corrected":null}',
        (
            '{"row":"5","code":"C3","reason":"LENGTH_LIMIT 长度超过最大值32位",'
            '"reason_code":"PLATFORM_LENGTH_LIMIT","corrected":null}'
        ),
        '{"row":"7","code":"E5","reason":"PARAM_ERROR 参数错误","reason_code":"PLATFORM_PARAM_ERROR","corrected":null}',
    ]
    assert written.retry_exist == 1
    assert {mode_of(file) for file in (tmp_path / "report").iterdir()} == {0o600}


def test_a_file_that_others_could_read_becomes_private(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "report.csv").touch(mode=0o644)
    plan(ledger, PlannedBatch(["A1"], "1"))
    report.write(ledger, tmp_path)
    assert mode_of(tmp_path / "report.csv") == 0o600


def test_rows_of_several_inputs_name_theirs(ledger: Ledger, tmp_path: Path) -> None:
    plan(ledger, PlannedBatch(["A1", "B2"], f"1,{row_id(1, 1)}"), names="one.txt two.txt")
    report.write(ledger, tmp_path)
    assert [line["row"] for line in table(tmp_path)] == ["one.txt:1", "two.txt:1"]


def test_there_is_no_empty_file_of_rows_to_do(ledger: Ledger, tmp_path: Path) -> None:
    plan(ledger, PlannedBatch(["A1"], "1"))
    ledger.settle(taken(ledger), Outcome([], []), NOON)
    written = report.write(ledger, tmp_path / "report")
    assert (written.rejected, written.leftover) == (None, None)
    assert [file.name for file in (tmp_path / "report").iterdir()] == ["report.csv"]


@every_row("start", "=+-@\t\r\n＝＋－＠")
def test_a_cell_that_begins_like_a_formula_has_an_apostrophe_before_it(start: str) -> None:
    """The wide ones begin one too in a spreadsheet of East Asia."""
    assert report.safe(f"{start}1+1") == f"'{start}1+1"


def test_a_folder_that_cannot_be_written_is_named(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "report").touch()
    with pytest.raises(LedgerRefused, match="report can't be written: File exists: name another"):
        report.write(ledger, tmp_path / "report")


DIRT = st.text(min_size=1, max_size=20) | st.text("=+-@＝＋－＠\t\r\n'\"|,1A ", min_size=1, max_size=5)
LEGAL = st.text("=-|/\\_ A0", min_size=1, max_size=5).filter(str.strip) | st.sampled_from(["code", "Coupon", "=1+1"])


@settings(max_examples=40, deadline=None)
@given(st.lists(DIRT, min_size=1, max_size=9), st.lists(LEGAL, min_size=1, max_size=9, unique=True))
@pytest.mark.slow
def test_no_cell_begins_like_a_formula_and_the_files_go_in_again_as_they_came_out(
    bad: list[str], good: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with new_ledger(folder) as ledger:
            wrong = tuple(Rejected(row, text, text) for row, text in enumerate(bad, 1))
            rows = f"{len(bad) + 1}-{len(bad) + len(good)}"
            plan(ledger, PlannedBatch(good, rows), rejected=wrong, names="=cmd.txt +1.txt")
            report.write(ledger, folder)
        cells = [cell for line in table(folder) for cell in line.values()]
        assert not [cell for cell in cells if cell.startswith(tuple("=+-@\t\r\n＝＋－＠"))]
        assert [line["code"].removeprefix("'") for line in table(folder)] == [
            code.removeprefix("'") for code in (*bad, *good)
        ]
        assert read_again(folder / "leftover.txt") == good
        if all(map(str.strip, bad)):
            assert read_again(folder / "rejected.jsonl") == bad


@settings(deadline=None)
@example("coupon_code")
@given(st.sampled_from(sorted(name for name in CODE_NAMES if name.isascii())))
@pytest.mark.slow
def test_a_leftover_code_that_looks_like_a_header_is_no_header(code: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        with new_ledger(Path(name)) as ledger:
            plan(ledger, PlannedBatch([code, "A1"], "1-2"))
            report.write(ledger, Path(name))
        assert read_again(Path(name) / "leftover.txt") == [code, "A1"]


def read_again(path: Path) -> list[str]:
    return [code for block in open_source(str(path)).blocks() for code in block.codes]
