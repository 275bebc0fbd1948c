"""One verified request as handlers have it, and how they are bound to operations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

from ..api.operation import Operation
from .coupons.product.changes import Rules
from .keys.keystore import Certificate, Merchant, SensitiveFields
from .limits import RateLimit
from .notify.addresses import Network
from .pool.contract import CodePool

Req = TypeVar("Req")
Resp = TypeVar("Resp")


class ProductRules(NamedTuple):
    """What the platform may be set to do otherwise for 商品券."""

    rules: Rules = Rules()
    paused: frozenset[str] = frozenset()
    """Stocks that are PAUSED while platform.toml says so."""
    wants_callback: bool = False
    """Whether a callback address must be set before a product coupon is created."""


PRODUCT_RULES = ProductRules()


class Visit(NamedTuple):
    """One verified request: who asks, when (Unix seconds), and what the platform has at hand."""

    merchant: Merchant
    now: int
    pool: CodePool
    certificates: tuple[Certificate, ...]
    stock_limit: RateLimit | None
    """How many stocks a merchant may create in a time."""
    sensitive: Callable[[], SensitiveFields]
    """What opens and seals single fields of this request and its answer."""
    private_callbacks: bool
    """Whether a callback address may be plain http, or on a private network."""
    refused_networks: tuple[Network, ...] = ()
    """Where no callback address may be."""
    asks_for_grants: bool = False
    """Whether a provider may call only for brands that have granted it 商品券: where the platform knows any brand."""
    product_rules: ProductRules = PRODUCT_RULES

    @property
    def mchid(self) -> str:
        return self.merchant.mchid


Handler = Callable[[Visit, Req], Awaitable[Resp]]


class Handlers(dict[Operation[..., Any, Any, Any], Callable[[Visit, Any], Awaitable[Any]]]):
    def bind(self, operation: Operation[..., Any, Req, Resp], handler: Handler[Req, Resp]) -> None:
        """Typed: a handler that takes or returns another operation's struct does not check."""
        self[operation] = handler
