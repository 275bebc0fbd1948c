"""New codes for a merchant who has none: unguessable, unique, legal for every target.

The alphabet is common to 商家券, 商品券 and 视频号 (digits and capitals), less what is misread: no 0 O 1 I. Thirty-two
characters, so that each carries five bits, and a check character over the same alphabet (Luhn mod 32) finds any one
wrong character and most swapped neighbours.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import RequestInvalid

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
LENGTH_MIN, LENGTH_MAX, LENGTH_DEFAULT = 6, 20, 16
"""Source: 6 to 20 is what all the upload APIs have in common (documented for each)."""
GUESSES_PER_CODE_MIN = 1_000_000
_CHUNK = 20_000


def generate(count: int, *, length: int = LENGTH_DEFAULT, check: bool = False, prefix: str = "") -> Iterator[str]:
    """Yield `count` different codes of `length` characters, prefix and check character included.

    Raises:
        RequestInvalid: a length or prefix that is not legal everywhere; or so few possible codes that one in a
            million guesses would hit: a longer code is needed.
    """
    drawn = length - len(prefix) - check
    if not LENGTH_MIN <= length <= LENGTH_MAX:
        raise RequestInvalid(f"length {length} is not between {LENGTH_MIN} and {LENGTH_MAX}, legal for every target")
    if not (prefix.isascii() and (prefix.isalnum() or not prefix)):
        raise RequestInvalid(f"prefix {prefix!r} has other characters than letters and digits")
    if drawn < 1 or len(ALPHABET) ** drawn < count * GUESSES_PER_CODE_MIN:
        raise RequestInvalid(
            f"{count:,} codes with {max(drawn, 0)} random characters each could be guessed: take a longer --length"
        )
    return _generated(count, drawn, prefix, check=check)


def check_character(text: str) -> str:
    """Return the Luhn mod 32 check character. Characters outside the alphabet, in a prefix, count by their order."""
    total, factor = 0, 2
    for character in reversed(text):
        value = ALPHABET.find(character)
        addend = factor * (value if value >= 0 else ord(character) % 32)
        total += addend // 32 + addend % 32
        factor = 3 - factor
    return ALPHABET[-total % 32]


def _generated(count: int, drawn: int, prefix: str, *, check: bool) -> Iterator[str]:
    """Drawn to a temporary file first: a repeat is left out, and another one drawn for it, before any is given out."""
    # Here: the other command on codes can do without numpy, which takes long to import.
    from .distinct import Distinct, numbered

    folder = Path(tempfile.gettempdir())
    with tempfile.TemporaryFile("w+", encoding="ascii", dir=folder) as spool, Distinct(folder) as distinct:
        made = wanted = 0
        repeats = distinct.repeats().rows
        while (wanted := count + len(repeats)) > made:
            while made < wanted:
                codes = _drawn(min(_CHUNK, wanted - made), drawn, prefix, check=check)
                lines = "\n".join(codes) + "\n"
                spool.write(lines)
                distinct.add(numbered(made, len(codes)), lines.encode())
                made += len(codes)
            repeats = distinct.repeats().rows
        spool.seek(0)
        left_out = set(repeats.tolist())
        yield from (line[:-1] for number, line in enumerate(spool) if number not in left_out)


def _drawn(count: int, length: int, prefix: str, *, check: bool) -> list[str]:
    random = secrets.token_bytes(count * length).translate(_TO_ALPHABET).decode()
    codes = [prefix + random[begin : begin + length] for begin in range(0, count * length, length)]
    return [code + check_character(code) for code in codes] if check else codes


# Eight bytes to each character: 256 is a multiple of 32, so every character is equally likely.
_TO_ALPHABET = bytes(ord(ALPHABET[byte % 32]) for byte in range(256))
