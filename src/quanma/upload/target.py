"""Where batches go, and its limits as data: 商家券 (busifavor), and its successor 商品券, as service provider."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol

from ..api import rules
from ..api.couponcodes import CouponCodes, FailedCode, ListCodes, UploadCodes
from ..api.operation import Answer, Operation
from ..api.productcoupon.codes import UploadCouponCodesAsProvider, UploadCouponCodesNode
from ..api.productcoupon.stocks import ProductStockNode, ShowProductStockAsProvider
from ..api.stocks import ShowStock, Stock, StockNode
from ..errors import AnswerUntrusted, RequestInvalid


class Refused(NamedTuple):
    """A code that the platform refused, in its words."""

    coupon_code: str
    code: str
    message: str


class Outcome(NamedTuple):
    """What an answer says of a batch. Every code not named in it is newly stored."""

    existed: list[str]
    refused: list[Refused]


class ListedCode(NamedTuple):
    """A code as the platform lists it. `given`: a user has it."""

    code: str
    given: bool


class StockFacts(NamedTuple):
    """A stock, as the check before the first request needs it."""

    stock_id: str
    name: str
    mode: str
    state: str
    ends_at: str | None
    codes_max: int | None
    code_total: int | None


class Sender(Protocol):
    """The async client, as a target uses it."""

    def send(self, operation: Operation[..., Any, Any, Any], request: Any) -> Awaitable[Answer[Any]]: ...


class Target(NamedTuple):
    """A kind of stock that codes can be uploaded to. `stock` in its calls is how the command line names one."""

    name: str
    about: str
    stock_form: re.Pattern[str]
    """How a stock is named: what `--stock` takes."""
    batch_codes_max: int
    rule: rules.CodeRule
    upload_mode: str
    """The coupon_code_mode that takes uploads."""
    ended_states: tuple[str, ...]
    """The states of a stock that take no uploads any more."""
    rate_max: float | None
    """Requests a second that the platform documents, if it does."""
    upload: Callable[[Sender, str, Sequence[str], str], Awaitable[Outcome]]
    """Send a batch: client, stock, codes, request number. Raises AnswerUntrusted beside the client's errors."""
    show: Callable[[Sender, str], Awaitable[StockFacts]]
    list_codes: Callable[[Sender, str, int, int], Awaitable[list[ListedCode]]] | None
    """A page of the stock's codes: client, stock, offset, limit."""

    def check_stock_form(self, stock: str) -> None:
        """Raises RequestInvalid: this does not name a stock of this kind."""
        if not self.stock_form.fullmatch(stock):
            raise RequestInvalid(f"{stock!r} does not name a stock of {self.name}: {self.about}")


def read(codes: Sequence[str], success: Sequence[str], exist: list[str], failed: Sequence[FailedCode]) -> Outcome:
    """Take an answer for what it says, if it accounts for exactly the codes sent.

    Raises:
        AnswerUntrusted: it does not. A signature does not name its request: this may be another one's answer.
    """
    said = [*success, *exist, *(one.coupon_code for one in failed)]
    if len(said) != len(codes) or set(said) != set(codes):
        raise AnswerUntrusted(f"an answer accounts for {len(said)} codes that are not the {len(codes)} sent")
    return Outcome(exist, [Refused(one.coupon_code, one.code, one.message) for one in failed])


async def _upload(client: Sender, stock_id: str, codes: Sequence[str], number: str) -> Outcome:
    request = UploadCodes(stock_id=stock_id, coupon_code_list=list(codes), upload_request_no=number)
    answer = (await client.send(CouponCodes.post, request)).data
    if answer.stock_id != stock_id:
        raise AnswerUntrusted(f"an answer is for stock {answer.stock_id}, not {stock_id}")
    success = answer.success_codes
    # Source: lists may be missing altogether (documented). All stored, and no list, still accounts for every code.
    if not (success or answer.exist_codes or answer.fail_codes):
        success = codes if answer.success_count == answer.total_count == len(codes) else []
    return read(codes, success, answer.exist_codes, answer.fail_codes)


async def _show(client: Sender, stock_id: str) -> StockFacts:
    stock: Stock = (await client.send(StockNode.get, ShowStock(stock_id=stock_id))).data
    return StockFacts(
        stock.stock_id,
        stock.stock_name,
        stock.coupon_code_mode,
        stock.stock_state,
        stock.coupon_use_rule.coupon_available_time.available_end_time,
        stock.stock_send_rule.max_coupons,
        stock.coupon_code_count.total_count if stock.coupon_code_count else None,
    )


async def _list_codes(client: Sender, stock_id: str, offset: int, limit: int) -> list[ListedCode]:
    page = (await client.send(CouponCodes.get, ListCodes(stock_id=stock_id, offset=offset, limit=limit))).data
    return [ListedCode(code.code, code.code_status == "DISPATCHED") for code in page.data]


BUSIFAVOR = Target(
    name="busifavor",
    about="商家券; --stock STOCK_ID",
    stock_form=re.compile(r"[0-9A-Za-z_-]{1,20}"),
    batch_codes_max=rules.CODES_PER_UPLOAD_MAX,
    rule=rules.BUSIFAVOR,
    upload_mode="MERCHANT_UPLOAD",
    # Source: which states take uploads is not documented; the sibling API takes them while sending or paused.
    ended_states=("STOPED",),
    rate_max=None,
    upload=_upload,
    show=_show,
    list_codes=_list_codes,
)


def _product(stock: str) -> tuple[str, str, str]:
    brand_id, product_coupon_id, stock_id = stock.split("/")
    return brand_id, product_coupon_id, stock_id


async def _upload_product(client: Sender, stock: str, codes: Sequence[str], number: str) -> Outcome:
    brand_id, product_coupon_id, stock_id = _product(stock)
    request = UploadCouponCodesAsProvider(
        product_coupon_id=product_coupon_id,
        stock_id=stock_id,
        out_request_no=number,
        code_list=list(codes),
        brand_id=brand_id,
    )
    answer = (await client.send(UploadCouponCodesNode.post.as_provider(), request)).data
    return read(codes, answer.success_code_list, answer.already_exist_code_list, answer.failed_code_list)


async def _show_product(client: Sender, stock: str) -> StockFacts:
    brand_id, product_coupon_id, stock_id = _product(stock)
    request = ShowProductStockAsProvider(product_coupon_id=product_coupon_id, stock_id=stock_id, brand_id=brand_id)
    shown = (await client.send(ProductStockNode.get.as_provider(), request)).data
    return StockFacts(
        shown.stock_id,
        f"product coupon {shown.product_coupon_id}",
        shown.coupon_code_mode,
        shown.state,
        None,
        shown.stock_send_rule.max_count if shown.stock_send_rule else None,
        shown.coupon_code_count_info.total_count if shown.coupon_code_count_info else None,
    )


PRODUCT_COUPON = Target(
    name="product-coupon",
    about="商品券 of a service provider; --stock BRAND_ID/PRODUCT_COUPON_ID/STOCK_ID",
    stock_form=re.compile(r"[0-9A-Za-z_-]{1,20}/[0-9A-Za-z_-]{1,40}/[0-9A-Za-z_-]{1,40}"),
    batch_codes_max=rules.CODES_PER_UPLOAD_MAX,
    rule=rules.PRODUCT_COUPON,
    upload_mode="UPLOAD",
    ended_states=("STOPPED", "DEACTIVATED"),
    rate_max=20.0,
    upload=_upload_product,
    show=_show_product,
    # Source: no list of single codes was found.
    list_codes=None,
)

TARGETS = {target.name: target for target in (BUSIFAVOR, PRODUCT_COUPON)}
