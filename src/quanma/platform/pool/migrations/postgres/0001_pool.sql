-- The pool of one platform, for many workers on many hosts. Times are Unix seconds. What the wire knows has the
-- wire's name.
--
-- Every key, index and foreign key carries stock_id, so that a distributed PostgreSQL can keep each stock on one node;
-- only the tables of reference data at the top do not: they are small, and every node can have them all.

CREATE TABLE about (name text PRIMARY KEY, value text NOT NULL);
-- Which pool this is. A copy has the same id.
INSERT INTO about VALUES ('pool_id', gen_random_uuid()::text);

CREATE TABLE stock (
    stock_id          text COLLATE "C" PRIMARY KEY,
    mchid             text NOT NULL,            -- its creator
    belong_merchant   text NOT NULL,            -- its owner
    out_request_no    text NOT NULL,
    request           text NOT NULL,            -- CreateStock as JSON, with what was modified since
    created_at        bigint NOT NULL,
    product_coupon_id text,                     -- of 商品券, with its brand; NULL: a busifavor stock
    brand_id          text,
    UNIQUE (mchid, out_request_no)
);
CREATE INDEX stock_belong_merchant ON stock (belong_merchant);

CREATE TABLE callback (
    caller     text NOT NULL,
    mchid      text NOT NULL,
    notify_url text NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (caller, mchid)
);

-- The next AES-GCM nonce under a merchant's APIv3 key, a counter: none may ever be used twice.
CREATE TABLE nonce (mchid text PRIMARY KEY, next bigint NOT NULL);

-- Which requests came, for as long as their signatures hold: a second one with the same nonce is a replay.
CREATE TABLE nonce_seen (
    mchid    text COLLATE "C" NOT NULL,
    nonce    text COLLATE "C" NOT NULL,
    token    bytea NOT NULL,     -- of the call that wrote it: one that is repeated knows its own row
    what     bytea NOT NULL,     -- a digest of the request, where its answer is kept; else empty
    answer   bytea,              -- NULL: none yet, or none is kept
    noted_at bigint NOT NULL,
    PRIMARY KEY (mchid, nonce)
);
CREATE INDEX nonce_seen_noted_at ON nonce_seen (noted_at);

-- What a host compares with the witness that it keeps outside the database: see docs/postgres.md, "What goes back".

-- The history that all hosts agree on. One row.
CREATE TABLE epoch (
    place    integer PRIMARY KEY CHECK (place = 1),
    history  text NOT NULL,          -- a new one with each `quanma reconcile`: number.random
    number   bigint NOT NULL,        -- one more each time the database may have gone back: all hosts must confirm
    token    text NOT NULL,          -- random: two epochs of one number, begun on two servers, are two
    server   text NOT NULL,          -- where it was begun: system identifier/timeline/start of the server
    began_at timestamptz NOT NULL
);
INSERT INTO epoch VALUES (1, '1.' || gen_random_uuid(), 0, gen_random_uuid(), '', now());

-- The hosts that serve the pool. Each renews its own row every second.
CREATE TABLE host (
    host_id   text PRIMARY KEY,
    name      text NOT NULL,
    beat      bigint NOT NULL,               -- only grows: less than the host remembers, and the database went back
    beat_at   timestamptz NOT NULL,
    confirmed text NOT NULL,                 -- the epoch in which nothing of this host's is missing: number.token
    proven_at timestamptz,                   -- the beat that was found when it confirmed: all before that is there
    joined_at timestamptz,                   -- since when this row is there for all to see
    knows_at  timestamptz                    -- it knows of all who had joined then: see peers.py
);

-- What hosts found missing, until it is reconciled.
CREATE TABLE missing (
    host_id        text NOT NULL,
    stock_id       text NOT NULL,
    what           text NOT NULL,            -- coupon: its last coupon; issued: one that it names; stock, upload, …
    coupon_id      bigint NOT NULL,
    coupon_code    text NOT NULL,
    out_request_no text NOT NULL,
    PRIMARY KEY (stock_id, host_id, what, coupon_id, out_request_no)
);

-- Whose turn it is: the row of a stock is locked by the one transaction that changes it. It never changes itself, so
-- it has no old versions to be gone through.
CREATE TABLE turn (stock_id text COLLATE "C" PRIMARY KEY REFERENCES stock);

-- A stock's counters after each turn that changed them. The latest row counts; old ones are removed from the other
-- end. A row that is updated would leave all its old versions in the way while some snapshot is held open.
CREATE TABLE tally (
    stock_id    text COLLATE "C" NOT NULL,
    turn_no     bigint NOT NULL,
    uploaded    bigint NOT NULL,     -- codes ever uploaded: the next code's position
    deleted     bigint NOT NULL,     -- codes deleted
    free        bigint NOT NULL,     -- slots to draw from, 0 to free - 1
    stale       bigint NOT NULL,     -- of these, slots whose code was deleted
    shift       bigint NOT NULL,     -- of the last extent
    sent        bigint NOT NULL,     -- coupons ever given out
    day         bigint NOT NULL,     -- in Beijing
    sent_on_day bigint NOT NULL,
    PRIMARY KEY (stock_id, turn_no)
);

-- Coupons given out on days that are not the latest row's: a clock that goes back over midnight must not open that
-- day's limit anew.
CREATE TABLE day_tally (
    stock_id text COLLATE "C" NOT NULL,
    day      bigint NOT NULL,
    sent     bigint NOT NULL,
    PRIMARY KEY (stock_id, day)
);

-- Where two indexes of a table begin with stock_id, the planner may take the one for the other, and go through all
-- rows of a stock to find one: right after many uploads it knows no better. So only one of a table's ever does, but
-- for tables that stay small.

-- The codes of a stock, to know one by. A deleted one goes, and may come again.
CREATE TABLE code (
    stock_id    text COLLATE "C" NOT NULL,
    coupon_code text COLLATE "C" NOT NULL,
    position    bigint NOT NULL,     -- its place in upload order, from 0
    success_at  bigint,              -- NULL: it came with its coupon
    PRIMARY KEY (coupon_code, stock_id)
);

-- The same codes in upload order, those of an upload in one row: to know one by its position.
CREATE TABLE piece (
    stock_id       text COLLATE "C" NOT NULL,
    first_position bigint NOT NULL,
    codes          text NOT NULL,    -- one a line
    success_at     bigint,
    PRIMARY KEY (stock_id, first_position)
);
ALTER TABLE piece ALTER codes SET STORAGE EXTERNAL;

-- Which code stands at which free slot: an array that is never written out. A slot holds the position slot + shift of
-- its extent, the last one that begins at or before it, unless it is displaced. A draw takes a random slot and moves
-- the last slot's position there; an upload puts its codes behind the last slot. See slots.py.
CREATE TABLE extent (
    stock_id   text COLLATE "C" NOT NULL,
    first_slot bigint NOT NULL,
    shift      bigint NOT NULL,
    PRIMARY KEY (stock_id, first_slot)
);
CREATE TABLE displaced (
    stock_id text COLLATE "C" NOT NULL,
    slot     bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (stock_id, slot)
) WITH (fillfactor = 80);

-- A random word stands in each row that proves a turn, here and below: the same request, done again in another history,
-- has another word. A coupon has one already, the microsecond in which it was written.
CREATE TABLE upload (
    stock_id          text COLLATE "C" NOT NULL,
    upload_request_no text COLLATE "C" NOT NULL,
    first_position    bigint NOT NULL,   -- of its piece
    code_count        integer NOT NULL,  -- newly stored; 0: it has no piece
    others            text,              -- the answer's fail_codes, exist_codes, duplicate_codes as JSON, if any
    success_at        bigint NOT NULL,
    word              bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (stock_id, upload_request_no)
);

-- A coupon in a user's hands: see coupons/states.py. Its key is the promise that no two carry one code.
CREATE TABLE coupon (
    stock_id               text COLLATE "C" NOT NULL,
    coupon_code            text COLLATE "C" NOT NULL,
    coupon_id              bigint NOT NULL,     -- its number in the stock, from 1
    openid                 text COLLATE "C" NOT NULL,
    appid                  text NOT NULL,
    out_request_no         text COLLATE "C" NOT NULL,
    request                text,                -- other fields of the request that got it, if any, to know it again
    send_merchant          text NOT NULL,
    send_channel           text NOT NULL,
    sent_at                bigint NOT NULL,
    starts_at              bigint NOT NULL,
    expires_at             bigint NOT NULL,
    coupon_state           text NOT NULL DEFAULT 'SENDED',
    use_request_no         text,
    use_time               text,
    used_at                bigint,
    return_request_no      text,
    returned_at            bigint,
    deactivate_request_no  text,
    deactivate_reason      text,
    deactivated_at         bigint,
    associate_out_trade_no text,
    written_at             timestamptz NOT NULL DEFAULT clock_timestamp(),   -- to sort coupons of one second by
    PRIMARY KEY (coupon_code, stock_id)
) WITH (fillfactor = 90);
-- A user's coupons of one stock stand together: a merchant that asks for them goes over none of other merchants.
CREATE UNIQUE INDEX coupon_user ON coupon (openid, stock_id, out_request_no);

CREATE TABLE deletion (
    stock_id          text COLLATE "C" NOT NULL,
    delete_request_no text COLLATE "C",  -- NULL: `quanma reconcile` took it out, and no merchant
    position          bigint NOT NULL,
    coupon_code       text COLLATE "C" NOT NULL,
    deleted_at        bigint NOT NULL,
    word              bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (position, stock_id)
);
CREATE UNIQUE INDEX deletion_number ON deletion (delete_request_no, stock_id);

-- What a number of the other calls did: the request to know a repeat by, and the answer to repeat.
CREATE TABLE done (
    stock_id  text COLLATE "C" NOT NULL,
    operation text COLLATE "C" NOT NULL,
    number    text COLLATE "C" NOT NULL,
    request   text NOT NULL,
    answer    text NOT NULL,
    word      bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (stock_id, operation, number)
);

CREATE TABLE pay_receipt (
    stock_id           text COLLATE "C" NOT NULL,
    subsidy_receipt_id text COLLATE "C" NOT NULL,
    coupon_code        text COLLATE "C" NOT NULL,
    transaction_id     text NOT NULL,
    amount             bigint NOT NULL,
    returned_amount    bigint NOT NULL DEFAULT 0,
    receipt            text NOT NULL,      -- PayReceipt as JSON
    PRIMARY KEY (stock_id, subsidy_receipt_id),
    FOREIGN KEY (coupon_code, stock_id) REFERENCES coupon
);
CREATE INDEX pay_receipt_coupon ON pay_receipt (coupon_code, stock_id);

CREATE TABLE return_receipt (
    stock_id                  text COLLATE "C" NOT NULL,
    subsidy_return_receipt_id text COLLATE "C" NOT NULL,
    subsidy_receipt_id        text COLLATE "C" NOT NULL,
    receipt                   text NOT NULL,
    PRIMARY KEY (stock_id, subsidy_return_receipt_id),
    FOREIGN KEY (stock_id, subsidy_receipt_id) REFERENCES pay_receipt
);

-- An event for each coupon that was given out, written with it. It is due until it is delivered or given up.
CREATE TABLE event (
    stock_id     text COLLATE "C" NOT NULL,
    id           text COLLATE "C" NOT NULL,
    mchid        text NOT NULL,
    coupon_id    bigint NOT NULL,
    coupon_code  text COLLATE "C" NOT NULL,
    created_at   bigint NOT NULL,
    attempts     integer NOT NULL DEFAULT 0,
    due_at       bigint,              -- NULL: delivered, or given up
    delivered_at bigint,
    last_error   text,
    PRIMARY KEY (id, stock_id),
    FOREIGN KEY (coupon_code, stock_id) REFERENCES coupon
);
CREATE UNIQUE INDEX event_coupon ON event (stock_id, coupon_id);
-- By merchant, so that one's many do not stand before another's few.
CREATE INDEX event_due ON event (mchid, due_at, stock_id) WHERE due_at IS NOT NULL;

-- Codes that were given out by a later history of this pool, which was lost when an older copy was restored: see
-- care.py. They are never given out again, nor taken as new when they are uploaded again.
CREATE TABLE barred (
    stock_id    text COLLATE "C" NOT NULL,
    coupon_code text COLLATE "C" NOT NULL,
    barred_at   bigint NOT NULL,
    PRIMARY KEY (stock_id, coupon_code)
);
