"""What the user may say about a file: numbers are codes, only some rows are meant, rows were corrected."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
import xlsxwriter
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook

from quanma.errors import SourceUnreadable
from quanma.upload import prepare, report
from quanma.upload.ledger import Input, Inputs, Ledger
from quanma.upload.plan import Planned
from quanma.upload.reasons import Reason
from quanma.upload.source import PLAIN, Block, Reading, Source, open_source
from quanma.upload.source.table import number
from quanma.upload.target import BUSIFAVOR
from tests.support.every import every_row


def taken(source: Source) -> list[str]:
    return [code for block in source.blocks() for at, code in enumerate(block.codes) if at not in block.problems]


def refused(source: Source) -> dict[int, str]:
    """Row → the code of its reason."""
    return {block.rows[at]: reason.code for block in source.blocks() for at, reason in block.problems.items()}


def workbook(folder: Path, rows: Sequence[Sequence[object]], name: str = "codes.xlsx") -> str:
    book = Workbook()
    assert book.active is not None
    for row in rows:
        book.active.append(list(row))
    book.save(folder / name)
    return str(folder / name)


NUMBERS: list[list[object]] = [
    ["券码"],
    ["0012345"],
    [12345],
    [123456789012],
    [792976041548668544],
    [1.5],
    [-7],
    [1e15],
]


class TestNumbers:
    def test_a_number_cell_is_refused_with_advice_that_works(self, tmp_path: Path) -> None:
        source = open_source(workbook(tmp_path, NUMBERS))
        assert taken(source) == ["0012345"]
        assert refused(source) == {
            3: "NUMBER",
            4: "NUMBER",
            5: "DIGITS_LOST",
            6: "NUMBER",
            7: "NUMBER",
            8: "DIGITS_LOST",
        }
        (reason,) = {one for block in source.blocks() for one in block.problems.values() if one.code == "NUMBER"}
        assert "数据 → 分列 → 文本" in reason
        assert "--numbers-as-text" in reason

    def test_whole_numbers_of_up_to_15_digits_are_taken_as_text(self, tmp_path: Path) -> None:
        source = open_source(workbook(tmp_path, NUMBERS), Reading(numbers_as_text=True))
        assert taken(source) == ["0012345", "12345", "123456789012"]
        assert refused(source) == {5: "DIGITS_LOST", 6: "NOT_WHOLE", 7: "NOT_WHOLE", 8: "DIGITS_LOST"}

    def test_zeros_are_restored_to_the_digits_that_a_code_has(self, tmp_path: Path) -> None:
        source = open_source(workbook(tmp_path, NUMBERS), Reading(digits=10))
        # A text is what its writer meant.
        assert taken(source) == ["0012345", "0000012345"]
        assert refused(source)[4] == "TOO_MANY_DIGITS"
        remarks = [remark for block in source.blocks() for remark in block.remarks]
        assert remarks == [("ZEROS_RESTORED", 3)]

    @every_row("name", ["codes.csv", "codes.txt"])
    def test_a_text_file_knows_no_numbers_so_its_digits_are_filled_up(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("code\n12345\n0000000001\nA1\n12345678901\n")
        source = open_source(str(tmp_path / name), Reading(digits=10))
        assert taken(source) == ["0000012345", "0000000001", "A1", "12345678901"]

    def test_a_formula_that_was_never_calculated_is_no_code_0(self, tmp_path: Path) -> None:
        book = xlsxwriter.Workbook(tmp_path / "codes.xlsx")
        sheet = book.add_worksheet()
        for row, formula in enumerate(['="QM-"&1', "=A1+1"]):
            sheet.write_formula(row, 0, formula)
        sheet.write_formula(2, 0, "=40+2", None, 42)
        book.close()
        source = open_source(str(tmp_path / "codes.xlsx"), Reading(numbers_as_text=True))
        assert taken(source) == ["42"]
        assert refused(source) == {1: "NO_RESULT", 2: "NO_RESULT"}

    def test_numbers_in_json_lines_too(self, tmp_path: Path) -> None:
        (tmp_path / "codes.jsonl").write_text('{"code": 12345}\n{"code": "A1"}\n{"code": 1.5}\n{"code": 1e3}\n')
        source = open_source(str(tmp_path / "codes.jsonl"), Reading(digits=8))
        assert taken(source) == ["00012345", "A1", "00001000"]

    @given(st.integers(0, 10**18), st.integers(1, 20))
    def test_a_number_keeps_every_digit_or_is_refused(self, value: int, digits: int) -> None:
        got = number(str(value), Reading(digits=digits))
        if got.problem is None:
            assert (int(got.text), len(got.text)) == (value, digits)
        else:
            assert len(str(value)) > min(digits, 15)


class TestWhere:
    TABLE = "序号,券码,状态,店\n1,A1,未使用,甲\n2,B2,已使用,甲\n3,C3,未使用,乙\n4,D4, 未使用 ,丙\n合计,4,,\n"

    def written(self, folder: Path, kind: str) -> str:
        rows = [line.split(",") for line in self.TABLE.splitlines()]
        if kind == "xlsx":
            return workbook(folder, rows)
        if kind == "jsonl":
            text = "".join(json.dumps(dict(zip(rows[0], row, strict=True))) + "\n" for row in rows[1:])
            (folder / "codes.jsonl").write_text(text)
        elif kind == "parquet":
            pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
            columns = dict(zip(rows[0], map(list, zip(*rows[1:], strict=True)), strict=True))
            parquet.write_table(pyarrow.table(columns), folder / "codes.parquet")
        else:
            (folder / f"codes.{kind}").write_text(self.TABLE)
        return str(folder / f"codes.{kind}")

    @every_row("kind", ["csv", "xlsx", "jsonl", "parquet"])
    def test_only_rows_with_the_value_are_read_and_the_others_counted(self, tmp_path: Path, kind: str) -> None:
        source = open_source(self.written(tmp_path, kind), Reading(where=(("状态", "未使用"),)))
        assert taken(source) == ["A1", "C3", "D4"]
        assert sum(block.left_out for block in source.blocks()) == 2

    @every_row("kind", ["csv", "xlsx", "jsonl", "parquet"])
    def test_several_columns_must_all_have_it_and_one_column_any_of_several(self, tmp_path: Path, kind: str) -> None:
        where = (("状态", "未使用"), ("店", "甲"), ("店", "乙"))
        assert taken(open_source(self.written(tmp_path, kind), Reading(where=where))) == ["A1", "C3"]

    @every_row("kind", ["csv", "xlsx", "jsonl", "parquet"])
    def test_a_column_that_is_not_there_is_refused(self, tmp_path: Path, kind: str) -> None:
        with pytest.raises(SourceUnreadable, match=r"'狀態', which --where names; its (columns|keys): '序号', '券码'"):
            taken(open_source(self.written(tmp_path, kind), Reading(where=(("狀態", "未使用"),))))

    @every_row("kind", ["csv", "xlsx", "jsonl", "parquet"])
    def test_a_value_that_no_row_has_is_an_empty_file_and_the_values_are_told(self, tmp_path: Path, kind: str) -> None:
        reading = Reading(where=(("状态", "未使用了"),))
        found = looked_at(open_source(self.written(tmp_path, kind), reading), reading)
        assert (found.rows, found.left_out) == (0, 5)
        assert "holds no row that --where asks for: '状态' is '未使用', '已使用'" in found.empty[0]

    def test_a_text_of_lines_has_no_columns(self, tmp_path: Path) -> None:
        (tmp_path / "codes.txt").write_text("A1\nB2\n")
        with pytest.raises(SourceUnreadable, match="has no columns for --where"):
            open_source(str(tmp_path / "codes.txt"), Reading(where=(("状态", "未使用"),)))

    def test_a_number_may_name_the_column(self, tmp_path: Path) -> None:
        (tmp_path / "codes.csv").write_text("A1,1\nB2,2\n")
        assert taken(open_source(str(tmp_path / "codes.csv"), Reading(column="1", where=(("2", "1"),)))) == ["A1"]


def looked_at(source: Source, reading: Reading = PLAIN) -> Planned:
    return prepare.look_only(BUSIFAVOR, [source], reading, Path(tempfile.gettempdir()))


class TestWarnings:
    @every_row(
        ("codes", "warned"),
        [
            (["6222000000000000"] * 4, "4 × digits that end in zeros from the 16th on (rows 1, 2, 3 …)"),
            (["6222001234567890", "622200123456789000", "622200123456781000", "622200123456782000",
              "622200123456783000"], "5 × digits that end in zeros from the 16th on (rows 1, 2, 3 …)"),
            (["2026/8/1", "2026-08-02", "A1", "B2"], "2 × code that looks like a date (rows 1, 2)"),
            (["A1"] * 5, "4 × row that repeats an earlier one"),
            ([f"KF{number:08}" for number in range(9)] + ["60000"],
             "1 × code of another length than all others (row 10): 5 characters, and most have 10"),
            (["KF0001", "KF0002", "KF0003", "KF0004-KF0005-KF0006"],
             "1 × code of another length than all others (row 4): 20 characters, and most have 6"),
            (["DISCOUNT", "A1", "B2", "C3"], "1 × first row without a digit (row 1)"),
        ],
    )  # fmt: skip
    def test_a_sight_that_is_wrong_more_often_than_right_is_told_with_its_rows(
        self, tmp_path: Path, codes: list[str], warned: str
    ) -> None:
        (tmp_path / "codes.txt").write_text("".join(f"{code}\n" for code in codes))
        found = looked_at(open_source(str(tmp_path / "codes.txt")))
        assert [one for one in found.warnings if one.startswith(warned)], found.warnings
        assert prepare.objection(found, prepare.Limits(strict=True)) is not None

    @every_row(
        "codes",
        [
            [f"QM{number}" for number in range(1, 12_000)],
            [f"62220012345678{number:02}" for number in range(100)],
            [f"QM{number:012}" for number in range(1000)] + ["QM000000000001"] * 20,
            ["A1", "LONG-CODE-0002"],
            ["2026-0001-01", "20260801", "2026/8-1"],
            ["SUMMER", "WINTER", "A1"],
        ],
    )
    def test_an_ordinary_file_is_not_warned_of(self, tmp_path: Path, codes: list[str]) -> None:
        (tmp_path / "codes.txt").write_text("".join(f"{code}\n" for code in codes))
        assert looked_at(open_source(str(tmp_path / "codes.txt"))).warnings == []


class TestRejectedRowsGoInAgain:
    def rejected(self, folder: Path, rows: Sequence[tuple[str, str, str]]) -> None:
        """The files of rejected rows: text, reason, reason_code."""
        with Ledger.create(folder / "a.quanma", target="busifavor", mchid="1", stock_id="1") as ledger:

            class Once:
                name = "codes.csv"
                notes: list[str] = []  # noqa: RUF012
                values_seen: dict[str, list[str]] = {}  # noqa: RUF012

                def blocks(self) -> Iterator[Block]:
                    problems = {at: Reason(code, reason) for at, (_, reason, code) in enumerate(rows)}
                    yield Block(range(2, 2 + len(rows)), [text for text, _, _ in rows], problems)

                def fingerprint(self) -> str:
                    return "0" * 64

            prepare.make_plan(ledger, BUSIFAVOR, [Once()])
            report.write(ledger, folder / "report")

    ROWS = (
        ("60000", "the row is a total", "TOTAL"),
        ("792976041548668544", "the cell holds a number of 18 digits", "DIGITS_LOST"),
        ("12345", "the cell holds a number", "NUMBER"),
        ("", "column 2 is empty in this row", "EMPTY"),
        ("＝A1", "character 1 is full-width", "CHARACTER"),
    )

    @every_row("file", ["rejected.jsonl", "rejected.xlsx"])
    def test_unchanged_each_row_is_refused_again_for_its_old_reason(self, tmp_path: Path, file: str) -> None:
        self.rejected(tmp_path, self.ROWS)
        source = open_source(str(tmp_path / "report" / file))
        assert taken(source) == []
        assert list(refused(source).values()) == ["TOTAL", "DIGITS_LOST", "NUMBER", "EMPTY", "CHARACTER"]
        (first, *_) = [reason for block in source.blocks() for reason in block.problems.values()]
        assert first == "the row is a total; it was refused before: write the right code under 改正 (corrected)"

    @every_row("file", ["rejected.jsonl", "rejected.xlsx"])
    def test_a_corrected_row_is_taken_and_no_other(self, tmp_path: Path, file: str) -> None:
        self.rejected(tmp_path, self.ROWS)
        path = tmp_path / "report" / file
        correct(path, 3, "0012345")
        source = open_source(str(path))
        assert taken(source) == ["0012345"]
        assert len(refused(source)) == 4

    @every_row("option", [Reading(numbers_as_text=True), Reading(digits=12), Reading(trim=True)])
    @every_row("file", ["rejected.jsonl", "rejected.xlsx"])
    def test_no_option_takes_what_nobody_corrected(self, tmp_path: Path, file: str, option: Reading) -> None:
        self.rejected(tmp_path, self.ROWS)
        assert taken(open_source(str(tmp_path / "report" / file), option)) == []

    def test_what_is_odd_is_taken_if_the_user_says_so(self, tmp_path: Path) -> None:
        self.rejected(tmp_path, [("NULL", "a program's word", "NULL_WORD"), ("12", "a number", "NUMBER")])
        assert taken(open_source(str(tmp_path / "report/rejected.jsonl"), Reading(take_odd=True))) == ["NULL"]

    def test_what_the_platform_refused_is_offered_to_it_again(self, tmp_path: Path) -> None:
        self.rejected(tmp_path, [("A1", "LENGTH_LIMIT …", "PLATFORM_LENGTH_LIMIT"), ("12", "a number", "NUMBER")])
        assert taken(open_source(str(tmp_path / "report/rejected.jsonl"))) == ["A1"]

    def test_a_correction_is_judged_like_any_code(self, tmp_path: Path) -> None:
        self.rejected(tmp_path, self.ROWS)
        path = tmp_path / "report/rejected.jsonl"
        correct(path, 1, "券A1")
        correct(path, 3, "NULL")
        found = looked_at(open_source(str(path)))
        assert (found.rows, found.distinct) == (5, 0)

    def test_a_workbook_saved_as_csv_is_still_one_of_rejected_rows(self, tmp_path: Path) -> None:
        self.rejected(tmp_path, self.ROWS)
        correct(tmp_path / "report/rejected.xlsx", 3, "0012345")
        sheet = load_workbook(tmp_path / "report/rejected.xlsx").active
        assert sheet is not None
        with (tmp_path / "rejected.csv").open("w", encoding="gb18030", newline="") as lines:
            csv.writer(lines).writerows(sheet.iter_rows(values_only=True))
        source = open_source(str(tmp_path / "rejected.csv"))
        assert taken(source) == ["0012345"]
        assert len(refused(source)) == 4

    def test_again_and_again_the_reason_stays_the_same(self, tmp_path: Path) -> None:
        self.rejected(tmp_path, self.ROWS)
        for round_no in range(3):
            path = tmp_path / "report/rejected.jsonl" if not round_no else tmp_path / str(round_no) / "rejected.jsonl"
            with Ledger.create(tmp_path / f"{round_no}.quanma", target="busifavor", mchid="1", stock_id="1") as ledger:
                prepare.make_plan(ledger, BUSIFAVOR, [open_source(str(path))])
                report.write(ledger, tmp_path / str(round_no + 1))
        last = (tmp_path / "3/rejected.jsonl").read_text().splitlines()
        assert last[0].count("it was refused before") == 1
        assert [json.loads(line)["reason_code"] for line in last] == [code for *_, code in self.ROWS]


def correct(path: Path, number: int, code: str) -> None:
    """Write a corrected code into the row of a file of rejected rows, the first one is 1; as a person does."""
    if path.suffix == ".xlsx":
        book = load_workbook(path)
        assert book.active is not None
        book.active[f"D{number + 1}"] = code
        book.save(path)
        return
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[number - 1]["corrected"] = code
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


@every_row(
    ("sums", "limits", "said"),
    [
        ((1000, 10), prepare.Limits(), None),
        ((1000, 11), prepare.Limits(), "11 of 1,000 rows (1.1 %) are rejected, more than 1 %"),
        ((1000, 11), prepare.Limits(rejected_max=0.02), None),
        ((3, 1), prepare.Limits(), "1 of 3 rows (33.3 %) are rejected, more than 1 %"),
        ((3, 3), prepare.Limits(rejected_max=1.0), None),
        ((1000, 1), prepare.Limits(rejected_max=0.0), "1 of 1,000 rows (0.1 %) are rejected, more than 0 %"),
    ],
)
def test_too_many_rejected_rows_are_an_objection(sums: tuple[int, int], limits: prepare.Limits, said: str) -> None:
    rows, rejected = sums
    found = prepare.objection(Planned(rows, rows - rejected, 0, rejected, 0, []), limits)
    assert (found.reason if found else None) == said


def test_a_ledger_keeps_how_the_file_was_read_and_one_of_before_is_read_too() -> None:
    reading = Reading(column="券码", where=(("状态", "未使用"),), digits=12)
    inputs = Inputs.read(reading, [Input("codes.csv", "0" * 64)], "quanma upload codes.csv")
    assert msgspec.json.decode(msgspec.json.encode(inputs), type=Inputs).reading == reading
    before = '{"sources": [{"name": "a.csv", "fingerprint": "0"}], "column": "x", "trim": true}'
    assert msgspec.json.decode(before, type=Inputs).reading == Reading(column="x", trim=True)


def test_the_options_of_a_reading_are_the_words_that_say_it() -> None:
    reading = Reading(column="a b", trim=True, where=(("x", "1"), ("y", "2")), digits=12)
    assert prepare.options(reading) == [
        *("--column", "a b", "--trim", "--where", "x=1", "--where", "y=2", "--digits", "12"),
    ]
