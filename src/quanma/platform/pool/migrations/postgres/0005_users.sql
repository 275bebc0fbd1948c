-- A user's coupons of one stock stand together in the index: a merchant that asks for them goes over none of the
-- coupons that the user has of other merchants. The same three columns, as unique as before.
-- runs from: 2

CREATE UNIQUE INDEX coupon_user ON coupon (openid, stock_id, out_request_no);
DROP INDEX coupon_number;
