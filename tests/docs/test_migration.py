"""The table "from wechatpayv3": each function on the left is that package's, each call on the right is ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import wechatpayv3

from quanma.client.chain import Chain
from quanma.events import Receiver
from tests.support.platform import InProcess

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
