"""Scalar fields of 商品券, with their limits. Source: documented, unless a line says otherwise."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

ProductCouponId = Annotated[str, Meta(min_length=1, max_length=40, examples=["1000000013"])]
ProductStockId = Annotated[str, Meta(min_length=1, max_length=40, examples=["1000000013001"])]
StockBundleId = Annotated[str, Meta(min_length=1, max_length=40, examples=["123456789"])]
"""The platform makes it. The length is that of the ids beside it: none is published."""
UserCouponBundleId = Annotated[str, Meta(min_length=1, max_length=40, examples=["123446565767"])]
ProductCouponCode = Annotated[str, Meta(max_length=40, pattern=r"\A[0-9A-Za-z_-]{1,40}\Z", examples=["Code_123456"])]
ProductRequestNo = Annotated[
    str, Meta(max_length=40, pattern=r"\A[0-9A-Za-z_-]{6,40}\Z", examples=["UPLOAD_100002322019"])
]
"""The caller's number of a request: the same number is the same request."""
ProductSendNo = Annotated[
    str, Meta(max_length=128, pattern=r"\A[0-9A-Za-z_-]{6,128}\Z", examples=["SEND_100002322019090134"])
]
"""The number of a send. It may be longer than the others; that of a pre-send may not."""
StoreId = Annotated[str, Meta(min_length=1, max_length=64, examples=["100000001"])]
"""The length is our choice: none is published."""
ProductAppid = Annotated[str, Meta(min_length=1, max_length=32, examples=["wx233544546545989"])]
"""Must be tied to the brand. It counts from the day after."""
DeactivateReason = Annotated[str, Meta(min_length=1, max_length=150, examples=["批次信息有误，重新创建"])]
Remark = Annotated[str, Meta(max_length=20, examples=["满减券"])]
OutProductNo = Annotated[str, Meta(max_length=40, examples=["Product_1234567890"])]
Attach = Annotated[str, Meta(max_length=150)]
ImageUrl = Annotated[
    str, Meta(min_length=1, max_length=256, examples=["https://wxpaylogo.qpic.cn/wxpaylogo/xxxxx/xxx"])
]
"""Only an address that the upload of an image answered. The length is that of the answer."""
MiniProgramPath = Annotated[str, Meta(min_length=1, max_length=128, examples=["/pages/index/product"])]
"""The length is that of 商家券: none is published."""
AppPath = Annotated[str, Meta(min_length=1, max_length=256, examples=["https://www.example.com/jump-to-app"])]
"""The length is our choice: none is published."""
Amount = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""In fen. The maximum is our choice, what every reader of JSON holds exactly: none is published."""
Count = Annotated[int, Meta(ge=1, le=100_000_000)]
PageSize = Annotated[int, Meta(ge=1, le=50)]
StorePageSize = Annotated[int, Meta(ge=1, le=200)]
PageToken = Annotated[str, Meta(min_length=1, max_length=512)]
"""What the page before answered as `next_page_token`. Opaque. The length is our choice: none is published."""
