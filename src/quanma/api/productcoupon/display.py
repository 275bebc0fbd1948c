"""How a 商品券 and its stocks look, and where they lead. Amounts are in fen.

Source: documented, unless a line says otherwise. Values that the platform may add to are plain text, with the known
ones beside them.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ..fields import OpenWord
from ..record import Record
from .fields import Amount, AppPath, ImageUrl, MiniProgramPath, ProductAppid

USAGE_METHODS = ("OFFLINE", "MINI_PROGRAM", "APP", "PAYMENT_CODE")
CODE_DISPLAY_MODES = ("INVISIBLE", "BARCODE", "QRCODE")
BACKGROUND_COLORS = tuple(f"Color{number:03}" for number in range(10, 101, 10))
"""Color020 if none is given."""
APP_JUMP_TYPES = ("H5", "PASSCODE_LINK", "USAGE_GUIDE")
"""Reported, not documented."""


ShortName = Annotated[str, Meta(min_length=1, max_length=15)]
FinderId = Annotated[str, Meta(min_length=1, max_length=256)]
"""The length is our choice: none is published."""


class ComboChoice(Record, frozen=True, kw_only=True, omit_defaults=True):
    name: ShortName
    price: Amount
    count: Annotated[int, Meta(ge=1, le=99)]
    image_url: ImageUrl | None = None
    mini_program_appid: ProductAppid | None = None
    mini_program_path: MiniProgramPath | None = None


class ComboPackage(Record, frozen=True, kw_only=True):
    name: ShortName
    pick_count: Annotated[int, Meta(ge=1, le=99)]
    """How many of the choices a user takes. The maximum is that of the choices."""
    choice_list: Annotated[list[ComboChoice], Meta(min_length=1, max_length=99)]


class ProductDisplay(Record, frozen=True, kw_only=True, omit_defaults=True):
    """How a product coupon looks: `display_info`."""

    name: Annotated[str, Meta(min_length=3, max_length=15, examples=["全场满100可减10元"])]
    """The page says 3 to 15 characters; comments in samples say 12 at most, and the page wins."""
    image_url: ImageUrl
    """1:1, about 1080×1080, at most 2 MB."""
    background_url: ImageUrl
    """65:77, about 1170×1326, at most 2 MB."""
    detail_image_url_list: Annotated[list[ImageUrl], Meta(max_length=8)] | None = None
    """65:77."""
    original_price: Amount | None = None
    """Just if scope is SINGLE."""
    combo_package_list: Annotated[list[ComboPackage], Meta(max_length=50)] | None = None
    """Just if scope is SINGLE."""


class AvailableStores(Record, frozen=True, kw_only=True, omit_defaults=True):
    description: Annotated[str, Meta(min_length=1, max_length=1000)]
    mini_program_appid: ProductAppid | None = None
    mini_program_path: MiniProgramPath | None = None


class UsageDisplay(Record, frozen=True, kw_only=True, omit_defaults=True):
    """How and where a stock's coupons are used: `usage_rule_display_info`."""

    coupon_usage_method_list: Annotated[list[OpenWord], Meta(min_length=1, max_length=10)]
    """OFFLINE, MINI_PROGRAM, APP, PAYMENT_CODE, or one of tomorrow. At most 10 is our choice."""
    usage_description: Annotated[str, Meta(min_length=1, max_length=1000)]
    coupon_available_store_info: AvailableStores
    mini_program_appid: ProductAppid | None = None
    """With MINI_PROGRAM."""
    mini_program_path: MiniProgramPath | None = None
    """With MINI_PROGRAM."""
    app_path: AppPath | None = None
    """With APP."""
    app_jump_type: OpenWord | None = None
    """H5, PASSCODE_LINK or USAGE_GUIDE. Reported, not documented."""
    passcode_link: AppPath | None = None
    """Reported, not documented."""


class EntranceMiniProgram(Record, frozen=True, kw_only=True, omit_defaults=True):
    appid: ProductAppid
    path: MiniProgramPath
    entrance_wording: Annotated[str, Meta(min_length=1, max_length=5)]
    guidance_wording: Annotated[str, Meta(max_length=6)] | None = None
    """Required by the page, optional in older texts: the platform says."""


class EntranceOfficialAccount(Record, frozen=True, kw_only=True):
    appid: ProductAppid


class EntranceFinder(Record, frozen=True, kw_only=True):
    finder_id: FinderId
    finder_video_id: FinderId
    finder_video_cover_image_url: ImageUrl


class CouponDisplay(Record, frozen=True, kw_only=True, omit_defaults=True):
    """How a user's coupon looks: `coupon_display_info`."""

    code_display_mode: OpenWord | None = None
    """INVISIBLE, BARCODE or QRCODE. Required by the page, optional in older texts: the platform says."""
    background_color: OpenWord | None = None
    """Color010, Color020 … Color100; Color020 if absent."""
    entrance_mini_program: EntranceMiniProgram | None = None
    entrance_official_account: EntranceOfficialAccount | None = None
    entrance_finder: EntranceFinder | None = None
