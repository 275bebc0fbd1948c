-- 商品券: what its coupons have more than those of 商家券, and what is kept of their product coupons.

ALTER TABLE coupon_step ADD COLUMN confirm_request_no text;
ALTER TABLE coupon_step ADD COLUMN confirmed_at bigint;
ALTER TABLE coupon_step ADD COLUMN used_for text;     -- the order that it was used for, as JSON

-- Whole objects, by the name of their kind and by their id: product coupons, stores of a stock, and what a request
-- number that belongs to no single stock did. See coupons/product/documents.py.
CREATE TABLE document (
    owner text COLLATE "C" NOT NULL,     -- who made it, and for which brand
    kind  text COLLATE "C" NOT NULL,
    id    text COLLATE "C" NOT NULL,
    body  text NOT NULL,
    PRIMARY KEY (owner, kind, id)
);
CREATE INDEX stock_product ON stock (product_coupon_id, mchid) WHERE product_coupon_id IS NOT NULL;
