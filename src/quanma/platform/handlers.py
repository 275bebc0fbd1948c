"""What the platform does for each operation: who asks, the request, a response. One binding each."""

from __future__ import annotations

from typing import TypeVar

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
from ..errors import NoAuth, ParamError
from ..wire import sealed
from ..wire.times import DAY_SECONDS, rfc3339, unix_seconds
from . import productcoupons
from .chance import Chance
from .coupons.draws import Issue, issue_of
from .coupons.requests import check_time
from .coupons.responses import coupon_page, latest_coupon, page_of
from .coupons.states import STEPS
from .coupons.step import OfCoupon, Step
from .coupons.stocks import CHANGES, Change, OfStock
from .coupons.subsidies import listed
from .keys.keystore import Certificate
from .notify.addresses import check_address
from .visit import Handler
from .visit import Handlers as Handlers
from .visit import Visit as Visit

_CHANCE = Chance("tokens")
OfCouponT = TypeVar("OfCouponT", bound=OfCoupon)
OfStockT = TypeVar("OfStockT", bound=OfStock)
Req = TypeVar("Req")
Resp = TypeVar("Resp")


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
    if visit.stock_limit is not None:
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
    return PreSentProductCoupon(token=_CHANCE.token_urlsafe(32))


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
    return UploadedImage(media_url=f"https://quanma.invalid/images/{_CHANCE.token_hex(16)}/{len(request.file)}")


async def echo(visit: Visit, request: SendEcho) -> Echoed:
    if request.notify_url is not None:
        # Checked and not used: what a notification would hold is not documented.
        check_address(request.notify_url, allow_private=visit.private_callbacks)
    if not request.encrypted_echo_message:
        return Echoed(echo_message=request.echo_message, encrypted_echo_message=request.encrypted_echo_message)
    fields = visit.sensitive()
    text = fields.opened("encrypted_echo_message", request.encrypted_echo_message)
    return Echoed(echo_message=request.echo_message, encrypted_echo_message=fields.sealed(text))


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
productcoupons.bind(HANDLERS)
