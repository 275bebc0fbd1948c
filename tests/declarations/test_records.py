"""Requests and answers in an application: as dicts and as JSON, with datetimes for times."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from quanma.api.coupons import SendCard, UseCoupon
from quanma.api.events import CouponSent
from quanma.api.operation import Answer, Node, Operation, build, children
from quanma.api.record import Record
from quanma.api.stockrules import CouponAvailableTime
from quanma.api.stocks import CreateStock
from quanma.api.tree import OPERATIONS, ROOTS
from quanma.client.claims import Claim
from quanma.errors import RequestInvalid
from quanma.wire import codec
from tests.declarations.minimal import MINIMAL
from tests.support.every import every, every_row
from tests.support.platform import new_stock

BEIJING = timezone(timedelta(hours=8))
MOMENT = datetime(2026, 11, 30, 18, 5, 6, 789_000, BEIJING)


@every(OPERATIONS, repr)
def test_every_answer_is_a_dict_and_json(operation: Operation[..., Any, Any, Any]) -> None:
    answer = codec.decode_answer(operation, msgspec.json.encode(MINIMAL.get(operation)))
    if answer is None:
        return
    assert isinstance(answer, Record)
    plain = answer.to_dict()
    assert type(plain) is dict
    assert json.loads(answer.to_json()) == plain == json.loads(json.dumps(plain))
    assert msgspec.convert(plain, type(answer)) == answer


@every(OPERATIONS, repr)
def test_every_request_is_a_record(operation: Operation[..., Any, Any, Any]) -> None:
    assert issubclass(operation.request, Record)


def test_an_answer_as_a_dict_is_what_the_wire_had_nested_objects_too() -> None:
    stock = new_stock("n1")
    assert stock.to_dict()["coupon_use_rule"]["fixed_normal_coupon"] == {
        "discount_amount": 100,
        "transaction_minimum": 1000,
    }
    assert "comment" not in stock.to_dict()


def test_the_content_of_an_event_is_a_dict_too() -> None:
    sent = CouponSent(event_type="E", coupon_code="A1", stock_id="1", send_time="", send_channel="", send_merchant="")
    assert sent.to_dict()["coupon_code"] == "A1"


def test_a_datetime_with_its_offset_stands_for_a_time_to_the_second() -> None:
    used = build(
        UseCoupon, {"coupon_code": "A1", "appid": "wx1", "use_time": MOMENT, "use_request_no": "n1", "openid": None}
    )
    assert used.use_time == "2026-11-30T18:05:06+08:00"
    card = {"card_id": "1", "appid": "wx1", "openid": "o1", "out_request_no": "n1"}
    assert build(SendCard, card | {"send_time": MOMENT.astimezone(UTC)}).send_time == "2026-11-30T10:05:06+00:00"


@every_row("in_struct", [False, True])
def test_a_datetime_stands_for_a_time_deep_in_a_body(in_struct: bool) -> None:
    times: Any = {"available_begin_time": MOMENT, "available_end_time": MOMENT + timedelta(days=1)}
    span = [{"begin_time": MOMENT, "end_time": MOMENT}]
    within: Any = times | {"irregulary_avaliable_time": span}
    fields = new_stock("n1").to_dict()
    fields["coupon_use_rule"]["coupon_available_time"] = CouponAvailableTime(**within) if in_struct else within
    made = build(CreateStock, fields).coupon_use_rule.coupon_available_time
    assert made.available_end_time == "2026-12-01T18:05:06+08:00"
    assert made.irregulary_avaliable_time is not None
    assert made.irregulary_avaliable_time[0].begin_time == "2026-11-30T18:05:06+08:00"


USE = {"coupon_code": "A1", "appid": "wx1", "use_time": "2026-11-30T18:05:06+08:00", "use_request_no": "n1"}


@every_row(
    ("field", "value", "reason"),
    [
        ("use_time", MOMENT.replace(tzinfo=None), "use_time is a datetime without its offset"),
        ("use_time", MOMENT.date(), "Expected `str`, got `date`"),
        ("use_time", MOMENT.timestamp(), "Expected `str`, got `float`"),
        ("coupon_code", MOMENT, "Expected `str`, got `datetime`"),
        ("use_request_no", MOMENT, "Expected `str`, got `datetime`"),
    ],
)
def test_any_other_thing_for_a_text_is_refused(field: str, value: object, reason: str) -> None:
    with pytest.raises(RequestInvalid, match=reason):
        build(UseCoupon, USE | {field: value})


@every([operation for operation in OPERATIONS if operation.keywords is not operation.request], repr)
def test_keywords_that_are_wider_are_the_requests_own(operation: Operation[..., Any, Any, Any]) -> None:
    (unpacked,) = get_args(get_type_hints(operation.keywords)["fields"])
    assert unpacked.__required_keys__ | unpacked.__optional_keys__ == set(operation.request.__struct_fields__)


def test_a_whole_answer_shows_what_it_is_and_no_content() -> None:
    answer = Answer(new_stock("n1"), 200, {"request-id": "R1"})
    assert repr(answer) == "<Answer 200, CreateStock, Request-ID R1>"
    assert repr(Answer(None, 204, {})) == "<Answer 204, nothing, Request-ID None>"


def test_a_claim_takes_a_datetime_with_its_offset() -> None:
    claim = Claim("98065001", "n1", customize_send_time=MOMENT)
    assert claim.fields()["customize_send_time"] == "2026-11-30T18:05:06+08:00"
    with pytest.raises(RequestInvalid, match="customize_send_time is a datetime without its offset"):
        Claim("98065001", "n1", customize_send_time=MOMENT.replace(tzinfo=None)).fields()


@every(OPERATIONS, repr)
def test_an_editor_shows_the_official_name_of_an_operation(operation: Operation[..., Any, Any, Any]) -> None:
    """What stands below its declaration, which Pylance and PyCharm show on hover."""
    for module in {one.__module__ for one in [one for root in ROOTS for one in nodes(root)]}:
        source = inspect.getsource(sys.modules[module])
        if f'summary="{operation.summary}"' in source:
            assert re.search(rf'^    """{re.escape(operation.summary)}: ', source, re.MULTILINE)
            return
    raise AssertionError(f"{operation!r} is declared nowhere")


def nodes(node: type[Node[Any, Any]]) -> Iterator[type[Node[Any, Any]]]:
    yield node
    for below in children(node).values():
        yield from nodes(below)
