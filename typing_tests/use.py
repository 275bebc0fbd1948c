"""What both type checkers must let pass: nested objects as mappings, times as datetimes, None for what is left out."""

from __future__ import annotations

from datetime import UTC, datetime

from quanma import AsyncWechatpay, Wechatpay
from quanma.api.stockrules import StockSendRule


def create(wxpay: Wechatpay) -> str:
    stocks = wxpay.v3.marketing.busifavor.stocks
    made = stocks.post(
        stock_name="八月一日活动券",
        belong_merchant="1900000001",
        goods_name="咖啡",
        stock_type="NORMAL",
        coupon_use_rule={
            "coupon_available_time": {"available_begin_time": datetime.now(UTC), "available_end_time": "2027-05-20T…"},
            "use_method": "OFF_LINE",
        },
        stock_send_rule=StockSendRule(max_coupons_per_user=1),
        out_request_no="1",
        coupon_code_mode="MERCHANT_UPLOAD",
        comment=None,
    )
    stocks._stock_id_.patch(stock_id=made.stock_id, out_request_no="2", notify_config={"notify_appid": "wx1"})
    return made.stock_id.upper()


def use(wxpay: Wechatpay) -> dict[str, object]:
    coupons = wxpay.v3.marketing.busifavor.coupons
    used = coupons.use.post(coupon_code="A1", appid="wx1", use_time=datetime.now(UTC), use_request_no="1")
    text: str = used.to_json()
    return {**used.to_dict(), "text": text, "openid": used.openid.upper()}


async def use_by_mapping(wxpay: AsyncWechatpay) -> str:
    body = {"coupon_code": "A1", "appid": "wx1", "use_time": datetime.now(UTC), "use_request_no": "1"}
    answer = await wxpay.v3.marketing.busifavor.coupons.use.post.raw(
        {"coupon_code": "A1", "appid": "wx1", "use_time": datetime.now(UTC), "use_request_no": str(len(body))}
    )
    return answer.data.openid
