-- The pool of one platform. Codes and coupons are appended to; a coupon's later states change its row.
-- Times are Unix seconds. What the wire knows has the wire's name.

CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO about VALUES ('made_by', 'quanma');

CREATE TABLE stock (
    stock_id          TEXT PRIMARY KEY,
    mchid             TEXT NOT NULL,      -- its creator
    out_request_no    TEXT NOT NULL,
    request           TEXT NOT NULL,      -- CreateStock as JSON, with what was modified since
    created_at        INTEGER NOT NULL,
    product_coupon_id TEXT,               -- of 商品券, with its brand; NULL: a busifavor stock
    brand_id          TEXT,
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
    UNIQUE (stock_id, upload_request_no)
);

-- A coupon in a user's hands: see platform/life.py. In a stock that takes no uploads its code has its position by it.
-- No index: which user has which coupon, and under which number, is in memory (issued.py). A random page of an index
-- written for each draw was most of its cost.
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
    associate_out_trade_no TEXT
);

CREATE TABLE deletion (
    deletion_id       INTEGER PRIMARY KEY,
    stock_id          TEXT NOT NULL REFERENCES stock,
    position          INTEGER NOT NULL,
    coupon_code       TEXT NOT NULL,
    delete_request_no TEXT NOT NULL,
    deleted_at        INTEGER NOT NULL,
    UNIQUE (stock_id, delete_request_no)
);

-- What a number of the other calls did: the request to know a repeat by, and the answer to repeat.
CREATE TABLE done (
    stock_id  TEXT NOT NULL,
    operation TEXT NOT NULL,
    number    TEXT NOT NULL,
    request   TEXT NOT NULL,
    answer    TEXT NOT NULL,
    PRIMARY KEY (stock_id, operation, number)
) WITHOUT ROWID;

CREATE TABLE pay_receipt (
    subsidy_receipt_id TEXT PRIMARY KEY,
    stock_id           TEXT NOT NULL REFERENCES stock,
    coupon_code        TEXT NOT NULL,
    transaction_id     TEXT NOT NULL,
    amount             INTEGER NOT NULL,
    returned_amount    INTEGER NOT NULL DEFAULT 0,
    receipt            TEXT NOT NULL      -- PayReceipt as JSON
) WITHOUT ROWID;
CREATE INDEX pay_receipt_coupon ON pay_receipt (stock_id, coupon_code);

CREATE TABLE return_receipt (
    subsidy_return_receipt_id TEXT PRIMARY KEY,
    stock_id                  TEXT NOT NULL REFERENCES stock,
    receipt                   TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE callback (
    caller     TEXT NOT NULL,
    mchid      TEXT NOT NULL,
    notify_url TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (caller, mchid)
) WITHOUT ROWID;

-- An event for each coupon that was given out, written with it. It is due until it is delivered or given up.
CREATE TABLE event (
    event_no     INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    mchid        TEXT NOT NULL,
    coupon_id    INTEGER NOT NULL REFERENCES coupon,
    created_at   INTEGER NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    due_at       INTEGER,               -- NULL: delivered, or given up
    delivered_at INTEGER,
    last_error   TEXT
);
CREATE INDEX event_due ON event (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX event_mchid ON event (mchid, event_no);

-- The next AES-GCM nonce under a merchant's APIv3 key, a counter: none may ever be used twice.
CREATE TABLE nonce (mchid TEXT PRIMARY KEY, next INTEGER NOT NULL) WITHOUT ROWID;
