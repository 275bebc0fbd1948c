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
    brand_id: str | None = None
    """The brand that asks, for itself. None: a merchant does, and for 商品券 it is a provider."""
    granted_by: frozenset[str] | None = None
    """The brands that have granted this provider 商品券. None: it is not asked."""
    product_rules: Rules = Rules()

    @property
    def mchid(self) -> str:
        return self.merchant.mchid


Handler = Callable[[Visit, Req], Awaitable[Resp]]


class Handlers(dict[Operation[..., Any, Any, Any], Callable[[Visit, Any], Awaitable[Any]]]):
    def bind(self, operation: Operation[..., Any, Req, Resp], handler: Handler[Req, Resp]) -> None:
        """Typed: a handler that takes or returns another operation's struct does not check."""
        self[operation] = handler
