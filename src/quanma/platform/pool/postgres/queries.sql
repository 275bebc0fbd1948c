-- What the PostgreSQL pool asks of its database, for requests and for events. Read by queries.py.
--
-- Every statement is about one stock, $1, and of its rows alone: on a Citus cluster it is one node's work. Those that
-- are not are named, with their reasons, in tests/platform/pool/test_shardable.py.
--
-- Where there are many keys, each is looked up by itself, by LATERAL … OFFSET 0 or in a column: with `= ANY` or a join,
-- the plan would be the planner's choice, and while it knows too little of the table it thinks that reading all of the
-- stock is cheaper.
--
-- The statements of what a host acknowledged stand with it: epochs.py, seen.py, missing.py, and the beginning of a
-- turn in turn.py.


-- Stocks


-- name: lock
-- Until the transaction's end, one at a time under a name.
SELECT pg_advisory_xact_lock(hashtextextended($1, 0));

-- name: add_stock
-- A stock, if neither its id nor its number was used before.
INSERT INTO stock (stock_id, mchid, belong_merchant, out_request_no, request, created_at, product_coupon_id, brand_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING stock_id;

-- name: add_turn
-- The row by which its turn is taken.
INSERT INTO turn (stock_id) VALUES ($1);

-- name: stock_made_under
-- The stock that a merchant's number made, and how many others the merchant has made, up to a limit.
SELECT (SELECT stock_id FROM stock WHERE mchid = $1 AND out_request_no = $2), (SELECT count(*) FROM
    (SELECT FROM stock WHERE mchid = $1 AND product_coupon_id IS NULL AND stock_id <> $3 LIMIT $4) s);

-- name: stock
-- One stock, as decisions need it.
SELECT {s.stock} FROM stock s WHERE s.stock_id = $1;

-- name: stocks
-- The same of many.
SELECT s.* FROM unnest($1::text[]) AS o(stock_id), LATERAL (
    SELECT {s.stock} FROM stock s WHERE s.stock_id = o.stock_id OFFSET 0) s;

-- name: stocks_of_merchant
-- Those that a merchant created or owns.
SELECT stock_id FROM stock WHERE mchid = $1 OR belong_merchant = $1;

-- name: stocks_made_by
-- Those that a merchant created.
SELECT stock_id FROM stock WHERE mchid = $1;

-- name: own_stocks
-- Busifavor stocks that a merchant created, the latest first.
SELECT {s.stock} FROM stock s WHERE s.mchid = $1 AND s.product_coupon_id IS NULL
    ORDER BY s.created_at DESC, s.stock_id DESC LIMIT $2 OFFSET $3;

-- name: nearest_stock
-- Whose a stock is. One row is read, whether the stock is there or not: the one with the next id then.
(SELECT stock_id, mchid, belong_merchant, product_coupon_id, brand_id FROM stock
    WHERE stock_id >= $1 ORDER BY stock_id LIMIT 1)
UNION ALL
(SELECT stock_id, mchid, belong_merchant, product_coupon_id, brand_id FROM stock
    WHERE stock_id <= $1 ORDER BY stock_id DESC LIMIT 1)
LIMIT 1;

-- name: change_stock
-- What a stock's request is from now on.
UPDATE stock SET request = $2 WHERE stock_id = $1;


-- Turns and counters


-- name: take_turn
-- Wait for the stock's turn, and keep it until the transaction's end.
SELECT 1 FROM turn WHERE stock_id = $1 FOR UPDATE;

-- name: tally
-- A stock's counters as they are.
SELECT {tally} FROM tally WHERE stock_id = $1 ORDER BY turn_no DESC LIMIT 1;

-- name: add_tally
-- The counters after a turn.
INSERT INTO tally (stock_id, turn_no, {tally}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);

-- name: forget_tallies
-- Those of turns long gone.
DELETE FROM tally WHERE stock_id = $1 AND turn_no >= $2 AND turn_no < $3;

-- name: keep_day
-- How many coupons were given out on a day that is not the latest row's.
INSERT INTO day_tally (stock_id, day, sent) VALUES ($1, $2, $3)
ON CONFLICT (stock_id, day) DO UPDATE SET sent = excluded.sent;

-- name: sent_on
-- How many coupons were given out on such a day.
SELECT sent FROM day_tally WHERE stock_id = $1 AND day = $2;


-- Numbers


-- name: done
-- What was asked under a number, and the answer.
SELECT request, answer FROM done WHERE stock_id = $1 AND operation = $2 AND number = $3;

-- name: add_done
-- What was asked under a number, and answered.
INSERT INTO done (stock_id, operation, number, request, answer, word) VALUES ($1, $2, $3, $4, $5, $6);


-- Codes


-- name: uploads_under
-- What these numbers uploaded, with the codes that were stored.
SELECT u.upload_request_no, u.others, u.success_at, (SELECT codes FROM piece p
    WHERE p.stock_id = $1 AND p.first_position = u.first_position AND u.code_count > 0)
FROM unnest($2::text[]) AS n(number), LATERAL (
    SELECT * FROM upload WHERE stock_id = $1 AND upload_request_no = n.number OFFSET 0) u;

-- name: taken_codes
-- Which of these codes the stock has, or gave out in a history that was lost.
SELECT o.coupon_code FROM unnest($2::text[]) AS o(coupon_code) WHERE
    (SELECT true FROM code k WHERE k.stock_id = $1 AND k.coupon_code = o.coupon_code)
    OR (SELECT true FROM barred b WHERE b.stock_id = $1 AND b.coupon_code = o.coupon_code);

-- name: add_uploads
-- What each number uploaded.
INSERT INTO upload (stock_id, upload_request_no, first_position, code_count, others, success_at, word)
SELECT $1, *, $7 FROM unnest($2::text[], $3::bigint[], $4::integer[], $5::text[], $6::bigint[]);

-- name: add_codes
-- Codes, and the same codes in pieces.
WITH pieces AS (
    INSERT INTO piece (stock_id, first_position, codes, success_at)
    SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::bigint[]))
INSERT INTO code (stock_id, coupon_code, position, success_at)
SELECT $1, * FROM unnest($5::text[], $6::bigint[], $7::bigint[]);

-- name: forget_extents
-- Those that begin where nothing is free any more.
DELETE FROM extent WHERE stock_id = $1 AND first_slot >= $2;

-- name: add_extent
-- Where slots begin that hold later positions.
INSERT INTO extent (stock_id, first_slot, shift) VALUES ($1, $2, $3);

-- name: deleted_before
-- How many deleted codes stand before the code at a place in the list.
SELECT count(*) FROM (SELECT position - row_number() OVER (ORDER BY position) + 1 AS place
    FROM deletion WHERE stock_id = $1) d WHERE d.place <= $2;

-- name: piece_at
-- Where the piece begins that holds a position.
SELECT max(first_position) FROM piece WHERE stock_id = $1 AND first_position <= $2;

-- name: pieces_from
-- Codes in upload order, so many pieces of them.
SELECT first_position, codes, success_at FROM piece WHERE stock_id = $1 AND first_position >= $2
ORDER BY first_position LIMIT $3;

-- name: deleted_among
-- Which of these positions hold deleted codes.
SELECT p.position FROM unnest($2::bigint[]) AS p(position)
WHERE (SELECT true FROM deletion d WHERE d.stock_id = $1 AND d.position = p.position);

-- name: code_and_coupon
-- A code and the coupon that carries it, of one moment: deleted or given out in between, it must not show as both.
SELECT c.success_at, {k.coupon} FROM code c LEFT JOIN coupon k ON k.stock_id = $1 AND k.coupon_code = $2
WHERE c.stock_id = $1 AND c.coupon_code = $2;

-- name: deletion_under
-- What a number deleted.
SELECT coupon_code, deleted_at FROM deletion WHERE stock_id = $1 AND delete_request_no = $2;

-- name: code_to_delete
-- Its position, and whether a coupon carries it.
SELECT c.position, k.coupon_code IS NOT NULL
FROM code c LEFT JOIN coupon k ON k.stock_id = $1 AND k.coupon_code = c.coupon_code
WHERE c.stock_id = $1 AND c.coupon_code = $2;

-- name: delete_code
-- The code goes; that it was there stays.
WITH gone AS (DELETE FROM code WHERE stock_id = $1 AND coupon_code = $4)
INSERT INTO deletion (stock_id, delete_request_no, position, coupon_code, deleted_at, word)
VALUES ($1, $2, $3, $4, $5, $6);


-- Coupons


-- name: codes_at_slots
-- Of each slot, the position that it holds, and the code that stands there.
SELECT slot, position, (SELECT split_part(p.codes, E'\n', (h.position - p.first_position + 1)::integer)
    FROM piece p WHERE p.stock_id = $1 AND p.first_position <= h.position ORDER BY p.first_position DESC LIMIT 1)
FROM (SELECT slot, coalesce(moved_in, slot + (SELECT e.shift FROM extent e WHERE e.stock_id = $1
        AND e.first_slot <= slot ORDER BY e.first_slot DESC LIMIT 1)) AS position
    FROM (SELECT slot, (SELECT d.position FROM displaced d WHERE d.stock_id = $1 AND d.slot = s.slot) AS moved_in
        FROM unnest($2::bigint[]) AS s(slot) OFFSET 0) d OFFSET 0) h;

-- name: give
-- All that a group of draws writes: the slots that are gone, those that others moved into, and the coupons. A slot that
-- is gone is never one that another moved into.
WITH gone AS (DELETE FROM displaced WHERE stock_id = $1 AND slot >= $2 AND slot < $3),
moved AS (
    INSERT INTO displaced (stock_id, slot, position) SELECT $1, * FROM unnest($4::bigint[], $5::bigint[])
    ON CONFLICT (stock_id, slot) DO UPDATE SET position = excluded.position)
INSERT INTO coupon (stock_id, coupon_id, coupon_code, openid, appid, out_request_no, request, send_merchant,
    send_channel, sent_at, starts_at, expires_at, written_at)
SELECT $1, *, $17::timestamptz FROM unnest($6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
    $12::text[], $13::text[], $14::bigint[], $15::bigint[], $16::bigint[]);

-- name: coupons_of_users
-- Some users' coupons of one stock.
SELECT c.* FROM unnest($2::text[]) AS u(openid), LATERAL (
    SELECT {coupon} FROM coupon WHERE stock_id = $1 AND openid = u.openid OFFSET 0) c;

-- name: coupons_by_code
-- The coupons that carry these codes.
SELECT c.* FROM unnest($2::text[]) AS o(coupon_code), LATERAL (
    SELECT {coupon} FROM coupon WHERE stock_id = $1 AND coupon_code = o.coupon_code OFFSET 0) c;

-- name: coupon
-- The coupon that carries a code.
SELECT {coupon} FROM coupon WHERE stock_id = $1 AND coupon_code = $2;

-- name: written_at
-- When a coupon was written, to the microsecond.
SELECT written_at FROM coupon WHERE stock_id = $1 AND coupon_code = $2;

-- name: coupons_of_user
-- Of one stock, each with when it was written.
SELECT written_at, {coupon} FROM coupon WHERE stock_id = $1 AND openid = $2;

-- name: coupons_at_merchant
-- A user's coupons of a merchant's stocks, each with when it was written.
SELECT c.* FROM (SELECT stock_id FROM stock WHERE mchid = $1 OR belong_merchant = $1) s, LATERAL (
    SELECT written_at, {coupon} FROM coupon WHERE stock_id = s.stock_id AND openid = $2 OFFSET 0) c;

-- name: move_coupon
-- A step, if the coupon still is in a state that it starts from, by the time too: see CouponFacts.state.
UPDATE coupon SET coupon_state = $5, use_request_no = $6, use_time = $7, used_at = $8, return_request_no = $9,
    returned_at = $10, deactivate_request_no = $11, deactivate_reason = $12, deactivated_at = $13,
    associate_out_trade_no = $14
WHERE stock_id = $1 AND coupon_code = $2
AND CASE WHEN coupon_state = 'SENDED' AND expires_at <= $3 THEN 'EXPIRED' ELSE coupon_state END = ANY($4::text[]);


-- Receipts


-- name: payments
-- Those for a coupon, by their ids.
SELECT receipt, returned_amount FROM pay_receipt WHERE stock_id = $1 AND coupon_code = $2 ORDER BY subsidy_receipt_id;

-- name: write_payment
-- A new one, or one of which something was taken back.
INSERT INTO pay_receipt (stock_id, subsidy_receipt_id, coupon_code, transaction_id, amount, returned_amount, receipt)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (stock_id, subsidy_receipt_id)
DO UPDATE SET returned_amount = excluded.returned_amount, receipt = excluded.receipt;

-- name: add_return
-- What was taken back of a payment.
INSERT INTO return_receipt (stock_id, subsidy_return_receipt_id, subsidy_receipt_id, receipt) VALUES ($1, $2, $3, $4);

-- name: pay_receipt
-- One payment.
SELECT receipt FROM pay_receipt WHERE stock_id = $1 AND subsidy_receipt_id = $2;

-- name: return_receipt
-- One return.
SELECT receipt FROM return_receipt WHERE stock_id = $1 AND subsidy_return_receipt_id = $2;


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
INSERT INTO event (stock_id, mchid, id, coupon_id, coupon_code, created_at, due_at)
SELECT $1, $2, *, due FROM unnest($3::text[], $4::bigint[], $5::text[], $6::bigint[]) u(id, no, code, due);

-- name: waiting
-- The merchants with events that are due, or due too far ahead. In order, so that it is looked for in the index, and
-- not in the whole table for who has none.
SELECT c.mchid, c.notify_url FROM callback c CROSS JOIN LATERAL (
    (SELECT FROM event e WHERE e.mchid = c.mchid AND e.due_at <= $1 ORDER BY e.due_at LIMIT 1)
    UNION ALL
    (SELECT FROM event e WHERE e.mchid = c.mchid AND e.due_at > $2 ORDER BY e.due_at LIMIT 1) LIMIT 1) due
WHERE c.caller = c.mchid;

-- name: waiting_on_nodes
-- The same over nodes: no look for each merchant can be sent with the merchants, so each node looks through its events.
SELECT DISTINCT mchid FROM event WHERE due_at <= $1 OR due_at > $2;

-- name: stocks_waiting
-- A merchant's stocks with events that are due, or due too far ahead.
SELECT DISTINCT stock_id FROM (
    (SELECT stock_id FROM event WHERE mchid = $1 AND due_at <= $2 ORDER BY due_at LIMIT $4)
    UNION ALL
    (SELECT stock_id FROM event WHERE mchid = $1 AND due_at > $3 ORDER BY due_at DESC LIMIT $4)) waiting;

-- name: take_due
-- What another host takes at this moment is passed over.
WITH due AS MATERIALIZED (
    SELECT id FROM event WHERE stock_id = $1 AND mchid = $2 AND due_at <= $5
    ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED)
UPDATE event e SET attempts = attempts + 1, due_at = $3 FROM due WHERE e.stock_id = $1 AND e.id = due.id
RETURNING e.id, e.created_at, e.attempts, e.coupon_code;

-- name: take_ahead
-- The same of what is due too far ahead: it was taken before the clock was set back.
WITH due AS MATERIALIZED (
    SELECT id FROM event WHERE stock_id = $1 AND mchid = $2 AND due_at > $5
    ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED)
UPDATE event e SET attempts = attempts + 1, due_at = $3 FROM due WHERE e.stock_id = $1 AND e.id = due.id
RETURNING e.id, e.created_at, e.attempts, e.coupon_code;

-- name: event_delivered
-- It is not due any more.
UPDATE event SET due_at = NULL, delivered_at = $3, last_error = NULL WHERE stock_id = $1 AND id = $2;

-- name: event_not_tried
-- It is due at once, and the attempt does not count.
UPDATE event SET attempts = greatest(0, attempts - 1), due_at = $3 WHERE stock_id = $1 AND id = $2;

-- name: event_failed
-- The last attempt gives the event up.
UPDATE event SET last_error = $3, due_at = CASE WHEN attempts >= $4 THEN NULL ELSE due_at END
WHERE stock_id = $1 AND id = $2;

-- name: resend_event
-- It is due at once, as a new one.
UPDATE event SET due_at = $3, attempts = 0, delivered_at = NULL WHERE stock_id = $1 AND id = $2;

-- name: stock_of_event
-- Of a merchant's event.
SELECT e.stock_id FROM (SELECT stock_id FROM stock WHERE mchid = $1) s, LATERAL (
    SELECT stock_id FROM event WHERE id = $2 AND stock_id = s.stock_id OFFSET 0) e;

-- name: events_of_stock
-- The latest first. Coupons are numbered in their stock: between stocks, events of one second go by when they were
-- written.
SELECT c.written_at, e.id, e.created_at, e.attempts, e.due_at, e.delivered_at, e.last_error
FROM event e JOIN coupon c ON c.stock_id = $1 AND c.coupon_code = e.coupon_code
WHERE e.stock_id = $1 ORDER BY e.coupon_id DESC LIMIT $2;

-- name: events_of_merchant
-- The same of all of a merchant's stocks.
SELECT e.* FROM (SELECT stock_id FROM stock WHERE mchid = $1) s, LATERAL (
    SELECT c.written_at, e.id, e.created_at, e.attempts, e.due_at, e.delivered_at, e.last_error
    FROM event e JOIN coupon c ON c.stock_id = s.stock_id AND c.coupon_code = e.coupon_code
    WHERE e.stock_id = s.stock_id ORDER BY e.coupon_id DESC LIMIT $2 OFFSET 0) e
ORDER BY e.created_at DESC, e.written_at DESC LIMIT $3 OFFSET $4;


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
