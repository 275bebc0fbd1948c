"""Limits are for what we send. Whatever an operation is answered, of the right types, is read as declared."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
import pytest
from msgspec import inspect

from quanma.api.couponcodes import CouponCodes
from quanma.api.coupons import Send, UserCoupons
from quanma.api.operation import Operation
from quanma.api.stockrules import StockSendRule
from quanma.api.stocks import Stock, StockNode
from quanma.api.tree import OPERATIONS
from quanma.cli.api import chain_of
from quanma.wire import codec
from tests.declarations.minimal import MINIMAL
from tests.support.every import every, every_row

ANSWERED = [operation for operation in OPERATIONS if operation.response is not type(None)]
every_answer = every(ANSWERED, chain_of)
OF_EACH_JSON_TYPE: tuple[Any, ...] = (None, True, 1, 1.5, "text", [], {})


def outside(kind: inspect.Type, *, above: bool) -> Any:
    """A value of the type, with every field there is, beyond each limit on the one side or the other."""
    match kind:
        case inspect.Metadata():
            return outside(kind.type, above=above)
        case inspect.UnionType():
            return outside(next(one for one in kind.types if not isinstance(one, inspect.NoneType)), above=above)
        case inspect.StructType():
            return {field.name: outside(field.type, above=above) for field in kind.fields}
        case inspect.StrType():
            return "长" * ((kind.max_length or 2000) + 1) if above else ""
        case inspect.IntType():
            return (2**70 if kind.le is None else kind.le + 1) if above else -1 if kind.ge is None else kind.ge - 1
        case inspect.LiteralType():
            return "OF_TOMORROW"
        case inspect.BoolType():
            return above
        case inspect.ListType():
            if not above:
                return []
            # One beyond the limits, and the others small: lists stand in lists.
            return [
                outside(kind.item_type, above=True),
                *[outside(kind.item_type, above=False)] * (kind.max_length or 2),
            ]
        case _:
            raise NotImplementedError(kind)


@every_answer
def test_an_answer_beyond_every_limit_of_a_request_is_read_word_for_word(
    operation: Operation[..., Any, Any, Any],
) -> None:
    for above in (False, True):
        told = outside(inspect.type_info(operation.response), above=above)
        answer = codec.decode_answer(operation, msgspec.json.encode(told))
        assert type(answer) is operation.response
        assert msgspec.to_builtins(answer) == told


@every_answer
def test_null_for_what_may_be_absent_is_its_absence(operation: Operation[..., Any, Any, Any]) -> None:
    fields = msgspec.structs.fields(operation.response)
    nulls = {field.name: None for field in fields if not field.required}
    told = {**MINIMAL[operation], **{name: value for name, value in nulls.items() if name not in MINIMAL[operation]}}
    absent = codec.decode_answer(operation, msgspec.json.encode(MINIMAL[operation]))
    assert codec.decode_answer(operation, msgspec.json.encode(told)) == absent


@every_answer
def test_a_wrong_type_is_refused_in_every_field(operation: Operation[..., Any, Any, Any]) -> None:
    told = outside(inspect.type_info(operation.response), above=False)
    assert list(wrong_types(operation, told)) == []


def wrong_types(operation: Operation[..., Any, Any, Any], told: dict[str, Any]) -> Iterator[str]:
    """The fields that took a value of another type than their own."""
    optional = {field.name for field in msgspec.structs.fields(operation.response) if not field.required}
    for name, value in told.items():
        for other in OF_EACH_JSON_TYPE:
            if type(other) is type(value) or (other is None and name in optional):
                continue
            try:
                codec.decode_answer(operation, msgspec.json.encode({**told, name: other}))
            except ValueError:
                continue
            yield f"{name}: {other!r}"


STOCK = MINIMAL[StockNode.get]


@every_row(
    "change",
    [
        {
            "coupon_use_rule": {
                **STOCK["coupon_use_rule"],
                "exchange_coupon": {"exchange_price": 0, "transaction_minimum": 0},
            }
        },
        {"stock_send_rule": {"max_coupons_per_user": 200}},
        {"display_pattern_info": {"description": "长" * 1001}},
        {"notify_config": {"notify_appid": ""}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_stock_that_could_not_be_made_so_can_be_read(change: dict[str, Any]) -> None:
    stock = codec.decode_answer(StockNode.get, msgspec.json.encode({**STOCK, **change}))
    assert {name: msgspec.to_builtins(getattr(stock, name)) for name in change} == change


def test_a_page_without_a_list_is_empty() -> None:
    page = codec.decode_answer(UserCoupons.get, b'{"data":null,"total_count":0,"limit":20,"offset":0}')
    assert page.data == []


def test_an_unusual_answer_is_as_whole_as_any() -> None:
    unusual: Stock = codec.decode_answer(
        StockNode.get, msgspec.json.encode({**STOCK, "stock_send_rule": {"max_coupons_per_user": 200}})
    )
    assert unusual.stock_send_rule == StockSendRule(max_coupons_per_user=200)
    assert pickle.loads(pickle.dumps(unusual)) == copy.deepcopy(unusual) == unusual


def test_a_wrong_type_deep_below_an_unusual_value_is_named() -> None:
    body = msgspec.json.encode({**STOCK, "stock_send_rule": {"max_coupons_per_user": 200, "max_coupons": "1000"}})
    with pytest.raises(ValueError, match=r"Expected `int \| null`, got `str` - at `\$.stock_send_rule.max_coupons`"):
        codec.decode_answer(StockNode.get, body)


def test_a_fixed_choice_is_open_in_an_answer() -> None:
    class Told(msgspec.Struct):
        state: Literal["ON", "OFF"]
        steps: dict[str, list[Literal[1, 2]]]

    assert codec.read_answer({"state": "OF_TOMORROW", "steps": {"a": [3]}}, Told) == Told("OF_TOMORROW", {"a": [3]})  # type: ignore[arg-type, list-item]


@every_row(
    ("operation", "body"),
    [
        (Send.post, b'{"stock_id":"1","stock_id":"2","out_request_no":"n1","coupon_code":"A1"}'),
        (
            Send.post,
            b'{"send_coupon_result":{"stock_id":"1","out_request_no":"n1","coupon_code":"A1","coupon_code":"B2"}}',
        ),
        (Send.post, b'{"stock_id":"1","out_request_no":"n1","coupon_code":"A1","c\\u006fupon_code":"B2"}'),
        (
            CouponCodes.post,
            b'{"stock_id":"1","total_count":1,"success_count":1,"success_time":"t","x":[{"y":1,"y":1}]}',
        ),
    ],
)
def test_an_answer_that_says_a_name_twice_is_refused(operation: Operation[..., Any, Any, Any], body: bytes) -> None:
    with pytest.raises(ValueError, match="a name stands twice"):
        codec.decode_answer(operation, body)
