"""What the platform does for each operation: who asks, the request, a response. One function each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

from ..api.certificates import (
    CertificateList,
    Certificates,
    EncryptCertificate,
    ListCertificates,
    SealedCertificate,
)
from ..api.couponcodes import (
    CodeDetail,
    CodePage,
    CouponCodeNode,
    CouponCodes,
    DeleteCode,
    DeletedCode,
    ListCodes,
    ShowCode,
    UploadCodes,
    UploadedCodes,
)
from ..api.coupons import (
    Coupon,
    Send,
    SendCoupon,
    SentCoupon,
    ShowCoupon,
    Use,
    UseCoupon,
    UsedCoupon,
    UserCouponAppid,
)
from ..api.operation import Operation
from ..api.productcoupons import (
    CouponCodeCountInfo,
    ProductStock,
    ProductStockNode,
    ProductStockSendRule,
    ShowProductStock,
    UploadCouponCodes,
    UploadCouponCodesNode,
    UploadedCouponCodes,
)
from ..api.stocks import CreatedStock, CreateStock, ShowStock, Stock, StockNode, Stocks
from ..wire import sealed
from ..wire.times import rfc3339
from .keyroom import Certificate, Merchant
from .pool.contract import CodePool
from .rules import Product

Req = TypeVar("Req")
Resp = TypeVar("Resp")


class Visit(NamedTuple):
    """One verified request: who asks, when (Unix seconds), and what the platform has at hand."""

    merchant: Merchant
    now: int
    pool: CodePool
    certificates: tuple[Certificate, ...]

    @property
    def mchid(self) -> str:
        return self.merchant.mchid


class Handlers(dict[Operation[..., Any, Any, Any], Callable[[Visit, Any], Awaitable[Any]]]):
    def bind(self, operation: Operation[..., Any, Req, Resp], handler: Callable[[Visit, Req], Awaitable[Resp]]) -> None:
        """Typed: a handler that takes or returns another operation's struct does not check."""
        self[operation] = handler


async def create_stock(visit: Visit, request: CreateStock) -> CreatedStock:
    return await visit.pool.create_stock(visit.mchid, request, visit.now)


async def show_stock(visit: Visit, request: ShowStock) -> Stock:
    return await visit.pool.show_stock(visit.mchid, request.stock_id, visit.now)


async def upload_codes(visit: Visit, request: UploadCodes) -> UploadedCodes:
    return await visit.pool.upload_codes(visit.mchid, request, visit.now)


async def list_codes(visit: Visit, request: ListCodes) -> CodePage:
    return await visit.pool.list_codes(visit.mchid, request)


async def show_code(visit: Visit, request: ShowCode) -> CodeDetail:
    return await visit.pool.show_code(visit.mchid, request, visit.now)


async def delete_code(visit: Visit, request: DeleteCode) -> DeletedCode:
    return await visit.pool.delete_code(visit.mchid, request, visit.now)


async def send_coupon(visit: Visit, request: SendCoupon) -> SentCoupon:
    return await visit.pool.send_coupon(visit.mchid, request, visit.now)


async def use_coupon(visit: Visit, request: UseCoupon) -> UsedCoupon:
    return await visit.pool.use_coupon(visit.mchid, request, visit.now)


async def show_coupon(visit: Visit, request: ShowCoupon) -> Coupon:
    return await visit.pool.show_coupon(visit.mchid, request, visit.now)


async def show_product_stock(visit: Visit, request: ShowProductStock) -> ProductStock:
    product = Product(request.product_coupon_id, request.brand_id)
    stock = await visit.pool.show_stock(visit.mchid, request.stock_id, visit.now, product)
    count = stock.coupon_code_count
    return ProductStock(
        product_coupon_id=request.product_coupon_id,
        stock_id=request.stock_id,
        coupon_code_mode="UPLOAD",
        state="SENDING" if stock.stock_state == "RUNNING" else "STOPPED",
        brand_id=request.brand_id,
        stock_send_rule=ProductStockSendRule(max_count=stock.stock_send_rule.max_coupons),
        coupon_code_count_info=CouponCodeCountInfo(total_count=count.total_count, available_count=count.available_count)
        if count
        else None,
    )


async def upload_coupon_codes(visit: Visit, request: UploadCouponCodes) -> UploadedCouponCodes:
    upload = UploadCodes(
        stock_id=request.stock_id, coupon_code_list=request.code_list, upload_request_no=request.out_request_no
    )
    product = Product(request.product_coupon_id, request.brand_id)
    uploaded = await visit.pool.upload_codes(visit.mchid, upload, visit.now, product)
    return UploadedCouponCodes(
        total_count=uploaded.total_count,
        success_code_list=uploaded.success_codes,
        failed_code_list=uploaded.fail_codes,
        already_exist_code_list=uploaded.exist_codes,
        duplicate_code_list=uploaded.duplicate_codes,
    )


async def list_certificates(visit: Visit, request: ListCertificates) -> CertificateList:
    if request.algorithm_type == "SM2":
        return CertificateList(data=[])
    return CertificateList(data=[await _seal(visit, certificate) for certificate in visit.certificates])


async def _seal(visit: Visit, certificate: Certificate) -> SealedCertificate:
    nonce = sealed.nonce_from(await visit.pool.take_nonce(visit.mchid))
    return SealedCertificate(
        serial_no=certificate.facts.serial_no,
        effective_time=rfc3339(int(certificate.facts.effective_at.timestamp())),
        expire_time=rfc3339(int(certificate.facts.expire_at.timestamp())),
        encrypt_certificate=EncryptCertificate(
            algorithm=sealed.ALGORITHM,
            nonce=nonce,
            associated_data="certificate",
            ciphertext=sealed.seal(visit.merchant.apiv3_key, nonce, "certificate", certificate.pem),
        ),
    )


HANDLERS = Handlers()
HANDLERS.bind(Stocks.post, create_stock)
HANDLERS.bind(StockNode.get, show_stock)
HANDLERS.bind(CouponCodes.post, upload_codes)
HANDLERS.bind(CouponCodes.get, list_codes)
HANDLERS.bind(CouponCodeNode.get, show_code)
HANDLERS.bind(CouponCodeNode.delete, delete_code)
HANDLERS.bind(Send.post, send_coupon)
HANDLERS.bind(Use.post, use_coupon)
HANDLERS.bind(UserCouponAppid.get, show_coupon)
HANDLERS.bind(ProductStockNode.get, show_product_stock)
HANDLERS.bind(UploadCouponCodesNode.post, upload_coupon_codes)
HANDLERS.bind(Certificates.get, list_certificates)
