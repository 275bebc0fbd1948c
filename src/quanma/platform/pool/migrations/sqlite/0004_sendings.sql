-- Coupons as they were given out: those of one stock that were given out together in one row. It is never changed.
-- A row of `coupon` is written when a coupon's state changes for the first time, and says what it is from then on.
-- Coupons that were given out before this step, or came by an import, stand in `coupon` alone. See sqlite/sendings.py.

CREATE TABLE sending (
    first_coupon_id INTEGER PRIMARY KEY,
    stock_id        TEXT NOT NULL REFERENCES stock,
    coupon_count    INTEGER NOT NULL,
    sent_at         INTEGER NOT NULL,
    starts_at       INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    coupons         TEXT NOT NULL,     -- of each, JSON: position, coupon_code, openid, appid, out_request_no, request,
                                       -- send_merchant, send_channel
    commit_no       INTEGER NOT NULL DEFAULT 0,
    checksum        INTEGER NOT NULL DEFAULT -1
);

-- An event's coupon need not stand in `coupon` any more.
CREATE TABLE event_of_any_coupon (
    event_no     INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    mchid        TEXT NOT NULL,
    coupon_id    INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    due_at       INTEGER,               -- NULL: delivered, or given up
    delivered_at INTEGER,
    last_error   TEXT,
    commit_no    INTEGER NOT NULL DEFAULT 0,
    checksum     INTEGER NOT NULL DEFAULT -1
);
INSERT INTO event_of_any_coupon SELECT event_no, id, mchid, coupon_id, created_at, attempts, due_at, delivered_at,
    last_error, commit_no, checksum FROM event;
DROP TABLE event;
ALTER TABLE event_of_any_coupon RENAME TO event;
CREATE INDEX event_due ON event (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX event_mchid ON event (mchid, event_no);
