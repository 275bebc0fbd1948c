"""What must hold for every declared operation, the next one too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import GenericAlias
from typing import Annotated, Any, NotRequired, get_args, get_origin, get_type_hints

import msgspec
import pytest
from msgspec import inspect

from quanma.api.callbacks import Callbacks
from quanma.api.coupons import Send
from quanma.api.deliveries import Resend
from quanma.api.media import ImageUpload
from quanma.api.operation import Node, Operation, children, walk
from quanma.api.productcoupon.callbacks import NotifyConfigs
from quanma.api.productcoupon.callers import OfBoth
from quanma.api.productcoupon.images import ProductImageUpload
from quanma.api.productcoupon.stores import (
    AssociateBundleStoresNode,
    AssociateStoresNode,
    DisassociateBundleStoresNode,
    DisassociateStoresNode,
)
from quanma.api.security import Echo
from quanma.api.stocks import CreateStock
from quanma.api.tree import OPERATIONS, ROOTS
from quanma.cli.api import chain_of
from quanma.platform.handlers import HANDLERS
from quanma.wire import codec
from tests.declarations.minimal import MINIMAL
from tests.support.every import every


def of_both(both: OfBoth[..., Any, Any, ..., Any, Any, Any]) -> tuple[Operation[..., Any, Any, Any], ...]:
    return both.as_brand(), both.as_provider()


UNLIMITED = {  # A request's number without limits: why. JSON's reader takes 4300 digits.
    "StockSendRule.max_amount": "not yet open: no limit is published",
    "StockSendRule.max_amount_by_day": "not yet open: no limit is published",
}
WITHOUT_NUMBER: dict[
    Operation[..., Any, Any, Any], str
] = {  # What writes and carries no number: why. The client never repeats it by itself.
    Resend.post: "an event is received under its own id, however often it is sent",
    Callbacks.post: "the last address is the one that counts, however often it is set",
    ImageUpload.post: "a repeat makes a second address of the same picture",
    Echo.post: "it changes nothing",
    **dict.fromkeys(of_both(NotifyConfigs.post), "the last address is the one that counts, however often it is set"),
    **dict.fromkeys(of_both(ProductImageUpload.post), "a repeat makes a second address of the same picture"),
    **dict.fromkeys(
        [
            *of_both(AssociateStoresNode.post),
            *of_both(DisassociateStoresNode.post),
            *of_both(AssociateBundleStoresNode.post),
            *of_both(DisassociateBundleStoresNode.post),
        ],
        "the API has no number for it",
    ),
}
ENUMS = (
    "stock_type",
    "use_method",
    "coupon_code_mode",
    "stock_state",
    "coupon_state",
    "code_status",
    "state",
    "status",
)

every_operation = every(OPERATIONS, chain_of)


def nodes(node: type[Node[Any, Any]]) -> list[type[Node[Any, Any]]]:
    return [node, *(below for child in children(node).values() for below in nodes(child))]


every_node = every([node for root in ROOTS for node in nodes(root)], lambda node: node.path)


@every_node
def test_a_nodes_path_is_its_place_in_the_tree(node: type[Node[Any, Any]]) -> None:
    for segment, child in children(node).items():
        # _stock_id_ is a variable; return_ is "return", a word that Python keeps for itself.
        named = f"{{{segment.strip('_')}}}" if segment.startswith("_") else segment.rstrip("_").replace("_", "-")
        assert child.path == f"{node.path}/{named}"


@every_operation
def test_every_path_variable_is_a_field_of_the_request(operation: Operation[..., Any, Any, Any]) -> None:
    assert set(re.findall(r"\{(\w+)\}", operation.path)) <= get_type_hints(operation.request).keys()


@every_operation
def test_the_number_is_a_field_of_the_request(operation: Operation[..., Any, Any, Any]) -> None:
    assert operation.number is None or operation.number in get_type_hints(operation.request)


@every_operation
def test_what_writes_carries_a_number(operation: Operation[..., Any, Any, Any]) -> None:
    assert operation.repeatable != (operation in WITHOUT_NUMBER)


@every_operation
def test_every_list_and_text_of_a_request_has_a_maximum(operation: Operation[..., Any, Any, Any]) -> None:
    assert set(unlimited(operation.request)) <= UNLIMITED.keys()


def test_no_exception_is_kept_that_is_not_needed() -> None:
    assert {field for operation in OPERATIONS for field in unlimited(operation.request)} == UNLIMITED.keys()


def test_a_stock_of_the_longest_values_is_small() -> None:
    """It stands in each row of a user's list."""
    assert longest(inspect.type_info(CreateStock)) < 80 * 1024


class Loosest(msgspec.Struct):
    finder_id: str


def test_a_field_without_a_maximum_is_seen() -> None:
    class Loose(msgspec.Struct):
        stock_name: Annotated[str, msgspec.Meta(examples=["A1"], pattern="A+")] | None
        offset: int | None
        subsidy: bool
        coupon_code_list: list[Annotated[str, msgspec.Meta(max_length=32)]]
        codes: Annotated[list[str], msgspec.Meta(max_length=2)]
        finder_info: Annotated[list[Loosest], msgspec.Meta(max_length=2)]
        extra: dict[str, int]

    assert list(unlimited(Loose)) == [
        "Loose.stock_name",
        "Loose.offset",
        "Loose.coupon_code_list",
        "Loose.codes",
        "Loosest.finder_id",
        "Loose.extra",
    ]


def unlimited(struct: type[Any]) -> Iterator[str]:
    """Yield the fields without a maximum, in nested structs too. A picture has its own: its bytes are in the body."""
    described = inspect.type_info(struct)
    assert isinstance(described, inspect.StructType)
    for field in described.fields:
        for part in parts_of(field.type):
            if isinstance(part, inspect.StructType):
                yield from unlimited(part.cls)
            elif not is_bounded(part):
                yield f"{struct.__name__}.{field.name}"


def is_bounded(kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.StrType | inspect.ListType):
        return kind.max_length is not None
    if isinstance(kind, inspect.IntType):
        return kind.ge is not None
    return isinstance(kind, BOUNDED)


BOUNDED = (inspect.BoolType, inspect.LiteralType, inspect.NoneType, inspect.BytesType)


def parts_of(kind: inspect.Type) -> Iterator[inspect.Type]:
    """Yield what a field may hold: each alternative, a list and then what may stand in it."""
    for part in alternatives(kind):
        yield part
        if isinstance(part, inspect.ListType):
            yield from parts_of(part.item_type)


def longest(kind: inspect.Type) -> int:
    """How many bytes the longest value may have as JSON: a character has at most six."""
    sizes = [0]
    for part in alternatives(kind):
        if isinstance(part, inspect.StrType):
            sizes.append(6 * (part.max_length or 0) + 2)
        elif isinstance(part, inspect.ListType):
            sizes.append((part.max_length or 0) * (longest(part.item_type) + 1) + 2)
        elif isinstance(part, inspect.StructType):
            sizes.append(sum(len(field.name) + 4 + longest(field.type) for field in part.fields) + 2)
        else:
            sizes.append(4300 if isinstance(part, inspect.IntType) and part.le is None else 20)
    return max(sizes)


def alternatives(kind: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(kind, inspect.Metadata):
        yield from alternatives(kind.type)
    elif isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from alternatives(one)
    else:
        yield kind


@every([one for one in OPERATIONS if one.verb not in codec.IN_QUERY and not one.multipart], chain_of)
def test_the_mapping_form_has_the_requests_fields_but_those_of_the_path(
    operation: Operation[..., Any, Any, Any],
) -> None:
    struct = get_type_hints(operation.request)
    in_path = re.findall(r"\{(\w+)\}", operation.path)
    body = get_type_hints(operation.body, include_extras=True)
    assert operation.body is not None
    assert body.keys() == struct.keys() - set(in_path)
    assert {name for name, hint in body.items() if get_origin(hint) is NotRequired} == {
        field.name for field in msgspec.structs.fields(operation.request) if not field.required
    }
    for name, hint in get_type_hints(operation.body).items():
        timely = {datetime} if name in ("use_time", "send_time") else set[type]()
        assert parts(hint) == parts(struct[name]) | timely, name


def test_a_picture_has_no_mapping_form() -> None:
    assert [one for one in OPERATIONS if one.body is None and one.verb not in codec.IN_QUERY] == [
        ImageUpload.post,
        ProductImageUpload.post.as_provider(),
        ProductImageUpload.post.as_brand(),
    ]


def parts(hint: Any) -> set[Any]:
    """The types in a union, without None and without the mapping that may stand for a struct."""
    if get_origin(hint) is Sequence:
        (of,) = parts(get_args(hint)[0])
        return {GenericAlias(list, (of,))}
    union = get_args(hint) if get_origin(hint) not in (list, dict, Mapping) and not is_literal(hint) else (hint,)
    return {part for part in union or (hint,) if part is not type(None) and get_origin(part) is not Mapping}


def is_literal(hint: Any) -> bool:
    return "Literal" in str(get_origin(hint))


@every_node
def test_an_item_fills_the_variable_below(node: type[Node[Any, Any]]) -> None:
    variables = [child for segment, child in children(node).items() if segment.startswith("_")]
    assert hasattr(node, "__getitem__") == bool(variables)
    for child in variables:
        filled: Any = vars(node)["__getitem__"](node(object(), {"above": "1"}), "A1")
        assert type(filled) is child
        assert filled.filled == {"above": "1", child.path.rpartition("{")[2].rstrip("}"): "A1"}


@every_node
def test_a_node_can_be_called_just_if_it_has_post(node: type[Node[Any, Any]]) -> None:
    assert vars(node).get("__call__") is vars(node).get("post")


def test_every_operation_has_a_documented_answer() -> None:
    assert set(MINIMAL) == set(OPERATIONS)


def test_all_26_operations_of_busifavor_are_declared() -> None:
    busifavor = [operation for operation in OPERATIONS if operation.path.startswith("/v3/marketing/busifavor/")]
    assert len(busifavor) == 26


def test_every_operation_has_a_handler_and_every_handler_an_operation() -> None:
    assert set(HANDLERS) == set(OPERATIONS)


@every_operation
def test_the_documented_minimal_answer_is_read(operation: Operation[..., Any, Any, Any]) -> None:
    answer = codec.decode_answer(operation, msgspec.json.encode(MINIMAL[operation]))
    assert isinstance(answer, operation.response)


@every_operation
def test_fields_of_tomorrow_in_an_answer_are_accepted(operation: Operation[..., Any, Any, Any]) -> None:
    answer = codec.decode_answer(operation, msgspec.json.encode(tomorrow(MINIMAL[operation])))
    assert isinstance(answer, operation.response)


def tomorrow(value: Any) -> Any:
    """An answer with a new field in each object, and a new value of each enumeration."""
    if not isinstance(value, dict):
        return value
    changed = {name: "OF_TOMORROW" if name in ENUMS else tomorrow(inner) for name, inner in value.items()}
    return {**changed, "field_of_tomorrow": {"value": 1}}


@every_operation
def test_an_answer_that_lacks_a_required_field_is_refused(operation: Operation[..., Any, Any, Any]) -> None:
    answer = MINIMAL[operation]
    for missing in answer:
        body = msgspec.json.encode({name: value for name, value in answer.items() if name != missing})
        with pytest.raises(ValueError, match="missing required field"):
            codec.decode_answer(operation, body)


def test_a_sent_coupon_is_read_bare_as_well_as_wrapped() -> None:
    bare = codec.decode_answer(Send.post, b'{"stock_id": "98065001", "out_request_no": "n1", "coupon_code": "A1"}')
    assert bare.send_coupon_result.coupon_code == "A1"


@every_operation
def test_the_chain_that_the_shell_takes_is_pythons_and_names_one_operation(
    operation: Operation[..., Any, Any, Any],
) -> None:
    chain = chain_of(operation)
    root, *between, _ = chain.split(".")
    node: type[Node[Any, Any]]
    (node,) = (one for one in ROOTS if one.path == f"/{root}")
    for segment in between:
        node = children(node)[segment]
    assert getattr(node, chain.rpartition(".")[2]) is operation
    others = [chain_of(other) for other in OPERATIONS if other is not operation]
    assert not any(f".{other}".endswith(f".{chain}") for other in others)


def test_no_operation_is_declared_twice() -> None:
    assert (
        len({(operation.verb, operation.path) for operation in OPERATIONS})
        == len([one for root in ROOTS for one in walk(root)])
        == len(OPERATIONS)
    )
