"""Texts whose rows are not lines are refused by what they are, whatever their size; and so are no others."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path

import pytest

from quanma.errors import SourceUnreadable
from quanma.upload.source import Reading, open_source
from tests.support.every import every_row

SMALL, LARGE = 20, 20_000
"""Less and more than what is looked at first."""


@functools.cache
def codes(count: int) -> tuple[str, ...]:
    return tuple(f"QM-{number:05}" for number in range(count))


def said(path: Path, reading: Reading | None = None) -> str:
    with pytest.raises(SourceUnreadable) as refused:
        open_source(str(path), reading or Reading())
    assert len(str(refused.value)) < 500
    return str(refused.value)


@every_row("count", [SMALL, LARGE])
@every_row("name", ["codes.txt", "codes.csv", "codes.tsv"])
@every_row(
    ("before", "between", "end"),
    [
        ("", "\r", "\r"),
        ("", "\r", "\r\n"),
        ("code\r", "\r", ""),
        ("shop,code\r", "\r1,", "\n"),
        ('"code"\r"', '"\r"', '"\n'),
    ],
)
def test_lines_that_end_with_cr_alone(
    tmp_path: Path, count: int, name: str, before: str, between: str, end: str
) -> None:
    (tmp_path / name).write_bytes((before + between.join(codes(count)) + end).encode())
    assert "lines end with CR alone" in said(tmp_path / name)


@functools.cache
def documents(count: int) -> list[tuple[str, str]]:
    rows = [{"code": code} for code in codes(count)]
    return [
        (json.dumps(codes(count)), "is one JSON list"),
        (json.dumps(codes(count), indent=2), "is one JSON list"),
        (json.dumps(rows, indent=1), "is one JSON list"),
        (json.dumps({"code": 0, "data": rows}, indent=2), "is one JSON document"),
        (json.dumps({"codes": codes(count)}, indent=2), "is one JSON document"),
    ]


@every_row("count", [SMALL, LARGE])
@every_row("name", ["codes.json", "codes.jsonl", "codes.txt", "codes.csv"])
def test_json_documents(tmp_path: Path, count: int, name: str) -> None:
    for text, what in documents(count):
        (tmp_path / name).write_text(text)
        assert what in said(tmp_path / name)
        (tmp_path / name).write_text(f"\ufeff\n{text}\n")
        assert what in said(tmp_path / name)


def test_a_json_object_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "codes.json").write_text(json.dumps({"count": 3, "codes": codes(3)}))
    assert "is one JSON object with a list under 'codes'" in said(tmp_path / "codes.json")
    (tmp_path / "codes.json").write_text(json.dumps({"codes": codes(LARGE)}))
    assert "is one JSON document" in said(tmp_path / "codes.json")


@every_row("count", [3, 300, LARGE])
@every_row("name", ["codes.txt", "codes.csv", "codes"])
@every_row("separator", [",", ", ", ";", "\t", "|", "，", "、", "','"])
def test_codes_on_one_line(tmp_path: Path, count: int, name: str, separator: str) -> None:
    (tmp_path / name).write_text(separator.join(codes(count)) + "\n")
    assert "codes on one line" in said(tmp_path / name)


def test_codes_on_one_line_with_blanks_between(tmp_path: Path) -> None:
    (tmp_path / "codes.txt").write_text(" ".join(codes(300)))
    assert "300 codes on one line, with a blank between them" in said(tmp_path / "codes.txt")


def test_packed_texts_are_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "codes.txt.gz").write_bytes(gzip.compress(",".join(codes(LARGE)).encode()))
    assert "codes on one line" in said(tmp_path / "codes.txt.gz")


@every_row(
    ("name", "text", "taken"),
    [
        ("codes.txt", "QM-00001", ["QM-00001"]),
        ("codes.txt", "QM 1 A 2 B 3", ["QM 1 A 2 B 3"]),
        ("codes.csv", "code,shop,day\nQM-00001,S-000001,D-000001\n", ["QM-00001"]),
        ("codes.jsonl", '{"code": "A1"}\n{"code": "B2"}\n', ["A1", "B2"]),
        ("codes.jsonl", '{"code": "A1", "tags": []}\n{"code": "B2", "tags": ["x"]}\n', ["A1", "B2"]),
        ("codes.json", '{"code": "A1"}', ["A1"]),
        ("codes.csv", "[券码导出]\n券码\nA1\n", ["A1"]),
    ],
)
def test_what_is_one_a_row_is_read(tmp_path: Path, name: str, text: str, taken: list[str]) -> None:
    (tmp_path / name).write_text(text)
    assert [code for block in open_source(str(tmp_path / name)).blocks() for code in block.codes] == taken


def test_who_names_the_column_knows_that_one_row_is_a_table(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text("98065001,QM000001,20260801\n")
    source = open_source(str(tmp_path / "codes.csv"), Reading(column="2"))
    assert [code for block in source.blocks() for code in block.codes] == ["QM000001"]
