"""A file of given-out codes: read by its header, as Excel, WPS and `quanma listen` write it, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quanma.errors import SourceUnreadable
from quanma.platform.pool.reconcile_file import ReconcileFile, read_reconcile_file
from tests.support.every import every_row

S, T = "8333820484731191", "98065001"
TWO = [(S, "A1"), (S, "B2")]
EVENT = {"event_type": "EVENT_TYPE_BUSICOUPON_SEND", "stock_id": S, "coupon_code": "A1", "openid": "o1"}


def read(folder: Path, content: str | bytes, encoding: str = "utf-8") -> ReconcileFile:
    path = folder / "issued"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return read_reconcile_file(path)


def found(file: ReconcileFile) -> list[tuple[str, str]]:
    return [(code.stock_id, code.coupon_code) for code in file.codes]


@every_row(
    "text",
    [
        f"{S},A1\n{S},B2\n",
        f"{S},A1\r\n\r\n{S},B2",
        f"{S},A1,o1,more\n{S},B2,o2\n",
        f"stock_id,coupon_code\n{S},A1\n{S},B2\n",
        f"openid,Coupon Code,Stock-ID\no1,A1,{S}\no2,B2,{S}\n",
        f"批次号,券码\n{S},A1\n{S},B2\n",
        f"券码,批次\nA1,{S}\nB2,{S}\n",
        f"批次,批次号,状态,优惠券code\n八月活动,{S},已领,A1\n八月活动,{S},已领,B2\n",
        f"批次号（stock_id）,券码(code)\n{S},A1\n{S},B2\n",
        f"优惠券导出\n\n序号,批次号,券码\n1,{S},A1\n2,{S},B2\n",
        f"批次号;券码\n{S};A1\n{S};B2\n",
        f'"stock_id";"code"\n"{S}";"A1"\n"{S}";"B2"\n',
        f"sep=;\n批次号;券码\n{S};A1\n{S};B2\n",
        f"code\tstock_id\nA1\t{S}\nB2\t{S}\n",
        f"{S}\tA1\n{S}\tB2\n",
        f"stock_id,code\n{S},A1\nstock_id,code\n{S},B2\n",
    ],
)
def test_a_table_is_read_by_its_header_or_else_by_place(tmp_path: Path, text: str) -> None:
    assert found(read(tmp_path, text)) == TWO
    for encoding in ("utf-8-sig", "utf-16", "gb18030"):
        assert found(read(tmp_path, text, encoding)) == TWO, encoding


@every_row(
    ("text", "columns"),
    [
        (f"{S},A1\n", ("column 1", "column 2")),
        (f"券码,备注,批次\nA1,x,{S}\n", ("column '批次'", "column '券码'")),
    ],
)
def test_a_column_is_called_as_in_the_file(tmp_path: Path, text: str, columns: tuple[str, str]) -> None:
    file = read(tmp_path, text)
    assert (file.stock_column, file.code_column) == columns


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    text = f'sep=,\n\nstock_id,code,note\n{S},A1,"two\nlines"\n\n{S},B2,\n'
    assert [code.line for code in read(tmp_path, text).codes] == [5, 7]


@every_row(
    "text",
    [
        json.dumps(EVENT) + "\n",
        json.dumps({"id": "1", "event_type": "COUPON.SEND", "create_time": "…", "content": EVENT}) + "\n\n",
        json.dumps([EVENT]),
        json.dumps({"data": [EVENT]}, indent=2),
        json.dumps({"stock_id": int(S), "coupon_code": "A1"}),
        json.dumps({"批次号": S, "券码": "A1"}, ensure_ascii=False),
        json.dumps({"id": "1", "event_type": "COUPON.USE", "content": {}}) + "\n" + json.dumps(EVENT),
    ],
)
def test_a_ledger_and_exports_of_events_are_read(tmp_path: Path, text: str) -> None:
    file = read(tmp_path, text)
    assert found(file) == [(S, "A1")]
    assert file.left_out == text.count("COUPON.USE")


def test_an_empty_file_holds_no_code(tmp_path: Path) -> None:
    for text in ("", "\n\n", "stock_id,coupon_code\n", "\ufeff", "[]"):
        assert found(read(tmp_path, text)) == [], repr(text)


@every_row(
    ("content", "reason"),
    [
        (f"券码,活动\nA1,{S}\n", "names no column of stocks: call the columns stock_id and coupon_code"),
        (f"批次号,会员\n{S},o1\n", "names no column of codes"),
        ("code\nA1\n", "names no column of stocks"),
        (f"活动,会员码\n{S},A1\n", "line 1: '活动', '会员码' is no stock_id,coupon_code. If it is a header"),
        (f"campaign,member\n{S},A1\n", "If it is a header, it names no column that is known"),
        (f"code,code,stock_id\nA1,A1,{S}\n", "2 columns 'code'"),
        (f"{T},A1\nstock_id,code\n{S},A1\n", "rows stand above the header in line 2"),
        (f"stock_id,code\n{S},A1\n合计,\n", "line 3"),
        (f"stock_id,code\n{S},A1\n{S}\n", "line 3"),
        (f"{S},A1\n{S},A\x002\n", "line 2"),
        (f'{S},A1\n{S},"B2\n', "line 2"),
        (f"{S},{'A' * 33}\n", "line 1"),
        (f"{S}{S},A1\n", "line 1"),
        (b"98065001,\xff\n", "neither UTF-8 nor GB18030"),
        (b"PK\x03\x04\x14\x00", "is a workbook: save the sheet as CSV"),
        (json.dumps({**EVENT, "coupon_code": None}), "line 1"),
        (json.dumps(EVENT) + '\n{"stock_id": "1', "line 2: this is no JSON"),
        (json.dumps(EVENT) + "\n[1]", "line 2: this is no JSON object"),
        (json.dumps({"event_type": "COUPON.SEND", "resource": {"ciphertext": "…"}}), "still encrypted"),
    ],
)
def test_what_is_no_such_file_is_refused_with_the_reason(tmp_path: Path, content: str | bytes, reason: str) -> None:
    with pytest.raises(SourceUnreadable, match="nothing was changed") as refused:
        read(tmp_path, content)
    assert reason in str(refused.value)
    assert "AAAAAAA" not in str(refused.value)
