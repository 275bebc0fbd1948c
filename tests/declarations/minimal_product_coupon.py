"""The documented answers of 商品券, with their required fields only. A brand's and a provider's are the same."""

from __future__ import annotations

from typing import Any

from quanma.api.operation import Operation
from quanma.api.productcoupon.bundles import StockBundleNode, StockBundles, UpdateBundleBudgetNode
from quanma.api.productcoupon.callbacks import NotifyConfigs
from quanma.api.productcoupon.callers import OfBoth
from quanma.api.productcoupon.codes import UploadCouponCodesNode
from quanma.api.productcoupon.coupons import DeactivateProductCouponNode, ProductCouponNode, ProductCoupons
from quanma.api.productcoupon.images import ImageTaskNode, ImageTasks, ProductImageUpload
from quanma.api.productcoupon.stocks import DeactivateStockNode, ProductStockNode, ProductStocks, UpdateStockBudgetNode
from quanma.api.productcoupon.stores import (
    AssociateBundleStoresNode,
    AssociatedStores,
    AssociateStoresNode,
    DisassociateBundleStoresNode,
    DisassociateStoresNode,
)
from quanma.api.productcoupon.usercoupons import (
    ConfirmUserCouponNode,
    DeactivateUserCouponBundleNode,
    DeactivateUserCouponNode,
    PreSendUserCouponBundleNode,
    PreSendUserCouponNode,
    ProductUserCoupons,
    ReturnUserCouponNode,
    UserCouponBundles,
    UserCouponNode,
    UseUserCouponNode,
)

TIME = "2025-08-01T00:00:00+08:00"
COUPON = {
    "product_coupon_id": "1000000013",
    "scope": "ALL",
    "type": "NORMAL",
    "usage_mode": "SINGLE",
    "display_info": {
        "name": "全场满100立减10",
        "image_url": "https://wxpaylogo.qpic.cn/wxpaylogo/xxxxx/xxx",
        "background_url": "https://wxpaylogo.qpic.cn/wxpaylogo/xxxxx/xxx",
    },
    "state": "EFFECTIVE",
}
STOCK = {
    "product_coupon_id": "1000000013",
    "stock_id": "1000000013001",
    "coupon_code_mode": "UPLOAD",
    "state": "SENDING",
}
BUNDLE = {"stock_bundle_id": "123456789", "stock_list": [STOCK]}
USER_COUPON = {
    "coupon_code": "Code_123456",
    "coupon_state": "CONFIRMING",
    "valid_begin_time": TIME,
    "valid_end_time": TIME,
    "receive_time": TIME,
    "send_request_no": "SEND_100002322019",
    "send_channel": "API",
    "product_coupon": COUPON,
    "stock": STOCK,
}
USER_BUNDLE = {"user_coupon_bundle_id": "123446565767", "user_product_coupon_list": [USER_COUPON]}
NOTIFY = {"notify_url": "https://pay.example.com/events", "update_time": TIME}
OF_BOTH: dict[OfBoth[..., Any, Any, ..., Any, Any, Any], dict[str, Any]] = {
    ProductCoupons.post: COUPON,
    ProductCouponNode.get: COUPON,
    ProductCouponNode.patch: COUPON,
    DeactivateProductCouponNode.post: COUPON,
    ProductStocks.post: STOCK,
    ProductStocks.get: {"total_count": 0},
    ProductStockNode.get: STOCK,
    ProductStockNode.patch: STOCK,
    UpdateStockBudgetNode.post: STOCK,
    DeactivateStockNode.post: STOCK,
    AssociateStoresNode.post: {"total_count": 2},
    DisassociateStoresNode.post: {"total_count": 2},
    AssociatedStores.get: {"total_count": 0},
    UploadCouponCodesNode.post: {"total_count": 2},
    StockBundles.post: BUNDLE,
    StockBundleNode.patch: BUNDLE,
    UpdateBundleBudgetNode.post: BUNDLE,
    AssociateBundleStoresNode.post: {"total_count": 2},
    DisassociateBundleStoresNode.post: {"total_count": 2},
    ProductUserCoupons.post: USER_COUPON,
    PreSendUserCouponNode.post: {"token": "abc"},
    UserCouponBundles.post: USER_BUNDLE,
    PreSendUserCouponBundleNode.post: {"token": "abc"},
    ConfirmUserCouponNode.post: USER_COUPON,
    UseUserCouponNode.post: USER_COUPON,
    ReturnUserCouponNode.post: USER_COUPON,
    DeactivateUserCouponNode.post: USER_COUPON,
    DeactivateUserCouponBundleNode.post: USER_BUNDLE,
    UserCouponNode.get: USER_COUPON,
    ProductUserCoupons.get: {"total_count": 0},
    NotifyConfigs.post: NOTIFY,
    NotifyConfigs.get: NOTIFY,
    ProductImageUpload.post: {"image_url": "https://wxpaylogo.qpic.cn/wxpaylogo/xxxxx/xxx"},
}
MINIMAL: dict[Operation[..., Any, Any, Any], dict[str, Any]] = {
    ImageTasks.post: {"task_id": "TASK_1"},
    ImageTaskNode.get: {"task_id": "TASK_1", "image_generation_type": "CUT_OUT", "task_state": "PROCESSING"},
    **{operation: told for both, told in OF_BOTH.items() for operation in (both.as_brand(), both.as_provider())},
}
