-- Codes that were given out by a later history of this pool, which was lost when an older copy was restored: see
-- sqlite/reconcile.py. They are never given out again, nor taken as new when they are uploaded again.

CREATE TABLE barred (
    stock_id    TEXT NOT NULL,
    coupon_code TEXT NOT NULL,
    barred_at   INTEGER NOT NULL,
    commit_no   INTEGER NOT NULL DEFAULT 0,
    checksum    INTEGER NOT NULL DEFAULT -1,
    PRIMARY KEY (stock_id, coupon_code)
) WITHOUT ROWID;
