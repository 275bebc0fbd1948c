"""Coupons in the file. Those that were given out together are one row, a batch; one that changed has its own row.

A row for each coupon was most of what a draw cost, and most coupons are never looked at again before they are used.
The row of those that were given out together is never changed: a coupon's first step writes one for it alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import apsw
import msgspec

from ...coupons.coupon import LATER, CouponFacts, first_state
from .rows import COUPON, ISSUE_BATCH, IssueBatchRow, Rows, damaged

TOGETHER_MAX = 32
"""So many in a row: with more, reading one of them costs more than the rows that are saved."""


class SentCoupon(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is a coupon's own when it is given out. In the file it is a list, in this order: names would cost bytes."""

    position: int
    coupon_code: str
    openid: str
    appid: str
    out_request_no: str
    request: str | None
    send_merchant: str
    send_channel: str


class SentWhen(NamedTuple):
    """What coupons of one batch share. Times are Unix seconds."""

    sent_at: int
    starts_at: int
    expires_at: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[SentCoupon]).decode


def as_coupon(coupon_id: int, stock_id: str, sent: SentCoupon, when: SentWhen) -> CouponFacts:
    """Return a coupon as it was given out."""
    return CouponFacts(
        coupon_id=coupon_id,
        stock_id=stock_id,
        position=sent.position,
        coupon_code=sent.coupon_code,
        openid=sent.openid,
        appid=sent.appid,
        out_request_no=sent.out_request_no,
        request=sent.request,
        send_merchant=sent.send_merchant,
        send_channel=sent.send_channel,
        sent_at=when.sent_at,
        starts_at=when.starts_at,
        expires_at=when.expires_at,
        coupon_state=first_state(sent.send_channel),
    )


def add(rows: Rows, first_coupon_id: int, stock_id: str, sent: Sequence[SentCoupon], when: SentWhen) -> None:
    """Write coupons of consecutive ids."""
    for begin in range(0, len(sent), TOGETHER_MAX):
        piece = sent[begin : begin + TOGETHER_MAX]
        row = IssueBatchRow(first_coupon_id + begin, stock_id, len(piece), *when, _encode(piece).decode())
        rows.add(ISSUE_BATCH, row)


def as_sent(rows: Rows, coupon_id: int) -> CouponFacts:
    """Return a coupon as it was given out. Raises StoreUnavailable: it is not there, or not as it was written."""
    for batch in rows.read(ISSUE_BATCH, "first_coupon_id <= ? ORDER BY first_coupon_id DESC LIMIT 1", coupon_id):
        which = coupon_id - batch.first_coupon_id
        if which < batch.coupon_count:
            return _row(batch, coupon_id, _decode(batch.coupons)[which])
    raise damaged(f"coupon {coupon_id} is not there")


class Found(NamedTuple):
    """A coupon as it is, and whether it has a row of its own."""

    coupon: CouponFacts
    alone: bool


def find(rows: Rows, coupon_id: int) -> Found:
    alone = rows.read(COUPON, "coupon_id = ?", coupon_id)
    return Found(alone[0], True) if alone else Found(as_sent(rows, coupon_id), False)


def coupon(rows: Rows, coupon_id: int) -> CouponFacts:
    """Return a coupon as it is."""
    return find(rows, coupon_id).coupon


def move(rows: Rows, starts: Sequence[str], found: Found, after: CouponFacts, now: int) -> None:
    """Write a coupon's step, which starts from these states, where the coupon still stands as it was found.

    The decision and this are one turn: a coupon that stands elsewhere is a fault of ours, and raised as one.
    """
    if found.coupon.state(now) in starts:
        if found.alone:
            # Only where its state still is the one that was read.
            rows.change(COUPON, found.coupon, **{name: getattr(after, name) for name in LATER})
            return
        with contextlib.suppress(apsw.ConstraintError):  # It has a row of its own by now.
            rows.add(COUPON, after)
            return
    raise AssertionError("a coupon did not stand where the decision saw it")


def scan(rows: Rows) -> Iterator[CouponFacts]:
    """Yield every coupon as it is, in the order of their ids: there may be many."""
    alone: Iterator[tuple[Any, ...]] = rows.scan(COUPON)
    following = next(alone, None)
    end = 0
    for read in rows.scan(ISSUE_BATCH):
        batch = IssueBatchRow(*read[:-2])
        coupons = _decode(batch.coupons)
        if batch.first_coupon_id < end or len(coupons) != batch.coupon_count:
            raise damaged(f"coupon {batch.first_coupon_id} is not where it was")
        end = batch.first_coupon_id + len(coupons)
        for coupon_id, sent in enumerate(coupons, batch.first_coupon_id):
            while following is not None and following[0] < coupon_id:
                yield COUPON.row(*following[:-2])
                following = next(alone, None)
            if following is None or following[0] != coupon_id:
                yield _row(batch, coupon_id, sent)
    while following is not None:
        yield COUPON.row(*following[:-2])
        following = next(alone, None)


def _row(batch: IssueBatchRow, coupon_id: int, sent: SentCoupon) -> CouponFacts:
    when = SentWhen(batch.sent_at, batch.starts_at, batch.expires_at)
    return as_coupon(coupon_id, batch.stock_id, sent, when)
