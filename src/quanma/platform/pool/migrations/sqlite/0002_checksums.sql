-- Each row gets the number of the commit that wrote it last, and a checksum of its values: see sqlite/checked.py.
-- `checksum(table, value, …)` is a function of ours.

ALTER TABLE about ADD COLUMN commit_no INTEGER NOT NULL DEFAULT 0;
ALTER TABLE about ADD COLUMN checksum INTEGER NOT NULL DEFAULT -1;
DELETE FROM about WHERE name = 'room';
UPDATE about SET checksum = checksum('about', name, value, commit_no);

ALTER TABLE stock ADD COLUMN commit_no INTEGER NOT NULL DEFAULT 0;
ALTER TABLE stock ADD COLUMN checksum INTEGER NOT NULL DEFAULT -1;
UPDATE stock SET checksum = checksum('stock', stock_id, mchid, out_request_no, request, created_at,
    product_coupon_id, brand_id, commit_no);

ALTER TABLE upload ADD COLUMN commit_no INTEGER NOT NULL DEFAULT 0;
ALTER TABLE upload ADD COLUMN checksum INTEGER NOT NULL DEFAULT -1;
UPDATE upload SET checksum = checksum('upload', upload_id, stock_id, upload_request_no, first_position, code_count,
    codes, others, success_at, commit_no);

ALTER TABLE coupon ADD COLUMN commit_no INTEGER NOT NULL DEFAULT 0;
ALTER TABLE coupon ADD COLUMN checksum INTEGER NOT NULL DEFAULT -1;
UPDATE coupon SET checksum = checksum('coupon', coupon_id, stock_id, position, coupon_code, openid, appid,
    out_request_no, request, send_merchant, send_channel, sent_at, starts_at, expires_at, coupon_state,
    use_request_no, use_time, used_at, return_request_no, returned_at, deactivate_request_no, deactivate_reason,
    deactivated_at, associate_out_trade_no, commit_no);

ALTER TABLE deletion ADD COLUMN commit_no INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deletion ADD COLUMN checksum INTEGER NOT NULL DEFAULT -1;
UPDATE deletion SET checksum = checksum('deletion', deletion_id, stock_id, position, coupon_code, delete_request_no,
    deleted_at, commit_no);

ALTER TABLE done ADD COLUMN commit_no INTEGER NOT NULL DEFAULT 0;
ALTER TABLE done ADD COLUMN checksum INTEGER NOT NULL DEFAULT -1;
UPDATE done SET checksum = checksum('done', stock_id, operation, number, request, answer, commit_no);

ALTER TABLE pay_receipt ADD COLUMN commit_no INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pay_receipt ADD COLUMN checksum INTEGER NOT NULL DEFAULT -1;
UPDATE pay_receipt SET checksum = checksum('pay_receipt', subsidy_receipt_id, stock_id, coupon_code, transaction_id,
    amount, returned_amount, receipt, commit_no);

ALTER TABLE return_receipt ADD COLUMN commit_no INTEGER NOT NULL DEFAULT 0;
ALTER TABLE return_receipt ADD COLUMN checksum INTEGER NOT NULL DEFAULT -1;
UPDATE return_receipt SET checksum = checksum('return_receipt', subsidy_return_receipt_id, stock_id, receipt,
    commit_no);

ALTER TABLE callback ADD COLUMN commit_no INTEGER NOT NULL DEFAULT 0;
ALTER TABLE callback ADD COLUMN checksum INTEGER NOT NULL DEFAULT -1;
UPDATE callback SET checksum = checksum('callback', caller, mchid, notify_url, updated_at, commit_no);

ALTER TABLE event ADD COLUMN commit_no INTEGER NOT NULL DEFAULT 0;
ALTER TABLE event ADD COLUMN checksum INTEGER NOT NULL DEFAULT -1;
UPDATE event SET checksum = checksum('event', event_no, id, mchid, coupon_id, created_at, attempts, due_at,
    delivered_at, last_error, commit_no);

ALTER TABLE nonce ADD COLUMN commit_no INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nonce ADD COLUMN checksum INTEGER NOT NULL DEFAULT -1;
UPDATE nonce SET checksum = checksum('nonce', mchid, next, commit_no);
