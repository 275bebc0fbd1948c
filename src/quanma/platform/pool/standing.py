"""What a pool says of itself to whoever looks after it: before it is reconciled, and after."""

from __future__ import annotations

from typing import NamedTuple


class Standing(NamedTuple):
    """A pool before it is reconciled, or after."""

    fenced: str | None
    """Why; None: it is not."""
    missing: str | None
    """What it lacks, as far as its mark knows."""
    stocks: int
    codes: int
    available: int
    coupons: int
    last_upload_at: str | None
    """RFC 3339, as the next."""
    last_coupon_at: str | None


class Reconciled(NamedTuple):
    taken_out: int
    """Codes that were free here, and are given out to nobody any more."""
    known: list[int]
    """Lines whose code a coupon of this copy carries: it was given out before the copy was made."""
    unknown: list[int]
    """Lines whose code the copy does not hold: never taken as new again, should it be uploaded."""
