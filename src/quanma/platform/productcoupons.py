"""What the platform does for each operation of 商品券, for providers and for brands: one binding for both."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from ..api.couponcodes import UploadCodes
from ..api.media import IMAGE_BYTES_MAX
from ..api.productcoupon.callbacks import NotifyConfigs, NotifyConfigSet, SetNotifyConfig, ShowNotifyConfig
from ..api.productcoupon.callers import OfBoth
from ..api.productcoupon.codes import UploadCouponCodes, UploadCouponCodesNode, UploadedCouponCodes
from ..api.productcoupon.coupons import ProductCouponNode, ProductCoupons, ShowProductCoupon
from ..api.productcoupon.entities import ProductCoupon, ProductStock, UserCoupon, UserCouponBundle
from ..api.productcoupon.images import (
    ImageTask,
    ImageTaskNode,
    ProductImageUpload,
    ShowImageTask,
    UploadedProductImage,
    UploadProductImage,
)
from ..api.productcoupon.stocks import (
    ListProductStocks,
    ProductStockNode,
    ProductStockPage,
    ProductStocks,
    ShowProductStock,
)
from ..api.productcoupon.stores import AssociatedStores, ListStores, Store, StorePage
from ..api.productcoupon.usercoupons import (
    ListUserCoupons,
    PreSendUserCoupon,
    PreSendUserCouponBundle,
    ProductUserCoupons,
    SendUserCoupon,
    SendUserCouponBundle,
    ShowUserCoupon,
    UserCouponBundles,
    UserCouponNode,
    UserCouponPage,
)
from ..errors import NoAuth, ParamError, RequestRefused, ResourceNotExists, masked
from ..reasons import Reason
from ..wire.times import rfc3339
from .chance import Chance
from .coupons.draws import Issue
from .coupons.product.bundles import beside, bundle_of
from .coupons.product.changes import PRODUCT, Caller, KnownStock, ProductChange
from .coupons.product.images import IMAGE_TASK, START_IMAGE_TASK
from .coupons.product.life import (
    PRODUCT_STEPS,
    Also,
    Group,
    Held,
    ProductStep,
    bundle_id_of,
    user_bundle,
    user_coupon,
)
from .coupons.product.objects import (
    CHANGES,
    kept_product,
    no_product,
    shown_stock,
    single_stock,
    stocks_of_bundle,
)
from .coupons.product.stores import STORE_CHANGES, stores_kind
from .coupons.product.tokens import PRE_SENDS
from .coupons.responses import Owned
from .coupons.stocks import notified_as
from .notify.addresses import check_address
from .pool.contract import CodePool
from .visit import Handler, Handlers, Visit

_CHANCE = Chance("product-images")
Req = TypeVar("Req")
Resp = TypeVar("Resp")

CHANNEL_API, CHANNEL_COMPONENT = "API", "RECEIVE_COMPONENT"


def caller_of(visit: Visit, request: Any) -> Caller:
    """Who asks, and for which brand. Raises NoAuth: the brand has not granted this provider 商品券."""
    if visit.merchant.brand_id is not None:
        return Caller(visit.mchid, visit.merchant.brand_id)
    brand_id: str = request.brand_id
    if visit.asks_for_grants and brand_id not in visit.merchant.granted:
        raise NoAuth(
            f"服务商没有此接口权限: brand {brand_id} has not granted this provider 商品券", reason=Reason.NO_PERMISSION
        )
    return Caller(visit.mchid, brand_id)


def changed_by(change: ProductChange[Any, Resp]) -> Handler[Any, Resp]:
    """A handler that changes what a caller has made."""

    async def handler(visit: Visit, request: Any) -> Resp:
        caller = caller_of(visit, request)
        if change.called is ProductCoupons.post.as_brand() and visit.product_rules.wants_callback:
            await show_callback(visit, ShowNotifyConfig())
        answer = await visit.pool.change_product(caller, change, request, visit.now, visit.product_rules.rules)
        return _with_pauses(visit, answer)

    return handler


def moved_by(step: ProductStep[Resp]) -> Handler[Any, Resp]:
    """A handler that moves a coupon, or a user's bundle, by this step."""

    async def handler(visit: Visit, request: Any) -> Resp:
        caller = caller_of(visit, request)
        return await visit.pool.step(caller.mchid, step, request, visit.now, caller, request.product_coupon_id)

    return handler


def _with_pauses(visit: Visit, answer: Resp) -> Resp:
    """An answer as it is while platform.toml pauses some stocks."""
    if isinstance(answer, ProductStock) and answer.state == "SENDING" and answer.stock_id in visit.product_rules.paused:
        return msgspec.structs.replace(answer, state="PAUSED")
    return answer


async def show_product(visit: Visit, request: ShowProductCoupon) -> ProductCoupon:
    product_coupon_id = request.product_coupon_id
    found = await visit.pool.documents(caller_of(visit, request), PRODUCT, [product_coupon_id])
    return kept_product(found.get(product_coupon_id), product_coupon_id).shown(visit.now)


# Stocks


async def show_stock(visit: Visit, request: ShowProductStock) -> ProductStock:
    known = await _stock(visit, caller_of(visit, request), request.product_coupon_id, request.stock_id)
    return _with_pauses(visit, shown_stock(known, visit.now))


async def _stock(visit: Visit, caller: Caller, product_coupon_id: str, stock_id: str) -> KnownStock:
    """Raises ResourceNotExists: the caller made no such stock of this product coupon for this brand."""
    found = await visit.pool.known_stocks(caller, [stock_id], visit.now)
    known = found.get(stock_id)
    if known is None or known.facts.product != caller.product(product_coupon_id):
        raise ResourceNotExists(f"商品券批次不存在: there is no stock {stock_id}", reason=Reason.OBJECT_UNKNOWN)
    return known


async def list_stocks(visit: Visit, request: ListProductStocks) -> ProductStockPage:
    caller, product_coupon_id = caller_of(visit, request), request.product_coupon_id
    if not await visit.pool.documents(caller, PRODUCT, [product_coupon_id]):
        raise no_product(product_coupon_id)
    stocks = [
        one
        for one in await visit.pool.product_stocks(caller, product_coupon_id, visit.now)
        if request.state in (None, one.facts.state(visit.now))
        and request.stock_bundle_id in (None, bundle_of(one.facts.stock_id))
    ]
    names = [one.facts.stock_id for one in stocks]
    begin, token = _page(names, request.page_size, request.page_token)
    page = [_with_pauses(visit, shown_stock(one, visit.now)) for one in stocks[begin : begin + request.page_size]]
    return ProductStockPage(total_count=len(stocks), stock_list=page, next_page_token=token)


async def upload_codes(visit: Visit, request: UploadCouponCodes) -> UploadedCouponCodes:
    upload = UploadCodes(
        stock_id=request.stock_id, coupon_code_list=request.code_list, upload_request_no=request.out_request_no
    )
    caller = caller_of(visit, request)
    uploaded = await visit.pool.upload_codes(caller.mchid, upload, visit.now, caller.product(request.product_coupon_id))
    return UploadedCouponCodes(
        total_count=uploaded.total_count,
        success_code_list=uploaded.success_codes,
        failed_code_list=uploaded.fail_codes,
        already_exist_code_list=uploaded.exist_codes,
        duplicate_code_list=uploaded.duplicate_codes,
    )


async def list_stores(visit: Visit, request: ListStores) -> StorePage:
    caller = caller_of(visit, request)
    await _stock(visit, caller, request.product_coupon_id, request.stock_id)
    kind = stores_kind(request.stock_id)
    after = _read_token(request.page_token) if request.page_token is not None else ""
    found = list(await visit.pool.documents(caller, kind, after=after, limit=request.page_size + 1))
    page = found[: request.page_size]
    return StorePage(
        total_count=await visit.pool.count_documents(caller, kind),
        store_list=[Store(store_id=store_id) for store_id in page],
        next_page_token=_token(page[-1]) if len(found) > len(page) else None,
    )


def _page(names: Sequence[str], size: int, token: str | None) -> tuple[int, str | None]:
    """Return where a page begins, and the token of the next one. Raises ParamError: the token is none of ours."""
    begin = 0
    if token is not None:
        last = _read_token(token)
        if last not in names:
            raise ParamError("page_token is not the next_page_token of a page before")
        begin = names.index(last) + 1
    end = begin + size
    return begin, _token(names[end - 1]) if end < len(names) else None


def _token(last: str) -> str:
    """Opaque for callers: what the page ended with."""
    return base64.urlsafe_b64encode(last.encode()).decode()


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), b"-_", validate=True).decode()
    except ValueError:
        raise ParamError("page_token is not the next_page_token of a page before") from None


# Coupons


async def send(visit: Visit, request: SendUserCoupon) -> UserCoupon:
    single_stock(request)
    caller, paused = caller_of(visit, request), visit.product_rules.paused
    group = await given(visit.pool, caller, request, CHANNEL_API, visit.now, paused)
    return user_coupon(group, group.held[0].coupon, visit.now)


async def send_bundle(visit: Visit, request: SendUserCouponBundle) -> UserCouponBundle:
    caller, paused = caller_of(visit, request), visit.product_rules.paused
    group = await given(visit.pool, caller, request, CHANNEL_API, visit.now, paused)
    return user_bundle(group, visit.now)


Sendable = SendUserCoupon | SendUserCouponBundle | PreSendUserCoupon | PreSendUserCouponBundle


async def given(
    pool: CodePool, caller: Caller, request: Sendable, channel: str, now: int, paused_stocks: frozenset[str]
) -> Group:
    """Give out what a request asks for: one coupon, or one of each member of a bundle."""
    if isinstance(request, SendUserCouponBundle | PreSendUserCouponBundle):
        stock_ids, coupon_code = stocks_of_bundle(request), None
    else:
        stock_ids, coupon_code = [request.stock_id], request.coupon_code
    if paused := paused_stocks.intersection(stock_ids):
        said = f"商品券批次不在发放状态: stock {min(paused)} is PAUSED"
        raise RequestRefused(said, reason=Reason.STOCK_NOT_SENDING)
    issues = [
        Issue(
            stock_id,
            request.openid,
            request.appid,
            request.send_request_no,
            coupon_code,
            caller.mchid,
            channel,
            Also.of(request.attach, getattr(request, "coupon_tag_info", None)),
            caller.product(request.product_coupon_id),
        )
        for stock_id in stock_ids
    ]
    return await pool.give(caller, issues, now)


async def show_coupon(visit: Visit, request: ShowUserCoupon) -> UserCoupon:
    caller = caller_of(visit, request)
    owned = await _owned(visit, caller, request.openid)
    wanted = caller.product(request.product_coupon_id)
    for facts, coupon in owned:
        named = (facts.product, facts.stock_id, coupon.coupon_code)
        if named == (wanted, request.stock_id, request.coupon_code):
            return (await _shown(visit, caller, owned, [(facts, coupon)]))[0]
    raise ResourceNotExists(
        f"券不存在: this user has no coupon {masked(request.coupon_code)}", reason=Reason.COUPON_UNKNOWN
    )


async def list_coupons(visit: Visit, request: ListUserCoupons) -> UserCouponPage:
    caller = caller_of(visit, request)
    owned = await _owned(visit, caller, request.openid)
    found = [
        (facts, one)
        for facts, one in owned
        if request.stock_id in (None, facts.stock_id)
        and request.product_coupon_id in (None, facts.product and facts.product.product_coupon_id)
        and request.coupon_state in (None, one.state(visit.now))
        and (request.user_coupon_bundle_id is None or request.user_coupon_bundle_id == bundle_id_of(one))
    ]
    names = [f"{one.stock_id}\n{one.coupon_code}" for _, one in found]
    begin, token = _page(names, request.page_size, request.page_token)
    page = await _shown(visit, caller, owned, found[begin : begin + request.page_size])
    return UserCouponPage(total_count=len(found), user_coupon_list=page, next_page_token=token)


async def _owned(visit: Visit, caller: Caller, openid: str) -> list[Owned]:
    owned = await visit.pool.coupons_of(caller.mchid, openid)
    return [one for one in owned if one[0].product is not None and one[0].product.brand_id == caller.brand_id]


async def _shown(visit: Visit, caller: Caller, owned: Sequence[Owned], page: Sequence[Owned]) -> list[UserCoupon]:
    """Coupons of a user as they are answered, each with its stock, its product coupon, and its rounds."""
    groups = [
        [one for one in owned if one[1].out_request_no == coupon.out_request_no and one[0].stock_id in rounds]
        for facts, coupon in page
        for rounds in [beside(facts.stock_id)]
    ]
    stock_ids = dict.fromkeys(facts.stock_id for group in groups for facts, _ in group)
    stocks = await visit.pool.known_stocks(caller, list(stock_ids), visit.now)
    product_ids = [facts.product.product_coupon_id for facts, _ in page if facts.product is not None]
    products = await visit.pool.documents(caller, PRODUCT, product_ids)
    shown: list[UserCoupon] = []
    for (facts, coupon), members, product_id in zip(page, groups, product_ids, strict=True):
        held = [Held(stocks[it.stock_id], one) for it, one in sorted(members, key=lambda one: one[0].stock_id)]
        if bundle_of(facts.stock_id) is None:
            held = [Held(stocks[facts.stock_id], coupon)]
        shown.append(user_coupon(Group(caller, products.get(product_id), held), coupon, visit.now))
    return shown


# Callbacks and pictures


async def set_callback(visit: Visit, request: SetNotifyConfig) -> NotifyConfigSet:
    check_address(request.notify_url, allow_private=visit.private_callbacks, refused=visit.refused_networks)
    name = notified_as(visit.mchid)
    await visit.pool.set_callback(name, name, request.notify_url, visit.now)
    return NotifyConfigSet(notify_url=request.notify_url, update_time=rfc3339(visit.now))


async def show_callback(visit: Visit, request: ShowNotifyConfig) -> NotifyConfigSet:
    name = notified_as(visit.mchid)
    try:
        address = await visit.pool.callback(name, name)
    except ResourceNotExists:
        raise ResourceNotExists("回调地址不存在: set one with POST notify-configs first") from None
    return NotifyConfigSet(notify_url=address.notify_url, update_time=rfc3339(address.updated_at))


async def upload_image(visit: Visit, request: UploadProductImage) -> UploadedProductImage:
    if len(request.file) > IMAGE_BYTES_MAX:
        raise ParamError(
            f"the picture has {len(request.file)} bytes, at most {IMAGE_BYTES_MAX} are taken",
            reason=Reason.IMAGE_TOO_BIG,
        )
    # The picture is checked and not kept: this platform shows none. The address is one of its own making.
    return UploadedProductImage(image_url=f"https://quanma.invalid/images/{_CHANCE.token_hex(16)}/{len(request.file)}")


async def show_image_task(visit: Visit, request: ShowImageTask) -> ImageTask:
    caller = caller_of(visit, request)
    body = (await visit.pool.documents(caller, IMAGE_TASK, [request.task_id])).get(request.task_id)
    task = None if body is None else msgspec.json.decode(body, type=ImageTask)
    if task is None or task.image_generation_type != request.image_generation_type:
        raise ResourceNotExists(f"there is no image task {request.task_id}", reason=Reason.OBJECT_UNKNOWN)
    return task


def bind(handlers: Handlers) -> None:
    """Bind every operation of 商品券, as both callers have it."""

    def both(operation: OfBoth[..., Any, Any, ..., Any, Any, Resp], handler: Handler[Any, Resp]) -> None:
        handlers.bind(operation.as_brand(), handler)
        handlers.bind(operation.as_provider(), handler)

    for change in (*CHANGES, *STORE_CHANGES, *PRE_SENDS, START_IMAGE_TASK):
        for operation in change.bound:
            handlers.bind(operation, changed_by(change))
    for step in PRODUCT_STEPS:
        both(step.both, moved_by(step))
    both(ProductCouponNode.get, show_product)
    both(ProductStocks.get, list_stocks)
    both(ProductStockNode.get, show_stock)
    both(UploadCouponCodesNode.post, upload_codes)
    both(AssociatedStores.get, list_stores)
    both(ProductUserCoupons.post, send)
    both(UserCouponBundles.post, send_bundle)
    both(UserCouponNode.get, show_coupon)
    both(ProductUserCoupons.get, list_coupons)
    both(NotifyConfigs.post, set_callback)
    both(NotifyConfigs.get, show_callback)
    both(ProductImageUpload.post, upload_image)
    handlers.bind(ImageTaskNode.get, show_image_task)
