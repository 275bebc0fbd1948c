"""Pictures for logos and covers. Source: 图片上传(营销专用)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ..errors import ParamError
from .operation import C, F, Node, Operation
from .record import Record

IMAGE_BYTES_MAX = 2 * 1024 * 1024


class UploadImage(Record, frozen=True, kw_only=True):
    """JPG, BMP or PNG, up to 2 MiB. The signature covers the name and the SHA-256, and these cover the picture."""

    file: bytes
    filename: Annotated[
        str,
        Meta(min_length=5, max_length=128, pattern=r"\A[^\\/\r\n\"]+\.([Jj][Pp][Ee]?[Gg]|[Bb][Mm][Pp]|[Pp][Nn][Gg])\Z"),
    ]


class UploadedImage(Record, frozen=True, kw_only=True):
    media_url: str
    """Does not expire."""


class ImageUpload(Node[C, F]):
    path = "/v3/marketing/favor/media/image-upload"

    post = Operation(UploadImage, UploadedImage, summary="图片上传(营销专用)", multipart=True, errors=(ParamError,))
    """图片上传(营销专用): Upload a picture and get its address. The platform documents 100 a minute."""
    __call__ = post


class Media(Node[C, F]):
    path = "/v3/marketing/favor/media"
    image_upload: ImageUpload[C, F]


class Favor(Node[C, F]):
    path = "/v3/marketing/favor"
    media: Media[C, F]
