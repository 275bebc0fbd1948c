"""What is uploaded and drawn in the benchmarks: codes that are distinct and in no order, users that are new."""

from __future__ import annotations

import itertools
import random
import secrets
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from quanma.api.couponcodes import UploadCodes
from quanma.api.coupons import SendCoupon
from quanma.api.rules import CODES_PER_UPLOAD_MAX
from tests.support.platform import APPID

# Odd, so that multiplying by it gives each number below 2**48 once, in no order that a B-tree could profit from.
_SCATTER = 0x9E37_79B9_7F4B
_BELOW = 2**48
_CODES_A_PIECE = 100_000


class Codes:
    """Codes of 14 characters, numbered; each number is taken once."""

    def __init__(self) -> None:
        self._next = 0

    def take(self, count: int) -> list[str]:
        numbers = range(self._next, self._next + count)
        self._next += count
        return [_code(number) for number in numbers]

    def take_sorted(self, count: int) -> Iterator[str]:
        """As `take`, in the order of an index: the quick way to fill a table that has one."""
        numbers = np.arange(self._next, self._next + count, dtype=np.uint64)
        self._next += count
        scattered = np.sort((numbers * np.uint64(_SCATTER)) & np.uint64(_BELOW - 1))
        return (f"QM{number:012X}" for number in scattered.tolist())

    def uploads(self, stock_ids: list[str], count: int) -> list[UploadCodes]:
        """Full uploads, to the stocks in turn."""
        return [
            UploadCodes(
                stock_id=stock_id,
                coupon_code_list=self.take(CODES_PER_UPLOAD_MAX),
                upload_request_no=secrets.token_hex(14),
            )
            for stock_id in itertools.islice(itertools.cycle(stock_ids), count)
        ]


def write_codes(path: Path, rows: int, repeated_every: int | None = None) -> None:
    """Write a text file, a code a line. One row in `repeated_every` repeats the code of another row before it."""
    chance = random.Random(rows)
    codes = Codes()
    with path.open("w", encoding="utf-8") as lines:
        for first in range(0, rows, _CODES_A_PIECE):
            piece = codes.take(min(_CODES_A_PIECE, rows - first))
            if repeated_every is not None:
                for index in range(repeated_every - 1, len(piece), repeated_every):
                    # Not a row that repeats itself: its code was never written.
                    earlier = chance.randrange((first + index) // repeated_every + 1) * repeated_every
                    piece[index] = _code(earlier)
            lines.write("\n".join(piece) + "\n")


def draws(stock_id: str, count: int) -> list[SendCoupon]:
    """Each for a new user: 28 characters that come in no order, like the platform's own."""
    return [
        SendCoupon(stock_id=stock_id, openid=f"o{secrets.token_urlsafe(20)}", appid=APPID, out_request_no=_request_no())
        for _ in range(count)
    ]


def _request_no() -> str:
    return secrets.token_hex(14)


def _code(number: int) -> str:
    return f"QM{number * _SCATTER % _BELOW:012X}"
