"""Product coupons, their stocks and bundles: made, changed and ended. CHANGES has every way, as data. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from ....api.productcoupon import checks
from ....api.productcoupon.benefits import ProductNormalCoupon, SingleUsageInfo
from ....api.productcoupon.bundles import (
    AddStockBundle,
    StockBundleNode,
    StockBundles,
    UpdateBundleBudgetNode,
)
from ....api.productcoupon.coupons import (
    CreatedProductCoupon,
    CreateProductCoupon,
    DeactivateProductCoupon,
    DeactivateProductCouponNode,
    ModifyProductCoupon,
    ProductCouponNode,
    ProductCoupons,
)
from ....api.productcoupon.display import ProductDisplay
from ....api.productcoupon.entities import (
    CouponCodeCountInfo,
    ProductCoupon,
    ProductStock,
    RoundUsageRule,
    SentCountInfo,
    ShownNotifyConfig,
    ShownSendRule,
    StockBundle,
    StockBundleInfo,
)
from ....api.productcoupon.stockrequests import NewStock, NewStockBundle
from ....api.productcoupon.stocks import (
    AddStock,
    BudgetChange,
    DeactivateStock,
    DeactivateStockNode,
    ProductStockNode,
    ProductStocks,
    StockChanges,
    UpdateStockBudgetNode,
)
from ....errors import AlreadyExists, ParamError, RequestRefused, ResourceNotExists
from ....reasons import Reason
from ....wire import codec
from ....wire.times import rfc3339
from ...chance import Chance
from ..responses import Counts, new_stock_id
from ..stocks import StockFacts, stock_facts
from .bundles import bundle_of, members_of, new_bundle_id
from .changes import PRODUCT, Caller, Changed, Document, Known, KnownStock, ProductChange
from .terms import ProductTerms

_CHANCE = Chance("product-coupons")
LIVE_STOCKS_MAX = 200
LIVE = ("AUDITING", "SENDING", "PAUSED")
_NOTHING_SENT = Counts(0, 0, 0, 0)
T = TypeVar("T")


class KeptProduct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A product coupon as its document has it."""

    coupon: ProductCoupon
    effective_from: int = 0
    """Until then it is AUDITING. Unix seconds."""

    def shown(self, now: int) -> ProductCoupon:
        auditing = self.coupon.state == "EFFECTIVE" and now < self.effective_from
        return msgspec.structs.replace(self.coupon, state="AUDITING") if auditing else self.coupon


def kept_product(body: str | None, product_coupon_id: str) -> KeptProduct:
    """Read a document. Raises ResourceNotExists: there is none."""
    if body is None:
        raise no_product(product_coupon_id)
    return codec.read_answer(msgspec.json.decode(body), KeptProduct)


def declared(known: Known, product_coupon_id: str) -> Changed[None]:
    """The product coupon of stocks that platform.toml declares, if it is not there."""
    if (PRODUCT, product_coupon_id) in known.documents:
        return Changed(None)
    coupon = ProductCoupon(
        product_coupon_id=product_coupon_id,
        scope="ALL",
        type="NORMAL",
        usage_mode="SINGLE",
        display_info=ProductDisplay(name="商品券", image_url=_NO_IMAGE, background_url=_NO_IMAGE),
        state="EFFECTIVE",
        single_usage_info=SingleUsageInfo(normal_coupon=ProductNormalCoupon(threshold=1, discount_amount=1)),
        brand_id=known.caller.shown_brand_id,
    )
    return Changed(None, [_document(KeptProduct(coupon=coupon))])


_NO_IMAGE = "https://quanma.invalid/images/none"


def no_product(product_coupon_id: str) -> ResourceNotExists:
    return ResourceNotExists(
        f"商品券不存在: this caller made no product coupon {product_coupon_id} for this brand",
        reason=Reason.OBJECT_UNKNOWN,
    )


def shown_stock(known: KnownStock, now: int) -> ProductStock:
    """A stock as it is answered."""
    facts, counts = known
    count = CouponCodeCountInfo(total_count=counts.total, available_count=counts.available)
    return msgspec.structs.replace(
        facts.terms.stock,
        state=facts.state(now),
        coupon_code_count_info=count if facts.takes_uploads else None,
        sent_count_info=SentCountInfo(total_count=counts.sent, today_count=counts.sent_today),
    )


def shown_bundle(caller: Caller, stocks: Sequence[KnownStock], now: int) -> StockBundle:
    """The members of a bundle, by their rounds."""
    bundle_id = bundle_of(stocks[0].facts.stock_id)
    assert bundle_id is not None
    shown = [shown_stock(one, now) for one in stocks]
    return StockBundle(stock_bundle_id=bundle_id, stock_list=shown, brand_id=caller.shown_brand_id)


# Made


def create(known: Known, request: CreateProductCoupon) -> Changed[CreatedProductCoupon]:
    coupon = ProductCoupon(
        product_coupon_id=str(10**9 + _CHANCE.randbelow(9 * 10**9)),
        scope=request.scope,
        type=request.type,
        usage_mode=request.usage_mode,
        display_info=request.display_info,
        state="EFFECTIVE",
        single_usage_info=request.single_usage_info,
        progressive_bundle_usage_info=request.progressive_bundle_usage_info,
        out_product_no=request.out_product_no,
        brand_id=known.caller.shown_brand_id,
    )
    kept = KeptProduct(coupon=coupon, effective_from=known.now + known.rules.audit_seconds)
    bundle = request.stock_bundle
    added = _members(known, coupon, bundle) if bundle else [_single(known, coupon, _given(request.stock))]
    stocks = [KnownStock(facts, _NOTHING_SENT) for facts in added]
    answer = CreatedProductCoupon(
        **msgspec.structs.asdict(kept.shown(known.now)),
        stock=None if bundle else shown_stock(stocks[0], known.now),
        stock_bundle=shown_bundle(known.caller, stocks, known.now) if bundle else None,
    )
    return Changed(answer, [_document(kept)], added=added)


def add_stock(known: Known, request: AddStock) -> Changed[ProductStock]:
    coupon = _effective(known, request.product_coupon_id).coupon
    _check(checks.of_new_stock(request.stock, coupon))
    added = [_single(known, coupon, request.stock)]
    _check_count(known, added)
    return Changed(shown_stock(KnownStock(added[0], _NOTHING_SENT), known.now), added=added)


def add_bundle(known: Known, request: AddStockBundle) -> Changed[StockBundle]:
    coupon = _effective(known, request.product_coupon_id).coupon
    _check(checks.of_new_bundle(request.stock_bundle, coupon))
    added = _members(known, coupon, request.stock_bundle)
    _check_count(known, added)
    stocks = [KnownStock(facts, _NOTHING_SENT) for facts in added]
    return Changed(shown_bundle(known.caller, stocks, known.now), added=added)


def _single(known: Known, coupon: ProductCoupon, new: NewStock) -> StockFacts:
    shown = _shown(coupon, new_stock_id(), new)
    return _facts(known, msgspec.structs.replace(shown, single_usage_rule=new.single_usage_rule), 0)


def _members(known: Known, coupon: ProductCoupon, new: NewStockBundle) -> list[StockFacts]:
    """A stock for each round, each with the rule of its own. Raises RequestRefused: a later round is less generous."""
    rule, info = new.progressive_bundle_usage_rule, coupon.progressive_bundle_usage_info
    if (worse := checks.less_generous(rule)) is not None:
        raise RequestRefused(
            f"round {worse} (from 0) is less generous than the one before it", reason=Reason.ROUND_LESS_GENEROUS
        )
    rounds = rule.normal_coupon_list or rule.discount_coupon_list or rule.exchange_coupon_list or []
    name: Any = checks.BENEFITS[coupon.type]
    bundle_id = new_bundle_id(len(rounds))
    return [
        _facts(
            known,
            msgspec.structs.replace(
                _shown(coupon, stock_id, new),
                progressive_bundle_usage_rule=RoundUsageRule(
                    coupon_available_period=rule.coupon_available_period, **_only(name, benefit)
                ),
                stock_bundle_info=StockBundleInfo(stock_bundle_id=bundle_id, stock_bundle_index=index),
            ),
            (info.interval_days if info else None) or 0,
        )
        for index, (stock_id, benefit) in enumerate(zip(members_of(bundle_id), rounds, strict=True))
    ]


def _only(name: str, benefit: Any) -> dict[str, Any]:
    return {name: benefit}


def _shown(coupon: ProductCoupon, stock_id: str, new: NewStock | NewStockBundle) -> ProductStock:
    """What single stocks and members of a bundle have alike."""
    return ProductStock(
        product_coupon_id=coupon.product_coupon_id,
        stock_id=stock_id,
        coupon_code_mode=new.coupon_code_mode,
        state="SENDING",
        remark=new.remark,
        stock_send_rule=ShownSendRule(**msgspec.structs.asdict(new.stock_send_rule)),
        usage_rule_display_info=new.usage_rule_display_info,
        coupon_display_info=new.coupon_display_info,
        notify_config=ShownNotifyConfig(notify_appid=new.notify_config.notify_appid),
        store_scope=new.store_scope,
        brand_id=coupon.brand_id,
    )


def _facts(known: Known, stock: ProductStock, interval_days: int) -> StockFacts:
    """Raises ParamError: a time is none."""
    terms = ProductTerms(stock=stock, sends_from=known.now + known.rules.audit_seconds, interval_days=interval_days)
    product = known.caller.product(stock.product_coupon_id)
    try:
        facts = stock_facts(stock.stock_id, known.caller.mchid, terms, known.now, product)
        # A year that our own clock can't print would fail every later answer that shows it.
        for moment in (facts.begins_at, facts.ends_at):
            rfc3339(moment)
        terms.is_open_at(known.now)
    except (ValueError, OverflowError) as problem:
        raise ParamError(f"coupon_available_period: {problem}", reason=Reason.BAD_PARAMETER) from None
    return facts


def _effective(known: Known, product_coupon_id: str) -> KeptProduct:
    """Raises RequestRefused: the coupon is not EFFECTIVE."""
    kept = kept_product(known.documents.get((PRODUCT, product_coupon_id)), product_coupon_id)
    if (state := kept.shown(known.now).state) != "EFFECTIVE":
        raise RequestRefused(f"商品券状态不符: product coupon {product_coupon_id} is {state}, not EFFECTIVE")
    return kept


def _check_count(known: Known, added: Sequence[StockFacts]) -> None:
    """Source: at most 200 stocks that are neither past their end nor deactivated (documented)."""
    live = sum(one.facts.state(known.now) in LIVE for one in known.stocks)
    if live + len(added) > LIVE_STOCKS_MAX:
        raise RequestRefused(
            f"商品券批次数已达上限: the coupon has {live} live stocks, and at most {LIVE_STOCKS_MAX} are taken: "
            "deactivate some"
        )


# Changed


def modify_coupon(known: Known, request: ModifyProductCoupon) -> Changed[ProductCoupon]:
    kept = _effective(known, request.product_coupon_id)
    _check(checks.of_display(kept.coupon.scope, request.display_info))
    kept = msgspec.structs.replace(kept, coupon=msgspec.structs.replace(kept.coupon, display_info=request.display_info))
    return Changed(kept.shown(known.now), [_document(kept)])


def modify_stocks(known: Known, request: StockChanges) -> list[KnownStock]:
    """Source: what is absent stays as it is; an object that is given replaces the one before it (our reading)."""
    given = {name: getattr(request, name) for name in StockChanges.__struct_fields__ if name != "out_request_no"}
    if (config := request.notify_config) is not None:
        given["notify_config"] = ShownNotifyConfig(notify_appid=config.notify_appid)
    fields = {name: value for name, value in given.items() if value is not None}
    return [_with(one, known, ("SENDING", "PAUSED"), **fields) for one in known.stocks]


def change_budget(known: Known, request: BudgetChange) -> list[KnownStock]:
    """Compare and set. Raises RequestRefused: the current value is another, or more was given out already."""
    field = "max_count_per_day" if request.update_mode == "MAX_COUNT_PER_DAY" else "max_count"
    said, total = getattr(request, f"current_{field}"), getattr(request, f"target_{field}")
    changed: list[KnownStock] = []
    for one in known.stocks:
        rule = _given(one.facts.terms.stock.stock_send_rule)
        real = getattr(rule, field)
        if said != real:
            raise RequestRefused(_differs(field, said, real))
        sent = one.counts.sent_today if field == "max_count_per_day" else one.counts.sent
        if total < sent:
            raise RequestRefused(f"预算不能小于已发放数量: {sent} coupons were given out, more than {total}")
        rule = msgspec.structs.replace(rule, **{field: total})
        changed.append(_with(one, known, LIVE, stock_send_rule=rule))
    return changed


def _differs(field: str, said: int, real: int | None) -> str:
    if real is None:
        return "商品券批次没有每日发放次数上限: the stock was made without one, and none can be set later"
    if field == "max_count_per_day":
        return f"商品券批次当前每日发放次数上限与真实值不符: max_count_per_day is {real}, not {said}"
    return f"商品券批次当前发放总次数上限与真实值不符: max_count is {real}, not {said}"


def deactivate_stock(known: Known, request: DeactivateStock) -> list[KnownStock]:
    return [_ended(one, known, request, ("SENDING", "PAUSED")) for one in known.stocks]


def deactivate_coupon(known: Known, request: DeactivateProductCoupon) -> Changed[ProductCoupon]:
    """Source: ends every stock of it too; coupons in users' hands stay valid (documented)."""
    kept = _effective(known, request.product_coupon_id)
    coupon = msgspec.structs.replace(kept.coupon, state="DEACTIVATED", **_ending(known, request))
    kept = msgspec.structs.replace(kept, coupon=coupon)
    live = [one for one in known.stocks if one.facts.state(known.now) in LIVE]
    ended = [_ended(one, known, request, LIVE).facts for one in live]
    return Changed(kept.shown(known.now), [_document(kept)], changed=ended)


def _ended(
    one: KnownStock, known: Known, request: DeactivateStock | DeactivateProductCoupon, states: Sequence[str]
) -> KnownStock:
    return _with(one, known, states, state="DEACTIVATED", **_ending(known, request))


def _ending(known: Known, request: DeactivateStock | DeactivateProductCoupon) -> dict[str, str]:
    return {
        "deactivate_request_no": request.out_request_no,
        "deactivate_reason": request.deactivate_reason,
        "deactivate_time": rfc3339(known.now),
    }


def _with(one: KnownStock, known: Known, states: Sequence[str], **fields: Any) -> KnownStock:
    """A stock with other fields. Raises RequestRefused: it is in none of these states."""
    facts = one.facts
    if (state := facts.state(known.now)) not in states:
        raise RequestRefused(f"商品券批次状态不符: stock {facts.stock_id} is {state}, not {' or '.join(states)}")
    terms = msgspec.structs.replace(facts.terms, stock=msgspec.structs.replace(facts.terms.stock, **fields))
    return one._replace(facts=facts._replace(request=terms))


def _check(wrong: str | None) -> None:
    if wrong is not None:
        raise RequestRefused(wrong, reason=Reason.BAD_PARAMETER)


def _given(value: T | None) -> T:
    assert value is not None
    return value


def _document(kept: KeptProduct) -> Document:
    return Document(PRODUCT, kept.coupon.product_coupon_id, msgspec.json.encode(kept).decode())


def _product_of(request: Any) -> Sequence[tuple[str, str]]:
    return [(PRODUCT, request.product_coupon_id)]


def _all_of(request: Any) -> str:
    product_coupon_id: str = request.product_coupon_id
    return product_coupon_id


def single_stock(request: Any) -> Sequence[str]:
    """The stock that a request names. Raises RequestRefused: it is in a bundle, which is changed as a whole."""
    if bundle_of(request.stock_id) is not None:
        raise RequestRefused(f"stock {request.stock_id} is a member of a bundle: call the operation of the bundle")
    return [request.stock_id]


def stocks_of_bundle(request: Any) -> Sequence[str]:
    """Raises ResourceNotExists: no such bundle."""
    if not (members := members_of(request.stock_bundle_id)):
        raise no_bundle(request.stock_bundle_id)
    return members


def no_bundle(stock_bundle_id: str) -> ResourceNotExists:
    return ResourceNotExists(
        f"商品券批次组不存在: there is no stock bundle {stock_bundle_id}", reason=Reason.OBJECT_UNKNOWN
    )


def _of_stock(change: Callable[[Known, Any], list[KnownStock]]) -> Callable[[Known, Any], Changed[ProductStock]]:
    def decide(known: Known, request: Any) -> Changed[ProductStock]:
        (one,) = change(known, request)
        return Changed(shown_stock(one, known.now), changed=[one.facts])

    return decide


def _of_bundle(change: Callable[[Known, Any], list[KnownStock]]) -> Callable[[Known, Any], Changed[StockBundle]]:
    def decide(known: Known, request: Any) -> Changed[StockBundle]:
        stocks = change(known, request)
        return Changed(shown_bundle(known.caller, stocks, known.now), changed=[one.facts for one in stocks])

    return decide


DECLARE: ProductChange[Any, Any] = ProductChange(
    ProductCouponNode.get.as_brand(), declared, documents=lambda product_coupon_id: [(PRODUCT, product_coupon_id)]
)
CHANGES: tuple[ProductChange[Any, Any], ...] = (
    ProductChange(ProductCoupons.post, create, reused=AlreadyExists),
    ProductChange(ProductCouponNode.patch, modify_coupon, documents=_product_of),
    ProductChange(DeactivateProductCouponNode.post, deactivate_coupon, documents=_product_of, all_stocks_of=_all_of),
    ProductChange(ProductStocks.post, add_stock, documents=_product_of, all_stocks_of=_all_of, reused=AlreadyExists),
    ProductChange(StockBundles.post, add_bundle, documents=_product_of, all_stocks_of=_all_of, reused=AlreadyExists),
    ProductChange(ProductStockNode.patch, _of_stock(modify_stocks), stocks=single_stock),
    ProductChange(UpdateStockBudgetNode.post, _of_stock(change_budget), stocks=single_stock),
    # Source: of this call the pages do not say that it takes no member of a bundle, and a bundle has none of its own.
    ProductChange(DeactivateStockNode.post, _of_stock(deactivate_stock), stocks=lambda request: [request.stock_id]),
    ProductChange(StockBundleNode.patch, _of_bundle(modify_stocks), stocks=stocks_of_bundle),
    ProductChange(UpdateBundleBudgetNode.post, _of_bundle(change_budget), stocks=stocks_of_bundle),
)
"""Every way, each bound to its operation."""
