"""The table "from wechatpayv3": each function on the left is that package's, each call on the right is ours."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import wechatpayv3

from quanma.client.chain import Chain
from quanma.events import Receiver
from tests.support.every import every
from tests.support.platform import InProcess
from tools.interop_table import TABLES, columns

ROOT = Path(__file__).parents[2]
NAMES: dict[str, str] = dict.fromkeys(("stock_id", "openid", "coupon_code", "appid", "subsidy_receipt_id"), "x")


@pytest.mark.parametrize("page", ["docs/zh/payments.md", "docs/en/payments.md"])
def test_every_row_names_what_exists_on_both_sides(page: str, platform: InProcess) -> None:
    rows = re.findall(r"^\| `(\w+)\(.*?\)` \| `(.+)\(.*?\)` \|$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    assert len(rows) > 25
    for theirs, ours in rows:
        assert callable(getattr(wechatpayv3.WeChatPay, theirs)), theirs
        if ours.startswith("Receiver"):
            assert hasattr(Receiver, "receive")
            continue
        found: Any = eval(ours, {"wxpay": platform.wechatpay(), **NAMES})
        assert callable(found), ours
        assert not isinstance(found, Chain)


def test_every_coupon_function_of_theirs_has_a_row() -> None:
    shown = set(
        re.findall(r"^\| `(marketing_busifavor_\w+)", (ROOT / "docs/zh/payments.md").read_text("utf-8"), re.MULTILINE)
    )
    assert shown == {name for name in dir(wechatpayv3.WeChatPay) if name.startswith("marketing_busifavor_")}


@every(["README.md", "README.en.md", "docs/zh/interop.md", "docs/en/interop.md"])
def test_a_comparison_is_with_the_versions_that_the_tests_run(page: str) -> None:
    node = json.loads((ROOT / "tests/interop/node/package.json").read_text("utf-8"))["dependencies"]
    head = re.findall(r"^\| \S+ \| quanma \| (.+) \| (.+) \|$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    assert head == [
        (f"wechatpayv3 {version('wechatpayv3')}", f"wechatpay-axios-plugin {node['wechatpay-axios-plugin']}")
    ]


def test_their_functions_are_as_many_as_is_told() -> None:
    theirs = [name for name in dir(wechatpayv3.WeChatPay) if not name.startswith("_")]
    assert 170 < len(theirs) < 180
    for page in TABLES:
        played = columns(page.read_text("utf-8"))[f"`wechatpayv3` {version('wechatpayv3')}"]
        assert len([name for name in played if "/marketing/busifavor/" in name]) == 17
