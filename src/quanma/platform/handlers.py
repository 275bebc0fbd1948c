"""What the platform does for each operation: who asks, the request, a response. One binding each."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Never, TypeVar

from ..api.callbacks import Callback, Callbacks, CallbackSet, SetCallback, ShowCallback
from ..api.certificates import CertificateList, Certificates, EncryptCertificate, ListCertificates, SealedCertificate
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
    CardSend,
    Coupon,
    CouponPage,
    ListCoupons,
    Send,
    SendCard,
    SendCoupon,
    SendCouponResult,
    SentCard,
    SentCoupon,
    ShowCoupon,
    UserCouponAppid,
    UserCoupons,
)
from ..api.deliveries import Deliveries, Delivery, Events, ListEvents, Resend, ResendEvent, Resent
from ..api.events import CHANNEL_API
from ..api.media import IMAGE_BYTES_MAX, ImageUpload, UploadedImage, UploadImage
from ..api.operation import Operation
from ..api.productcoupon.bundles import StockBundleNode, StockBundles, UpdateBundleBudgetNode
from ..api.productcoupon.callbacks import NotifyConfigs
from ..api.productcoupon.codes import UploadCouponCodesAsProvider, UploadCouponCodesNode, UploadedCouponCodes
from ..api.productcoupon.coupons import DeactivateProductCouponNode, ProductCouponNode, ProductCoupons
from ..api.productcoupon.entities import CouponCodeCountInfo, ProductStock, ShownSendRule
from ..api.productcoupon.images import ImageTaskNode, ImageTasks, ProductImageUpload
from ..api.productcoupon.stocks import (
    DeactivateStockNode,
    ProductStockNode,
    ProductStocks,
    ShowProductStockAsProvider,
    UpdateStockBudgetNode,
)
from ..api.productcoupon.stores import (
    AssociateBundleStoresNode,
    AssociatedStores,
    AssociateStoresNode,
    DisassociateBundleStoresNode,
    DisassociateStoresNode,
)
from ..api.productcoupon.usercoupons import (
    ConfirmUserCouponNode,
    DeactivateUserCouponBundleNode,
    DeactivateUserCouponNode,
    PreSendUserCouponBundleNode,
    PreSendUserCouponNode,
    ProductUserCoupons,
    ReturnUserCouponNode,
    UserCouponBundles,
    UserCouponNode,
    UseUserCouponNode,
)
from ..api.productsends import (
    PreSendProductCoupon,
    PreSentProductCoupon,
    ProductPreSend,
    ProductSend,
    SendProductCoupon,
    SentProductCoupon,
)
from ..api.security import Echo, Echoed, SendEcho
from ..api.stocklists import ListedStock, ListedStocks, ListStocks, OwnStocks
from ..api.stocks import CreatedStock, CreateStock, ShowStock, Stock, StockNode, Stocks
from ..api.subsidy import (
    ListPayReceipts,
    PayReceipt,
    PayReceiptList,
    PayReceiptNode,
    PayReceipts,
    ReturnReceipt,
    ReturnReceiptNode,
    ShowPayReceipt,
    ShowReturnReceipt,
)
from ..errors import NoAuth, ParamError, RequestRefused
from ..wire import sealed
from ..wire.times import DAY_SECONDS, rfc3339, unix_seconds
from .coupons.draws import Issue, issue_of
from .coupons.requests import check_time
from .coupons.responses import coupon_page, latest_coupon, page_of
from .coupons.states import STEPS
from .coupons.step import OfCoupon, Step
from .coupons.stocks import CHANGES, Change, OfStock, Product
from .coupons.subsidies import listed
from .keys.keystore import Certificate, Merchant, SensitiveFields
from .limits import RateLimit
from .notify.addresses import Network, check_address
from .pool.contract import CodePool

OfCouponT = TypeVar("OfCouponT", bound=OfCoupon)
OfStockT = TypeVar("OfStockT", bound=OfStock)
Req = TypeVar("Req")
Resp = TypeVar("Resp")


class Visit(NamedTuple):
    """One verified request: who asks, when (Unix seconds), and what the platform has at hand."""

    merchant: Merchant
    now: int
    pool: CodePool
    certificates: tuple[Certificate, ...]
    stock_limit: RateLimit
    """How many stocks a merchant may create in a time."""
    sensitive: Callable[[], SensitiveFields]
    """What opens and seals single fields of this request and its answer."""
    private_callbacks: bool
    """Whether a callback address may be plain http, or on a private network."""
    refused_networks: tuple[Network, ...] = ()
    """Where no callback address may be."""

    @property
    def mchid(self) -> str:
        return self.merchant.mchid


Handler = Callable[[Visit, Req], Awaitable[Resp]]


class Handlers(dict[Operation[..., Any, Any, Any], Callable[[Visit, Any], Awaitable[Any]]]):
    def bind(self, operation: Operation[..., Any, Req, Resp], handler: Handler[Req, Resp]) -> None:
        """Typed: a handler that takes or returns another operation's struct does not check."""
        self[operation] = handler


def moved_by(step: Step[OfCouponT, Resp]) -> Handler[OfCouponT, Resp]:
    """A handler that moves a coupon by this step."""

    async def handler(visit: Visit, request: OfCouponT) -> Resp:
        return await visit.pool.step(visit.mchid, step, request, visit.now)

    return handler


def changed_by(change: Change[OfStockT, Resp]) -> Handler[OfStockT, Resp]:
    """A handler that changes a stock so."""

    async def handler(visit: Visit, request: OfStockT) -> Resp:
        return await visit.pool.change_stock(visit.mchid, change, request, visit.now)

    return handler


async def create_stock(visit: Visit, request: CreateStock) -> CreatedStock:
    visit.stock_limit.check(visit.mchid, visit.now)
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
    issue = issue_of(request, visit.mchid, CHANNEL_API)
    coupon = await visit.pool.send_coupon(visit.mchid, issue, visit.now)
    result = SendCouponResult(
        stock_id=coupon.stock_id, out_request_no=coupon.out_request_no, coupon_code=coupon.coupon_code
    )
    return SentCoupon(send_coupon_result=result)


async def send_product_coupon(visit: Visit, request: SendProductCoupon) -> SentProductCoupon:
    if request.coupon_type == "MEMBER" and request.member_card_id is None:
        raise ParamError("coupon_type MEMBER needs a member_card_id")
    issue = Issue(
        request.stock_id,
        request.openid,
        request.appid,
        request.out_request_no,
        request.coupon_code,
        visit.mchid,
        CHANNEL_API,
        also=f"{request.coupon_type} {request.member_card_id}",
    )
    coupon = await visit.pool.send_coupon(visit.mchid, issue, visit.now)
    return SentProductCoupon(
        stock_id=coupon.stock_id, coupon_code=coupon.coupon_code, out_request_no=coupon.out_request_no
    )


async def pre_send_product_coupon(visit: Visit, request: PreSendProductCoupon) -> PreSentProductCoupon:
    await visit.pool.show_stock(visit.mchid, request.stock_id, visit.now)
    # Source: what the token holds is not published, and nothing here redeems it: the claim component is WeChat's.
    return PreSentProductCoupon(token=secrets.token_urlsafe(32))


async def send_card(visit: Visit, request: SendCard) -> SentCard:
    check_time("send_time", request.send_time)
    if unix_seconds(request.send_time) < visit.now - DAY_SECONDS:
        raise ParamError("send_time is more than 24 hours ago")
    return await visit.pool.send_card(visit.mchid, request)


async def list_coupons(visit: Visit, request: ListCoupons) -> CouponPage:
    owned = await visit.pool.coupons_of(visit.mchid, request.openid)
    return coupon_page(owned, request, visit.mchid, visit.now)


async def show_coupon(visit: Visit, request: ShowCoupon) -> Coupon:
    owned = await visit.pool.coupons_of(visit.mchid, request.openid)
    return latest_coupon(owned, request.coupon_code, visit.mchid, visit.now)


async def list_pay_receipts(visit: Visit, request: ListPayReceipts) -> PayReceiptList:
    return listed(await visit.pool.payments(visit.mchid, request.stock_id, request.coupon_code), request)


async def show_pay_receipt(visit: Visit, request: ShowPayReceipt) -> PayReceipt:
    return await visit.pool.receipt(visit.mchid, PayReceipt, request.subsidy_receipt_id)


async def show_return_receipt(visit: Visit, request: ShowReturnReceipt) -> ReturnReceipt:
    return await visit.pool.receipt(visit.mchid, ReturnReceipt, request.subsidy_return_receipt_id)


async def set_callback(visit: Visit, request: SetCallback) -> CallbackSet:
    mchid = request.mchid or visit.mchid
    if mchid != visit.mchid:
        raise NoAuth("a merchant sets the address for events of its own stocks only")
    check_address(request.notify_url, allow_private=visit.private_callbacks, refused=visit.refused_networks)
    await visit.pool.set_callback(visit.mchid, mchid, request.notify_url, visit.now)
    return CallbackSet(notify_url=request.notify_url, mchid=mchid, update_time=rfc3339(visit.now))


async def list_stocks(visit: Visit, request: ListStocks) -> ListedStocks:
    stocks = await visit.pool.list_stocks(visit.mchid, request.offset, request.limit)
    return ListedStocks(
        data=page_of(
            ListedStock(
                stock_id=facts.stock_id,
                stock_name=facts.busifavor.stock_name,
                stock_type=facts.busifavor.stock_type,
                coupon_code_mode=facts.code_mode,
                stock_state=facts.state(visit.now),
                create_time=rfc3339(facts.created_at),
                available_end_time=facts.busifavor.coupon_use_rule.coupon_available_time.available_end_time,
            )
            for facts in stocks
        )
    )


async def show_callback(visit: Visit, request: ShowCallback) -> Callback:
    mchid = request.mchid or visit.mchid
    return Callback(notify_url=(await visit.pool.callback(visit.mchid, mchid)).notify_url, mchid=mchid)


async def list_events(visit: Visit, request: ListEvents) -> Deliveries:
    states = await visit.pool.list_events(visit.mchid, request.offset, request.limit)
    return Deliveries(
        data=page_of(
            Delivery(
                id=state.id,
                create_time=rfc3339(state.created_at),
                attempts=state.attempts,
                due_time=None if state.due_at is None else rfc3339(state.due_at),
                delivered_time=None if state.delivered_at is None else rfc3339(state.delivered_at),
                last_error=state.last_error,
            )
            for state in states
        )
    )


async def resend_event(visit: Visit, request: ResendEvent) -> Resent:
    await visit.pool.resend_event(visit.mchid, request.id, visit.now)
    return Resent(id=request.id)


async def upload_image(visit: Visit, request: UploadImage) -> UploadedImage:
    if len(request.file) > IMAGE_BYTES_MAX:
        raise ParamError(f"the picture has {len(request.file)} bytes, at most {IMAGE_BYTES_MAX} are taken")
    # The picture is checked and not kept: this platform shows none. The address is one of its own making.
    return UploadedImage(media_url=f"https://quanma.invalid/images/{secrets.token_hex(16)}/{len(request.file)}")


async def echo(visit: Visit, request: SendEcho) -> Echoed:
    if request.notify_url is not None:
        # Checked and not used: what a notification would hold is not documented.
        check_address(request.notify_url, allow_private=visit.private_callbacks)
    if not request.encrypted_echo_message:
        return Echoed(echo_message=request.echo_message, encrypted_echo_message=request.encrypted_echo_message)
    fields = visit.sensitive()
    text = fields.opened("encrypted_echo_message", request.encrypted_echo_message)
    return Echoed(echo_message=request.echo_message, encrypted_echo_message=fields.sealed(text))


async def show_product_stock(visit: Visit, request: ShowProductStockAsProvider) -> ProductStock:
    product = Product(request.product_coupon_id, request.brand_id)
    stock = await visit.pool.show_stock(visit.mchid, request.stock_id, visit.now, product)
    count = stock.coupon_code_count
    return ProductStock(
        product_coupon_id=request.product_coupon_id,
        stock_id=request.stock_id,
        coupon_code_mode="UPLOAD",
        state="SENDING" if stock.stock_state == "RUNNING" else "STOPPED",
        brand_id=request.brand_id,
        stock_send_rule=ShownSendRule(max_count=stock.stock_send_rule.max_coupons),
        coupon_code_count_info=CouponCodeCountInfo(total_count=count.total_count, available_count=count.available_count)
        if count
        else None,
    )


async def upload_coupon_codes(visit: Visit, request: UploadCouponCodesAsProvider) -> UploadedCouponCodes:
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


UNANSWERED: tuple[Operation[..., Any, Any, Any], ...] = (
    UploadCouponCodesNode.post.as_brand(),
    ProductStockNode.get.as_brand(),
    ImageTasks.post,
    ImageTaskNode.get,
    *(
        operation
        for both in (
            ProductCoupons.post,
            ProductCouponNode.get,
            ProductCouponNode.patch,
            DeactivateProductCouponNode.post,
            ProductStocks.post,
            ProductStocks.get,
            ProductStockNode.patch,
            UpdateStockBudgetNode.post,
            DeactivateStockNode.post,
            AssociateStoresNode.post,
            DisassociateStoresNode.post,
            AssociatedStores.get,
            StockBundles.post,
            StockBundleNode.patch,
            UpdateBundleBudgetNode.post,
            AssociateBundleStoresNode.post,
            DisassociateBundleStoresNode.post,
            ProductUserCoupons.post,
            ProductUserCoupons.get,
            UserCouponNode.get,
            ConfirmUserCouponNode.post,
            UseUserCouponNode.post,
            ReturnUserCouponNode.post,
            DeactivateUserCouponNode.post,
            PreSendUserCouponNode.post,
            UserCouponBundles.post,
            PreSendUserCouponBundleNode.post,
            DeactivateUserCouponBundleNode.post,
            NotifyConfigs.post,
            NotifyConfigs.get,
            ProductImageUpload.post,
        )
        for operation in (both.as_brand(), both.as_provider())
    ),
)
"""What is declared, and not yet done by this platform: it says so. The list gets shorter, and then goes."""


async def say_that_it_is_not_answered(visit: Visit, request: object) -> Never:
    raise RequestRefused("this platform does not do this operation of 商品券 yet")


HANDLERS = Handlers()
for operation in UNANSWERED:
    HANDLERS.bind(operation, say_that_it_is_not_answered)
HANDLERS.bind(Stocks.post, create_stock)
HANDLERS.bind(StockNode.get, show_stock)
HANDLERS.bind(CouponCodes.post, upload_codes)
HANDLERS.bind(CouponCodes.get, list_codes)
HANDLERS.bind(CouponCodeNode.get, show_code)
HANDLERS.bind(CouponCodeNode.delete, delete_code)
HANDLERS.bind(Send.post, send_coupon)
HANDLERS.bind(CardSend.post, send_card)
HANDLERS.bind(UserCoupons.get, list_coupons)
HANDLERS.bind(UserCouponAppid.get, show_coupon)
HANDLERS.bind(PayReceipts.get, list_pay_receipts)
HANDLERS.bind(PayReceiptNode.get, show_pay_receipt)
HANDLERS.bind(ReturnReceiptNode.get, show_return_receipt)
HANDLERS.bind(Callbacks.post, set_callback)
HANDLERS.bind(Callbacks.get, show_callback)
HANDLERS.bind(ProductSend.post, send_product_coupon)
HANDLERS.bind(ProductPreSend.post, pre_send_product_coupon)
HANDLERS.bind(ProductStockNode.get.as_provider(), show_product_stock)
HANDLERS.bind(UploadCouponCodesNode.post.as_provider(), upload_coupon_codes)
HANDLERS.bind(Events.get, list_events)
HANDLERS.bind(OwnStocks.get, list_stocks)
HANDLERS.bind(Resend.post, resend_event)
HANDLERS.bind(ImageUpload.post, upload_image)
HANDLERS.bind(Echo.post, echo)
HANDLERS.bind(Certificates.get, list_certificates)
for step in STEPS:
    HANDLERS.bind(step.operation, moved_by(step))
for change in CHANGES:
    HANDLERS.bind(change.operation, changed_by(change))
