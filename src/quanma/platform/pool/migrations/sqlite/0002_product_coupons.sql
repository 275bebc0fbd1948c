-- 商品券: what its coupons have more than those of 商家券, and what is kept of their product coupons.

ALTER TABLE coupon ADD COLUMN confirm_request_no TEXT;
ALTER TABLE coupon ADD COLUMN confirmed_at INTEGER;
ALTER TABLE coupon ADD COLUMN used_for TEXT;      -- the order that it was used for, as JSON
-- Only where the old checksum holds: a row that is damaged stays so.
UPDATE coupon SET checksum = checksum('coupon', coupon_id, stock_id, position, coupon_code, openid, appid, out_request_no, request,
    send_merchant, send_channel, sent_at, starts_at, expires_at, coupon_state, use_request_no, use_time, used_at,
    return_request_no, returned_at, deactivate_request_no, deactivate_reason, deactivated_at, associate_out_trade_no,
    confirm_request_no, confirmed_at, used_for, commit_no)
WHERE checksum = checksum('coupon', coupon_id, stock_id, position, coupon_code, openid, appid, out_request_no, request,
    send_merchant, send_channel, sent_at, starts_at, expires_at, coupon_state, use_request_no, use_time, used_at,
    return_request_no, returned_at, deactivate_request_no, deactivate_reason, deactivated_at, associate_out_trade_no,
    commit_no);

-- Whole objects, by the name of their kind and by their id: product coupons, stores of a stock, and what a request
-- number that belongs to no single stock did. See coupons/product/documents.py.
CREATE TABLE document (
    owner     TEXT NOT NULL,      -- who made it, and for which brand
    kind      TEXT NOT NULL,
    id        TEXT NOT NULL,
    body      TEXT NOT NULL,
    commit_no INTEGER NOT NULL DEFAULT 0,
    checksum  INTEGER NOT NULL DEFAULT -1,
    PRIMARY KEY (owner, kind, id)
) WITHOUT ROWID;
