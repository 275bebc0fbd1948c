"""Where the codes of a table are: titles, headers, columns; and what is refused rather than guessed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from quanma.errors import SourceUnreadable
from quanma.upload.source import Reading, Source, open_source
from quanma.upload.source.layout import find, looks_like_a_code
from tests.support.every import every_row


def taken(source: Source) -> list[tuple[int, str]]:
    return [
        (block.rows[at], code)
        for block in source.blocks()
        for at, code in enumerate(block.codes)
        if at not in block.problems
    ]


def written(folder: Path, kind: str, rows: Sequence[Sequence[str]]) -> str:
    """The same table as CSV, as TSV, as a text without a telling ending, or as a workbook."""
    path = folder / f"codes.{kind}"
    if kind == "xlsx":
        book = Workbook()
        assert book.active is not None
        for row in rows:
            book.active.append([cell or None for cell in row])
        book.save(path)
    else:
        delimiter = "," if kind == "csv" else "\t"
        path.write_text("".join(delimiter.join(row) + "\n" for row in rows))
    return str(path)


KINDS = ["csv", "tsv", "txt", "xlsx"]
CODES = [["1", "KF0001", "未使用"], ["2", "KF0002", "未使用"], ["3", "KF0003", "已使用"]]


class TestTitles:
    @every_row("kind", KINDS)
    @every_row(
        "titles",
        [
            [["优惠券导出"]],
            [["咖啡店 2026 年八月券码（保密）"], ["导出时间 2026-08-01"]],
            [["Table 1"]],
            [["Coupons", "", ""]],
            [["券码"]],
            [["导出人", "", "张三"]],
        ],
        ids=lambda titles: titles[0][0],
    )
    def test_a_header_is_found_below_titles(self, tmp_path: Path, kind: str, titles: list[list[str]]) -> None:
        source = open_source(written(tmp_path, kind, [*titles, ["序号", "券码", "状态"], *CODES]))
        first = len(titles) + 2
        assert taken(source) == [(first, "KF0001"), (first + 1, "KF0002"), (first + 2, "KF0003")]
        assert f"header in row {first - 1}, column '券码' (2 of 3)" in source.notes[-1]
        assert "no code" in source.notes[-1]

    @every_row("kind", KINDS)
    def test_words_above_digits_are_a_header_below_a_title_too(self, tmp_path: Path, kind: str) -> None:
        path = written(tmp_path, kind, [["八月"], ["号", "条形", "状态"], *CODES])
        assert taken(open_source(path, Reading(column="条形")))[0] == (3, "KF0001")
        assert taken(open_source(path, Reading(column="2")))[0] == (3, "KF0001")

    @every_row("kind", ["csv", "xlsx"])
    def test_a_code_above_the_header_is_not_lost_for_a_title(self, tmp_path: Path, kind: str) -> None:
        path = written(tmp_path, kind, [["0", "KF0000", "未使用"], ["序号", "券码", "状态"], *CODES])
        with pytest.raises(SourceUnreadable) as refused:
            open_source(path)
        assert "the header seems to be in row 2, but row 1 above it holds what may be a code" in str(refused.value)
        assert "row 2: 序号 | 券码 | 状态" in str(refused.value)
        assert "KF0000" not in str(refused.value)
        assert taken(open_source(path, Reading(header_row=2)))[0] == (3, "KF0001")

    @every_row("kind", KINDS)
    def test_the_row_of_the_header_can_be_said(self, tmp_path: Path, kind: str) -> None:
        path = written(tmp_path, kind, [["x", "y", "z"], ["a", "b", "c"], *CODES])
        source = open_source(path, Reading(header_row=2, column="b"))
        assert taken(source)[0] == (3, "KF0001")

    @every_row("kind", KINDS)
    def test_a_header_row_without_anything_is_refused(self, tmp_path: Path, kind: str) -> None:
        path = written(tmp_path, kind, CODES)
        with pytest.raises(SourceUnreadable, match="nothing in row 9, which --header-row names"):
            open_source(path, Reading(header_row=9, column="2"))

    def test_no_header_row_at_all_can_be_said(self, tmp_path: Path) -> None:
        path = written(tmp_path, "csv", [["code", "shop"], ["A1", "x"]])
        assert taken(open_source(path, Reading(header_row=0, column="1"))) == [(1, "code"), (2, "A1")]

    @every_row(
        ("lines", "codes"),
        [
            ("优惠券导出\n券码\nA1\nB2\n", [(3, "A1"), (4, "B2")]),
            ("\n八月\n\ncode\nA1\n", [(5, "A1")]),
            ("A1\ncode\nB2\n", [(1, "A1"), (2, "code"), (3, "B2")]),
            ("A+1\ncode\nB2\n", [(1, "A+1"), (2, "code"), (3, "B2")]),
        ],
    )
    def test_a_text_of_lines_has_titles_as_a_table_has(
        self, tmp_path: Path, lines: str, codes: list[tuple[int, str]]
    ) -> None:
        (tmp_path / "codes.txt").write_text(lines)
        assert taken(open_source(str(tmp_path / "codes.txt"))) == codes

    @every_row("ending", ["txt", "csv"])
    @every_row("header", ["Coupon Code", "*券码（必填）", "COUPON-CODE", "CDKEY", "卡密", "优惠券 码"])
    def test_a_name_is_known_in_any_spelling(self, tmp_path: Path, ending: str, header: str) -> None:
        (tmp_path / f"codes.{ending}").write_text(f"{header}\nA1\nB2\n")
        assert taken(open_source(str(tmp_path / f"codes.{ending}"))) == [(2, "A1"), (3, "B2")]


RAGGED = [["DD20260800"], *[[f"DD2026080{n}", f"QM-000{n}"] for n in range(1, 6)]]


class TestColumns:
    @every_row("kind", ["csv", "tsv", "xlsx"])
    def test_rows_wider_than_the_first_are_seen(self, tmp_path: Path, kind: str) -> None:
        path = written(tmp_path, kind, RAGGED)
        with pytest.raises(SourceUnreadable, match="several columns: 1 'DD…01', 2 'QM…01'"):
            open_source(path)
        assert taken(open_source(path, Reading(column="2"))) == [(n + 1, f"QM-000{n}") for n in range(1, 6)]

    @every_row("kind", ["csv", "tsv", "xlsx"])
    def test_a_file_that_stays_ambiguous_is_refused_with_its_first_rows_and_no_code(
        self, tmp_path: Path, kind: str
    ) -> None:
        path = written(tmp_path, kind, [["八月导出"], *[[f"DD2026080{n}", f"QM-000{n}"] for n in range(1, 9)]])
        with pytest.raises(SourceUnreadable) as refused:
            open_source(path)
        said = str(refused.value)
        assert "row 1: 八月导出" in said
        assert "row 5: DD…04 | QM…04" in said
        assert "row 6" not in said
        assert "QM-000" not in said

    def test_a_column_that_is_not_there_is_refused_with_the_first_rows(self, tmp_path: Path) -> None:
        path = written(tmp_path, "csv", [["八月导出"], ["序号", "券码"], ["1", "A1"]])
        with pytest.raises(SourceUnreadable, match=r"(?s)no column '卷码', only 1 '序号', 2 '券码'.*row 1: 八月导出"):
            open_source(path, Reading(column="卷码"))

    def test_a_hundred_columns_do_not_fill_the_terminal(self, tmp_path: Path) -> None:
        path = written(tmp_path, "csv", [[f"A{n}" for n in range(100)], [f"B{n}" for n in range(100)]])
        with pytest.raises(SourceUnreadable, match="and 88 more") as refused:
            open_source(path)
        assert len(str(refused.value)) < 1000

    def test_trailing_fields_may_be_left_out_behind_the_code(self, tmp_path: Path) -> None:
        (tmp_path / "codes.csv").write_text("code,name,remark\nA1,a\nB2,b,\nC3,c,x\nD4\nE5,,,\n")
        assert taken(open_source(str(tmp_path / "codes.csv"))) == [
            (2, "A1"),
            (3, "B2"),
            (4, "C3"),
            (5, "D4"),
            (6, "E5"),
        ]

    @every_row(
        "lines",
        [
            '1,A1\n2,"B2\n3,C3"\n4,D4\n',
            '1,A1\n"2,B2\n3,C3",x\n4,D4\n',
            '1,A1\n2,"B2\n3,C3\n4,D4"\n',
        ],
    )
    def test_rows_that_a_stray_quote_joins_are_all_refused(self, tmp_path: Path, lines: str) -> None:
        (tmp_path / "codes.csv").write_text(f"id,code\n{lines}")
        source = open_source(str(tmp_path / "codes.csv"))
        refused = {block.rows[at]: reason for block in source.blocks() for at, reason in block.problems.items()}
        rows = {row for block in source.blocks() for row in block.rows}
        assert rows == {2, 3, 4, 5}
        assert {3, 4} <= refused.keys()
        assert "a quote joins rows 3 to" in refused[4]
        assert refused[4].code == "JOINED_ROWS"

    def test_a_line_break_in_a_note_joins_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "codes.csv").write_text('code,note\nA1,"你好,\n再见, x"\nB2,y\n')
        assert taken(open_source(str(tmp_path / "codes.csv"))) == [(2, "A1"), (4, "B2")]


@given(
    st.lists(st.text("券码导出年月（）保密", min_size=1, max_size=8), max_size=4),
    st.permutations(["序号", "券码", "状态", "面额"]),
    st.integers(1, 30),
)
def test_titles_and_columns_in_any_order_lead_to_the_codes(titles: list[str], header: list[str], count: int) -> None:
    values = {"序号": "{}", "券码": "QM-{:04}", "状态": "未使用", "面额": "10"}
    rows = [[title] for title in titles] + [header]
    rows += [[values[name].format(number) for name in header] for number in range(count)]
    layout = find("codes.csv", list(enumerate(rows, 1)), Reading())
    assert (layout.place, layout.header_row) == (header.index("券码"), len(titles) + 1)


@given(st.text("A1 -_\\/=|券", min_size=1, max_size=40))
def test_what_looks_like_a_code_is_one_that_is_taken(text: str) -> None:
    assert looks_like_a_code(text) == ("1" in text and "券" not in text and 0 < len(text.strip()) <= 32)
