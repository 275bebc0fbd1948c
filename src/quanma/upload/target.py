"""Where batches go, and its limits as data. 商家券 (busifavor) is the first."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol

from ..api import rules
from ..api.couponcodes import CouponCodes, UploadCodes, UploadedCodes
from ..api.operation import Answer, Operation
from ..api.stocks import ShowStock, Stock, StockNode
from ..errors import AnswerUntrusted
from . import dirt


class CodeRule(NamedTuple):
    """Which codes a target takes."""

    pattern: re.Pattern[str]
    characters: frozenset[str]
    length_max: int

    def takes_all(self, codes: Sequence[str]) -> bool:
        """Whether every code is legal, in the time of one look at the whole text."""
        return (
            self.characters.issuperset("".join(codes))
            and min(map(len, codes), default=1) > 0
            and max(map(len, codes), default=0) <= self.length_max
        )

    def explain(self, code: str) -> str | None:
        return dirt.explain(code, legal=self.pattern, length_max=self.length_max)


class Refused(NamedTuple):
    """A code that the platform refused, in its words."""

    coupon_code: str
    code: str
    message: str


class Outcome(NamedTuple):
    """What an answer says of a batch. Every code not named in it is newly stored."""

    existed: list[str]
    refused: list[Refused]


class StockFacts(NamedTuple):
    """A stock, as the check before the first request needs it."""

    stock_id: str
    name: str
    mode: str
    state: str
    ends_at: str
    codes_max: int | None
    code_total: int | None


class Sender(Protocol):
    """The async client, as a target uses it."""

    def send(self, operation: Operation[..., Any, Any, Any], request: Any) -> Awaitable[Answer[Any]]: ...


class Target(NamedTuple):
    """A kind of stock that codes can be uploaded to."""

    name: str
    batch_codes_max: int
    rule: CodeRule
    upload_mode: str
    """The coupon_code_mode that takes uploads."""
    ended_states: tuple[str, ...]
    """The states of a stock that take no uploads any more."""
    upload: Callable[[Sender, str, Sequence[str], str], Awaitable[Outcome]]
    """Send a batch: client, stock_id, codes, request number. Raises AnswerUntrusted beside the client's errors."""
    show: Callable[[Sender, str], Awaitable[StockFacts]]


async def _upload(client: Sender, stock_id: str, codes: Sequence[str], number: str) -> Outcome:
    request = UploadCodes(stock_id=stock_id, coupon_code_list=list(codes), upload_request_no=number)
    return read(stock_id, codes, (await client.send(CouponCodes.post, request)).data)


def read(stock_id: str, codes: Sequence[str], answer: UploadedCodes) -> Outcome:
    """Take an answer for what it says, if it accounts for exactly the codes sent.

    Raises:
        AnswerUntrusted: it does not. A signature does not name its request: this may be another one's answer.
    """
    refused = [Refused(one.coupon_code, one.code, one.message) for one in answer.fail_codes]
    said = [*answer.success_codes, *answer.exist_codes, *(one.coupon_code for one in refused)]
    # Source: lists may be missing altogether (documented). All stored, and no list, still accounts for every code.
    bare = not said and answer.success_count == answer.total_count == len(codes)
    if answer.stock_id != stock_id or not (bare or (len(said) == len(codes) and set(said) == set(codes))):
        raise AnswerUntrusted(
            f"an answer for stock {answer.stock_id} accounts for {len(said)} codes that are not the {len(codes)} sent"
        )
    return Outcome(answer.exist_codes, refused)


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


BUSIFAVOR = Target(
    name="busifavor",
    batch_codes_max=rules.CODES_PER_UPLOAD_MAX,
    rule=CodeRule(rules.CODE, rules.CODE_CHARACTERS, rules.CODE_LENGTH_MAX),
    upload_mode="MERCHANT_UPLOAD",
    # Source: which states take uploads is not documented; the sibling API takes them while sending or paused.
    ended_states=("STOPED",),
    upload=_upload,
    show=_show,
)
