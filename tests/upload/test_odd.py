"""Legal texts that are hardly codes: none is sent unasked, in whatever kind of file."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from quanma.upload import prepare
from quanma.upload.odd import is_total, odd_ones, why_odd
from quanma.upload.plan import Planned
from quanma.upload.source import PLAIN, Reading, open_source
from quanma.upload.target import BUSIFAVOR
from tests.support.every import every_row


def planned(path: Path, reading: Reading = PLAIN) -> Planned:
    return prepare.look_only(BUSIFAVOR, [open_source(str(path), reading)], reading, Path(tempfile.gettempdir()))


@every_row(
    ("code", "kind"),
    [
        *[(word, "NULL_WORD") for word in ("\\N", "NULL", "null", "nan", "NaN", "None", "undefined", "N/A", "nil")],
        *[(word, "NO_LETTER") for word in ("-", "--", "/", "_", "------", "| |", "\\")],
        *[(word, "HEADER") for word in ("code", "Coupon Code", "COUPON_CODE", "voucher", "CDKEY", "CouponCode")],
        *[(word, "TOTAL") for word in ("Total", "TOTAL", "total 3", "Grand Total", "Subtotal", "合计", "总计：")],
        *[(word, "TRUTH_WORD") for word in ("TRUE", "false")],
        *[(word, "DATE_WORD") for word in ("2-Sep", "02-SEP", "Sep-26", "1-Mar")],
        *[(word, "ROW_COUNT") for word in ("3 rows", "(3 rows)", "-- 12 rows exported", "1 row")],
    ],
)  # fmt: skip
def test_it_is_known_by_its_kind(code: str, kind: str) -> None:
    reason = why_odd(code)
    assert reason is not None
    assert reason.code == kind
    assert list(odd_ones(["A1", code])) == [1]


@every_row(
    "code",
    [
        "A1",
        "NULL1",
        "NAN-001",
        "CODE2026",
        "TOTAL2026",
        "TRUE1",
        "SEP26",
        "2-SEPT",
        "A-",
        "1E15",
        "TOTALLY-1",
        "ROWS-3",
    ],
)
def test_a_code_that_only_holds_such_a_word_is_a_code(code: str) -> None:
    assert odd_ones([code]) == {}


@given(st.lists(st.sampled_from(["A1", "QM-0001", "NULL", "Total", "Total 7", "-", "code", "合计", "3 rows"])))
def test_a_block_is_judged_as_its_codes_are(codes: list[str]) -> None:
    assert odd_ones(codes) == {at: why for at, code in enumerate(codes) if (why := why_odd(code))}


@every_row(
    "cell",
    [
        "合计",
        "总计:",
        "小计（本页）",
        "本页小计",
        " 合计 ",
        "合计 3 张",
        "合计3张",
        "合 计",
        "总\u3000计：",
        "合计数",
        "Total:",
        "Totals",
        "Total (60)",
    ],
)
def test_a_total_is_known_in_many_spellings(cell: str) -> None:
    assert is_total(cell)


@every_row("cell", ["合计划", "统计", "道达尔", "TotalEnergies", "总计划部", "not a total"])
def test_a_word_that_begins_like_a_total_is_none(cell: str) -> None:
    assert not is_total(cell)


NULL = "id,code\n1,QM-0001\n2,NULL\n3,QM-0003\n4,NULL\n5,nan\n6,None\n7,undefined\n8,null\n9,N/A\n10,-\n"


@every_row(
    ("name", "content", "rows", "rejected"),
    [
        ("codes.csv", NULL, 10, 8),
        ("codes.tsv", "id\tcode\tname\n1\tQM-0001\tA\n2\t\\N\tB\n3\tQM-0003\tC\n4\t\\N\tD\n", 4, 2),
        ("codes.csv", "code\nQM-0001\nQM-0002\ncode\nQM-0003\n", 4, 1),
        ("codes.csv", "shop,code\n1,QM-0001\n1,QM-0002\nshop,code\n2,QM-0003\n", 4, 1),
        ("codes.csv", "店,serial\n1,QM-0001\n1,QM-0002\n店,serial\n2,QM-0003\n", 4, 1),
        ("codes.csv", "序号,券码\n1,KF1\n2,KF2\n合计,60000\n", 3, 1),
        ("codes.csv", "券码,备注\nKF1,x\nKF2,y\n60000,总计：\n", 3, 1),
        ("codes.csv", "券码,面额\nKF1,1\nTotal,2\n", 2, 1),
        ("codes.txt", "A1\nB2\ncode\nC3\nTotal 3\n3 rows\n", 6, 3),
        ("codes.jsonl", '"A1"\n"NULL"\n{"code": "None"}\n', 3, 2),
    ],
)
def test_it_is_rejected_and_taken_if_the_user_says_so(
    tmp_path: Path, name: str, content: str, rows: int, rejected: int
) -> None:
    (tmp_path / name).write_text(content)
    column = Reading(column="serial") if "serial" in content else PLAIN
    found = planned(tmp_path / name, column)
    assert (found.rows, found.rejected) == (rows, rejected)
    assert "--take-odd sends it as a code" in found.reasons[0]
    with_odd = planned(tmp_path / name, Reading(column=column.column, take_odd=True))
    assert (with_odd.rows, with_odd.rejected) == (rows, 0)


def test_a_total_far_behind_is_found_and_the_rows_before_it_are_taken(tmp_path: Path) -> None:
    lines = [f"{number},QM{number:08}" for number in range(30_000)]
    (tmp_path / "codes.csv").write_text("\n".join(["序号,券码", *lines, "合计,30000", "", "页脚,QM99999999"]) + "\n")
    found = planned(tmp_path / "codes.csv")
    assert (found.rows, found.rejected, found.distinct) == (30_002, 1, 30_001)
    assert found.reasons[0].startswith("1 × total row (row 30002)")
