"""Events of 商品券: a coupon was sent to a user, on whatever channel. Confirm it, or the user can't use it.

A provider's are sealed with its APIv3 key, a brand's with its brand key. The associated data of a provider's has 17
bytes, one more than the general page allows. USE and RETURN are listed by the official pack and not by the page: they
are received if they come, as plain objects. No event tells of a deletion, an expiry, a stock's state or an audit.
Source: the page for the provider's, traces for the brand's; the fields are models of the page (reported).
"""

from __future__ import annotations

from ..record import Record

PROVIDER_SEND = "PRODUCT_COUPON_SP.SEND"
BRAND_SEND = "PRODUCT_COUPON.SEND"
PRODUCT_COUPON_SENDS = (PROVIDER_SEND, BRAND_SEND)
BRAND_USE, BRAND_RETURN = "PRODUCT_COUPON.USE", "PRODUCT_COUPON.RETURN"
PROVIDER_ASSOCIATED_DATA, BRAND_ASSOCIATED_DATA = "product_coupon_sp", "product_coupon"
PRODUCT_COUPON_SUMMARY = "商品券领券通知"
PROVIDER_ORIGINAL_TYPE, BRAND_ORIGINAL_TYPE = "coupon", "product_coupon"
"""Of the provider's, the page's sample says `coupon` and its text `product_coupon`: either is read."""


class ProductCouponSent(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A user got a coupon: it is CONFIRMING until it is confirmed, and its validity runs.

    Code, coupon and stock are always there. Another text that the platform left out, or that can't be read, is empty,
    or None where not each event has it.
    """

    coupon_code: str
    product_coupon_id: str
    stock_id: str
    appid: str = ""
    openid: str = ""
    receive_time: str = ""
    send_request_no: str = ""
    send_channel: str = ""
    """BRAND_MANAGE, API, RECEIVE_COMPONENT, or one of tomorrow."""
    valid_begin_time: str = ""
    valid_end_time: str = ""
    brand_id: str | None = None
    """For providers; for brands it is not proven."""
    stock_bundle_id: str | None = None
    user_coupon_bundle_id: str | None = None
    """Of a coupon that is one round of a bundle."""
    unionid: str | None = None
    phone_number: str | None = None
    country_code: str | None = None
    attach: str | None = None
    channel_custom_info: str | None = None
