"""Operations by the names that rules and the journal use: the chain's, or the verb and the path. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from ..api.operation import Operation
from ..errors import RequestInvalid

AnyOperation = Operation[..., Any, Any, Any]


@cache
def name_of(operation: AnyOperation) -> str:
    """`v3.marketing.busifavor.coupons.send.post`: the chain, from its first segment to the verb."""
    segments = [
        f"_{part[1:-1]}_" if part.startswith("{") else part.replace("-", "_")
        for part in operation.path.strip("/").split("/")
    ]
    return ".".join([*segments, operation.verb.lower()])


def is_named(operation: AnyOperation, said: str) -> bool:
    return is_meant(name_of(operation), f"{operation.verb} {operation.path}", said)


def is_meant(name: str, path: str, said: str) -> bool:
    """Whether a rule means the operation with this name, and this verb and path.

    `coupons.send.post` is the end of a chain, `POST /v3/…` verb and path; `*` stands for anything in both.
    """
    if "/" in said:
        return fnmatchcase(path, said)
    return fnmatchcase(name, said) or fnmatchcase(name, f"*.{said}")


def check_named(operations: Iterable[AnyOperation], said: str) -> None:
    """Raises RequestInvalid: it means no operation, or without a `*` several."""
    meant = [name_of(one) for one in operations if is_named(one, said)]
    if not meant:
        raise RequestInvalid(f"operation {said!r} is none of the platform's: GET /_sandbox/errors lists them")
    if len(meant) > 1 and "*" not in said and said not in meant:
        raise RequestInvalid(f"operation {said!r} may be {' or '.join(sorted(meant))}: write more of it")
