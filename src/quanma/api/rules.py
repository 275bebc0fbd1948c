"""Which single coupon codes the platform takes. The uploader asks before it sends, the platform before it stores.

These are not limits of the request: the platform answers 200 and lists the refused codes.
Source: length and characters are documented; LENGTH_LIMIT and its message too. That a wrong character is an
outcome of the code, and its name, are our choice: the platform publishes none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_letters, digits
from typing import Annotated, NamedTuple

from msgspec import Meta

CODES_PER_UPLOAD_MAX = 200
UploadedText = Annotated[str, Meta(max_length=4096)]
"""A text that is offered as a code. What is longer than a code is an outcome of the code; what is longer than this
refuses the request. Our choice: 200 of them are less than a request may have bytes."""

LENGTH_LIMIT = "LENGTH_LIMIT"
CHARACTER_LIMIT = "CHARACTER_LIMIT"


class CodeRule(NamedTuple):
    """Which codes one kind of stock takes."""

    pattern: re.Pattern[str]
    lines: re.Pattern[str]
    """Any number of codes, each ended by a line feed, which no code holds."""
    characters: frozenset[str]
    length_max: int

    def why_refused(self, coupon_code: str) -> tuple[str, str] | None:
        """Return the platform's (code, message) for a coupon code it refuses, or None for one it takes."""
        # fullmatch: "$" would let a code with a trailing newline pass.
        if self.pattern.fullmatch(coupon_code):
            return None
        if not coupon_code:
            return LENGTH_LIMIT, "长度不能为空"
        if len(coupon_code) > self.length_max:
            return LENGTH_LIMIT, f"长度超过最大值{self.length_max}位"
        return CHARACTER_LIMIT, "券code含有不允许的字符"

    def takes_all(self, coupon_codes: Sequence[str]) -> bool:
        """Whether every code is taken, in the time of one look at the whole text."""
        if not coupon_codes:
            return True
        text = "\n".join(coupon_codes) + "\n"
        return self.lines.fullmatch(text) is not None and text.count("\n") == len(coupon_codes)


def _rule(characters: str, length_max: int) -> CodeRule:
    one = f"[{re.escape(characters)}]{{1,{length_max}}}"
    return CodeRule(re.compile(one), re.compile(f"(?:{one}\n)*+"), frozenset(characters), length_max)


BUSIFAVOR = _rule(ascii_letters + digits + " -_\\/=|", 32)
"""商家券. Source: documented; the space is in the pages since 2023 and in the SDKs."""
PRODUCT_COUPON = _rule(ascii_letters + digits + "_-", 40)
"""商品券. Source: documented."""
