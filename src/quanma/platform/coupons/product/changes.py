"""Changes of product coupons, their stocks and bundles: each as data, done by each back end in one function. Pure.

A change says what it must see: documents, and stocks at their turn. It decides, and says what is then written: other
documents, new stocks, changed ones. A number is known by its caller, its brand and its operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from ....api.operation import Operation
from ....api.productcoupon.callers import OfBoth
from ....errors import RequestRefused
from ....reasons import Reason
from ..repeats import reused, same_request
from ..responses import Counts
from ..stocks import Product, StockFacts

Req = TypeVar("Req")
Resp = TypeVar("Resp")

PRODUCT = "product-coupon"
"""The kind of a document that is a `ProductCoupon`, as JSON."""


class Caller(NamedTuple):
    """Who asks, and for which brand. A brand asks for itself."""

    mchid: str
    brand_id: str

    @property
    def shown_brand_id(self) -> str | None:
        """A provider's objects name their brand; a brand's own don't. Source: the sample models."""
        return None if is_brand(self.mchid) else self.brand_id

    def product(self, product_coupon_id: str) -> Product:
        return Product(product_coupon_id, self.brand_id)

    @property
    def owner(self) -> str:
        """Whose documents these are. Others' are not there."""
        return f"{self.mchid}\n{self.brand_id}"


BRAND = "brand:"
"""What stands before a brand's id where the pool has a merchant: none has such a number."""


def is_brand(mchid: str) -> bool:
    return mchid.startswith(BRAND)


class Rules(NamedTuple):
    """What the platform may be set to do otherwise."""

    audit_seconds: int = 0
    """How long what is new is AUDITING."""


class Document(NamedTuple):
    kind: str
    id: str
    body: str


class KnownStock(NamedTuple):
    """A stock at its turn, and what it counts."""

    facts: StockFacts
    counts: Counts


class Known(NamedTuple):
    """What a change is decided on. Absent: a document that is not there. Time is Unix seconds."""

    caller: Caller
    documents: Mapping[tuple[str, str], str]
    stocks: Sequence[KnownStock]
    now: int
    rules: Rules = Rules()


class Changed(NamedTuple, Generic[Resp]):
    """What a change does."""

    answer: Resp
    documents: Sequence[Document] = ()
    """New, or in the place of those of the same kind and id."""
    gone: Sequence[tuple[str, str]] = ()
    """Documents that are taken away: kind and id."""
    added: Sequence[StockFacts] = ()
    changed: Sequence[StockFacts] = ()


def _none(request: Any) -> Sequence[Any]:
    return ()


class ProductChange(Generic[Req, Resp]):
    """One way to change what a caller has made for a brand."""

    def __init__(
        self,
        operation: OfBoth[..., Any, Req, ..., Any, Any, Resp] | Operation[..., Any, Req, Resp],
        decide: Callable[[Known, Req], Changed[Resp]],
        *,
        documents: Callable[[Req], Sequence[tuple[str, str]]] = _none,
        stocks: Callable[[Req], Sequence[str]] = _none,
        all_stocks_of: Callable[[Req], str | None] = lambda request: None,
        reused: type[RequestRefused] = RequestRefused,
    ) -> None:
        self.called: Operation[..., Any, Any, Resp] = (
            operation if isinstance(operation, Operation) else operation.as_brand()
        )
        self.bound = (
            (operation,) if isinstance(operation, Operation) else (operation.as_brand(), operation.as_provider())
        )
        """The operations that it is bound to."""
        self.decide = decide
        self.documents = documents
        """Those that it sees: kind and id."""
        self.stocks = stocks
        """Those that it sees and may change. One that is not there is refused."""
        self.all_stocks_of = all_stocks_of
        """The product coupon of which it sees all stocks."""
        self._reused = reused

    def number(self, request: Req) -> tuple[str, str] | None:
        """The document that a number is kept in: kind and id. None: the operation has no number."""
        field = self.called.number
        return None if field is None else (f"number:{type(request).__name__}", getattr(request, field))

    def kept(self, request: Req, answer: Resp) -> str:
        return msgspec.json.encode((_text(request), _text(answer))).decode()

    def again(self, kept: str, request: Req) -> Resp:
        """Return what is kept under the number as the answer to this request. Raises RequestRefused: it is another."""
        first, answer = msgspec.json.decode(kept, type=tuple[str, str])
        if not same_request(first, _text(request)):
            raise self._reused(reused(self.called.number or ""), reason=Reason.NUMBER_REUSED)
        return msgspec.json.decode(answer, type=self.called.response)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
