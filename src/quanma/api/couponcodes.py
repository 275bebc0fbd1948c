"""Pre-stored codes of one stock (预存code): upload, list, show, delete.

Source: 上传预存code, and the official SDKs for the other three, which the public function list lacks:
a merchant without permission for them gets 403 or 404.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from msgspec import Meta

from ..errors import NoAuth, ParamError, RateLimited, RequestRefused, ResourceNotExists, StockNotReady
from .coupons import Coupon
from .fields import Appid, CouponCode, PageLimit, PageOffset, RequestNo, Rfc3339, StockId
from .operation import C, F, Filled, Node, Operation
from .record import Record
from .rules import CODES_PER_UPLOAD_MAX, UploadedText

CodeStatus = Literal["AVAILABLE", "DISPATCHED"]


class UploadCodes(Record, frozen=True, kw_only=True):
    stock_id: StockId
    coupon_code_list: Annotated[list[UploadedText], Meta(min_length=1, max_length=CODES_PER_UPLOAD_MAX)]
    """1 to 200 codes. One that is too long or ill-formed does not refuse the request: it comes back in `fail_codes`."""
    upload_request_no: RequestNo
    """The merchant's number of this request. Resend an unanswered request under the same one."""


class UploadCodesBody(TypedDict):
    coupon_code_list: list[str]
    upload_request_no: str


class FailedCode(Record, frozen=True, kw_only=True):
    coupon_code: str
    code: str
    message: str


class UploadedCodes(Record, frozen=True, kw_only=True):
    """What became of each distinct code: success, fail or exist. Optional fields may be missing: 0 and empty then."""

    stock_id: str
    total_count: int
    """Distinct codes of this request, not of the stock."""
    success_count: int
    success_codes: list[str] = []
    success_time: str
    fail_count: int = 0
    fail_codes: list[FailedCode] = []
    exist_codes: list[str] = []
    """Already in the stock before this request."""
    duplicate_codes: list[str] = []
    """Repeated within this request; each is also in one of the other lists."""


class ListCodes(Record, frozen=True, kw_only=True):
    stock_id: StockId
    limit: PageLimit = 20
    offset: PageOffset = 0
    appid: Appid | None = None
    status: CodeStatus | None = None
    """Absent: all."""


class Code(Record, frozen=True, kw_only=True, omit_defaults=True):
    code: str
    code_status: str
    upload_time: str | None = None
    dispatched_time: str | None = None
    openid: str | None = None
    unionid: str | None = None
    coupon_code: str | None = None


class CodePage(Record, frozen=True, kw_only=True):
    stock_id: str
    total_count: int
    """All codes of the stock, whatever `status` was asked for."""
    offset: int
    limit: int
    """Rows on this page."""
    data: list[Code] = []


class ShowCode(Record, frozen=True, kw_only=True):
    stock_id: StockId
    coupon_code: CouponCode
    appid: Appid | None = None


class CodeDetail(Record, frozen=True, kw_only=True, omit_defaults=True):
    code_information: Code
    coupon_information: Coupon | None = None
    """The user's coupon, once the code is DISPATCHED."""


class DeleteCode(Record, frozen=True, kw_only=True):
    stock_id: StockId
    coupon_code: CouponCode
    delete_request_no: RequestNo


class DeletedCode(Record, frozen=True, kw_only=True):
    stock_id: str
    delete_time: Rfc3339


class CouponCodeNode(Node[C, F]):
    path = "/v3/marketing/busifavor/stocks/{stock_id}/couponcodes/{coupon_code}"

    get = Operation(ShowCode, CodeDetail, summary="查询预存code详情", errors=(ResourceNotExists, NoAuth))
    """查询预存code详情: Show one pre-stored code, and the user's coupon once it is given out."""

    delete = Operation(
        DeleteCode,
        DeletedCode,
        summary="删除预存code",
        number="delete_request_no",
        errors=(RequestRefused, ResourceNotExists, NoAuth),
    )
    """删除预存code: Delete one code that no user has. There is no bulk delete."""


class CouponCodes(Node[C, F]):
    path = "/v3/marketing/busifavor/stocks/{stock_id}/couponcodes"
    _coupon_code_: CouponCodeNode[C, F]

    def __getitem__(self, coupon_code: str) -> CouponCodeNode[C, Filled]:
        return CouponCodeNode(self.client, {**self.filled, "coupon_code": coupon_code})

    post = Operation(
        UploadCodes,
        UploadedCodes,
        UploadCodesBody,
        summary="上传预存code",
        number="upload_request_no",
        errors=(ParamError, RequestRefused, ResourceNotExists, StockNotReady, RateLimited),
    )
    """上传预存code: Upload up to 200 pre-stored codes; codes already there come back in `exist_codes`."""
    __call__ = post

    get = Operation(ListCodes, CodePage, summary="查询预存code列表", errors=(ResourceNotExists, NoAuth))
    """查询预存code列表: List the codes of a stock, in upload order (our choice: the platform documents none)."""
