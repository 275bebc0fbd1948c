"""Pictures of 商品券: upload one; let the platform make one (providers only)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, Unpack

from msgspec import Meta

from ..operation import C, F, Filled, Node, Operation, build
from ..record import Record
from .benefits import ProductDiscountCoupon, ProductExchangeCoupon, ProductNormalCoupon
from .callers import ERRORS, AsProvider, BrandId, CallerNode, ForBrandBody, K, OfBoth
from .fields import ImageUrl, ProductRequestNo

ImageGenerationType = Literal["COMBINE_IMAGE", "CUT_OUT"]


class UploadProductImage(Record, frozen=True, kw_only=True):
    """JPG, BMP or PNG, up to 2 MB. The signature covers the name and the SHA-256, and these cover the picture."""

    file: bytes
    filename: Annotated[
        str,
        Meta(min_length=5, max_length=150, pattern=r"\A[^\\/\r\n\"]+\.([Jj][Pp][Gg]|[Bb][Mm][Pp]|[Pp][Nn][Gg])\Z"),
    ]


class UploadProductImageAsProvider(UploadProductImage, frozen=True, kw_only=True): ...


class UploadedProductImage(Record, frozen=True, kw_only=True):
    image_url: str
    """Does not expire."""


class ProductImageUpload(CallerNode[C, F, K]):
    path = "/media/upload-image"

    post = OfBoth(
        UploadProductImage,
        UploadProductImageAsProvider,
        UploadedProductImage,
        summary="上传商品券图片",
        multipart=True,
    )
    """上传商品券图片: Upload a picture and get its address, which display_info takes. No brand_id (our reading)."""
    __call__ = post


class ProductMedia(CallerNode[C, F, K]):
    path = "/media"
    upload_image: ProductImageUpload[C, F, K]


class CombineImage(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The benefit that the picture shows."""

    scope: Literal["ALL", "SINGLE", "CATEGORY"]
    type: Literal["NORMAL", "DISCOUNT", "EXCHANGE"]
    usage_mode: Literal["SINGLE", "PROGRESSIVE_BUNDLE"]
    background_color: Annotated[str, Meta(max_length=7, pattern=r"\A#[0-9A-Fa-f]{6}\Z", examples=["#FF8800"])]
    normal_coupon: ProductNormalCoupon | None = None
    discount_coupon: ProductDiscountCoupon | None = None
    exchange_coupon: ProductExchangeCoupon | None = None


class CutOut(Record, frozen=True, kw_only=True):
    image_url: ImageUrl
    """On wxpaylogo.qpic.cn."""


class StartImageTask(Record, frozen=True, kw_only=True, omit_defaults=True):
    brand_id: BrandId
    task_id: ProductRequestNo
    image_generation_type: ImageGenerationType
    combine_image: CombineImage | None = None
    """With COMBINE_IMAGE."""
    cut_out: CutOut | None = None
    """With CUT_OUT."""


class StartImageTaskBody(ForBrandBody):
    task_id: str
    image_generation_type: ImageGenerationType
    combine_image: NotRequired[CombineImage | Mapping[str, Any] | None]
    cut_out: NotRequired[CutOut | Mapping[str, Any] | None]


def start_image_task(**fields: Unpack[StartImageTaskBody]) -> StartImageTask:
    """The keywords of a call: objects in the body as structs or as mappings."""
    return build(StartImageTask, fields)


class StartedImageTask(Record, frozen=True, kw_only=True, omit_defaults=True):
    task_id: str
    brand_id: str | None = None


class ShowImageTask(Record, frozen=True, kw_only=True):
    brand_id: BrandId
    task_id: ProductRequestNo
    image_generation_type: ImageGenerationType


class MadeImage(Record, frozen=True, kw_only=True):
    image_url: str


class ImageTask(Record, frozen=True, kw_only=True, omit_defaults=True):
    """States: PROCESSING, FAIL, SUCCESS, or one of tomorrow."""

    task_id: str
    image_generation_type: str
    task_state: str
    combine_image_result: MadeImage | None = None
    cut_out_result: MadeImage | None = None
    brand_id: str | None = None


class ImageTaskNode(Node[C, F]):
    path = f"{AsProvider.prefix}/image-generation-tasks/{{task_id}}"

    get = Operation(ShowImageTask, ImageTask, summary="查询商品券图片生成任务", errors=ERRORS)
    """查询商品券图片生成任务: Show what became of a task. Reported, for providers only."""


class ImageTasks(Node[C, F]):
    path = f"{AsProvider.prefix}/image-generation-tasks"
    _task_id_: ImageTaskNode[C, F]

    def __getitem__(self, task_id: str) -> ImageTaskNode[C, Filled]:
        return ImageTaskNode(self.client, {**self.filled, "task_id": task_id})

    post = Operation(
        StartImageTask,
        StartedImageTask,
        StartImageTaskBody,
        keywords=start_image_task,
        summary="提交商品券图片生成任务",
        number="task_id",
        errors=ERRORS,
    )
    """提交商品券图片生成任务: Let the platform make a picture. For providers only: none was found for brands.

    The platform documents 10 requests a second.
    """
    __call__ = post
