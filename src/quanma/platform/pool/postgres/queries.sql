-- What the PostgreSQL pool asks of its database, for requests and for events. Read by queries.py.
--
-- Every statement is about one stock, whose number is $1, and of its rows alone: on a Citus cluster it is one node's
-- work. Those that are not are named, with their reasons, in tests/platform/pool/test_shardable.py.
--
-- Where there are many keys, each is looked up by itself, by LATERAL … OFFSET 0 or in a column: with `= ANY` or a join,
-- the plan would be the planner's choice, and while it knows too little of the table it thinks that reading all of the
-- stock is cheaper.
--
-- The statements of what a host acknowledged stand with it: epochs.py, seen.py, missing.py, and the beginning of a
-- transaction in stock_transaction.py.


-- Stocks


-- name: lock
-- Until the transaction's end, one at a time under a name.
SELECT pg_advisory_xact_lock(hashtextextended($1, 0));

-- name: add_stock
-- A stock, if neither its id nor its number was used before. One at a time, so that the next number inside is nobody's.
INSERT INTO stock
    (stock_id, stock_no, mchid, belong_merchant, out_request_no, request, created_at, product_coupon_id, brand_id)
SELECT $1::text, (SELECT coalesce(max(stock_no), 0) + 1 FROM stock), $2::text, $3::text, $4::text, $5::text, $6::bigint,
    $7::text, $8::text
WHERE NOT EXISTS (SELECT FROM stock WHERE stock_id = $1 OR (mchid = $2 AND out_request_no = $4))
RETURNING stock_no;

-- name: add_turn
-- The row by which it is locked.
INSERT INTO stock_lock (stock_no) VALUES ($1);

-- name: stock_made_under
-- The stock that a merchant's number made, and how many others the merchant has made, up to a limit.
SELECT (SELECT stock_id FROM stock WHERE mchid = $1 AND out_request_no = $2), (SELECT count(*) FROM
    (SELECT FROM stock WHERE mchid = $1 AND product_coupon_id IS NULL AND stock_id <> $3 LIMIT $4) s);

-- name: stock
-- One stock, as decisions need it.
SELECT {s.stock} FROM stock s WHERE s.stock_id = $1;

-- name: stock_no
-- Its number inside.
SELECT stock_no FROM stock WHERE stock_id = $1;

-- name: stocks
-- The same of many.
SELECT s.* FROM unnest($1::text[]) AS o(stock_id), LATERAL (
    SELECT {s.stock} FROM stock s WHERE s.stock_id = o.stock_id OFFSET 0) s;

-- name: stock_numbers
-- The same of many.
SELECT o.stock_id, s.stock_no FROM unnest($1::text[]) AS o(stock_id), LATERAL (
    SELECT stock_no FROM stock WHERE stock_id = o.stock_id OFFSET 0) s;

-- name: stocks_of_merchant
-- Those that a merchant created or owns.
SELECT stock_id, stock_no FROM stock WHERE mchid = $1 OR belong_merchant = $1;

-- name: stocks_made_by
-- Those that a merchant created.
SELECT stock_no FROM stock WHERE mchid = $1;

-- name: own_stocks
-- Busifavor stocks that a merchant created, the latest first.
SELECT {s.stock} FROM stock s WHERE s.mchid = $1 AND s.product_coupon_id IS NULL
    ORDER BY s.created_at DESC, s.stock_id DESC LIMIT $2 OFFSET $3;

-- name: nearest_stock
-- Whose a stock is. One row is read, whether the stock is there or not: the one with the next id then.
(SELECT stock_id, stock_no, mchid, belong_merchant, product_coupon_id, brand_id FROM stock
    WHERE stock_id >= $1 ORDER BY stock_id LIMIT 1)
UNION ALL
(SELECT stock_id, stock_no, mchid, belong_merchant, product_coupon_id, brand_id FROM stock
    WHERE stock_id <= $1 ORDER BY stock_id DESC LIMIT 1)
LIMIT 1;

-- name: change_stock
-- What a stock's request is from now on.
UPDATE stock SET request = $2 WHERE stock_no = $1;


-- Transactions and counters


-- name: lock_stock
-- Lock the stock until the transaction's end: no other one comes between.
SELECT 1 FROM stock_lock WHERE stock_no = $1 FOR UPDATE;

-- name: stock_counters
-- A stock's counters as they are.
SELECT {stock_counters} FROM stock_counters WHERE stock_no = $1 ORDER BY transaction_no DESC LIMIT 1;

-- name: add_stock_counters
-- The counters after a transaction.
INSERT INTO stock_counters (stock_no, transaction_no, {stock_counters}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);

-- name: forget_stock_counters
-- Those of transactions long gone.
DELETE FROM stock_counters WHERE stock_no = $1 AND transaction_no >= $2 AND transaction_no < $3;

-- name: keep_day
-- How many coupons were given out on a day that is not the latest row's.
INSERT INTO day_counter (stock_no, day, sent) VALUES ($1, $2, $3)
ON CONFLICT (stock_no, day) DO UPDATE SET sent = excluded.sent;

-- name: sent_on
-- How many coupons were given out on such a day.
SELECT sent FROM day_counter WHERE stock_no = $1 AND day = $2;


-- Numbers


-- name: answered
-- What was asked under a number, and the answer.
SELECT request, answer FROM answered WHERE stock_no = $1 AND operation = $2 AND number = $3;

-- name: add_answered
-- What was asked under a number, and answered.
INSERT INTO answered (stock_no, operation, number, request, answer, word) VALUES ($1, $2, $3, $4, $5, $6);

-- name: card
-- The same of a consumption card: under $1, which says whose it is, and its number.
SELECT request, answer FROM card WHERE key = $1 AND number = $2;

-- name: add_card
-- What was asked, and answered.
INSERT INTO card (key, number, request, answer) VALUES ($1, $2, $3, $4);


-- Codes


-- name: uploads_under
-- What these numbers uploaded, with the codes that were stored.
SELECT u.upload_request_no, u.others, u.success_at, (SELECT string_agg(p.codes, E'\n' ORDER BY p.first_position)
    FROM piece p WHERE p.stock_no = $1 AND p.first_position >= u.first_position
    AND p.first_position < u.first_position + u.code_count)
FROM unnest($2::text[]) AS n(number), LATERAL (
    SELECT * FROM upload WHERE stock_no = $1 AND upload_request_no = n.number OFFSET 0) u;

-- name: taken_codes
-- Which of these codes the stock has, or gave out in a history that was lost.
SELECT o.coupon_code FROM unnest($2::text[]) AS o(coupon_code) WHERE {position of o.coupon_code} IS NOT NULL
    OR (SELECT true FROM barred b WHERE b.stock_no = $1 AND b.coupon_code = o.coupon_code);

-- name: add_uploads
-- What each number uploaded.
INSERT INTO upload (stock_no, upload_request_no, first_position, code_count, others, success_at, word)
SELECT q.stock_no, u.*, $7::bigint FROM stock_lock q, unnest($2::text[], $3::integer[], $4::integer[], $5::text[], $6::bigint[])
    AS u(number, first_position, code_count, others, success_at) WHERE q.stock_no = $1;

-- name: add_pieces
-- Codes in pieces.
INSERT INTO piece (stock_no, first_position, codes, success_at)
SELECT q.stock_no, u.* FROM stock_lock q, unnest($2::integer[], $3::text[], $4::bigint[]) AS u(first_position, codes, success_at)
WHERE q.stock_no = $1;

-- name: add_codes
-- Where codes stand.
INSERT INTO code (stock_no, code_hash, position)
SELECT q.stock_no, hashtext(u.coupon_code), u.position
FROM stock_lock q, unnest($2::text[], $3::integer[]) AS u(coupon_code, position) WHERE q.stock_no = $1;

-- name: store
-- Both at once, where there is one node.
WITH pieces AS ({do add_pieces with $2}) {do add_codes with $5};

-- name: forget_extents
-- Those that begin where nothing is free any more.
DELETE FROM extent WHERE stock_no = $1 AND first_slot >= $2;

-- name: add_extent
-- Where slots begin that hold later positions.
INSERT INTO extent (stock_no, first_slot, shift) VALUES ($1, $2, $3);

-- name: clear_slots
-- Slots from one on, in the block that has it: $3 bytes before it stay.
UPDATE block SET numbers = overlay(numbers PLACING decode(repeat('00', length(numbers) - $3::integer), 'hex')
    FROM $3::integer + 1) WHERE stock_no = $1 AND kind = 0 AND place = $2;

-- name: deleted_before
-- How many deleted codes stand before the code at a place in the list.
SELECT count(*) FROM (SELECT position - row_number() OVER (ORDER BY position) + 1 AS place
    FROM deletion WHERE stock_no = $1) d WHERE d.place <= $2;

-- name: piece_at
-- Where the piece begins that holds a position.
SELECT max(first_position) FROM piece WHERE stock_no = $1 AND first_position <= $2;

-- name: pieces_from
-- Codes in upload order, so many pieces of them.
SELECT first_position, codes, success_at FROM piece WHERE stock_no = $1 AND first_position >= $2
ORDER BY first_position LIMIT $3;

-- name: deleted_among
-- Which of these positions hold deleted codes.
SELECT p.position FROM unnest($2::integer[]) AS p(position)
WHERE (SELECT true FROM deletion d WHERE d.stock_no = $1 AND d.position = p.position);

-- name: code_and_coupon
-- A code and the coupon that carries it, of one moment: deleted or given out in between, it must not show as both.
SELECT (SELECT p.success_at FROM piece p WHERE p.stock_no = $1 AND p.first_position <= c.position
    ORDER BY p.first_position DESC LIMIT 1), {coupon}
FROM (SELECT {position of $2} AS position OFFSET 0) c
    LEFT JOIN LATERAL (
        SELECT * FROM coupon k WHERE k.stock_no = $1 AND k.coupon_id = {carrier at c.position} OFFSET 0) k ON true
    {step}
WHERE c.position IS NOT NULL;

-- name: deletion_under
-- What a number deleted.
SELECT coupon_code, deleted_at FROM deletion WHERE stock_no = $1 AND delete_request_no = $2;

-- name: code_to_delete
-- Its position, and whether a coupon carries it.
SELECT c.position, {carrier at c.position} IS NOT NULL
FROM (SELECT {position of $2} AS position OFFSET 0) c WHERE c.position IS NOT NULL;

-- name: delete_code
-- That a code is gone: its row stays.
INSERT INTO deletion (stock_no, delete_request_no, position, coupon_code, deleted_at, word)
VALUES ($1, $2, $3, $4, $5, $6);


-- Coupons


-- name: codes_at_slots
-- Of each slot, the position that it holds. If it is to be drawn ($3), also its block, the code that stands there, and
-- the block of who carries it. Of one that moves into another, these would be read at random places for nothing.
SELECT slot, position, CASE WHEN is_drawn THEN held END, CASE WHEN is_drawn THEN {code at position} END,
    CASE WHEN is_drawn THEN (
    SELECT c.numbers FROM block c WHERE c.stock_no = $1 AND c.kind = 1 AND c.place = position - position % {block}) END
FROM (SELECT slot, is_drawn, held, coalesce(nullif({number at slot in held}, 0) - 1, slot + (SELECT e.shift FROM extent e
        WHERE e.stock_no = $1 AND e.first_slot <= slot ORDER BY e.first_slot DESC LIMIT 1)) AS position
    FROM (SELECT slot, is_drawn, (SELECT d.numbers FROM block d
        WHERE d.stock_no = $1 AND d.kind = 0 AND d.place = slot - slot % {block}) AS held
        FROM unnest($2::integer[], $3::boolean[]) AS s(slot, is_drawn) OFFSET 0) d OFFSET 0) h;

-- name: codes_at
-- The codes at positions, and the blocks of who carries them.
SELECT o.position, {code at o.position}, (SELECT c.numbers FROM block c
    WHERE c.stock_no = $1 AND c.kind = 1 AND c.place = o.position - o.position % {block})
FROM unnest($2::integer[]) AS o(position);

-- name: carriers
-- A block of them.
SELECT numbers FROM block WHERE stock_no = $1 AND kind = 1 AND place = $2;

-- name: holders
-- Some buckets of who has coupons.
SELECT u.bucket, (SELECT b.numbers FROM block b WHERE b.stock_no = $1 AND b.kind = 2 AND b.place = u.bucket)
FROM unnest($2::integer[]) AS u(bucket);

-- name: add_terms
-- What coupons of this transaction have in common, where it is new.
INSERT INTO terms (stock_no, terms_no, terms)
SELECT q.stock_no, u.* FROM stock_lock q, unnest($2::integer[], $3::text[]) AS u(terms_no, terms) WHERE q.stock_no = $1;

-- name: forget_slots
-- Blocks of slots that are gone.
DELETE FROM block WHERE stock_no = $1 AND kind = 0 AND place >= $2 AND place < $3;

-- name: keep_blocks
-- What a draw changed in blocks, of all kinds.
INSERT INTO block (stock_no, kind, place, numbers)
SELECT q.stock_no, u.* FROM stock_lock q, unnest($2::smallint[], $3::integer[], $4::bytea[]) AS u(kind, place, numbers)
WHERE q.stock_no = $1 ON CONFLICT (stock_no, kind, place) DO UPDATE SET numbers = excluded.numbers;

-- name: add_coupons
-- Those that were drawn.
INSERT INTO coupon (stock_no, written_at, coupon_id, position, terms_no, openid, out_request_no, request, sent_at)
SELECT q.stock_no, $2::timestamptz, u.* FROM stock_lock q, unnest($3::integer[], $4::integer[], $5::integer[], $6::text[],
    $7::text[], $8::text[], $9::bigint[])
    AS u(coupon_id, position, terms_no, openid, out_request_no, request, sent_at) WHERE q.stock_no = $1;

-- name: give
-- All three at once, where there is one node. A block of slots that is gone is never one that another moved into.
WITH gone AS ({do forget_slots with $2}), kept AS ({do keep_blocks with $4}) {do add_coupons with $7};

-- name: coupons_numbered
-- The coupons of these numbers.
SELECT c.* FROM unnest($2::integer[]) AS o(coupon_id), LATERAL (
    SELECT {coupon} FROM coupon k {step} WHERE k.stock_no = $1 AND k.coupon_id = o.coupon_id OFFSET 0) c;

-- name: coupons_at
-- The coupons that carry the codes at these positions.
SELECT o.position, c.* FROM unnest($2::integer[]) AS o(position), LATERAL (
    SELECT {coupon} FROM coupon k {step} WHERE k.stock_no = $1 AND k.coupon_id = {carrier at o.position} OFFSET 0) c;

-- name: coupon
-- The coupon that carries a code.
SELECT {coupon} FROM (SELECT {position of $2} AS position OFFSET 0) c, LATERAL (
    SELECT * FROM coupon k WHERE k.stock_no = $1 AND k.coupon_id = {carrier at c.position} OFFSET 0) k {step};

-- name: written_at
-- When a coupon was written, to the microsecond.
SELECT written_at FROM coupon WHERE stock_no = $1 AND coupon_id = $2;

-- name: coupons_of_user
-- Of one stock, each with when it was written. $3: the hash of the openid.
SELECT k.written_at, {coupon} FROM {held by $3 of $1} LATERAL (
    SELECT * FROM coupon WHERE stock_no = $1 AND coupon_id = h.coupon_id AND openid = $2 OFFSET 0) k {step};

-- name: coupons_at_merchant
-- A user's coupons of a merchant's stocks, each with its stock and when it was written. $3: the hash of the openid.
SELECT o.stock_id, c.* FROM (SELECT stock_id, stock_no FROM stock WHERE mchid = $1 OR belong_merchant = $1) o, LATERAL (
    SELECT k.written_at, {coupon of o.stock_no} FROM {held by $3 of o.stock_no} LATERAL (
        SELECT * FROM coupon WHERE stock_no = o.stock_no AND coupon_id = h.coupon_id AND openid = $2 OFFSET 0) k
    {step of o.stock_no} OFFSET 0) c;

-- name: move_first
-- A step that starts from the first state, or from others too: a coupon that took none before has no row.
INSERT INTO coupon_step AS s (stock_no, coupon_id, {later}) VALUES ($1, $2, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (stock_no, coupon_id) DO UPDATE SET ({later}) = ROW ({excluded.later})
WHERE s.coupon_state = ANY($3::text[]);

-- name: move_next
-- A step that starts from other states only.
UPDATE coupon_step SET ({later}) = ROW ($4, $5, $6, $7::bigint, $8, $9::bigint, $10, $11, $12::bigint, $13, $14, $15::bigint,
    $16)
WHERE stock_no = $1 AND coupon_id = $2 AND coupon_state = ANY($3::text[]);


-- Receipts


-- name: payments
-- Those for a coupon, by their ids.
SELECT receipt, returned_amount FROM pay_receipt WHERE stock_no = $1 AND coupon_code = $2 ORDER BY subsidy_receipt_id;

-- name: write_payment
-- A new one, or one of which something was taken back.
INSERT INTO pay_receipt (stock_no, subsidy_receipt_id, coupon_code, transaction_id, amount, returned_amount, receipt)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (stock_no, subsidy_receipt_id)
DO UPDATE SET returned_amount = excluded.returned_amount, receipt = excluded.receipt;

-- name: add_return
-- What was taken back of a payment.
INSERT INTO return_receipt (stock_no, subsidy_return_receipt_id, subsidy_receipt_id, receipt) VALUES ($1, $2, $3, $4);

-- name: pay_receipt
-- One payment.
SELECT receipt FROM pay_receipt WHERE stock_no = $1 AND subsidy_receipt_id = $2;

-- name: return_receipt
-- One return.
SELECT receipt FROM return_receipt WHERE stock_no = $1 AND subsidy_return_receipt_id = $2;


-- Events


-- name: set_callback
-- Where a merchant wants events posted, new or changed.
INSERT INTO callback (caller, mchid, notify_url, updated_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (caller, mchid) DO UPDATE SET notify_url = excluded.notify_url, updated_at = excluded.updated_at;

-- name: callback
-- Where that is.
SELECT notify_url, updated_at FROM callback WHERE caller = $1 AND mchid = $2;

-- name: callbacks
-- Where some merchants want their own.
SELECT mchid, notify_url FROM callback WHERE caller = mchid AND mchid = ANY($1);

-- name: add_events
-- Those of new coupons, due at once.
INSERT INTO event (stock_no, mchid, id, coupon_id, created_at, due_at)
SELECT q.stock_no, $2::text, u.*, u.due FROM stock_lock q, unnest($3::uuid[], $4::integer[], $5::bigint[]) AS u(id, coupon_id, due)
WHERE q.stock_no = $1;

-- name: waiting
-- The merchants with events that are due, or due too far ahead. In order, so that it is looked for in the index, and
-- not in the whole table for who has none.
SELECT c.mchid, c.notify_url FROM callback c CROSS JOIN LATERAL (
    (SELECT FROM event e WHERE e.mchid = c.mchid AND e.due_at <= $1 ORDER BY e.due_at LIMIT 1)
    UNION ALL
    (SELECT FROM event e WHERE e.mchid = c.mchid AND e.due_at > $2 ORDER BY e.due_at LIMIT 1) LIMIT 1) due
WHERE c.caller = c.mchid;

-- name: list_due_stock
-- That events of a stock may be written from now on, for so many seconds. On a Citus cluster only, as the next ones.
INSERT INTO due_stock (stock_no, stock_id, mchid, until, look_at)
VALUES ($1, $2, $3, now() + make_interval(secs => $4::integer), 0)
ON CONFLICT (stock_no) DO UPDATE SET stock_id = excluded.stock_id, mchid = excluded.mchid, until = excluded.until,
    look_at = 0;

-- name: listed_stocks
-- Those of which something may be due now ($1), or later than $2; each with the node that has its events.
SELECT d.stock_no, d.stock_id, d.mchid, d.until, d.until <= now(), p.nodename || ':' || p.nodeport AS node
FROM due_stock d, pg_dist_shard_placement p WHERE p.shardid = get_shard_id_for_distribution_column('event', d.stock_no)
AND (d.until > now() OR d.look_at <= $1::bigint OR d.look_at > $2::bigint);

-- name: next_due
-- The first and the last moment at which an event of a stock is due.
SELECT (SELECT due_at FROM event WHERE stock_no = $1 AND mchid = $2 AND due_at IS NOT NULL ORDER BY due_at LIMIT 1),
    (SELECT due_at FROM event WHERE stock_no = $1 AND mchid = $2 AND due_at IS NOT NULL ORDER BY due_at DESC LIMIT 1);

-- name: unlist_due_stock
-- Nothing of a stock waits.
DELETE FROM due_stock WHERE stock_no = $1 AND until = $2;

-- name: look_later
-- Nothing of a stock is due before that.
UPDATE due_stock SET look_at = $3 WHERE stock_no = $1 AND until = $2;

-- name: stocks_on_nodes
-- The stocks with events that are not delivered, as each shard tells them. What is away tells nothing.
SELECT result FROM run_command_on_shards('event',
    'SELECT string_agg(DISTINCT stock_no::text, '','') FROM %s WHERE due_at IS NOT NULL') WHERE success;

-- name: stocks_numbered
-- Stocks by their numbers inside.
SELECT s.stock_no, s.stock_id, s.mchid FROM stock s WHERE s.stock_no = ANY($1::integer[]);

-- name: stocks_waiting
-- A merchant's stocks with events that are due, or due too far ahead.
SELECT s.stock_id FROM (SELECT DISTINCT stock_no FROM (
    (SELECT stock_no FROM event WHERE mchid = $1 AND due_at <= $2 ORDER BY due_at LIMIT $4)
    UNION ALL
    (SELECT stock_no FROM event WHERE mchid = $1 AND due_at > $3 ORDER BY due_at DESC LIMIT $4)) e) waiting
JOIN stock s ON s.stock_no = waiting.stock_no;

-- name: take_due
-- What another host takes at this moment is passed over.
WITH due AS MATERIALIZED (
    SELECT coupon_id FROM event WHERE stock_no = $1 AND mchid = $2 AND due_at <= $5
    ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED)
UPDATE event e SET attempts = attempts + 1, due_at = $3 FROM due WHERE e.stock_no = $1 AND e.coupon_id = due.coupon_id
RETURNING e.id, e.created_at, e.attempts, e.coupon_id;

-- name: take_ahead
-- The same of what is due too far ahead: it was taken before the clock was set back.
WITH due AS MATERIALIZED (
    SELECT coupon_id FROM event WHERE stock_no = $1 AND mchid = $2 AND due_at > $5
    ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED)
UPDATE event e SET attempts = attempts + 1, due_at = $3 FROM due WHERE e.stock_no = $1 AND e.coupon_id = due.coupon_id
RETURNING e.id, e.created_at, e.attempts, e.coupon_id;

-- name: event_delivered
-- It is not due any more.
UPDATE event SET due_at = NULL, delivered_at = $4, last_error = NULL WHERE stock_no = $1 AND coupon_id = $2 AND id = $3;

-- name: event_not_tried
-- It is due at once, and the attempt does not count.
UPDATE event SET attempts = greatest(0, attempts - 1), due_at = $4 WHERE stock_no = $1 AND coupon_id = $2 AND id = $3;

-- name: event_failed
-- The last attempt gives the event up.
UPDATE event SET last_error = $4, due_at = CASE WHEN attempts >= $5 THEN NULL ELSE due_at END
WHERE stock_no = $1 AND coupon_id = $2 AND id = $3;

-- name: resend_event
-- It is due at once, as a new one.
UPDATE event SET due_at = $3, attempts = 0, delivered_at = NULL WHERE stock_no = $1 AND id = $2;

-- name: stock_of_event
-- Of a merchant's event.
SELECT e.stock_no FROM (SELECT stock_no FROM stock WHERE mchid = $1) s, LATERAL (
    SELECT stock_no FROM event WHERE id = $2 AND stock_no = s.stock_no OFFSET 0) e;

-- name: events_of_stock
-- The latest first. Coupons are numbered in their stock: between stocks, events of one second go by when they were
-- written.
SELECT c.written_at, e.id, e.created_at, e.attempts, e.due_at, e.delivered_at, e.last_error
FROM event e, LATERAL (
    SELECT written_at FROM coupon WHERE stock_no = $1 AND coupon_id = e.coupon_id OFFSET 0) c
WHERE e.stock_no = $1 ORDER BY e.coupon_id DESC LIMIT $2;

-- name: events_of_merchant
-- The same of all of a merchant's stocks.
SELECT e.* FROM (SELECT stock_no FROM stock WHERE mchid = $1) s, LATERAL (
    SELECT c.written_at, e.id, e.created_at, e.attempts, e.due_at, e.delivered_at, e.last_error
    FROM event e, LATERAL (
        SELECT written_at FROM coupon WHERE stock_no = s.stock_no AND coupon_id = e.coupon_id OFFSET 0) c
    WHERE e.stock_no = s.stock_no ORDER BY e.coupon_id DESC LIMIT $2 OFFSET 0) e
ORDER BY e.created_at DESC, e.written_at DESC LIMIT $3 OFFSET $4;


-- 商品券


-- name: document
-- One, as it is.
SELECT body FROM document WHERE owner = $1 AND kind = $2 AND id = $3;

-- name: documents
-- Those of these ids.
SELECT o.id, d.body FROM unnest($3::text[]) AS o(id), LATERAL (
    SELECT body FROM document WHERE owner = $1 AND kind = $2 AND id = o.id OFFSET 0) d;

-- name: documents_after
-- Those that follow an id, in order.
SELECT id, body FROM document WHERE owner = $1 AND kind = $2 AND id > $3 ORDER BY id LIMIT $4;

-- name: count_documents
-- How many of a kind there are.
SELECT count(*) FROM document WHERE owner = $1 AND kind = $2;

-- name: keep_document
-- New, or in the place of the one before it.
INSERT INTO document (owner, kind, id, body) VALUES ($1, $2, $3, $4)
ON CONFLICT (owner, kind, id) DO UPDATE SET body = excluded.body;

-- name: remove_document
-- It is gone.
DELETE FROM document WHERE owner = $1 AND kind = $2 AND id = $3;

-- name: stocks_of_product
-- A product coupon's stocks, in the order in which they were made.
SELECT {s.stock} FROM stock s WHERE s.mchid = $1 AND s.product_coupon_id = $2 AND s.brand_id = $3
    ORDER BY s.created_at, s.stock_id;


-- Nonces


-- name: reserve_nonces
-- A run of numbers for sealing, for one process alone: $3 of them, from $2 at least.
INSERT INTO nonce AS n (mchid, next) VALUES ($1, $2::bigint + $3::bigint)
ON CONFLICT (mchid) DO UPDATE SET next = greatest(n.next, $2) + $3 RETURNING n.next - $3;

-- name: note_nonce
-- A request's, if none came with it for so many seconds.
INSERT INTO nonce_seen AS s (mchid, nonce, token, what, noted_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (mchid, nonce) DO UPDATE SET token = $3, what = $4, noted_at = $5, answer = NULL
WHERE s.noted_at < $5 - $6::bigint RETURNING 1;

-- name: nonce_noted
-- What came with a nonce, and its answer.
SELECT token, what, answer FROM nonce_seen WHERE mchid = $1 AND nonce = $2;

-- name: nonce_answered
-- A repeat's answer from now on.
UPDATE nonce_seen SET answer = $3 WHERE mchid = $1 AND nonce = $2;

-- name: forget_nonce
-- It may come again.
DELETE FROM nonce_seen WHERE mchid = $1 AND nonce = $2;

-- name: forget_old_nonces
-- Signatures as old do not hold any more.
DELETE FROM nonce_seen WHERE noted_at < $1 - $2::bigint;
