"""Requests made of their declarations: for tests over every operation, the next one too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import inspect

from quanma.api.operation import Operation, build
from tests.contract.driver import USE_RULE

WHERE_NO_VALUE_OF_THE_TYPE_WILL_DO: Mapping[str, Any] = {
    "coupon_use_rule": USE_RULE,
    "coupon_type": "NORMAL",
    "file": b"picture",
    "filename": "picture.png",
    "limit": 20,
    "notify_url": "https://pay.example.com/",
    "offset": 0,
    "stock_type": "NORMAL",
    "send_time": "2026-09-21T22:13:20+08:00",
    "transaction_id": "4200000913202101152566792388",
}


def request_of(operation: Operation[..., Any, Any, Any], values: Mapping[str, Any]) -> Any:
    """Return a request: the fields that `values` names have these values, other required ones any that is allowed."""
    described = inspect.type_info(operation.request)
    assert isinstance(described, inspect.StructType)
    fields: dict[str, Any] = {}
    for field in described.fields:
        if field.name in values:
            fields[field.name] = values[field.name]
        elif field.required:
            fixed = WHERE_NO_VALUE_OF_THE_TYPE_WILL_DO
            fields[field.name] = fixed[field.name] if field.name in fixed else sample(field.type)
    return build(operation.request, fields)


def sample(kind: inspect.Type) -> Any:
    """Return a value that is allowed."""
    if isinstance(kind, inspect.Metadata):
        examples = (kind.extra_json_schema or {}).get("examples")
        return examples[0] if examples else sample(kind.type)
    if isinstance(kind, inspect.UnionType):
        return sample(kind.types[0])
    if isinstance(kind, inspect.StrType):
        return "A" * max(kind.min_length or 0, 1)
    if isinstance(kind, inspect.IntType):
        return max(kind.ge or 0, 1)
    if isinstance(kind, inspect.ListType):
        return [sample(kind.item_type)]
    if isinstance(kind, inspect.LiteralType):
        return kind.values[0]
    if isinstance(kind, inspect.BoolType):
        return False
    if isinstance(kind, inspect.StructType):
        return {field.name: sample(field.type) for field in kind.fields if field.required}
    raise AssertionError(f"a sample of {kind} is wanted: say here which")
