"""A file of before 商品券 is brought up to date: its coupons are there, and a damaged row stays known as one."""

from __future__ import annotations

import apsw
import pytest

from quanma.errors import StoreUnavailable
from quanma.platform.pool import migrations
from quanma.platform.pool.sqlite import pool_file
from quanma.platform.pool.sqlite.rows import COUPON, Rows, checksum

BEFORE = (
    *("coupon_id", "stock_id", "position", "coupon_code", "openid", "appid", "out_request_no", "request"),
    *("send_merchant", "send_channel", "sent_at", "starts_at", "expires_at", "coupon_state", "use_request_no"),
    *("use_time", "used_at", "return_request_no", "returned_at", "deactivate_request_no", "deactivate_reason"),
    *("deactivated_at", "associate_out_trade_no", "commit_no"),
)


def test_a_coupon_of_before_is_read_and_a_damaged_one_is_not() -> None:
    db = apsw.Connection(":memory:")
    first, *rest = migrations.all_migrations("sqlite")
    pool_file.migrate(db, [first])
    for coupon_id, is_damaged in ((1, False), (2, True)):
        given = (coupon_id, "98065001", 0, "A1", "o", "wx", "n1", None, "1900000001", "c", 1, 1, 9, "USED", "u1")
        row = (*given, None, 5, None, None, None, None, None, None, 3)
        sums = checksum("coupon", *row) + is_damaged
        names = ", ".join(BEFORE)
        db.execute(f"INSERT INTO coupon ({names}, checksum) VALUES ({'?, ' * len(row)}?)", (*row, sums))

    pool_file.migrate(db, rest)

    (coupon,) = Rows(db).read(COUPON, "coupon_id = 1")
    assert (coupon.coupon_code, coupon.coupon_state, coupon.confirmed_at) == ("A1", "USED", None)
    with pytest.raises(StoreUnavailable, match="not as it was written"):
        Rows(db).read(COUPON, "coupon_id = 2")
