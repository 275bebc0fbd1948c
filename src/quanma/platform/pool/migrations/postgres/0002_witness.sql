-- What a host compares with the witness that it keeps outside the database: see docs/postgres.md, "What goes back".

-- Which pool this is. A copy has the same id.
INSERT INTO about VALUES ('pool_id', gen_random_uuid()::text);

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
    proven_at timestamptz                    -- the beat that was found when it confirmed: all before that is there
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

-- A random word in each row that proves a turn: the same request, done again in another history, has another word.
-- A coupon has one already, the microsecond in which it was written.
ALTER TABLE upload ADD word bigint NOT NULL DEFAULT 0;
ALTER TABLE deletion ADD word bigint NOT NULL DEFAULT 0;
ALTER TABLE done ADD word bigint NOT NULL DEFAULT 0;

-- A code that `quanma reconcile` took out has no number: it can't be taken for a merchant's deletion.
ALTER TABLE deletion DROP CONSTRAINT deletion_pkey;
ALTER TABLE deletion ALTER delete_request_no DROP NOT NULL;
DROP INDEX deletion_position;
ALTER TABLE deletion ADD PRIMARY KEY (position, stock_id);
CREATE UNIQUE INDEX deletion_number ON deletion (delete_request_no, stock_id);
