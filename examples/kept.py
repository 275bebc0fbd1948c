"""Who got which code, in a file. The key is stock and code: however often an event comes, there is one row."""

import contextlib
import os
import sqlite3

from quanma.events import CouponSent, Event

FILE = os.environ.get("KEPT_IN", "coupons.db")


def keep(event: Event) -> None:
    """Write it to disk before the platform is answered."""
    sent = event.content
    if not isinstance(sent, CouponSent):
        return
    with contextlib.closing(sqlite3.connect(FILE, timeout=5)) as db, db:
        db.execute("CREATE TABLE IF NOT EXISTS coupon (stock_id, code, openid, PRIMARY KEY (stock_id, code))")
        row = (sent.stock_id, sent.coupon_code, sent.openid)
        db.execute("INSERT INTO coupon VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row)
