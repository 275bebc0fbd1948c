-- The pool of one platform, for many workers on many hosts. Times are Unix seconds. What the wire knows has the
-- wire's name.
--
-- Every key, index and foreign key carries stock_no, so that a distributed PostgreSQL can keep each stock on one node;
-- only the tables of reference data at the top do not: they are small, and every node can have them all.

CREATE TABLE about (name text PRIMARY KEY, value text NOT NULL);
-- Which pool this is. A copy has the same id.
INSERT INTO about VALUES ('pool_id', gen_random_uuid()::text);
-- Which form these tables have: see schema.py.
INSERT INTO about VALUES ('tables', '3');

CREATE TABLE stock (
    stock_id          text COLLATE "C" PRIMARY KEY,
    stock_no          integer NOT NULL UNIQUE,  -- in each row and index entry of what it holds, where its id is long
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

-- Which consumption cards were given out, to know a repeat by. No stock's: its key names merchant, card and time.
CREATE TABLE card (
    key     text COLLATE "C" NOT NULL,
    number  text COLLATE "C" NOT NULL,
    request text NOT NULL,
    answer  text NOT NULL,
    PRIMARY KEY (key, number)
);

-- On a Citus cluster, on the node that workers are connected to: stocks that may have events due. See due_stocks.py.
CREATE TABLE due_stock (
    stock_no integer PRIMARY KEY,
    stock_id text NOT NULL,
    mchid    text NOT NULL,
    until    timestamptz NOT NULL,  -- a worker may write events of it until then
    look_at  bigint NOT NULL        -- after that: nothing is due earlier
);

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

-- The row of a stock is locked by the one transaction that changes the stock. It never changes itself, so
-- it has no old versions to be gone through.
CREATE TABLE stock_lock (stock_no integer PRIMARY KEY REFERENCES stock (stock_no));

-- A stock's counters after each transaction that changed them. The latest row counts; old ones are removed from the
-- other end. A row that is updated would leave all its old versions in the way while some snapshot is held open.
CREATE TABLE stock_counters (
    stock_no       integer NOT NULL,
    transaction_no bigint NOT NULL,
    uploaded       bigint NOT NULL,     -- codes ever uploaded: the next code's position
    deleted        bigint NOT NULL,     -- codes deleted
    free           bigint NOT NULL,     -- slots to draw from, 0 to free - 1
    stale          bigint NOT NULL,     -- of these, slots whose code was deleted
    shift          bigint NOT NULL,     -- of the last extent
    sent           bigint NOT NULL,     -- coupons ever given out
    day            bigint NOT NULL,     -- in Beijing
    sent_on_day    bigint NOT NULL,
    PRIMARY KEY (stock_no, transaction_no)
);

-- Coupons given out on days that are not the latest row's: a clock that goes back over midnight must not open that
-- day's limit anew.
CREATE TABLE day_counter (
    stock_no integer NOT NULL,
    day      bigint NOT NULL,
    sent     bigint NOT NULL,
    PRIMARY KEY (stock_no, day)
);

-- Columns of eight bytes stand first where rows are many, then those of four, then texts: so nothing is lost between
-- them. What is NULL in some row costs each row of more than eight columns eight bytes.

-- The codes of a stock in upload order, up to 64 of an upload in one row: the only place where a code's text stands. A
-- deleted one stays here, and in `code`: its position stands in `deletion`, and the same text may come again, at another
-- position.
CREATE TABLE piece (
    stock_no       integer NOT NULL,
    first_position integer NOT NULL,
    success_at     bigint,           -- NULL: they came with their coupons
    codes          text NOT NULL,    -- one a line
    PRIMARY KEY (stock_no, first_position)
) WITH (toast_tuple_target = 8160);
-- In the row, and as it is.
ALTER TABLE piece ALTER codes SET STORAGE EXTERNAL;

-- Where the codes of a hash stand. Different codes may have the same: what counts is the text at the position. Rows are
-- never changed or deleted, so a replica needs no key of them.
CREATE TABLE code (
    stock_no  integer NOT NULL,
    code_hash integer NOT NULL,      -- hashtext of the code
    position  integer NOT NULL       -- its place in upload order, from 0
);
CREATE INDEX code_by_hash ON code (code_hash, stock_no);
ALTER TABLE code REPLICA IDENTITY FULL;

-- Which code stands at which free slot: an array that is never written out. A slot holds the position slot + shift of
-- its extent, the last one that begins at or before it, unless it is displaced. A draw takes a random slot and moves
-- the last slot's position there; an upload puts its codes behind the last slot. See slots.py.
CREATE TABLE extent (
    stock_no   integer NOT NULL,
    first_slot integer NOT NULL,
    shift      integer NOT NULL,
    PRIMARY KEY (stock_no, first_slot)
);
-- What is known by numbers at random places, many in a row: a row and an index entry for each would take ten times as
-- much, and be written at ten times as many pages. See blocks.py and holders.py.
--   kind 0: the position at a free slot, plus one; 0: the slot is not displaced. 32 slots in a row, from `place` on. From
--           the last free slot on, what they hold counts for nothing.
--   kind 1: the number of the coupon that carries the code at a position; 0: none does. 32 positions in a row, from
--           `place` on.
--   kind 2: who has coupons: a hash of the openid and the coupon's number, eight bytes. `place` is a bucket of hashes.
-- One table, so that a draw writes all of them in one statement also where that goes to another node.
CREATE TABLE block (
    stock_no integer NOT NULL,
    place    integer NOT NULL,
    kind     smallint NOT NULL,
    numbers  bytea NOT NULL,
    PRIMARY KEY (stock_no, kind, place)
) WITH (fillfactor = 90);

-- A random word stands in each row that proves a transaction, here and below: the same request, done again in another
-- history, has another word. A coupon has one already, the microsecond in which it was written.
CREATE TABLE upload (
    stock_no          integer NOT NULL,
    upload_request_no text COLLATE "C" NOT NULL,
    first_position    integer NOT NULL,  -- of its first piece
    code_count        integer NOT NULL,  -- newly stored; 0: it has no piece
    others            text,              -- the answer's fail_codes, exist_codes, duplicate_codes as JSON, if any
    success_at        bigint NOT NULL,
    word              bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (stock_no, upload_request_no)
);

-- What many coupons of a stock have in common: see rows.py. Two rows may say the same.
CREATE TABLE terms (
    stock_no integer NOT NULL,
    terms_no integer NOT NULL,     -- from 1
    terms    text NOT NULL,
    PRIMARY KEY (stock_no, terms_no)
);

-- A coupon as it was given out: such a row never changes. What the steps after that say is in coupon_step.
CREATE TABLE coupon (
    sent_at        bigint NOT NULL,
    written_at     timestamptz NOT NULL,    -- to sort coupons of one second by
    stock_no       integer NOT NULL,
    coupon_id      integer NOT NULL,        -- its number in the stock, from 1
    position       integer NOT NULL,        -- of its code
    terms_no       integer NOT NULL,
    openid         text COLLATE "C" NOT NULL,
    out_request_no text COLLATE "C" NOT NULL,
    request        text NOT NULL,           -- other fields of the request that got it, if any, to know it again; or ''
    PRIMARY KEY (stock_no, coupon_id)
);
-- Where a coupon is after its first step: see coupons/states.py. No row: SENDED.
CREATE TABLE coupon_step (
    stock_no               integer NOT NULL,
    coupon_id              integer NOT NULL,
    coupon_state           text NOT NULL,
    use_request_no         text,
    use_time               text,
    used_at                bigint,
    return_request_no      text,
    returned_at            bigint,
    deactivate_request_no  text,
    deactivate_reason      text,
    deactivated_at         bigint,
    associate_out_trade_no text,
    PRIMARY KEY (stock_no, coupon_id)
) WITH (fillfactor = 90);

-- Where two indexes of a table begin with stock_no, the planner may take the one for the other, and go through all
-- rows of a stock to find one: right after many uploads it knows no better. So only one of a table's ever does, but
-- for tables that stay small.

CREATE TABLE deletion (
    stock_no          integer NOT NULL,
    delete_request_no text COLLATE "C",  -- NULL: `quanma reconcile` took it out, and no merchant
    position          integer NOT NULL,
    coupon_code       text COLLATE "C" NOT NULL,
    deleted_at        bigint NOT NULL,
    word              bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (position, stock_no)
);
CREATE UNIQUE INDEX deletion_number ON deletion (delete_request_no, stock_no);

-- What a number of the other calls did: the request to know a repeat by, and the answer to repeat.
CREATE TABLE answered (
    stock_no  integer NOT NULL,
    operation text COLLATE "C" NOT NULL,
    number    text COLLATE "C" NOT NULL,
    request   text NOT NULL,
    answer    text NOT NULL,
    word      bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (stock_no, operation, number)
);

CREATE TABLE pay_receipt (
    stock_no           integer NOT NULL,
    subsidy_receipt_id text COLLATE "C" NOT NULL,
    coupon_code        text COLLATE "C" NOT NULL,
    transaction_id     text NOT NULL,
    amount             bigint NOT NULL,
    returned_amount    bigint NOT NULL DEFAULT 0,
    receipt            text NOT NULL,      -- PayReceipt as JSON
    PRIMARY KEY (stock_no, subsidy_receipt_id)
);
CREATE INDEX pay_receipt_coupon ON pay_receipt (coupon_code, stock_no);

CREATE TABLE return_receipt (
    stock_no                  integer NOT NULL,
    subsidy_return_receipt_id text COLLATE "C" NOT NULL,
    subsidy_receipt_id        text COLLATE "C" NOT NULL,
    receipt                   text NOT NULL,
    PRIMARY KEY (stock_no, subsidy_return_receipt_id),
    FOREIGN KEY (stock_no, subsidy_receipt_id) REFERENCES pay_receipt
);

-- An event for each coupon that was given out, written with it. It is due until it is delivered or given up.
CREATE TABLE event (
    id           uuid NOT NULL,       -- begins with the time: ids of one moment lie together in their index
    created_at   bigint NOT NULL,
    due_at       bigint,              -- NULL: delivered, or given up
    delivered_at bigint,
    stock_no     integer NOT NULL,
    coupon_id    integer NOT NULL,
    attempts     integer NOT NULL DEFAULT 0,
    mchid        text NOT NULL,
    last_error   text,
    PRIMARY KEY (stock_no, coupon_id)
);
CREATE UNIQUE INDEX event_id ON event (id, stock_no);
-- By merchant, so that one's many do not stand before another's few.
CREATE INDEX event_due ON event (mchid, due_at, stock_no) WHERE due_at IS NOT NULL;

-- Codes that were given out by a later history of this pool, which was lost when an older copy was restored: see
-- reconcile.py. They are never given out again, nor taken as new when they are uploaded again.
CREATE TABLE barred (
    stock_no    integer NOT NULL,
    coupon_code text COLLATE "C" NOT NULL,
    barred_at   bigint NOT NULL,
    PRIMARY KEY (stock_no, coupon_code)
);
