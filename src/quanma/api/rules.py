"""Which single coupon codes the platform takes. The uploader asks before it sends, the platform before it stores.

These are not limits of the request: the platform answers 200 and lists the refused codes.
Source: length and characters are documented; LENGTH_LIMIT and its message too. That a wrong character is an
outcome of the code, and its name, are our choice: the platform publishes none.
"""

from __future__ import annotations

import re

CODE_LENGTH_MAX = 32
CODES_PER_UPLOAD_MAX = 200
CODE_CHARACTERS = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz -_\\/=|")
CODE = re.compile(f"[{re.escape(''.join(sorted(CODE_CHARACTERS)))}]{{1,{CODE_LENGTH_MAX}}}")

LENGTH_LIMIT = "LENGTH_LIMIT"
CHARACTER_LIMIT = "CHARACTER_LIMIT"


def why_refused(coupon_code: str) -> tuple[str, str] | None:
    """Return the platform's (code, message) for a coupon code it refuses, or None for one it takes."""
    # fullmatch: "$" would let a code with a trailing newline pass.
    if CODE.fullmatch(coupon_code):
        return None
    if not coupon_code:
        return LENGTH_LIMIT, "长度不能为空"
    if len(coupon_code) > CODE_LENGTH_MAX:
        return LENGTH_LIMIT, "长度超过最大值32位"
    return CHARACTER_LIMIT, "券code含有不允许的字符"
