"""Refusals of 商品券, by its own codes and numbers. Pure.

What both products share refuses in the words of 商家券. Here each becomes one that the pages of 商品券 name: one table.
Source: PARAM_ERROR, INVALID_REQUEST, ALREADY_EXISTS, SIGN_ERROR, NO_AUTH, RATELIMIT_EXCEEDED and SYSTEM_ERROR are
documented, and the numbers are the manuals'. Which of them stand together, and that what is not there answers 404
RESOURCE_NOT_EXISTS, is our choice: none is published.
"""

from __future__ import annotations

from ....errors import (
    AlreadyExists,
    NotEnough,
    ParamError,
    PlatformError,
    RateLimited,
    RateLimitExceeded,
    RequestRefused,
    ResourceAlreadyExists,
    ResourceNotExists,
    RuleLimit,
)
from ....reasons import Reason

PREFIXES = (b"/v3/marketing/partner/product-coupon/", b"/brand/marketing/product-coupon/")
"""Where the operations of 商品券 are."""

_AS: tuple[tuple[type[PlatformError], type[PlatformError], Reason | None], ...] = (
    (RateLimited, RateLimitExceeded, Reason.TOO_FAST),
    (RuleLimit, RequestRefused, Reason.USER_LIMIT),
    (NotEnough, RequestRefused, None),
    (AlreadyExists, AlreadyExists, Reason.NUMBER_REUSED),
    (ResourceAlreadyExists, RequestRefused, Reason.BAD_INPUT),
    (ResourceNotExists, ResourceNotExists, Reason.OBJECT_UNKNOWN),
    (ParamError, ParamError, Reason.BAD_PARAMETER),
)
"""What is refused so, is refused as, with the number, unless it has one."""


def as_refused(error: PlatformError) -> PlatformError:
    """Return what an operation of 商品券 answers instead."""
    for shared, own, reason in _AS:
        if isinstance(error, shared):
            if type(error) is own and error.reason is not None:
                return error
            return own(
                error.message,
                detail=error.detail,
                retry_after_seconds=error.retry_after_seconds,
                reason=error.reason or reason,
            )
    return error
