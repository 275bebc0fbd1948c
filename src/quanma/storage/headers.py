"""The names that columns of coupon codes and of stocks have in files of others. Whoever reads a table looks for these.

All of them are our choice, from exports seen. A name is compared by its letters alone: `Coupon Code`, `coupon_code`
and `*COUPON-CODE（必填）` are one name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

STOCK_NAMES: Final = (
    *("stock_id", "批次号", "批次id", "批次编号", "券批次号", "商家券批次号", "优惠券批次号", "券批次id"),
    *("优惠券批次id", "stock", "批次", "券批次", "优惠券批次"),
)
"""Of the column of stocks, the plainest first: where several are there, the earliest here is meant."""
CODE_NAMES: Final = (
    *("coupon_code", "券码", "券code", "优惠券码", "优惠券code", "商家券码", "商家券code", "商品券码", "商品券code"),
    *("卡券码", "卡券code", "券号", "券编码", "优惠码", "兑换码", "兑换券码", "核销码", "激活码", "卡密"),
    *("coupon_codes", "voucher_code", "voucher_codes", "promo_code", "promotion_code", "discount_code", "redeem_code"),
    *("redemption_code", "gift_code", "activation_code", "cd_key", "code", "codes", "coupon", "coupons"),
    *("voucher", "vouchers"),
)
"""Of the column of codes. So ordered, too."""


def letters(cell: str) -> str:
    """Return what two spellings of one name have in common: letters and digits, small, without a remark in brackets."""
    if len(cell) > NAME_CHARACTERS_MAX:
        return cell
    return "".join(filter(str.isalnum, re.sub(r"[(（\[【].*?[)）\]】]", "", cell).casefold()))


NAME_CHARACTERS_MAX: Final = 200
"""A longer cell is no name. Looking for the brackets of one of a megabyte would take hours."""


def names_codes(cell: str) -> bool:
    """Whether a cell is a known name of a column of codes."""
    return letters(cell) in _CODE_LETTERS


def place(names: Sequence[str], cells: Sequence[str]) -> tuple[str, list[int]] | None:
    """Return the earliest of the names that the cells hold, and where: more than one place where it is there twice."""
    there = list(map(letters, cells))
    for name in names:
        if places := [at for at, cell in enumerate(there) if cell == letters(name)]:
            return name, places
    return None


_CODE_LETTERS: Final = frozenset(map(letters, CODE_NAMES))
