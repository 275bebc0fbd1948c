-- The pool of one platform. Codes and coupons are appended to; a coupon's first step gives it a row of its own.
-- Times are Unix seconds. What the wire knows has the wire's name.
--
-- Each row has the number of the commit that wrote it last, and a checksum of its values: see sqlite/rows.py.
-- `checksum(table, value, …)` is a function of ours.

CREATE TABLE about (
    name      TEXT PRIMARY KEY,
    value     TEXT NOT NULL,
    commit_no INTEGER NOT NULL DEFAULT 0,
    checksum  INTEGER NOT NULL DEFAULT -1
) WITHOUT ROWID;
INSERT INTO about VALUES ('made_by', 'quanma', 0, checksum('about', 'made_by', 'quanma', 0));
INSERT INTO about VALUES ('birth', '2', 0, checksum('about', 'birth', '2', 0));

CREATE TABLE stock (
    stock_id          TEXT PRIMARY KEY,
    mchid             TEXT NOT NULL,      -- its creator
    out_request_no    TEXT NOT NULL,
    request           TEXT NOT NULL,      -- CreateStock as JSON, with what was modified since
    created_at        INTEGER NOT NULL,
    product_coupon_id TEXT,               -- of 商品券, with its brand; NULL: a busifavor stock
    brand_id          TEXT,
    commit_no         INTEGER NOT NULL DEFAULT 0,
    checksum          INTEGER NOT NULL DEFAULT -1,
    UNIQUE (mchid, out_request_no)
) WITHOUT ROWID;

-- One row an upload request, the codes in it: a row a code would cost a page written for each, in the index on codes.
-- A code's position is its upload's first_position and its place in the list.
CREATE TABLE upload (
    upload_id         INTEGER PRIMARY KEY,
    stock_id          TEXT NOT NULL REFERENCES stock,
    upload_request_no TEXT NOT NULL,
    first_position    INTEGER NOT NULL,
    code_count        INTEGER NOT NULL,
    codes             TEXT NOT NULL,     -- newly stored, one a line
    others            TEXT,              -- the answer's fail_codes, exist_codes, duplicate_codes as JSON, if any
    success_at        INTEGER NOT NULL,
    commit_no         INTEGER NOT NULL DEFAULT 0,
    checksum          INTEGER NOT NULL DEFAULT -1,
    UNIQUE (stock_id, upload_request_no)
);

-- Coupons as they were given out: those of one stock that were given out together in one row. It is never changed.
-- No index: which user has which coupon, and under which number, is in memory (index/users.py). A random page of an index
-- written for each draw was most of its cost. See sqlite/issue_batches.py.
CREATE TABLE issue_batch (
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

-- A coupon that has made a step since, or came by an import: see coupons/states.py. It says what the coupon is from
-- then on. In a stock that takes no uploads, a coupon's code has its position by it.
CREATE TABLE coupon (
    coupon_id              INTEGER PRIMARY KEY,
    stock_id               TEXT NOT NULL REFERENCES stock,
    position               INTEGER NOT NULL,
    coupon_code            TEXT NOT NULL,
    openid                 TEXT NOT NULL,
    appid                  TEXT NOT NULL,
    out_request_no         TEXT NOT NULL,
    request                TEXT,            -- other fields of the request that got it, if any, to know it again
    send_merchant          TEXT NOT NULL,
    send_channel           TEXT NOT NULL,
    sent_at                INTEGER NOT NULL,
    starts_at              INTEGER NOT NULL,
    expires_at             INTEGER NOT NULL,
    coupon_state           TEXT NOT NULL DEFAULT 'SENDED',
    use_request_no         TEXT,
    use_time               TEXT,
    used_at                INTEGER,
    return_request_no      TEXT,
    returned_at            INTEGER,
    deactivate_request_no  TEXT,
    deactivate_reason      TEXT,
    deactivated_at         INTEGER,
    associate_out_trade_no TEXT,
    commit_no              INTEGER NOT NULL DEFAULT 0,
    checksum               INTEGER NOT NULL DEFAULT -1
);

CREATE TABLE deletion (
    deletion_id       INTEGER PRIMARY KEY,
    stock_id          TEXT NOT NULL REFERENCES stock,
    position          INTEGER NOT NULL,
    coupon_code       TEXT NOT NULL,
    delete_request_no TEXT NOT NULL,
    deleted_at        INTEGER NOT NULL,
    commit_no         INTEGER NOT NULL DEFAULT 0,
    checksum          INTEGER NOT NULL DEFAULT -1,
    UNIQUE (stock_id, delete_request_no)
);

-- What a number of the other calls for a stock did: the request to know a repeat by, and the answer to repeat.
CREATE TABLE answered (
    stock_id  TEXT NOT NULL,
    operation TEXT NOT NULL,
    number    TEXT NOT NULL,
    request   TEXT NOT NULL,
    answer    TEXT NOT NULL,
    commit_no INTEGER NOT NULL DEFAULT 0,
    checksum  INTEGER NOT NULL DEFAULT -1,
    PRIMARY KEY (stock_id, operation, number)
) WITHOUT ROWID;

-- Consumption cards: a number is unique together with its card and its time.
CREATE TABLE card (
    mchid          TEXT NOT NULL,
    card_id        TEXT NOT NULL,
    send_time      TEXT NOT NULL,
    out_request_no TEXT NOT NULL,
    request        TEXT NOT NULL,
    answer         TEXT NOT NULL,
    commit_no      INTEGER NOT NULL DEFAULT 0,
    checksum       INTEGER NOT NULL DEFAULT -1,
    PRIMARY KEY (mchid, card_id, send_time, out_request_no)
) WITHOUT ROWID;

CREATE TABLE pay_receipt (
    subsidy_receipt_id TEXT PRIMARY KEY,
    stock_id           TEXT NOT NULL REFERENCES stock,
    coupon_code        TEXT NOT NULL,
    transaction_id     TEXT NOT NULL,
    amount             INTEGER NOT NULL,
    returned_amount    INTEGER NOT NULL DEFAULT 0,
    receipt            TEXT NOT NULL,     -- PayReceipt as JSON
    commit_no          INTEGER NOT NULL DEFAULT 0,
    checksum           INTEGER NOT NULL DEFAULT -1
) WITHOUT ROWID;
CREATE INDEX pay_receipt_coupon ON pay_receipt (stock_id, coupon_code);

CREATE TABLE return_receipt (
    subsidy_return_receipt_id TEXT PRIMARY KEY,
    stock_id                  TEXT NOT NULL REFERENCES stock,
    receipt                   TEXT NOT NULL,
    commit_no                 INTEGER NOT NULL DEFAULT 0,
    checksum                  INTEGER NOT NULL DEFAULT -1
) WITHOUT ROWID;

CREATE TABLE callback (
    caller     TEXT NOT NULL,
    mchid      TEXT NOT NULL,
    notify_url TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    commit_no  INTEGER NOT NULL DEFAULT 0,
    checksum   INTEGER NOT NULL DEFAULT -1,
    PRIMARY KEY (caller, mchid)
) WITHOUT ROWID;

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

-- An event for each coupon that was given out, written with it. It is due until it is delivered or given up.
CREATE TABLE event (
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
-- By merchant, so that one's many do not stand before another's few.
CREATE INDEX event_due ON event (mchid, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX event_mchid ON event (mchid, event_no);

-- The next AES-GCM nonce under a merchant's APIv3 key, a counter: none may ever be used twice.
CREATE TABLE nonce (
    mchid     TEXT PRIMARY KEY,
    next      INTEGER NOT NULL,
    commit_no INTEGER NOT NULL DEFAULT 0,
    checksum  INTEGER NOT NULL DEFAULT -1
) WITHOUT ROWID;
