"""The operations that tests over all of them play one story with. 商品券 has its own: tests/platform/productcoupons."""

from __future__ import annotations

from quanma.api.productcoupon.codes import UploadCouponCodesNode
from quanma.api.productcoupon.stocks import ProductStockNode
from quanma.api.tree import OPERATIONS

_OF_DECLARED_STOCKS = (UploadCouponCodesNode.post.as_provider(), ProductStockNode.get.as_provider())
ANSWERED = tuple(
    operation
    for operation in OPERATIONS
    if "/product-coupon/" not in operation.path or operation in _OF_DECLARED_STOCKS
)
