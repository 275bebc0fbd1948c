-- The pool of one platform. Every write of a request is an append, but for a coupon's later states.
-- Times are Unix seconds. What the wire knows has the wire's name.

CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO about VALUES ('made_by', 'quanma');

CREATE TABLE stock (
    stock_id        TEXT PRIMARY KEY,
    mchid           TEXT NOT NULL,
    out_request_no  TEXT NOT NULL,
    request         TEXT NOT NULL,      -- CreateStock, as JSON
    created_at      INTEGER NOT NULL,
    product_coupon_id TEXT,               -- of 商品券, with its brand; NULL: a busifavor stock
    brand_id        TEXT,
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

CREATE TABLE coupon (
    coupon_id       INTEGER PRIMARY KEY,
    stock_id        TEXT NOT NULL REFERENCES stock,
    position        INTEGER NOT NULL,
    coupon_code     TEXT NOT NULL,
    openid          TEXT NOT NULL,
    appid           TEXT NOT NULL,
    out_request_no  TEXT NOT NULL,
    sent_at         INTEGER NOT NULL,
    coupon_state    TEXT NOT NULL DEFAULT 'SENDED',
    use_request_no  TEXT,
    use_appid       TEXT,
    use_openid      TEXT,
    use_time        TEXT,
    used_at         INTEGER,
    UNIQUE (stock_id, openid, out_request_no)
);
CREATE UNIQUE INDEX coupon_use_request_no ON coupon (stock_id, use_request_no) WHERE use_request_no IS NOT NULL;

CREATE TABLE deletion (
    deletion_id       INTEGER PRIMARY KEY,
    stock_id          TEXT NOT NULL REFERENCES stock,
    position          INTEGER NOT NULL,
    coupon_code       TEXT NOT NULL,
    delete_request_no TEXT NOT NULL,
    deleted_at        INTEGER NOT NULL,
    UNIQUE (stock_id, delete_request_no)
);

-- The next AES-GCM nonce under a merchant's APIv3 key, a counter: none may ever be used twice.
CREATE TABLE nonce (mchid TEXT PRIMARY KEY, next INTEGER NOT NULL) WITHOUT ROWID;
