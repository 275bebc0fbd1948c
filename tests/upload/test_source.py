"""Real files in, rows out: which text stands in which row, and what is refused before anything is sent."""

from __future__ import annotations

import csv
import datetime
import gzip
import hashlib
import os
import sqlite3
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from openpyxl import Workbook

from quanma.errors import ExtraMissing, RequestInvalid, SourceUnreadable
from quanma.storage import zstd
from quanma.upload.source import Block, Reading, Source, open_query, open_source
from quanma.upload.source.text import split, whole_lines
from tests.support.every import every_row


def rows(source: Source) -> list[tuple[int, str]]:
    """Every row without a problem."""
    return [
        (block.rows[at], code)
        for block in source.blocks()
        for at, code in enumerate(block.codes)
        if at not in block.problems
    ]


def problems(source: Source) -> dict[int, str]:
    """Row number → what is wrong with it."""
    return {block.rows[at]: reason for block in source.blocks() for at, reason in block.problems.items()}


def texts_of_problems(source: Source) -> list[str]:
    return [block.codes[at] for block in source.blocks() for at in block.problems]


File = Callable[[bytes | str, str], str]


@pytest.fixture
def file(tmp_path: Path) -> File:
    """Writes a file of this content and name; returns its path."""

    def write(content: bytes | str, name: str) -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


class TestPlainText:
    def test_each_line_is_a_code_with_its_row_number(self, file: File) -> None:
        source = open_source(file("A1\nB2\nC3\n", "codes.txt"))
        assert list(source.blocks()) == [Block(range(1, 4), ["A1", "B2", "C3"])]
        assert source.notes == ["text, one code a line"]

    def test_the_last_line_needs_no_line_feed(self, file: File) -> None:
        assert rows(open_source(file("A1\nB2", "codes.txt"))) == [(1, "A1"), (2, "B2")]

    def test_a_carriage_return_before_the_line_feed_belongs_to_the_line_ending(self, file: File) -> None:
        assert rows(open_source(file("A1\r\nB2\r\n", "codes.txt"))) == [(1, "A1"), (2, "B2")]

    def test_any_other_carriage_return_stays_in_the_code(self, file: File) -> None:
        source = open_source(file("A1\r\r\nB\r2\nC3\r", "codes.txt"))
        assert rows(source) == [(1, "A1\r"), (2, "B\r2"), (3, "C3\r")]

    def test_only_a_line_feed_ends_a_line(self, file: File) -> None:
        source = open_source(file("A\u2028B\x85C\x0bD\x1cE\nF6\n", "codes.txt"))
        assert rows(source) == [(1, "A\u2028B\x85C\x0bD\x1cE"), (2, "F6")]

    def test_blank_lines_are_left_out_and_the_others_keep_their_numbers(self, file: File) -> None:
        source = open_source(file("\nA1\n\n \t\n\u3000\nB2\n\r\n", "codes.txt"))
        assert rows(source) == [(2, "A1"), (6, "B2")]

    def test_nothing_of_a_code_is_repaired(self, file: File) -> None:
        content = " A1\nB2 \nC\0 3\n１２\n\ufeffD4\n"
        source = open_source(file(content, "codes.txt"))
        assert [code for _, code in rows(source)] == [" A1", "B2 ", "C\0 3", "１２", "\ufeffD4"]
        assert problems(source) == {}

    def test_trim_takes_off_outer_blanks_and_no_others(self, file: File) -> None:
        source = open_source(file(" A 1\t\n  \nB2\u3000\nC3\n", "codes.txt"), Reading(trim=True))
        assert rows(source) == [(1, "A 1"), (3, "B2"), (4, "C3")]

    def test_a_byte_order_mark_is_no_part_of_the_first_code(self, file: File) -> None:
        source = open_source(file(b"\xef\xbb\xbfA1\nB2\n", "codes.txt"))
        assert rows(source) == [(1, "A1"), (2, "B2")]
        assert source.notes == ["encoding UTF-8 with BOM", "text, one code a line"]

    def test_an_empty_file_has_no_rows(self, file: File) -> None:
        assert list(open_source(file("", "codes.txt")).blocks()) == []
        assert list(open_source(file(b"\xef\xbb\xbf", "codes.txt")).blocks()) == []
        assert list(open_source(file("", "codes.csv")).blocks()) == []

    def test_a_first_line_that_names_the_column_is_no_code(self, file: File) -> None:
        source = open_source(file("\nCoupon_Code\nA1\nB2\n", "codes.txt"))
        assert rows(source) == [(3, "A1"), (4, "B2")]
        assert source.notes == [
            "text, one code a line",
            "row 2, 'Coupon_Code', is a header and not a code",
        ]

    def test_it_can_be_read_twice(self, file: File) -> None:
        source = open_source(file("A1\n", "codes.txt"))
        assert rows(source) == rows(source) == [(1, "A1")]

    def test_a_bar_in_a_code_makes_no_columns(self, file: File) -> None:
        assert rows(open_source(file("A|1\nB|2\n", "codes.txt"))) == [(1, "A|1"), (2, "B|2")]

    def test_a_tab_behind_each_code_makes_no_columns(self, file: File) -> None:
        assert rows(open_source(file("A1\t\nB2\t\n", "codes.txt"))) == [(1, "A1\t"), (2, "B2\t")]

    def test_a_text_of_even_columns_is_read_as_a_table(self, file: File) -> None:
        source = open_source(file("id\tcode\n1\tA1\n2\tB2\n", "codes.txt"))
        assert rows(source) == [(2, "A1"), (3, "B2")]
        assert source.notes == ["TSV, delimiter tab, header row, column 'code' (2 of 2)"]

    def test_a_line_of_a_megabyte_is_still_read_and_a_longer_one_is_refused_with_its_row(self, file: File) -> None:
        longest = "A" * 1024 * 1024
        assert rows(open_source(file(f"B\n{longest}\nC\n", "codes.txt"))) == [
            (1, "B"),
            (2, longest),
            (3, "C"),
        ]
        with pytest.raises(SourceUnreadable, match=r"row 2 is longer than 1,048,576 bytes"):
            rows(open_source(file(f"B\n{longest}A\nC\n", "codes.txt")))
        with pytest.raises(SourceUnreadable, match=r"row 2 is longer than 1,048,576 bytes"):
            rows(open_source(file(f"B\n{longest}A", "codes.txt")))

    @given(
        text=st.text(st.sampled_from("A1 \t\r\n\n\n\0\x85\u2028１\U0001f39f"), max_size=60),
        piece_bytes=st.integers(1, 70),
    )
    @example(text="A\r\nB", piece_bytes=2)
    @example(text="\n\n", piece_bytes=1)
    def test_where_the_pieces_are_cut_makes_no_difference(self, text: str, piece_bytes: int) -> None:
        data = text.encode()
        pieces = [data[start : start + piece_bytes] for start in range(0, len(data), piece_bytes)]
        *ended, last = text.split("\n")
        lines = [line.removesuffix("\r") for line in ended] + [last]
        expected = [(row, line) for row, line in enumerate(lines, 1) if line.strip()]
        assert [
            pair
            for first_row, part in whole_lines("codes.txt", pieces)
            for pair in zip(*split(first_row, part), strict=True)
        ] == expected
        trimmed = [
            pair
            for first_row, part in whole_lines("codes.txt", pieces)
            for pair in zip(*split(first_row, part, trim=True), strict=True)
        ]
        assert trimmed == [(row, line.strip()) for row, line in expected]


class TestEncodings:
    @every_row("encoding", ["utf-16-be", "utf-16-le", "utf-32"])
    def test_utf_16_without_its_mark_and_utf_32_are_refused(self, file: File, encoding: str) -> None:
        with pytest.raises(SourceUnreadable, match=r"is UTF-(16|32).*save it as UTF-8"):
            open_source(file("A1B2C3D4\nE5F6G7H8\n".encode(encoding), "codes.txt"))

    @every_row("encoding", ["utf-16-be", "utf-16-le"])
    def test_utf_16_is_known_by_its_mark_and_told(self, file: File, encoding: str) -> None:
        source = open_source(file("\ufeff门店,券码\r\n南京,A1\r\n".encode(encoding), "codes.csv"))
        assert rows(source) == [(2, "A1")]
        assert source.notes[0] == "encoding UTF-16"

    def test_the_user_says_an_encoding_that_nothing_shows(self, file: File) -> None:
        path = file("A1B2C3D4\nE5F6G7H8\n".encode("utf-16-le"), "codes.txt")
        assert rows(open_source(path, Reading(encoding="UTF-16LE"))) == [(1, "A1B2C3D4"), (2, "E5F6G7H8")]
        with pytest.raises(RequestInvalid, match="--encoding klingon is not known"):
            open_source(path, Reading(encoding="klingon"))

    def test_gb18030_is_found_where_the_beginning_is_no_utf_8_and_told(self, file: File) -> None:
        source = open_source(file("门店,券码\n南京,A1\n北京,券2\n".encode("gb18030"), "codes.csv"))
        assert rows(source) == [(2, "A1"), (3, "券2")]
        assert source.notes[0] == "encoding GB18030, as it seems: it is no UTF-8 (--encoding says another)"

    def test_gb18030_far_behind_is_refused_with_row_and_offset_and_a_way_out(self, file: File) -> None:
        path = file(b"AB\n" * 100_000 + "券码3\n".encode("gbk"), "codes.txt")
        with pytest.raises(SourceUnreadable) as refused:
            rows(open_source(path))
        assert str(refused.value) == (
            f"{path}: row 100001 is not UTF-8 (byte 0xC2 at offset 300,002, perhaps GBK); read it with --encoding "
            'gb18030, or save the file as UTF-8, in Excel as "CSV UTF-8"'
        )
        assert rows(open_source(path, Reading(encoding="gbk")))[-1] == (100_001, "券码3")

    def test_a_row_that_is_not_in_the_encoding_is_refused_with_its_number(self, file: File) -> None:
        path = file(b"A1\nB2\n\xff\xff\n", "codes.txt")
        with pytest.raises(SourceUnreadable, match="row 3 is not GB18030; say its encoding with --encoding"):
            rows(open_source(path, Reading(encoding="gb18030")))

    def test_utf_8_with_a_damaged_place_is_no_gb18030(self, file: File) -> None:
        with pytest.raises(SourceUnreadable, match="row 3 is not UTF-8"):
            rows(open_source(file("门店,券码\n南京,A1\n".encode() + b"\xe5\x88,B2\n", "codes.csv")))

    def test_a_wrong_byte_far_behind_is_found_when_the_rows_are_read(self, file: File) -> None:
        path = file(b"\xef\xbb\xbf" + b"ABCDEFG\n" * 100_000 + b"AB\xff\n", "codes.txt")
        source = open_source(path)
        with pytest.raises(SourceUnreadable, match=r"row 100001 is not UTF-8 \(byte 0xFF at offset 800,005\)"):
            rows(source)

    def test_a_half_character_at_the_end_is_refused(self, file: File) -> None:
        with pytest.raises(SourceUnreadable, match=r"row 2 is not UTF-8 \(byte 0xE5 at offset 3"):
            rows(open_source(file(b"A1\n\xe5\x88", "codes.txt")))

    def test_lines_that_end_with_cr_alone_are_refused(self, file: File) -> None:
        with pytest.raises(SourceUnreadable, match="lines end with CR alone"):
            open_source(file("A1\rB2\rC3\r", "codes.txt"))

    @every_row(
        ("content", "what"),
        [
            (b"PK\x03\x04rest", "a zip file that is cut off or damaged"),
            (b"PAR1rest", "Parquet"),
            (b"\xd0\xcf\x11\xe0rest", "an old Excel workbook"),
        ],
    )
    def test_a_file_that_is_no_text_is_refused_by_what_it_is(self, file: File, content: bytes, what: str) -> None:
        with pytest.raises(SourceUnreadable, match=what):
            open_source(file(content, "codes.csv"))


class TestDelimited:
    @every_row(
        ("delimiter", "told"), [(",", "CSV, delimiter ','"), (";", "CSV, delimiter ';'"),
                                ("|", "CSV, delimiter '|'"), ("\t", "TSV, delimiter tab")],
    )  # fmt: skip
    def test_the_delimiter_is_found_and_told(self, file: File, delimiter: str, told: str) -> None:
        content = "id,code,note\n1,A1,x\n2,B2,y\n".replace(",", delimiter)
        source = open_source(file(content, "codes.csv"))
        assert rows(source) == [(2, "A1"), (3, "B2")]
        assert source.notes == [f"{told}, header row, column 'code' (2 of 3)"]

    @every_row("header", ["code", "Coupon Code", "coupon_code", "券码", "券code", " 券码 "])
    def test_a_header_that_names_the_codes_is_enough(self, file: File, header: str) -> None:
        assert rows(open_source(file(f"id,{header}\n1,A1\n", "codes.csv"))) == [(2, "A1")]

    def test_one_column_without_a_header_is_taken_from_its_first_row(self, file: File) -> None:
        source = open_source(file("SUMMER\nA1\nB2\n", "codes.csv"))
        assert rows(source) == [(1, "SUMMER"), (2, "A1"), (3, "B2")]
        assert source.notes == ["CSV, delimiter ',', no header row, column 1 of 1"]

    def test_a_column_is_chosen_by_name(self, file: File) -> None:
        path = file("Serial,Other\nA1,x\nB2,y\n", "codes.csv")
        assert rows(open_source(path, Reading(column="serial"))) == [(2, "A1"), (3, "B2")]

    def test_a_column_is_chosen_by_number_and_the_first_row_kept_when_it_is_no_header(self, file: File) -> None:
        path = file("1,A1\n2,B2\n", "codes.csv")
        assert rows(open_source(path, Reading(column="2"))) == [(1, "A1"), (2, "B2")]

    def test_a_number_is_not_looked_for_among_the_codes(self, file: File) -> None:
        path = file("2,A1\n3,B2\n", "codes.csv")
        assert rows(open_source(path, Reading(column="2"))) == [(1, "A1"), (2, "B2")]

    def test_words_above_a_column_of_digits_are_a_header_too(self, file: File) -> None:
        path = file("名称,序列\n春,A1\n夏,B2\n", "codes.csv")
        source = open_source(path, Reading(column="2"))
        assert rows(source) == [(2, "A1"), (3, "B2")]
        assert source.notes == ["CSV, delimiter ',', header row, column '序列' (2 of 2)"]

    def test_several_columns_and_none_chosen_are_refused_with_their_names(self, file: File) -> None:
        path = file("serial,note\nA1,x\nB2,y\n", "codes.csv")
        with pytest.raises(SourceUnreadable) as refused:
            open_source(path)
        assert str(refused.value) == (
            f"{path} has several columns: 1 'serial', 2 'note'; "
            "say which one holds the codes, with --column and its name or number; its first rows:\n"
            "  row 1: serial | note\n  row 2: … | …\n  row 3: … | …"
        )

    def test_without_a_header_the_first_row_is_shown_but_no_whole_code(self, file: File) -> None:
        path = file("ABCDEFG89,x\nHIJKLMN12,y\n", "codes.csv")
        with pytest.raises(SourceUnreadable, match="1 'AB…89', 2 '…'"):
            open_source(path)

    def test_two_columns_with_a_name_for_codes_are_refused(self, file: File) -> None:
        with pytest.raises(SourceUnreadable, match="several columns: 1 'coupon_code', 2 'code'"):
            open_source(file("coupon_code,code\nA1,LENGTH_LIMIT\n", "codes.csv"))

    def test_two_columns_of_the_same_name_are_chosen_by_number(self, file: File) -> None:
        path = file("code,code\nA1,B2\n", "codes.csv")
        with pytest.raises(SourceUnreadable, match=r"2 columns 'code'.*--column 1 or --column 2"):
            open_source(path, Reading(column="code"))
        assert rows(open_source(path, Reading(column="2"))) == [(2, "B2")]

    @every_row("column", ["voucher", "3", "0"])
    def test_a_column_that_is_not_there_is_refused(self, file: File, column: str) -> None:
        with pytest.raises(SourceUnreadable, match=f"no column '{column}', only 1 'id', 2 'code'"):
            open_source(file("id,code\n1,A1\n", "codes.csv"), Reading(column=column))

    def test_one_filled_column_among_empty_ones_needs_no_choice(self, file: File) -> None:
        assert rows(open_source(file("A1,,\nB2,,\n", "codes.csv"))) == [(1, "A1"), (2, "B2")]

    def test_blank_rows_are_left_out(self, file: File) -> None:
        source = open_source(file("id,code\n\n1,A1\n,\n  \n2,B2\n", "codes.csv"))
        assert rows(source) == [(3, "A1"), (6, "B2")]
        assert problems(source) == {}

    def test_the_row_of_a_quoted_line_break_is_the_line_it_starts_in(self, file: File) -> None:
        content = 'note,code\n"two\r\nlines",A1\nplain,B2\n"three\n\nlines","C\n3"\nplain,D4\n'
        source = open_source(file(content, "codes.csv"))
        assert rows(source) == [(2, "A1"), (4, "B2"), (5, "C\n3"), (9, "D4")]

    @pytest.mark.slow
    def test_row_numbers_hold_across_blocks(self, file: File) -> None:
        content = "code,note\n" + 'A,"x\ny"\n' + "B,z\n" * 25_000 + "C,z\n"
        source = open_source(file(content, "codes.csv"))
        assert rows(source)[0] == (2, "A")
        assert rows(source)[-1] == (25_004, "C")
        assert len(rows(source)) == 25_002

    def test_a_row_with_fields_too_few_or_too_many_is_a_problem_of_that_row(self, file: File) -> None:
        source = open_source(file("id,code\n1,A1\n2\n3,C3,D4\n4,E5,\n5,F6\n", "codes.csv"))
        assert rows(source) == [(2, "A1"), (5, "E5"), (6, "F6")]
        assert problems(source) == {
            3: "the row has 1 field, and the code is in field 2: write the whole row",
            4: (
                "the row has 3 fields, 2 are expected: a delimiter inside a text may have moved the code; "
                "put quotes around that text"
            ),
        }
        assert texts_of_problems(source) == ["2", "C3"]

    def test_a_row_without_a_code_is_a_problem_of_that_row(self, file: File) -> None:
        source = open_source(file("id,code\n1,A1\n2, \n", "codes.csv"))
        assert problems(source) == {3: "column 2 is empty in this row"}

    def test_a_quote_out_of_place_is_a_problem_of_that_row(self, file: File) -> None:
        source = open_source(file('id,code\n1,A1\n2,"B"2\n3,C3\n', "codes.csv"))
        assert rows(source) == [(2, "A1"), (4, "C3")]
        assert problems(source) == {
            3: "the row is not CSV: ',' expected after '\"': put a quote in a text twice, or leave it out"
        }
        assert texts_of_problems(source) == ['2,"B"2']

    def test_a_header_with_a_quote_out_of_place_is_refused_and_no_row_lost_for_it(self, file: File) -> None:
        with pytest.raises(SourceUnreadable, match="the header in row 1 is not CSV"):
            rows(open_source(file('id,"co"de\n1,A1\n2,B2\n', "codes.csv")))

    def test_a_lone_carriage_return_is_a_problem_of_that_row(self, file: File) -> None:
        source = open_source(file("id,code\n1,A\r1\n2,B2\n", "codes.csv"))
        assert rows(source) == [(3, "B2")]
        assert list(problems(source)) == [2]

    def test_a_quote_that_swallows_rows_is_refused(self, file: File) -> None:
        with pytest.raises(SourceUnreadable, match="the quote that opens in row 3 is not closed"):
            rows(open_source(file('id,code\n1,A1\n2,"B2\n3,C3\n', "codes.csv")))
        with pytest.raises(SourceUnreadable, match=r"opens in row 3 is not closed properly by row 4"):
            rows(open_source(file('id,code\n1,A1\n2,"B2\n3,"C3"\n', "codes.csv")))

    def test_a_quote_that_swallows_the_rest_of_a_large_file_takes_no_memory(self, file: File) -> None:
        content = 'id,code\n1,"A1\n' + "2,B2\n" * 100_000
        with pytest.raises(SourceUnreadable, match="the quote that opens in row 2 is not closed"):
            rows(open_source(file(content, "codes.csv")))

    def test_nul_stays_in_the_code(self, file: File) -> None:
        assert rows(open_source(file("id,code\n1,A\x001\n", "codes.csv"))) == [(2, "A\x001")]

    def test_trim_takes_blanks_off_the_code(self, file: File) -> None:
        path = file("id,code\n1, A1 \n2,B2\n3\n", "codes.csv")
        assert rows(open_source(path)) == [(2, " A1 "), (3, "B2")]
        assert rows(open_source(path, Reading(trim=True))) == [(2, "A1"), (3, "B2")]

    def test_the_first_line_may_declare_the_delimiter(self, file: File) -> None:
        source = open_source(file("sep=;\r\nid;code\r\n1;A1\r\n", "codes.csv"))
        assert rows(source) == [(3, "A1")]
        assert source.notes == ["CSV, delimiter ';' (as its first line says), header row, column 'code' (2 of 2)"]

    def test_a_bar_divides_nothing_unless_a_header_or_the_column_says_so(self, file: File) -> None:
        path = file("1|A1\n2|B2\n", "codes.csv")
        assert rows(open_source(path)) == [(1, "1|A1"), (2, "2|B2")]
        assert rows(open_source(path, Reading(column="2"))) == [(1, "A1"), (2, "B2")]

    def test_a_byte_order_mark_is_no_part_of_the_header(self, file: File) -> None:
        source = open_source(file(b"\xef\xbb\xbfcode,id\r\nA1,1\r\n", "codes.csv"))
        assert rows(source) == [(2, "A1")]
        assert source.notes == [
            "encoding UTF-8 with BOM",
            "CSV, delimiter ',', header row, column 'code' (1 of 2)",
        ]

    @pytest.mark.slow
    @given(
        records=st.lists(st.tuples(*[st.text(st.sampled_from('A1 ,"\n\r;１'), max_size=6)] * 2), max_size=8),
        ending=st.sampled_from(["\n", "\r\n"]),
        blank_lines=st.booleans(),
    )
    def test_whatever_is_quoted_comes_back_with_the_line_it_starts_in(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        records: list[tuple[str, str]],
        ending: str,
        blank_lines: bool,
    ) -> None:
        # That would look like a row of its own.
        assume(not any("1" in text and "," in text and "\n" in text for record in records for text in record))
        path = tmp_path_factory.getbasetemp() / "quoted.csv"
        line = 2
        expected: list[tuple[int, str]] = []
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream, lineterminator=ending, quoting=csv.QUOTE_ALL)
            writer.writerow(["code", "note"])
            for code, note in records:
                if blank_lines:
                    stream.write(ending)
                    line += 1
                writer.writerow([code, note])
                if code.strip() or note.strip():
                    expected.append((line, code))
                line += 1 + code.count("\n") + note.count("\n")
        blocks = list(open_source(str(path)).blocks())
        assert [pair for block in blocks for pair in zip(block.rows, block.codes, strict=True)] == expected


class TestJsonLines:
    def test_strings_and_objects_are_read(self, file: File) -> None:
        source = open_source(file('"A1"\n\n{"code": "B2", "id": 1}\n', "codes.jsonl"))
        assert rows(source) == [(1, "A1"), (3, "B2")]

    def test_the_key_is_found_in_the_first_object_or_chosen(self, file: File) -> None:
        path = file('{"coupon_code": "A1", "serial": "B2"}\n', "codes.jsonl")
        assert rows(open_source(path)) == [(1, "A1")]
        assert rows(open_source(path, Reading(column="serial"))) == [(1, "B2")]

    def test_an_object_without_a_telling_key_is_refused(self, file: File) -> None:
        with pytest.raises(SourceUnreadable, match="several columns: 1 'a', 2 'b'"):
            open_source(file('{"a": "A1", "b": "B2"}\n', "codes.jsonl"))

    def test_what_is_no_string_is_a_problem_of_that_row(self, file: File) -> None:
        lines = ['{"code": "A1"}', '{"code": 12}', '{"id": "A1"}', '{"code":', "null", '["A1"]', '""',
                 "[" * 10_000, '{"code": "\\ud800 half"}', "true"]  # fmt: skip
        source = open_source(file("\n".join(lines), "codes.jsonl"))
        assert rows(source) == [(1, "A1")]
        assert problems(source) == {
            2: (
                "the value is a number, leading zeros may be lost: write it as a string; if it never had any, "
                "take it with --numbers-as-text, or say how many digits a code has with --digits"
            ),
            3: "the object has no key 'code'",
            4: "the line is not JSON: Input data was truncated",
            5: "the value is null",
            6: "the value is a list or an object, not a text",
            7: "the text is empty",
            8: "the line is not JSON: maximum recursion depth exceeded while deserializing an object",
            9: "the line is not JSON: unexpected end of escaped utf-16 surrogate pair (byte 16)",
            10: "the value is true or false, not a text",
        }
        assert texts_of_problems(source)[0] == "12"

    def test_a_whole_json_list_is_refused(self, file: File) -> None:
        with pytest.raises(SourceUnreadable, match="write each value on a line of its own"):
            open_source(file('["A1", "B2"]', "codes.json"))


class TestPacked:
    @every_row(("ending", "packing"), [(".gz", "gzip"), (".zst", "zstd")])
    @every_row("name", ["codes.txt", "codes.csv", "codes.jsonl"])
    def test_every_text_may_be_packed(self, file: File, name: str, ending: str, packing: str) -> None:
        content = {"codes.txt": "A1\nB2\n", "codes.csv": "code\nA1\nB2\n", "codes.jsonl": '"A1"\n"B2"\n'}[name]
        source = open_source(file(_packed(content.encode(), packing), name + ending))
        assert [code for _, code in rows(source)] == ["A1", "B2"]
        assert source.notes[0] == f"packed with {packing}"

    @pytest.mark.slow
    @pytest.mark.parametrize("packing", ["gzip", "zstd"])
    def test_large_and_in_several_parts(self, file: File, packing: str) -> None:
        part = "".join(f"{number:09}\n" for number in range(100_000)).encode()
        path = file(_packed(part, packing) * 3, "codes.txt.packed")
        codes = rows(open_source(path))
        assert len(codes) == 300_000
        assert codes[-1] == (300_000, "000099999")

    @every_row(("packing", "ending"), [("gzip", ".gz"), ("zstd", ".zst")])
    @every_row("lost_bytes", [1, 100])
    def test_a_file_cut_off_is_refused(self, file: File, packing: str, ending: str, lost_bytes: int) -> None:
        packed = _packed(b"".join(b"%d\n" % number for number in range(1000)), packing)
        with pytest.raises(SourceUnreadable, match="it was cut off, copy it again"):
            rows(open_source(file(packed[:-lost_bytes], "codes.txt" + ending)))

    @every_row(("packing", "ending"), [("gzip", ".gz"), ("zstd", ".zst")])
    def test_a_damaged_file_is_refused(self, file: File, packing: str, ending: str) -> None:
        packed = bytearray(_packed(b"".join(b"%d\n" % number for number in range(1000)), packing))
        packed[len(packed) // 2] ^= 0xFF
        with pytest.raises(SourceUnreadable):
            rows(open_source(file(bytes(packed), "codes.txt" + ending)))

    def test_zeros_behind_gzip_data_are_padding_and_anything_else_is_damage(self, file: File) -> None:
        packed = gzip.compress(b"A1\n")
        assert rows(open_source(file(packed + b"\0" * 512, "codes.txt.gz"))) == [(1, "A1")]
        with pytest.raises(SourceUnreadable, match="is damaged"):
            rows(open_source(file(packed + b"B2\n", "codes.txt.gz")))

    def test_a_name_that_promises_packing_must_keep_it(self, file: File) -> None:
        with pytest.raises(SourceUnreadable, match=r"is named \.gz, but its content is not gzip"):
            open_source(file("A1\n", "codes.txt.gz"))

    @every_row(("window_log", "read"), [(20, True), (27, True), (28, False), (31, False)])
    def test_a_window_that_would_take_much_memory_is_refused_with_what_to_do(
        self, file: File, window_log: int, read: bool
    ) -> None:
        # No size is known beforehand: so the window is written as it was asked for, as `zstd --long=31` does.
        packing = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: window_log})
        path = file(packing.compress(b"A1\nB2\n") + packing.flush(), "codes.txt.zst")
        if read:
            assert rows(open_source(path)) == [(1, "A1"), (2, "B2")]
        else:
            with pytest.raises(SourceUnreadable, match=r"more than 128 MiB: unpack it with zstd -d --long=31"):
                open_source(path)

    @every_row("length", range(1, 40))
    def test_zstd_that_is_cut_anywhere_is_an_error(self, file: File, length: int) -> None:
        packed = _packed(b"A1\n" * 9, "zstd")
        if length < len(packed):
            with pytest.raises(SourceUnreadable):
                rows(open_source(file(packed[:length], "codes.txt.zst")))

    @pytest.mark.slow
    @pytest.mark.parametrize("packing", ["gzip", "zstd"])
    def test_a_bomb_of_one_line_is_refused_and_takes_little_memory(self, file: File, packing: str) -> None:
        path = file(_packed(b"A" * 100_000_000, packing), "codes.txt.packed")
        tracemalloc.start()
        with pytest.raises(SourceUnreadable, match="row 1 is longer than"):
            rows(open_source(path))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20_000_000


def _packed(content: bytes, packing: str) -> bytes:
    if packing == "gzip":
        return gzip.compress(content)
    return zstd.compress(content, options={zstd.CompressionParameter.checksum_flag: 1})


class TestStreams:
    def test_standard_input_is_read_once(self, file: File, monkeypatch: pytest.MonkeyPatch) -> None:
        with open(file("id,code\n1,A1\n2,B2\n", "codes")) as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            source = open_source("-")
            assert source.name == "standard input"
            assert rows(source) == [(2, "A1"), (3, "B2")]
            with pytest.raises(SourceUnreadable, match="standard input can be read only once"):
                rows(source)

    def test_a_pipe_named_as_a_file_loses_nothing(self) -> None:
        reading, writing = os.pipe()
        os.write(writing, b"A1\nB2\n")
        os.close(writing)
        try:
            source = open_source(f"/dev/fd/{reading}")
            assert rows(source) == [(1, "A1"), (2, "B2")]
            assert source.fingerprint() == hashlib.sha256(b"A1\nB2\n").hexdigest()
        finally:
            os.close(reading)

    def test_standard_input_has_a_fingerprint_when_it_is_read(
        self, file: File, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = "A1\n" * 100_000
        with open(file(content, "codes")) as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            source = open_source("-")
            with pytest.raises(SourceUnreadable, match="no fingerprint before it is read to its end"):
                source.fingerprint()
            rows(source)
            assert source.fingerprint() == hashlib.sha256(content.encode()).hexdigest()

    def test_json_lines_and_packed_text_are_known_without_a_name(
        self, file: File, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with open(file(gzip.compress(b'{"code": "A1"}\n'), "codes")) as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            assert rows(open_source("-")) == [(1, "A1")]


class TestFingerprint:
    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["codes.txt", "codes.csv"])
    def test_it_is_the_sha_256_of_the_bytes_before_and_after_reading(self, file: File, name: str) -> None:
        content = "code\n" + "A1\n" * 100_000
        source = open_source(file(content, name))
        expected = hashlib.sha256(content.encode()).hexdigest()
        assert source.fingerprint() == expected
        rows(source)
        assert source.fingerprint() == expected

    def test_it_tells_what_was_read_even_if_the_file_has_changed_since(self, file: File) -> None:
        source = open_source(file("A1\n", "codes.txt"))
        rows(source)
        path = file("B2\n", "codes.txt")
        assert source.fingerprint() == hashlib.sha256(b"A1\n").hexdigest()
        assert open_source(path).fingerprint() == hashlib.sha256(b"B2\n").hexdigest()

    def test_packed_bytes_are_taken_as_they_are(self, file: File) -> None:
        packed = gzip.compress(b"A1\n")
        source = open_source(file(packed, "codes.txt.gz"))
        assert source.fingerprint() == hashlib.sha256(packed).hexdigest()


class TestFilesThatAreNotThere:
    @every_row("name", ["codes.txt", "codes.csv", "codes.xlsx", "codes.parquet", "codes.gz"])
    def test_a_missing_file_is_refused(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(SourceUnreadable, match=f"{name} cannot be read: No such file or directory"):
            open_source(str(tmp_path / name))

    def test_a_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SourceUnreadable, match="Is a directory"):
            open_source(str(tmp_path))

    def test_an_old_excel_file_is_refused(self, file: File) -> None:
        with pytest.raises(SourceUnreadable, match=r"save it as \.xlsx"):
            open_source(file(b"\xd0\xcf\x11\xe0", "codes.xls"))


class TestSheet:
    def test_text_cells_are_codes_and_all_others_are_problems(self, tmp_path: Path) -> None:
        path = _workbook(
            tmp_path,
            [
                ["券码", "面值"],
                ["A1", 5],
                [123450000000000000, 5],
                [1.23e15, 5],
                [None, None],
                [None, 5],
                [True, 5],
                [datetime.datetime(2024, 1, 2), 5],  # noqa: DTZ001  a cell has no time zone
                ["  ", 5],
                ["00123", 5],
            ],
        )
        source = open_source(path)
        assert rows(source) == [(2, "A1"), (10, "00123")]
        digits = "and programs keep 15 of them: the last ones are lost; export the column as text from where the codes"
        as_text = "in the spreadsheet choose 数据 → 分列 → 文本 (Data → Text to Columns → Text)"
        assert problems(source) == {
            3: f"the cell holds a number of 18 digits, {digits} were made",
            4: f"the cell holds a number of 16 digits, {digits} were made",
            6: "column 1 is empty in this row",
            7: "the cell holds true or false, not a text: export the column as text",
            8: f"the cell holds a date or time: {as_text}, or export the column as text",
            9: "column 1 is empty in this row",
        }
        assert texts_of_problems(source)[0] == "123450000000000000"
        assert source.notes == ["Excel, sheet 'Sheet', header row, column '券码' (1 of 2)"]

    def test_a_sheet_without_a_header_begins_with_its_first_row(self, tmp_path: Path) -> None:
        path = _workbook(tmp_path, [[], ["A1 "], ["B2"]])
        assert rows(open_source(path)) == [(2, "A1 "), (3, "B2")]
        assert rows(open_source(path, Reading(trim=True))) == [(2, "A1"), (3, "B2")]

    def test_a_column_is_chosen_by_name_or_number(self, tmp_path: Path) -> None:
        path = _workbook(tmp_path, [["id", "serial"], ["x1", "A1"], ["x2"]])
        assert rows(open_source(path, Reading(column="serial"))) == [(2, "A1")]
        assert rows(open_source(path, Reading(column="2"))) == [(2, "A1")]
        assert problems(open_source(path, Reading(column="2"))) == {3: "column 2 is empty in this row"}
        with pytest.raises(SourceUnreadable, match="several columns: 1 'id', 2 'serial'"):
            open_source(path)

    def test_another_sheet_is_named_behind_the_path(self, tmp_path: Path) -> None:
        path = _workbook(tmp_path, [["A1"]], second=[["B2"]])
        assert rows(open_source(path)) == [(1, "A1")]
        assert rows(open_source(f"{path}#Second")) == [(1, "B2")]
        with pytest.raises(SourceUnreadable, match="has no sheet 'Third', only 'Sheet', 'Second'"):
            open_source(f"{path}#Third")

    @pytest.mark.slow
    def test_rows_come_in_blocks(self, tmp_path: Path) -> None:
        path = _workbook(tmp_path, [[f"A{number}"] for number in range(1, 20_002)])
        blocks = list(open_source(path).blocks())
        assert len(blocks) > 1
        assert [code for block in blocks for code in block.codes] == [f"A{number}" for number in range(1, 20_002)]
        assert [row for block in blocks for row in block.rows] == list(range(1, 20_002))

    def test_an_empty_sheet_has_no_rows(self, tmp_path: Path) -> None:
        assert rows(open_source(_workbook(tmp_path, []))) == []

    def test_its_fingerprint_is_that_of_the_file(self, tmp_path: Path) -> None:
        path = _workbook(tmp_path, [["A1"]])
        assert open_source(path).fingerprint() == hashlib.sha256(Path(path).read_bytes()).hexdigest()

    @every_row("content", [b"", b"A1\n", b"PK\x03\x04", b"\xd0\xcf\x11\xe0"])
    def test_what_is_no_workbook_is_refused(self, file: File, content: bytes) -> None:
        with pytest.raises(SourceUnreadable, match=r"is no readable \.xlsx workbook"):
            open_source(file(content, "codes.xlsx"))


def _workbook(folder: Path, table: list[list[object]], second: list[list[object]] | None = None) -> str:
    workbook = Workbook(write_only=True)
    for title, cells in (("Sheet", table), ("Second", second)):
        if cells is not None:
            sheet = workbook.create_sheet(title)
            for row in cells:
                sheet.append(row)
    path = folder / "codes.xlsx"
    workbook.save(path)
    return str(path)


class TestParquet:
    @pytest.mark.slow
    def test_a_text_column_is_read_in_batches(self, tmp_path: Path) -> None:
        path = _parquet(tmp_path, {"id": [1, 2, 3], "code": ["A1", None, "C3 "]})
        source = open_source(path)
        assert rows(source) == [(1, "A1"), (3, "C3 ")]
        assert problems(source) == {2: "the value is null"}
        assert source.notes == ["Parquet, column 'code' (2 of 2)"]
        assert rows(open_source(path, Reading(trim=True))) == [(1, "A1"), (3, "C3")]
        assert source.fingerprint() == hashlib.sha256(Path(path).read_bytes()).hexdigest()

    @pytest.mark.slow
    def test_row_numbers_count_on_across_blocks(self, tmp_path: Path) -> None:
        path = _parquet(tmp_path, {"code": [f"A{number}" for number in range(1, 25_001)]})
        assert rows(open_source(path))[-1] == (25_000, "A25000")
        assert [len(block.codes) for block in open_source(path).blocks()] == [10_000, 10_000, 5_000]

    def test_a_column_of_numbers_is_refused(self, tmp_path: Path) -> None:
        path = _parquet(tmp_path, {"code": [1, 2]})
        with pytest.raises(SourceUnreadable, match="column 'code' is int64, not text"):
            open_source(path)

    def test_a_column_of_lists_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SourceUnreadable, match="column 'code' is list<"):
            open_source(_parquet(tmp_path, {"code": [["A1"], ["B2"]]}))

    def test_a_dictionary_of_texts_is_text(self, tmp_path: Path) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        path = _parquet(tmp_path, {"code": pyarrow.array(["A1", "A1"]).dictionary_encode()})
        assert rows(open_source(path)) == [(1, "A1"), (2, "A1")]

    def test_several_columns_and_none_chosen_are_refused(self, tmp_path: Path) -> None:
        path = _parquet(tmp_path, {"a": ["A1"], "b": ["B2"]})
        with pytest.raises(SourceUnreadable, match="several columns: 1 'a', 2 'b'"):
            open_source(path)
        assert (
            rows(open_source(path, Reading(column="b"))) == rows(open_source(path, Reading(column="2"))) == [(1, "B2")]
        )

    def test_what_is_no_parquet_is_refused(self, file: File) -> None:
        pytest.importorskip("pyarrow")
        with pytest.raises(SourceUnreadable, match="is no readable Parquet file"):
            open_source(file("A1\n", "codes.parquet"))

    def test_without_pyarrow_the_message_says_what_to_install(
        self, file: File, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
        with pytest.raises(ExtraMissing, match=r'Parquet needs .*: pip install "quanma\[parquet\]"'):
            open_source(file(b"PAR1", "codes.parquet"))


def _parquet(folder: Path, columns: dict[str, object]) -> str:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = folder / "codes.parquet"
    parquet.write_table(pyarrow.table(columns), path)
    return str(path)


class TestQuery:
    def test_the_rows_of_a_query_are_read_in_order(self, tmp_path: Path) -> None:
        source = open_query(_database(tmp_path), "SELECT code FROM codes ORDER BY id")
        assert rows(source) == [(1, "A1"), (2, " B2 ")]
        assert problems(source) == {
            3: (
                "the value is a number, leading zeros may be lost: store codes as text; if it never had any, "
                "take it with --numbers-as-text, or say how many digits a code has with --digits"
            ),
            4: "the value is null",
            5: "the value is of type bytes, not a text",
            6: "the text is empty",
        }
        assert source.notes == ["query, column 'code' (1 of 1)"]

    def test_a_column_is_chosen_like_in_a_file(self, tmp_path: Path) -> None:
        url = _database(tmp_path)
        assert rows(open_query(url, "SELECT id, code FROM codes LIMIT 1")) == [(1, "A1")]
        assert rows(open_query(url, "SELECT id, code AS x FROM codes LIMIT 1", Reading(column="2"))) == [(1, "A1")]
        with pytest.raises(SourceUnreadable, match="several columns: 1 'id', 2 'x'"):
            open_query(url, "SELECT id, code AS x FROM codes")

    def test_trim_works_as_in_a_file(self, tmp_path: Path) -> None:
        query = "SELECT code FROM codes WHERE id = 2"
        assert rows(open_query(_database(tmp_path), query, Reading(trim=True))) == [(1, "B2")]

    def test_the_fingerprint_changes_with_the_content(self, tmp_path: Path) -> None:
        url = _database(tmp_path)
        query = "SELECT code FROM codes ORDER BY id"
        before = open_query(url, query)
        rows(before)
        assert open_query(url, query).fingerprint() == before.fingerprint()
        with sqlite3.connect(tmp_path / "codes.db") as connection:
            connection.execute("UPDATE codes SET code = 'A2' WHERE id = 1")
        connection.close()
        assert open_query(url, query).fingerprint() != before.fingerprint()

    def test_a_relative_path_starts_where_the_command_runs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _database(tmp_path)
        monkeypatch.chdir(tmp_path)
        assert rows(open_query("sqlite:///codes.db", "SELECT code FROM codes LIMIT 1")) == [(1, "A1")]

    def test_many_rows_come_in_blocks(self, tmp_path: Path) -> None:
        query = (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000) "
            "SELECT 'A' || i AS code FROM n"
        )
        blocks = list(open_query(_database(tmp_path), query).blocks())
        assert [len(block.codes) for block in blocks] == [10_000, 10_000, 5_000]
        assert blocks[-1].rows[-1] == 25_000

    @every_row("statement", ["DELETE FROM codes", "DROP TABLE codes", "SELEC code"])
    def test_only_a_query_is_taken(self, tmp_path: Path, statement: str) -> None:
        url = _database(tmp_path)
        with pytest.raises(SourceUnreadable):
            open_query(url, statement)
        assert len(rows(open_query(url, "SELECT 'A' AS code FROM codes"))) == 6

    def test_a_database_that_is_not_there_is_refused_and_not_made(self, tmp_path: Path) -> None:
        with pytest.raises(SourceUnreadable, match="no such file"):
            open_query(f"sqlite:///{tmp_path}/none.db", "SELECT 1")
        assert list(tmp_path.iterdir()) == []

    def test_what_is_no_database_is_refused(self, file: File) -> None:
        with pytest.raises(SourceUnreadable, match="not a database"):
            open_query(f"sqlite:///{file('A1' * 100, 'codes.db')}", "SELECT code FROM codes")

    def test_another_kind_of_database_is_refused_without_showing_the_password(self) -> None:
        with pytest.raises(SourceUnreadable, match=r"sqlite:////absolute\.db or postgresql://") as refused:
            open_query("mysql://me:secret@127.0.0.1/shop?password=secret", "SELECT 1")
        assert "secret" not in str(refused.value)
        assert "it does not begin with sqlite:, postgresql:, postgres:" in str(refused.value)

    def test_a_postgresql_server_that_is_not_there_is_refused_without_showing_the_password(self) -> None:
        pytest.importorskip("asyncpg")
        with pytest.raises(SourceUnreadable, match=r"^postgresql://me@127\.0\.0\.1:1/shop: ") as refused:
            open_query("postgresql://me:secret@127.0.0.1:1/shop", "SELECT 1")
        assert "secret" not in str(refused.value)

    def test_without_asyncpg_the_message_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "asyncpg", None)
        with pytest.raises(ExtraMissing, match=r'PostgreSQL needs .*: pip install "quanma\[postgres\]"'):
            open_query("postgresql://127.0.0.1:1/shop", "SELECT 1")


def _database(folder: Path) -> str:
    connection = sqlite3.connect(folder / "codes.db")
    with connection:
        connection.execute("CREATE TABLE codes (id INTEGER PRIMARY KEY, code)")
        values = [("A1",), (" B2 ",), (123,), (None,), (b"A1",), ("",)]
        connection.executemany("INSERT INTO codes (code) VALUES (?)", values)
    connection.close()
    return f"sqlite:///{folder}/codes.db"


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_rows(tmp_path: Path) -> None:
    few, many = (_peak_bytes_of_reading(tmp_path, count) for count in (200_000, 2_000_000))
    assert many < few * 1.1
    assert many < 8_000_000


def _peak_bytes_of_reading(folder: Path, count: int) -> int:
    path = folder / "codes.txt"
    with path.open("w") as stream:
        stream.writelines(f"{number:016}\n" for number in range(count))
    tracemalloc.start()
    read = sum(len(block.codes) for block in open_source(str(path)).blocks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read == count
    return peak
