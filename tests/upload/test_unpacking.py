"""Files of strangers: what would unpack to too much is refused before it is, with the limit (F1).

The limits are lowered here, so that small files exceed them.
"""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from quanma.errors import SourceUnreadable
from quanma.upload.source import archive, open_source, pages, parquet
from quanma.upload.source.workbook import package, rowpattern, sheetmarkup
from tests.support.every import every_row

OTHERS = "xl/theme/theme1.xml"
SHEET = "xl/worksheets/sheet1.xml"


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    made = Workbook()
    assert made.active is not None
    for number in range(300):
        made.active.append([f"CODE{number:04}"])
    path = tmp_path / "codes.xlsx"
    made.save(path)
    return path


def repacked(path: Path, changes: dict[str, bytes], more: int = 0) -> Path:
    """The workbook with other parts in it."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(path.with_name("new.xlsx"), "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, changes.pop(name, old.read(name)))
        for name, content in changes.items():
            new.writestr(name, content)
        for number in range(more):
            new.writestr(f"more/{number}", b"")
    return path.with_name("new.xlsx")


def read(path: Path) -> int:
    return sum(len(block.codes) for block in open_source(str(path)).blocks())


def sized(path: Path, part: str) -> int:
    with zipfile.ZipFile(path) as packed:
        return packed.getinfo(part).file_size


def test_a_workbook_within_the_limits_is_read(workbook: Path) -> None:
    assert read(workbook) == 300


@pytest.mark.parametrize(
    ("part", "limit"),
    [(SHEET, "SHEET_BYTES_MAX"), (OTHERS, "PART_BYTES_MAX"), ("[Content_Types].xml", "LISTING_BYTES_MAX")],
)
def test_a_part_that_would_unpack_to_too_much_is_refused_with_the_limit(
    workbook: Path, monkeypatch: pytest.MonkeyPatch, part: str, limit: str
) -> None:
    size = sized(workbook, part)
    monkeypatch.setattr(archive, limit, size - 1)
    with pytest.raises(SourceUnreadable) as refused:
        read(workbook)
    assert f"would unpack to {size:,} bytes, and at most {size - 1:,} are read" in str(refused.value)
    assert part in str(refused.value)
    monkeypatch.setattr(archive, limit, size)
    assert read(workbook) == 300


def test_a_part_that_is_packed_too_tightly_is_refused_with_the_limit(
    workbook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = repacked(workbook, {"xl/sharedStrings.xml": b"<sst>" + b"<si><t/></si>" * 5000 + b"</sst>"})
    assert read(path) > 0  # Small ones may.
    monkeypatch.setattr(archive, "RATIO_FROM_BYTES", 10_000)
    with pytest.raises(SourceUnreadable, match=r"sharedStrings\.xml' .* times its size, and at most 100 times is read"):
        read(path)


def test_a_part_that_says_that_it_is_a_sheet_too_has_no_sheets_room(
    workbook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the texts of all cells could be as large as a sheet, and they are held in memory."""
    with zipfile.ZipFile(workbook) as packed:
        listing = packed.read("[Content_Types].xml").decode()
    strings = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    more = f'<Override PartName="/{SHEET}" ContentType="{strings}"/></Types>'
    path = repacked(workbook, {"[Content_Types].xml": listing.replace("</Types>", more).encode()})
    monkeypatch.setattr(archive, "PART_BYTES_MAX", sized(path, SHEET) - 1)
    with pytest.raises(SourceUnreadable, match=r"sheet1\.xml' in it would unpack"):
        read(path)


def test_a_workbook_of_too_many_parts_is_refused(workbook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "PARTS_MAX", 100)
    with pytest.raises(SourceUnreadable, match=r"has 1\d\d parts, and at most 100 are read"):
        read(repacked(workbook, {}, more=100))


def test_a_workbook_with_a_large_directory_is_refused(workbook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be held in memory before its parts can be counted."""
    monkeypatch.setattr(package, "DIRECTORY_BYTES_MAX", 2000)
    with pytest.raises(SourceUnreadable, match=r"is cut off or damaged|its directory has"):
        read(repacked(workbook, {}, more=100))


def test_a_row_that_claims_a_number_no_sheet_has_is_refused(workbook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheetmarkup, "ROWS_MAX", 299)
    monkeypatch.setattr(rowpattern, "ROWS_MAX", 299)
    with pytest.raises(SourceUnreadable, match="a row has a number above 299"):
        read(workbook)


@pytest.mark.slow
def test_what_is_refused_is_not_unpacked(workbook: Path) -> None:
    read(workbook)  # What is imported is there now.
    path = repacked(workbook, {"xl/sharedStrings.xml": bytes(50_000_000)})
    tracemalloc.start()
    with pytest.raises(SourceUnreadable, match="times its size"):
        read(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5_000_000


def table(folder: Path, codes: list[str | None], **how: Any) -> Path:
    pyarrow, writer = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = folder / "codes.parquet"
    writer.write_table(pyarrow.table({"code": codes}), path, **how)
    return path


HOW: list[dict[str, Any]] = [
    {},
    {"compression": "zstd"},
    {"compression": "none", "use_dictionary": False},
    {"data_page_version": "2.0", "write_page_index": True, "write_page_checksum": True},
    {"use_dictionary": False, "column_encoding": {"code": "DELTA_BYTE_ARRAY"}},
    {"write_statistics": False, "data_page_size": 100},
    {"row_group_size": 77},
]


@every_row("how", HOW)
def test_every_writers_pages_are_looked_at_and_read(tmp_path: Path, how: dict[str, Any]) -> None:
    codes = [None if number % 50 == 7 else f"CODE{number:06}" for number in range(2000)]
    path = table(tmp_path, codes, **how)
    assert [code or None for block in open_source(str(path)).blocks() for code in block.codes] == codes


@pytest.mark.parametrize("how", HOW)
def test_columns_are_found_where_the_library_finds_them(tmp_path: Path, how: dict[str, Any]) -> None:
    """The library ends the process for some damaged footers, so it is not asked."""
    path = table(tmp_path, [f"CODE{number:06}" for number in range(2000)], **how)
    writer = pytest.importorskip("pyarrow.parquet")
    metadata = writer.ParquetFile(path).metadata
    known = [
        metadata.row_group(group).column(number)
        for group in range(metadata.num_row_groups)
        for number in range(metadata.num_columns)
    ]
    with path.open("rb") as file:
        found = list(pages.chunks(file))
    assert [(chunk.column, chunk.length) for chunk in found] == [
        (one.path_in_schema, one.total_compressed_size) for one in known
    ]
    assert [chunk.start for chunk in found] == [
        min(filter(None, (one.dictionary_page_offset, one.data_page_offset))) for one in known
    ]


@every_row("content", [b"", b"PAR1", b"\xff\xff\xff\xffPAR1", b"\x01\0\0\0PAR1", b"\x19\xff\x01\0\0\0PAR1"])
def test_a_footer_that_cannot_be_read_is_damage_and_ends(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "footer"
    path.write_bytes(content)
    with path.open("rb") as file, pytest.raises(ValueError, match=r"footer|header"):
        list(pages.chunks(file))


@every_row("how", HOW)
def test_a_page_that_would_unpack_to_too_much_is_refused_with_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    path = table(tmp_path, ["A" * 3000, "B2"], **how)
    monkeypatch.setattr(parquet, "PAGE_BYTES_MAX", 2000)
    with pytest.raises(
        SourceUnreadable, match=r"a page of column 'code' would unpack to 3,\d\d\d bytes, and at most 2,000 are read"
    ):
        open_source(str(path))


def test_a_long_value_that_stands_for_many_rows_is_made_a_few_times_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(tmp_path, ["A" * 10_000] * 500)
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(parquet, "BATCH_BYTES_MAX", 50_000)
    monkeypatch.setattr(parquet, "BLOCK_CHARACTERS_MAX", 100_000)
    counts = [len(block.codes) for block in open_source(str(path)).blocks()]
    assert (sum(counts), max(counts)) == (500, 11)


def test_a_value_longer_than_a_line_of_text_may_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "LINE_BYTES_MAX", 100)
    with pytest.raises(SourceUnreadable, match="row 2 is longer than 100 characters; is 'code' the column"):
        read(table(tmp_path, ["A1", "A" * 101]))


@every_row(
    "content",
    [
        b"",
        b"\x15",
        b"\x15\x04\x15",
        b"\xff" * 40,
        b"\x1c" * 40,
        b"\x19\xff" * 20,
        b"\x00",
        b"\x15\x04\x15\x03\x15\x03\x00",
    ],
)
def test_a_header_that_cannot_be_read_is_damage_and_ends(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "page"
    path.write_bytes(content)
    with path.open("rb") as file, pytest.raises(ValueError, match=r"page"):
        list(pages.pages(file, 0, 100))
