"""A step of a coupon, as data: what moves one, from which states, and what it answers. Pure.

Every step is the same work: find the coupon, know a repeat by its number, check the state, change fields, answer. Each
back end does it in one function, for any step; the steps themselves stand in `states.py` and `subsidies.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypedDict, TypeVar

import msgspec

from ...api.operation import Operation
from ...api.subsidy import PayReceipt, ReturnReceipt
from ...errors import ParamError, RequestRefused, masked
from .coupon import CouponFacts
from .repeats import Numbered
from .stocks import StockFacts

STATES = ("SENDED", "USED", "EXPIRED", "DEACTIVATED")


class OfCoupon(Protocol):
    """A request that names a coupon."""

    @property
    def stock_id(self) -> str | None: ...
    @property
    def coupon_code(self) -> str: ...


Req = TypeVar("Req", bound=OfCoupon)
Resp = TypeVar("Resp")


class Payment(NamedTuple):
    """What was paid for a coupon, and how much of it was taken back, in fen."""

    receipt: PayReceipt
    returned_amount: int


class Seen(NamedTuple, Generic[Req]):
    """What a step is decided on: the coupon and its stock as they are, the request, and the time."""

    stock: StockFacts
    coupon: CouponFacts
    payments: Sequence[Payment]
    """For the coupon, by their ids; none for a step that is not `of_payments`."""
    request: Req
    now: int
    group: object = None
    """Of 商品券: `Group`, all that the user got under the coupon's number. See product/life.py."""


class Changes(TypedDict, total=False):
    """Fields of a coupon that a step may change, beside its state."""

    use_request_no: str | None
    use_time: str | None
    used_at: int | None
    return_request_no: str | None
    returned_at: int | None
    deactivate_request_no: str | None
    deactivate_reason: str | None
    deactivated_at: int | None
    associate_out_trade_no: str | None
    confirm_request_no: str | None
    confirmed_at: int | None
    used_for: str | None


class Receipts(NamedTuple):
    """What a step writes beside the coupon: a payment, new or changed, and what was taken back of one."""

    payment: Payment | None = None
    returned: ReturnReceipt | None = None


_NONE = Receipts()


class Decision(NamedTuple, Generic[Resp]):
    """What a step does: the coupon as it is afterwards, the answer, and the receipts to be written."""

    after: CouponFacts
    answer: Resp
    receipts: Receipts
    beside: Sequence[CouponFacts] = ()
    """Other coupons of the group, as they are afterwards."""


def _nothing(of: Any) -> None:
    """No more to check."""


def _no_changes(seen: Any) -> Changes:
    return {}


def _no_receipts(seen: Any, answer: Any) -> Receipts:
    return _NONE


class Step(Generic[Req, Resp]):
    """One step. Its operation says which field of the request is the number that a repeat is known by."""

    def __init__(
        self,
        operation: Operation[..., Any, Req, Resp],
        *,
        starts: Sequence[str] = STATES,
        ends: str | None = None,
        check_request: Callable[[Req], None] = _nothing,
        check: Callable[[Seen[Req]], None] = _nothing,
        changes: Callable[[Seen[Req]], Changes] = _no_changes,
        answer: Callable[[Seen[Req]], Resp],
        of_payments: bool = False,
        receipts: Callable[[Seen[Req], Resp], Receipts] = _no_receipts,
    ) -> None:
        self.operation = operation
        self.starts = starts
        """The states that it starts from."""
        self.ends = ends
        """The state that it leads to. None: it leaves the state as it is."""
        self.check_request = check_request
        """Raises ParamError: the request is wrong, whatever the coupon is."""
        self.check = check
        """Raises what is wrong with this coupon in words of its own. A state outside `starts` is refused without it."""
        self.changes = changes
        self.answer = answer
        self.of_payments = of_payments
        """Whether it looks at the coupon's payments."""
        self.receipts = receipts

    def stock_of(self, request: Req) -> str:
        """Return the stock that a request names. Raises ParamError: none, or the request is wrong otherwise."""
        self.check_request(request)
        if request.stock_id is None:
            raise ParamError("stock_id is required: a merchant's own codes are unique within their stock only")
        return request.stock_id

    def user_of(self, request: Req) -> str | None:
        """Return the user whose coupons `code_of` must see. None: the request names its coupon."""
        return None

    def code_of(self, request: Req, mine: Sequence[CouponFacts]) -> str:
        """Return the code of the coupon that a request means. `mine`: the user's of the step's stock."""
        return request.coupon_code

    def numbered(self, request: Req) -> Numbered[Resp]:
        return Numbered(self.operation, request)

    def decide(self, seen: Seen[Req]) -> Decision[Resp]:
        """Return what the step does to a coupon.

        Raises:
            RequestRefused: the coupon is in none of the states that the step starts from.
            PlatformError: what `check` raises.
        """
        self.check(seen)
        self._check_state(seen.coupon, seen.now)
        after = msgspec.structs.replace(
            seen.coupon, coupon_state=self.ends or seen.coupon.coupon_state, **self.changes(seen)
        )
        answer = self.answer(seen)
        return Decision(after, answer, self.receipts(seen, answer))

    def _check_state(self, coupon: CouponFacts, now: int) -> None:
        if (state := coupon.state(now)) not in self.starts:
            why = _WHY.get(tuple(self.starts), "券状态不符")
            wanted = " or ".join(self.starts)
            raise RequestRefused(f"{why}: coupon {masked(coupon.coupon_code)} is {state}, not {wanted}")


_WHY: dict[tuple[str, ...], str] = {("SENDED",): "券状态非可用态", ("USED",): "券状态非已核销"}
