"""What a pool says of itself to whoever looks after it."""

from __future__ import annotations

from typing import NamedTuple

from .reconciling import Lacking


class PoolStatus(NamedTuple):
    """A pool before it is reconciled, or after."""

    fenced: str | None
    """Why; None: it is not."""
    lacking: Lacking
    stocks: int
    codes: int
    available: int
    coupons: int
    last_upload_at: str | None
    """RFC 3339, as the next."""
    last_coupon_at: str | None
