"""Scalar fields with their limits, each used by many operations. Source: documented, unless a line says otherwise."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from .operation import A_TIME

StockId = Annotated[str, Meta(min_length=1, max_length=20, examples=["98065001"])]
CouponCode = Annotated[str, Meta(min_length=1, max_length=32, examples=["ABC9588200"])]
RequestNo = Annotated[str, Meta(min_length=1, max_length=128, examples=["100002322019090134234sfdf"])]
UseRequestNo = Annotated[str, Meta(min_length=1, max_length=32, examples=["1002600620019090123143254435"])]
Openid = Annotated[str, Meta(min_length=1, max_length=128, examples=["oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"])]
Appid = Annotated[str, Meta(min_length=1, max_length=32, examples=["wx233544546545989"])]
Mchid = Annotated[str, Meta(min_length=8, max_length=15, examples=["1900000001"])]
Rfc3339 = Annotated[str, Meta(min_length=1, max_length=32, examples=["2015-05-20T13:29:35+08:00"], extra=A_TIME)]
"""A time with its offset. The platform prints `+08:00`; `Z` and milliseconds are read as well."""

OpenWord = Annotated[str, Meta(max_length=32)]
"""A word of a list that the platform may add to. The length is our choice: the longest known one has 13 characters."""
Fen = Annotated[int, Meta(ge=0, le=10_000_000)]
PositiveFen = Annotated[int, Meta(ge=1, le=10_000_000)]
MaxCoupons = Annotated[int, Meta(ge=1, le=1_000_000_000)]
PageLimit = Annotated[int, Meta(ge=1, le=1000)]
"""Rows on a page. The platform publishes no maximum; 1000 is our choice."""
PageOffset = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""Rows to skip. Source: the SDK calls it a position (起始位置); elsewhere it is called a page number."""
