"""Operations that a service provider and a brand both have: declared once, called at two paths.

A brand calls for itself; a provider names the brand, and nothing else is different:

    class UploadNode(CallerNode[C, F, K]):
        path = "/product-coupons/{product_coupon_id}/stocks/{stock_id}/upload-coupon-codes"
        post = OfBoth(UploadCouponCodes, UploadCouponCodesAsProvider, UploadedCouponCodes, …)

    UploadNode.post.as_brand(), UploadNode.post.as_provider()      two Operations: platform and command line read them
    as_called(UploadNode, AsBrand)                                 the node with its whole path, as the tree has it

K is who calls. A node of the provider's tree has the provider's operations, with `brand_id` in their signatures; a
node of the brand's tree has the brand's. Source: a comparison of the official samples, field by field.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Generic, Never, ParamSpec, Self, TypedDict, TypeVar, get_origin, overload

from msgspec import Meta

from ...errors import NoAuth, ParamError, PlatformError, RateLimitExceeded, RequestRefused
from ..operation import B, C, Call, F, Node, Operation, P, Req, Resp

Q = ParamSpec("Q")
D = TypeVar("D")
AsProviderReq = TypeVar("AsProviderReq")
K = TypeVar("K")
N = TypeVar("N", bound=Node[Any, Any])

ERRORS = (ParamError, RequestRefused, NoAuth, RateLimitExceeded)
"""What every operation may be refused with. Source: documented; NO_AUTH: the brand granted the provider nothing."""

BrandId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=20,
        examples=["120344"],
        description="The brand that authorised the provider. A brand's own call has no such field.",
    ),
]
"""What a provider's request has more than a brand's own. A short number, sent as text. The length is our choice: none
is published."""


class AsProvider:
    """A service provider calls, for the brand that it names."""

    prefix = "/v3/marketing/partner/product-coupon"


class AsBrand:
    """A brand calls, for itself: the signature says who it is."""

    prefix = "/brand/marketing/product-coupon"


class ForBrandBody(TypedDict):
    brand_id: str


class OfBoth(Generic[P, B, Req, Q, D, AsProviderReq, Resp]):
    """One operation, as a brand calls it and as a provider does. The arguments are those of Operation."""

    @overload
    def __init__(
        self: OfBoth[P, Never, Req, Q, Never, AsProviderReq, Resp],  # pyright: ignore[reportInvalidTypeVarUse]
        request: Callable[P, Req],
        as_provider: Callable[Q, AsProviderReq],
        response: type[Resp],
        *,
        summary: str,
        number: str | None = None,
        multipart: bool = False,
        errors: tuple[type[PlatformError], ...] = ERRORS,
        check: Callable[[Req], str | None] | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: OfBoth[P, B, Req, Q, D, AsProviderReq, Resp],  # pyright: ignore[reportInvalidTypeVarUse]
        request: type[Req],
        as_provider: type[AsProviderReq],
        response: type[Resp],
        body: type[B],
        body_as_provider: type[D],
        *,
        keywords: Callable[P, Req],
        keywords_as_provider: Callable[Q, AsProviderReq],
        summary: str,
        number: str | None = None,
        errors: tuple[type[PlatformError], ...] = ERRORS,
        check: Callable[[Req], str | None] | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: OfBoth[P, B, Req, Q, D, AsProviderReq, Resp],  # pyright: ignore[reportInvalidTypeVarUse]
        request: Callable[P, Req],
        as_provider: Callable[Q, AsProviderReq],
        response: type[Resp],
        body: type[B],
        body_as_provider: type[D],
        *,
        summary: str,
        number: str | None = None,
        errors: tuple[type[PlatformError], ...] = ERRORS,
        check: Callable[[Req], str | None] | None = None,
    ) -> None: ...
    def __init__(
        self,
        request: Any,
        as_provider: Any,
        response: Any,
        body: Any = None,
        body_as_provider: Any = None,
        *,
        keywords: Any = None,
        keywords_as_provider: Any = None,
        errors: tuple[type[PlatformError], ...] = ERRORS,
        **said: Any,
    ) -> None:
        said["errors"] = errors
        self._called: dict[type[Any], Any] = {
            AsBrand: Operation(request, response, body, keywords=keywords, **said),
            AsProvider: Operation(as_provider, response, body_as_provider, keywords=keywords_as_provider, **said),
        }

    def __set_name__(self, owner: type[Node[Any, Any]], name: str) -> None:
        if name != "__call__":
            for caller, operation in self._called.items():
                operation.verb, operation.path = name.upper(), caller.prefix + owner.path

    def __repr__(self) -> str:
        return f"<OfBoth {self.as_brand()!r}, {self.as_provider()!r}>"

    def as_brand(self) -> Operation[P, B, Req, Resp]:
        operation: Operation[P, B, Req, Resp] = self._called[AsBrand]
        return operation

    def as_provider(self) -> Operation[Q, D, AsProviderReq, Resp]:
        operation: Operation[Q, D, AsProviderReq, Resp] = self._called[AsProvider]
        return operation

    def called(self, caller: type[AsProvider] | type[AsBrand]) -> Operation[..., Any, Any, Resp]:
        operation: Operation[..., Any, Any, Resp] = self._called[caller]
        return operation

    @overload
    def __get__(self, node: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, node: CallerNode[C, F, AsBrand], owner: type[Any]) -> Call[C, F, P, B, Resp]: ...
    @overload
    def __get__(self, node: CallerNode[C, F, AsProvider], owner: type[Any]) -> Call[C, F, Q, D, Resp]: ...
    def __get__(self, node: CallerNode[Any, Any, Any] | None, owner: type[Any]) -> Any:
        return self if node is None else self.called(node.caller).__get__(node, owner)


class CallerNode(Node[C, F], Generic[C, F, K]):
    """A node below both prefixes. In a declaration, `path` is what stands behind the prefix."""

    caller: type[AsProvider] | type[AsBrand]

    @classmethod
    def standing_below(cls, above: type[Node[Any, Any]]) -> type[Node[Any, Any]]:
        return as_called(cls, above.caller) if issubclass(above, CallerNode) else cls  # Else it is a root.

    def _fill(self, node: type[N], **variable: str) -> N:
        """The node below, with its variable filled."""
        below = as_called(get_origin(node) or node, self.caller)
        filled: N = below(self.client, {**self.filled, **variable})
        return filled


_KEPT = ("__doc__", "__module__", "__qualname__", "__getitem__")
_MADE: dict[tuple[type[Any], type[Any]], Any] = {}


def as_called(node: type[Any], caller: type[AsProvider] | type[AsBrand]) -> type[Any]:
    """Return a declared node as one of the two callers has it: with its whole path, and that caller's operations."""
    if (node, caller) not in _MADE:
        kept = {name: value for name, value in vars(node).items() if name in _KEPT}
        own = {name: value.called(caller) for name, value in vars(node).items() if isinstance(value, OfBoth)}
        said: dict[str, Any] = {"path": caller.prefix + node.path, "caller": caller}
        _MADE[node, caller] = type(node.__name__, (node,), {**kept, **own, **said})
    made: type[Any] = _MADE[node, caller]
    return made
