"""The documented answer of every operation, with its required fields only."""

from __future__ import annotations

from typing import Any

from quanma.api.callbacks import Callbacks
from quanma.api.certificates import Certificates
from quanma.api.couponcodes import CouponCodeNode, CouponCodes
from quanma.api.coupons import (
    Associate,
    CardSend,
    Deactivate,
    Disassociate,
    Return,
    Send,
    Use,
    UserCouponAppid,
    UserCoupons,
)
from quanma.api.deliveries import Events, Resend
from quanma.api.media import ImageUpload
from quanma.api.operation import Operation
from quanma.api.productsends import ProductPreSend, ProductSend
from quanma.api.security import Echo
from quanma.api.stocklists import OwnStocks
from quanma.api.stocks import Budget, StockNode, Stocks
from quanma.api.subsidy import PayReceiptNode, PayReceipts, ReturnReceiptNode, ReturnReceipts
from tests.declarations import minimal_product_coupon

TIME = "2015-05-20T13:29:35+08:00"
RULES = {
    "coupon_available_time": {
        "available_begin_time": "2015-05-20T13:29:35+08:00",
        "available_end_time": "2015-06-20T13:29:35+08:00",
    },
    "use_method": "OFF_LINE",
}
COUPON = {
    "belong_merchant": "1900000001",
    "stock_name": "八月一日活动券",
    "goods_name": "xxx商品",
    "stock_type": "NORMAL",
    "coupon_use_rule": RULES,
}
PAY_RECEIPT = {
    "subsidy_receipt_id": "1120200119165100000000000001",
    "stock_id": "98065001",
    "coupon_code": "A1",
    "transaction_id": "4200000913202101152566792388",
    "payer_merchant": "1900000001",
    "payee_merchant": "1900000002",
    "amount": 100,
    "description": "20210115DESCRIPTION",
    "status": "SUCCESS",
    "out_subsidy_no": "subsidy-abcd-12345678",
}
RETURN_RECEIPT = {
    "subsidy_return_receipt_id": "1120200119165100000000000002",
    "subsidy_receipt_id": "1120200119165100000000000001",
    "stock_id": "98065001",
    "coupon_code": "A1",
    "transaction_id": "4200000913202101152566792388",
    "refund_id": "50100506732021010105138718375",
    "payer_merchant": "1900000001",
    "payee_merchant": "1900000002",
    "amount": 100,
    "description": "20210115DESCRIPTION",
    "status": "SUCCESS",
    "out_subsidy_return_no": "subsidy-return-12345678",
}
MINIMAL: dict[Operation[..., Any, Any, Any], dict[str, Any]] = {
    Stocks.post: {"stock_id": "98065001", "create_time": TIME},
    StockNode.get: {
        "stock_id": "98065001",
        "stock_name": "八月一日活动券",
        "belong_merchant": "1900000001",
        "goods_name": "xxx商品",
        "stock_type": "NORMAL",
        "coupon_use_rule": RULES,
        "stock_send_rule": {"max_coupons_per_user": 1},
        "coupon_code_mode": "MERCHANT_UPLOAD",
        "stock_state": "RUNNING",
    },
    StockNode.patch: {},  # 204: no body.
    Budget.patch: {"max_coupons": 100},
    CouponCodes.post: {"stock_id": "98065001", "total_count": 2, "success_count": 2, "success_time": TIME},
    CouponCodes.get: {"stock_id": "98065001", "total_count": 0, "offset": 0, "limit": 0},
    CouponCodeNode.get: {"code_information": {"code": "A1", "code_status": "AVAILABLE"}},
    CouponCodeNode.delete: {"stock_id": "98065001", "delete_time": TIME},
    Send.post: {"send_coupon_result": {"stock_id": "98065001", "out_request_no": "n1", "coupon_code": "A1"}},
    Use.post: {"stock_id": "98065001", "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "wechatpay_use_time": TIME},
    Return.post: {"wechatpay_return_time": TIME},
    Deactivate.post: {"wechatpay_deactivate_time": TIME},
    Associate.post: {"wechatpay_associate_time": TIME},
    Disassociate.post: {"wechatpay_disassociate_time": TIME},
    CardSend.post: {"card_code": "1234567890123456789012"},
    UserCoupons.get: {"total_count": 0, "offset": 0, "limit": 0},
    UserCouponAppid.get: COUPON,
    Callbacks.post: {"notify_url": "https://pay.weixin.qq.com", "mchid": "1900000001"},
    Callbacks.get: {"notify_url": "https://pay.weixin.qq.com", "mchid": "1900000001"},
    PayReceipts.post: PAY_RECEIPT,
    PayReceipts.get: {},
    PayReceiptNode.get: PAY_RECEIPT,
    ReturnReceipts.post: RETURN_RECEIPT,
    ReturnReceiptNode.get: RETURN_RECEIPT,
    ProductSend.post: {"stock_id": "98065001", "coupon_code": "A1", "out_request_no": "n1"},
    ProductPreSend.post: {"token": "abc"},
    ImageUpload.post: {"media_url": "https://wxpaylogo.qpic.cn/wxpaylogo/xxxxx/xxx"},
    Echo.post: {"echo_message": "你好"},
    Events.get: {},
    OwnStocks.get: {},
    Resend.post: {"id": "0fbd02f2-5d10-4562-957e-1403fbdf6e89"},
    Certificates.get: {},
    **minimal_product_coupon.MINIMAL,
}
