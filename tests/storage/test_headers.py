"""One list of names: who reads a file of codes to upload and who reads one of codes given out know the same headers."""

from __future__ import annotations

from pathlib import Path

from quanma.platform.pool.reconcile_file import read_reconcile_file
from quanma.storage import headers
from quanma.upload.source import open_source
from tests.support.every import every_row


def test_a_file_to_upload_and_a_file_of_issued_codes_have_the_same_headers(tmp_path: Path) -> None:
    path = tmp_path / "codes.csv"
    for stock in headers.STOCK_NAMES[:2]:
        for code in headers.CODE_NAMES:
            for spelt in (code, code.upper(), f" *{code.replace('_', '-')}（必填）"):
                path.write_text(f"{stock},{spelt}\n98065001,A1\n")
                assert [code for block in open_source(str(path)).blocks() for code in block.codes] == ["A1"]
                assert [one.coupon_code for one in read_reconcile_file(path).codes] == ["A1"]


@every_row(
    ("cell", "letters"),
    [
        ("Coupon Code", "couponcode"),
        ("*券码（必填）", "券码"),
        ("  COUPON-CODE ", "couponcode"),
        ("券 码[文本]", "券码"),
    ],
)
def test_a_name_is_compared_by_its_letters(cell: str, letters: str) -> None:
    assert headers.letters(cell) == letters


def test_no_name_is_one_of_codes_and_one_of_stocks() -> None:
    assert not {headers.letters(name) for name in headers.STOCK_NAMES} & {
        headers.letters(n) for n in headers.CODE_NAMES
    }


def test_a_cell_of_a_megabyte_of_brackets_is_no_name_and_takes_no_time() -> None:
    assert not headers.names_codes("(" * 1_000_000)
