"""The 商品券 stocks of platform.toml: no call of ours creates one, so they are declared there and made at the start."""

from __future__ import annotations

from collections.abc import Sequence

from ..api.stockrules import CouponAvailableTime, CouponUseRule, FixedNormalCoupon, StockSendRule
from ..api.stocks import CreateStock
from ..errors import Misconfigured, RequestRefused
from .config import ProductCouponStock
from .coupons.product.changes import Caller, Rules
from .coupons.product.objects import DECLARE
from .coupons.stocks import Product, check_new_stock
from .pool.contract import CodePool


async def declare_stocks(pool: CodePool, stocks: Sequence[ProductCouponStock], now: int) -> None:
    """Make the 商品券 stocks of platform.toml that are not there yet.

    Raises:
        Misconfigured: a stock's id is taken, or its times are none.
    """
    for stock in stocks:
        request = CreateStock(
            stock_name=stock.product_coupon_id[:21],
            belong_merchant=stock.mchid,
            goods_name="商品券",
            stock_type="NORMAL",
            coupon_use_rule=CouponUseRule(
                coupon_available_time=CouponAvailableTime(
                    available_begin_time=stock.available_begin_time, available_end_time=stock.available_end_time
                ),
                use_method="OFF_LINE",
                fixed_normal_coupon=FixedNormalCoupon(discount_amount=1, transaction_minimum=1),
            ),
            stock_send_rule=StockSendRule(max_coupons_per_user=100, max_coupons=stock.max_count),
            out_request_no=f"product-coupon-{stock.stock_id}",
            coupon_code_mode="MERCHANT_UPLOAD",
        )
        product = Product(stock.product_coupon_id, stock.brand_id)
        try:
            check_new_stock(request)
            await pool.declare_stock(stock.mchid, stock.stock_id, product, request, now)
            caller = Caller(stock.mchid, stock.brand_id)
            await pool.change_product(caller, DECLARE, stock.product_coupon_id, now, Rules())
        except RequestRefused as problem:
            raise Misconfigured(f"product_coupon_stocks, stock {stock.stock_id}: {problem.message}") from None
